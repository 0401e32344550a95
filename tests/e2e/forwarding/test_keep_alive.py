"""Connections are kept on both sides, and requests on one connection are answered in order.

Without reuse every request costs two handshakes; with a mistake in it, one client gets another's
answer.
"""

import pytest

from support import wire


def echo_target(exchange):
    exchange.read_body()
    exchange.respond(200, [], exchange.request.target.encode())


def test_many_requests_on_one_connection(one):
    daemon, backend = one(echo_target)
    with daemon.client() as client:
        for number in range(50):
            response = client.request(target=f"/b/{number}")
            assert response.data == f"/b/{number}".encode()
            assert not response.closes
    assert len(backend.requests) == 50
    assert len(backend.data_connections) == 1


def test_pipelined_requests_are_answered_in_order(one):
    daemon, backend = one(echo_target)
    with daemon.client() as client:
        bodies = b"".join(
            client.head("PUT", f"/b/{number}", [("Content-Length", "4")]) + b"abcd"
            if number % 3 == 0
            else client.head("PUT", f"/b/{number}", [("Transfer-Encoding", "chunked")])
            + wire.chunked(b"abcd", 3)
            if number % 3 == 1
            else client.head("GET", f"/b/{number}")
            for number in range(30)
        )
        client.send(bodies)
        for number in range(30):
            assert client.read_response().data == f"/b/{number}".encode()
    assert [request.target for request in backend.requests] == [
        f"/b/{number}" for number in range(30)
    ]
    assert all(
        not request.body.length or request.body.data == b"abcd" for request in backend.requests
    )


def test_pipelined_bytes_never_reach_the_first_requests_backend_early(one):
    """The second request is sent only after the answer to the first: its backend may be another
    one."""
    import threading  # pylint: disable=import-outside-toplevel

    go = threading.Event()

    def handler(exchange):
        if exchange.request.target == "/b/first":
            exchange.wait(go)
            assert not exchange.reader.buffer
        echo_target(exchange)

    daemon, backend = one(handler)
    with daemon.client() as client:
        client.send(client.head("GET", "/b/first") + client.head("GET", "/b/second"))
        backend.wait_request("/b/first")
        wire.sleep_briefly()
        assert backend.count("/b/second") == 0
        go.set()
        assert client.read_response().data == b"/b/first"
        assert client.read_response().data == b"/b/second"


def test_client_asks_to_close(one):
    daemon, _ = one(echo_target)
    with daemon.client() as client:
        response = client.request(fields=[("Connection", "close")])
        assert response.closes
        assert client.expect_close() == "eof"


def test_pipelined_after_close_is_not_served(one):
    daemon, backend = one(echo_target)
    with daemon.client() as client:
        client.send(
            client.head("GET", "/b/last", [("Connection", "close")])
            + client.head("GET", "/b/never")
        )
        assert client.read_response().data == b"/b/last"
        assert client.expect_close() == "eof"
    assert backend.count("/b/never") == 0


def test_backend_asks_to_close(one):
    """The client's connection stays; the backend's is not used again."""

    def handler(exchange):
        exchange.read_body()
        exchange.respond(200, [("Connection", "close")], b"bye")
        exchange.wait_closed()

    daemon, backend = one(handler)
    with daemon.client() as client:
        for _ in range(3):
            response = client.request()
            assert response.data == b"bye"
            assert not response.closes
    assert len(backend.data_connections) == 3


def test_half_close_behind_pipelined_requests(one):
    """Legal (RFC 9112 §9.6), but no known client does it, so it must be enabled."""
    daemon, _ = one(echo_target, client_half_close="serve")
    with daemon.client() as client:
        client.send(b"".join(client.head("GET", f"/b/{number}") for number in range(5)))
        client.half_close()
        for number in range(5):
            assert client.read_response().data == f"/b/{number}".encode()
        assert client.expect_close() == "eof"


def test_idle_client_that_leaves(one):
    daemon, backend = one(echo_target)
    with daemon.client() as client:
        client.request()
        client.half_close()
        assert client.expect_close() == "eof"
    assert len(backend.requests) == 1


def test_empty_lines_before_a_request(one):
    """RFC 9112 §2.2: at least one empty line before a request line must be ignored (some clients
    send one after a body)."""
    daemon, backend = one(echo_target)
    with daemon.client() as client:
        client.request("POST", "/b/one", body=b"x")
        client.send(b"\r\n" + client.head("GET", "/b/two"))
        response = client.read_response()
        assert response.status in (200, 400)
    assert backend.count("/b/two") == (1 if response.status == 200 else 0)


def test_connect_and_leave_without_a_byte(one):
    daemon, _ = one(echo_target)
    for _ in range(20):
        daemon.client().close()
        daemon.client().reset()
    with daemon.client() as client:
        assert client.request().status == 200


@pytest.mark.parametrize("then", ["silence", "end"])
def test_an_empty_line_behind_a_request_is_no_request(one, then):
    """Old clients send one after a body. It causes neither an answer nor a log line."""
    daemon, backend = one(timeouts={"client_head": "500ms"})
    with daemon.client() as client:
        client.send(client.head("POST", "/b/k", [("Content-Length", 3)]) + b"abc\r\n")
        assert client.read_response().status == 200
        if then == "end":
            client.half_close()
        assert client.read_until_close() == (b"", "eof")
    assert len(backend.requests) == 1
    assert "client head timeout" not in daemon.totals()
    assert [line["status"] for line in daemon.log_lines()] == [200]
