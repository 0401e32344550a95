"""A write on a parked connection that died before its first byte is sent elsewhere.

No byte was sent, so nothing was executed, whatever the method: an error here would warn the client
of a danger that does not exist.
"""

import pytest

from support import wire


@pytest.mark.parametrize(
    "method,fields,body",
    [
        ("PUT", [("Content-Length", "3")], b"abc"),
        ("PUT", [("Content-Length", "0")], b""),
        ("PUT", [("Transfer-Encoding", "chunked")], b"3\r\nabc\r\n0\r\n\r\n"),
        ("POST", [("Content-Length", "3")], b"abc"),
        ("DELETE", [], b""),
    ],
    ids=["put", "empty", "chunked", "post", "delete"],
)
def test_executed_elsewhere_or_again(make_backend, gate, method, fields, body):
    backends = [make_backend() for _ in range(2)]
    daemon = gate(backends, passive="off", top={"workers": 1})
    with daemon.client() as client:
        assert client.request("PUT", "/b/warm?uploadId=a", body=b"x").status == 200
        (home,) = [backend for backend in backends if backend.count("/b/warm")]
        # The request arrives before the news of the reset, so the connection seems alive.
        with daemon.frozen():
            client.send(client.head(method, "/b/write?uploadId=a", fields) + body)
            for connection in home.data_connections:
                connection.reset()
        assert client.read_response(method).status == 200
    requests = [request for backend in backends for request in backend.find("/b/write")]
    assert len(requests) == 1
    if body:
        assert requests[0].body.sha256 == wire.sha256(b"abc")
