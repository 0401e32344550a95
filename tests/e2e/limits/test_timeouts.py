"""Every wait has its own limit, measured as progress, and never cuts an exchange that moves.

A total timeout cuts long uploads at sixty seconds; without any limit dead peers hold descriptors
forever.
"""

import threading

import pytest

from support import wire
from support.config import Blackhole
from support.waiting import wait_until


def test_client_idle(one):
    daemon, _ = one(timeouts={"client_idle": "500ms"})
    with daemon.client() as client:
        assert client.request().status == 200
        assert client.expect_close() == "eof"


def test_connection_without_a_byte(one):
    """Closed without an answer: there was no request (a 408 here would be read as the answer to a
    later request)."""
    daemon, _ = one(timeouts={"client_head": "500ms", "client_idle": "500ms"})
    with daemon.client() as client:
        data, how = client.read_until_close()
        assert how == "eof"
        assert not data or data.startswith(b"HTTP/1.1 408 ")


def test_client_head_bounds_the_whole_head(one):
    """Slowloris: single bytes must not keep the connection."""
    daemon, backend = one(timeouts={"client_head": "700ms"})
    with daemon.client() as client:
        stop = threading.Event()

        def drip():
            for byte in b"GET /b/k HTTP/1.1\r\nHost: a\r\nX-A: " + b"y" * 2000:
                if stop.wait(0.05) or not client.send_quietly(bytes([byte])):
                    return

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        data, _ = client.read_until_close()
        stop.set()
        thread.join()
        assert not data or data.startswith(b"HTTP/1.1 408 ")
    assert backend.requests == []


def test_client_body_measures_progress(one):
    """Slow but moving: four times the timeout in all, never the timeout without a byte."""
    daemon, backend = one(timeouts={"client_body": "1s"})
    with daemon.client() as client:
        client.send(client.head("PUT", "/b/k", [("Content-Length", "40")]))
        pause = threading.Event()
        for _ in range(40):
            client.send(b"x")
            pause.wait(0.1)
        assert client.read_response().status == 200
    assert backend.requests[0].body.data == b"x" * 40


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_client_body_stalls(one, framing):
    torn = threading.Event()

    def handler(exchange):
        try:
            exchange.read_body()
        except wire.Truncated:
            torn.set()
            raise

    daemon, backend = one(handler, timeouts={"client_body": "500ms"})
    with daemon.client() as client:
        field = (
            ("Content-Length", "10") if framing == "length" else ("Transfer-Encoding", "chunked")
        )
        client.send(client.head("PUT", "/b/k", [field]) + b"3\r\nabc")
        data, _ = client.read_until_close()
        assert not data or data.startswith(b"HTTP/1.1 408 ")
    assert torn.wait(20), "the backend must see the torn upload at once"
    assert not backend.requests[0].body.complete


def test_client_write(one):
    """A client that reads nothing is cut, and its backend connection with it."""
    ended = threading.Event()
    size = 64 * 1024 * 1024

    def handler(exchange):
        exchange.read_body()
        try:
            exchange.respond(200, [], wire.payload(size))
            exchange.wait_closed()
        except OSError:
            pass
        ended.set()
        exchange.close()

    daemon, _ = one(handler, timeouts={"client_write": "500ms"})
    with daemon.client(rcvbuf=4096) as client:
        client.send(client.head("GET", "/b/k"))
        assert ended.wait(30)
        line = daemon.wait_log("/b/k")
        assert line["size"] < size
        assert line["error"] == "client write timeout"


def test_client_write_measures_progress(one):
    """A slow reader that makes progress is served to the end."""
    data = wire.payload(3 * 1024 * 1024)

    def handler(exchange):
        exchange.read_body()
        exchange.respond(200, [], data)

    daemon, _ = one(handler, timeouts={"client_write": "1s"})
    with daemon.client(rcvbuf=65536) as client:
        client.send(client.head("GET", "/b/k"))
        response = client.begin_response()
        got = bytearray()
        pause = threading.Event()
        while len(got) < len(data):
            got += client.reader.exactly(min(100000, len(data) - len(got)), "body")
            pause.wait(0.1)
        assert wire.sha256(got) == wire.sha256(data)
        assert response.status == 200


def test_backend_head(one):
    closed = threading.Event()

    def handler(exchange):
        exchange.read_body()
        exchange.wait_closed()
        closed.set()
        exchange.close()

    daemon, _ = one(handler, timeouts={"backend_head": "500ms"})
    with daemon.client() as client:
        assert client.request("PUT", body=b"x").status == 504
    assert closed.wait(20)


def test_backend_head_begins_when_the_request_was_sent(one):
    """During a long upload the answer is not late."""
    daemon, _ = one(timeouts={"backend_head": "1s"})
    with daemon.client() as client:
        client.send(client.head("PUT", "/b/k", [("Content-Length", "30")]))
        pause = threading.Event()
        for _ in range(30):
            client.send(b"x")
            pause.wait(0.1)
        assert client.read_response().status == 200


def test_backend_head_is_not_cut_short_by_others(one):
    """Complete and Copy send nothing for minutes: only backend_head may end the wait."""
    pause = threading.Event()

    def handler(exchange):
        exchange.read_body()
        pause.wait(3)
        exchange.respond(200, [], b"late")

    short = {
        "client_head": "500ms",
        "client_idle": "500ms",
        "client_body": "500ms",
        "client_write": "500ms",
        "backend_body": "500ms",
        "connect": "500ms",
        "tunnel_idle": "500ms",
    }
    daemon, _ = one(handler, timeouts=short)
    with daemon.client() as client:
        assert client.request("POST", "/b/k?uploadId=x", body=b"<x/>").data == b"late"


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_backend_body(one, framing):
    def handler(exchange):
        exchange.read_body()
        field = b"Content-Length: 10" if framing == "length" else b"Transfer-Encoding: chunked"
        exchange.send(b"HTTP/1.1 200 OK\r\n" + field + b"\r\n\r\n3\r\nabc")
        exchange.wait_closed()
        exchange.close()

    daemon, _ = one(handler, timeouts={"backend_body": "500ms"})
    with daemon.client() as client:
        client.send(client.head("GET", "/b/k"))
        with pytest.raises(wire.Truncated):
            client.read_response()


def test_backend_body_measures_progress(one):
    pause = threading.Event()

    def handler(exchange):
        exchange.read_body()
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n")
        for _ in range(30):
            exchange.send(b"x")
            pause.wait(0.1)

    daemon, _ = one(handler, timeouts={"backend_body": "1s"})
    with daemon.client() as client:
        assert client.request().data == b"x" * 30


def test_connect(gate):
    hole = Blackhole()
    daemon = gate([hole.address], timeouts={"connect": "300ms"})
    with daemon.client() as client:
        assert client.request().status == 503
    hole.close()


def test_slow_backend_that_reads_nothing(one):
    """An upload to a backend that is full is not the client's fault: the backend's limit ends it.
    """
    go = threading.Event()

    def handler(exchange):
        exchange._body_read = True
        go.wait(30)
        exchange.close()

    daemon, _ = one(
        handler, timeouts={"backend_head": "500ms", "backend_body": "500ms", "client_body": "500ms"}
    )
    with daemon.client() as client:
        client.send(client.head("PUT", "/b/k", [("Content-Length", 64 * 1024 * 1024)]))
        sender = client.send_in_background(wire.payload(64 * 1024 * 1024))
        data, _ = client.read_until_close()
        assert not data or data[9:12] in (b"408", b"504", b"502")
        sender.join()
    go.set()
    wait_until(lambda: daemon.wait_log("/b/k")["error"] != "-")
