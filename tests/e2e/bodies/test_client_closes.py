"""A client that closes while it waits is gone: its backend is told at once.

A backend that works on for a minute for a client that left cannot serve others. Without the proxy
it would see the same FIN.
"""

import contextlib
import threading

import pytest

from support import wire
from support.waiting import DEADLINE, wait_until


class Watched:
    """A handler that does not answer and notes how the daemon ended its connection."""

    def __init__(self, before=b""):
        self.before = before
        self.ended = threading.Event()
        self.how = None

    def __call__(self, exchange):
        exchange._body_read = True  # pylint: disable=protected-access
        if self.before:
            exchange.send(self.before)
        self.how = exchange.wait_closed()
        self.ended.set()
        exchange.close()

    def wait(self):
        assert self.ended.wait(DEADLINE), "the backend was never told"


LONG = {"backend_head": "10m", "backend_body": "10m", "client_body": "10m", "client_write": "10m"}
EXPECTS = ("Expect", "100-continue")


def head_of(client, method, fields=()):
    return client.head(method, "/b/k", fields)


@pytest.mark.parametrize(
    "method,fields,body",
    [
        ("GET", [], b""),
        ("HEAD", [], b""),
        ("DELETE", [], b""),
        ("PUT", [("Content-Length", 3)], b"abc"),
        ("PUT", [("Content-Length", 100000)], b"a" * 100000),
        ("PUT", [("Content-Length", 100)], b"half of it"),
        ("PUT", [("Transfer-Encoding", "chunked")], b"3\r\nabc\r\n0\r\n\r\n"),
        ("PUT", [("Transfer-Encoding", "chunked")], b"3\r\nabc\r\n"),
        ("PUT", [("Content-Length", 3), EXPECTS], b""),
        ("POST", [("Content-Length", 3)], b"abc"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
@pytest.mark.parametrize("how", ["close", "half_close"])
def test_while_waiting_for_the_answer(one, method, fields, body, how):
    handler = Watched()
    daemon, backend = one(handler, timeouts=LONG)
    with daemon.client() as client:
        client.send(head_of(client, method, fields) + body)
        backend.wait_request("/b/k")
        wire.sleep_briefly()
        getattr(client, how)()
        handler.wait()
        line = daemon.wait_log("/b/k")
        assert (line["status"], line["error"]) == (499, "client closed")
    assert backend.count("/b/k") == 1
    assert daemon.totals()["client gone before its answer's end"] == 1


def test_with_the_last_byte_of_the_body(one):
    """The end arrives in the same event as the last byte of the upload."""
    handler = Watched()
    daemon, backend = one(handler, timeouts=LONG)
    with daemon.client() as client:
        client.send(client.head("PUT", "/b/k", [("Content-Length", 100)]) + b"x" * 50)
        backend.wait_request("/b/k")
        wire.sleep_briefly()
        with daemon.frozen():
            client.send(b"y" * 50)
            client.half_close()
        handler.wait()
        assert daemon.wait_log("/b/k")["status"] == 499


def flood(exchange):
    """More than all buffers on the way hold."""
    exchange.read_body()
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
    with contextlib.suppress(OSError):
        exchange.send(bytes(64 << 20))
        exchange.wait_closed()
    exchange.close()


def blocked(daemon):
    """A client whose answer is stuck because it does not read."""
    client = daemon.client(rcvbuf=4096)
    client.send(client.head("GET", "/b/k"))
    client.begin_response()
    sent = -1
    while sent != (sent := client.unread()):
        wire.sleep_briefly()
    return client


def test_while_it_does_not_read(one):
    daemon, _ = one(flood, timeouts=LONG)
    with blocked(daemon) as client:
        client.half_close()
        line = daemon.wait_log("/b/k")
    assert (line["status"], line["error"]) == (200, "client closed")


def test_as_it_makes_room(one):
    """Room to write and the end arrive in one event: a write that waits for room must not swallow
    the end."""
    daemon, _ = one(flood, timeouts=LONG)
    with blocked(daemon) as client:
        with daemon.frozen():
            client.reader.exactly(client.unread(), "what came")
            client.half_close()
            wire.sleep_briefly()
        line = daemon.wait_log("/b/k")
    assert (line["status"], line["error"]) == (200, "client closed")


@pytest.mark.parametrize("framing", ["Content-Length: 100", "Transfer-Encoding: chunked"])
def test_while_the_answer_stands_still(one, framing):
    answer = f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n3\r\nabc\r\n".encode()
    handler = Watched(answer)
    daemon, _ = one(handler, timeouts=LONG)
    with daemon.client() as client:
        client.send(client.head("GET", "/b/k"))
        client.begin_response()
        client.half_close()
        handler.wait()
        line = daemon.wait_log("/b/k")
    assert (line["status"], line["error"]) == (200, "client closed")


def test_with_the_request_in_one_packet(one):
    """No backend is asked for a client that has left already."""
    daemon, backend = one(Watched(), timeouts=LONG)
    with daemon.frozen():
        client = daemon.client()
        client.send(client.head("GET", "/b/k"))
        client.half_close()
    assert daemon.wait_log("/b/k")["status"] == 499
    assert client.read_until_close()[0] == b""
    client.close()
    assert backend.count("/b/k") == 0


def test_behind_pipelined_requests(one):
    handler = Watched()
    daemon, backend = one(handler, timeouts=LONG)
    with daemon.client() as client:
        client.send(client.head("GET", "/b/1") + client.head("GET", "/b/2"))
        client.half_close()
        assert daemon.wait_log("/b/1")["status"] == 499
    assert backend.count("/b/2") == 0


def test_while_waiting_for_room(make_backend, gate):
    go = threading.Event()

    def handler(exchange):
        exchange.read_body()
        exchange.wait(go)
        exchange.respond(200, [], b"ok")

    backend = make_backend(handler)
    daemon = gate(
        [{"address": backend.address, "max_connections": 1}],
        backends={"queue_timeout": "5m"},
        timeouts=LONG,
        top={"workers": 1},
    )
    with daemon.client() as holder, daemon.client() as waiting:
        holder.send(holder.head("GET", "/b/first"))
        backend.wait_request("/b/first")
        waiting.send(waiting.head("GET", "/b/second"))
        wire.sleep_briefly()
        waiting.half_close()
        assert daemon.wait_log("/b/second")["status"] == 499
        go.set()
        assert holder.read_response().status == 200
    assert backend.count("/b/second") == 0


def test_between_two_attempts(make_backend, gate):
    """No further node is asked for a client that left during the first attempt."""
    left = threading.Event()

    def handler(exchange):
        exchange.read_body()
        exchange.wait(left)
        exchange.respond(503, [], b"", "Service Unavailable")

    backends = [make_backend(handler) for _ in range(3)]
    daemon = gate(backends, passive="off", timeouts=LONG)
    with daemon.client() as client:
        client.send(client.head("GET", "/b/k"))
        wait_until(lambda: any(backend.count("/b/k") for backend in backends))
        client.half_close()
        assert daemon.wait_log("/b/k")["status"] == 499
    left.set()
    assert sum(backend.count("/b/k") for backend in backends) == 1


def test_its_answer_is_all_out(one):
    """A client that has its whole answer may close: that is no fault."""
    daemon, _ = one()
    with daemon.client() as client:
        assert client.request().status == 200
        client.half_close()
        assert client.expect_close() == "eof"
    assert daemon.wait_log("/b/k")["error"] == "-"
    assert "client gone before its answer's end" not in daemon.totals()


def test_serve_takes_it_for_a_half_close(one):
    go = threading.Event()
    data = wire.payload(2 * 1024 * 1024)

    def handler(exchange):
        exchange.read_body()
        exchange.wait(go)
        exchange.respond(200, [], data)

    daemon, backend = one(handler, client_half_close="serve")
    with daemon.client() as client:
        client.send(client.head("PUT", "/b/k", [("Content-Length", "3")]) + b"abc")
        client.half_close()
        backend.wait_request("/b/k")
        wire.sleep_briefly()
        go.set()
        assert client.read_response().body.sha256 == wire.sha256(data)
        assert client.expect_close() == "eof"
    assert daemon.wait_log("/b/k")["status"] == 200
