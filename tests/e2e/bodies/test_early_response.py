"""A final answer during an upload reaches the client complete, although it is still sending.

Without it SDKs see a broken pipe instead of AccessDenied, and a backend that refuses a large body
stalls both sides.
"""

import threading

import pytest

from support import wire

ERROR = (
    b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>AccessDenied</Code></Error>"
    + b" " * 2000
)


def refuse(exchange):
    """Answers after the head and never reads the body."""
    exchange._body_read = True
    exchange.respond(403, [("Content-Type", "application/xml")], ERROR, "Forbidden")
    exchange.backend.done.wait(20)
    exchange.close()


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_client_sends_on_slowly(make_backend, gate, framing):
    backend = make_backend(refuse)
    backend.done = threading.Event()
    daemon = gate([backend])
    size = 64 * 1024 * 1024
    field = ("Content-Length", size) if framing == "length" else ("Transfer-Encoding", "chunked")
    stop = threading.Event()

    def slowly():
        for number in range(64):
            if stop.is_set():
                return
            data = wire.payload(1024 * 1024, number)
            yield data if framing == "length" else b"100000\r\n" + data + b"\r\n"
            stop.wait(0.01)

    with daemon.client() as client:
        client.send(client.head("PUT", "/b/k", [field]))
        sender = client.send_in_background(None, slowly())
        response = client.read_response()
        assert (response.status, response.data) == (403, ERROR)
        assert response.closes
        stop.set()
        client.half_close()
        sender.join()
    backend.done.set()


def test_client_that_sends_everything_before_it_reads(make_backend, gate):
    """10 MB in flight: the answer must survive in the client's receive buffer; a reset would
    destroy it."""
    backend = make_backend(refuse)
    backend.done = threading.Event()
    daemon = gate([backend])
    with daemon.client() as client:
        client.send(client.head("PUT", "/b/k", [("Content-Length", 700 * 1024)]))
        assert client.send_quietly(
            wire.payload(700 * 1024)
        ), "the daemon must go on reading for a while"
        response = client.read_response()
        assert (response.status, response.data) == (403, ERROR)
        # If the kernel's buffers took the whole body, the exchange is complete and the connection
        # may stay.
        if response.closes:
            assert client.expect_close() == "eof"
    backend.done.set()


def test_backend_answers_and_closes(one):
    """Read the head, write 403, close: the failed write to the backend must not hide the answer."""

    def handler(exchange):
        exchange._body_read = True
        exchange.respond(403, [], ERROR, "Forbidden")
        exchange.close()

    daemon, _ = one(handler)
    for _ in range(5):
        with daemon.client() as client:
            client.send(client.head("PUT", "/b/k", [("Content-Length", 8 * 1024 * 1024)]))
            sender = client.send_in_background(wire.payload(8 * 1024 * 1024))
            response = client.read_response()
            assert (response.status, response.data) == (403, ERROR)
            client.close()
            sender.join()


def test_backend_answers_in_the_middle(one):
    def handler(exchange):
        exchange.read_some(1000)
        exchange.respond(400, [], ERROR, "Bad Request")
        exchange.wait_closed()

    daemon, _ = one(handler)
    with daemon.client() as client:
        client.send(client.head("PUT", "/b/k", [("Content-Length", 5000)]) + b"x" * 1000)
        response = client.read_response()
        assert (response.status, response.data) == (400, ERROR)
        assert response.closes
        assert client.expect_close() == "eof"


def test_answer_while_the_body_is_complete_keeps_the_connection(one):
    daemon, _ = one(
        lambda exchange: (exchange.read_body(), exchange.respond(403, [], ERROR, "Forbidden"))
    )
    with daemon.client() as client:
        for _ in range(3):
            response = client.request("PUT", body=b"x" * 1000)
            assert response.status == 403
            assert not response.closes


def test_lingering_is_bounded(make_backend, gate):
    """A client that never stops sending cannot keep its connection forever."""
    backend = make_backend(refuse)
    backend.done = threading.Event()
    daemon = gate([backend])
    with daemon.client() as client:
        client.send(client.head("PUT", "/b/k", [("Content-Length", 1 << 40)]))
        assert client.read_response().status == 403
        piece = wire.payload(65536)
        sent = 0
        while client.send_quietly(piece):
            sent += len(piece)
            assert sent < 256 * 1024 * 1024, "reads on without an end"
    backend.done.set()


def test_large_early_answer(one):
    """Answer and upload overlap: both are large, and neither may block the other."""
    data = wire.payload(8 * 1024 * 1024)

    def handler(exchange):
        exchange.read_some(10)
        sender = threading.Thread(target=lambda: exchange.respond(200, [], data))
        sender.start()
        try:
            exchange.reader.exactly(8 * 1024 * 1024 - 10, "rest", lambda piece: None)
        except wire.Truncated:
            pass
        sender.join()

    daemon, _ = one(handler)
    with daemon.client() as client:
        client.send(client.head("POST", "/b/echo", [("Content-Length", len(data))]))
        sender = client.send_in_background(data)
        response = client.read_response()
        assert response.body.sha256 == wire.sha256(data)
        client.close()
        sender.join()
