"""The proxy's own answer to a client that still waits for its 100 closes the connection.

The client may or may not send the announced body (RFC 9110 §10.1.1): only on a new connection is
its next request distinct from that body.
"""

import pytest

from support.config import dead_address

EXPECT = ("Expect", "100-continue")


@pytest.mark.parametrize(
    "field",
    [("Content-Length", "0"), ("Content-Length", "5"), ("Transfer-Encoding", "chunked")],
    ids=["empty", "length", "chunked"],
)
def test_no_backend(gate, field):
    daemon = gate([dead_address()])
    with daemon.client() as client:
        client.send(client.head("PUT", "/b/k", [EXPECT, field]))
        response = client.read_response("PUT")
        assert (response.status, response.interim) == (503, [])
        assert response.closes
        assert client.expect_close() == "eof"


def test_backend_breaks(one):
    def handler(exchange):
        exchange._body_read = True
        exchange.reset()

    daemon, _ = one(handler, passive="off")
    with daemon.client() as client:
        client.send(client.head("PUT", "/b/k", [EXPECT, ("Content-Length", "0")]))
        response = client.read_response("PUT")
        assert (response.status, response.interim) == (502, [])
        assert response.closes
        assert client.expect_close() == "eof"


def test_without_expect_the_connection_stays(gate):
    """The counterpart: without an open expectation the client keeps its connection."""
    daemon = gate([dead_address()])
    with daemon.client() as client:
        for _ in range(2):
            response = client.request("PUT", "/b/k", body=b"")
            assert response.status == 503
            assert not response.closes
