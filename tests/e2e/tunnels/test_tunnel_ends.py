"""Begin and end of tunnels: a tunnel begins only with a 101 that accepts the offer, and a cut one
never looks complete.

A 101 for another protocol opens a byte channel past every rule. A stop that waits for WebSockets,
or counts their cut as a failure, makes every restart an incident.
"""

import threading

import pytest

from support import wire
from support.waiting import DEADLINE, wait_until

CONSOLE = {"type": "http", "balance": {"method": "least_conn"}, "upgrade": True}
OFFER = [("Connection", "Upgrade"), ("Upgrade", "websocket")]
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


def echo(exchange):
    exchange._body_read = True
    exchange.send(SWITCH)
    reader = exchange.reader
    while reader.buffer or reader.fill(timeout=2 * DEADLINE):
        exchange.send(reader.take(len(reader.buffer)))
    exchange.close()


def opened(daemon, path="/ws"):
    client = daemon.client()
    client.send(client.head("GET", path, OFFER))
    assert client.read_head().status == 101
    return client


@pytest.mark.parametrize(
    "answer",
    [
        b"Upgrade: h2c\r\nConnection: Upgrade\r\n",
        b"Upgrade: websocket, h2c\r\nConnection: Upgrade\r\n",
        b"Upgrade: chat\r\nConnection: Upgrade\r\n",
        b"Connection: Upgrade\r\n",
        b"Upgrade: websocket\r\n",
    ],
)
def test_101_that_accepts_nothing_offered(one, answer):
    def handler(exchange):
        exchange._body_read = True
        exchange.send(b"HTTP/1.1 101 Switching Protocols\r\n" + answer + b"\r\nsecret")
        exchange.wait_closed()

    daemon, _ = one(handler, passive="off", **CONSOLE)
    with daemon.client() as client:
        client.send(client.head("GET", "/ws", OFFER))
        response = client.read_response()
        assert response.status == 502
        assert b"secret" not in response.data
    assert daemon.wait_log("/ws")["error"] == "unrequested 101"


@pytest.mark.parametrize("offer", ["h2c", "websocket, h2c", "HTTP/2.0", "TLS/1.0, HTTP/1.1"])
def test_offer_of_http_again_is_dropped(one, offer):
    daemon, backend = one(**CONSOLE)
    with daemon.client() as client:
        assert client.request(fields=[("Connection", "Upgrade"), ("Upgrade", offer)]).status == 200
    assert backend.requests[0].values("upgrade") == []
    assert backend.requests[0].values("connection") == []


def test_idle_tunnel_is_reset_and_named(one):
    daemon, _ = one(echo, timeouts={"tunnel_idle": "1s"}, **CONSOLE)
    with opened(daemon) as client:
        client.send(b"word")
        assert client.reader.exactly(4, "tunnel") == b"word"
        assert client.expect_close() == "reset"
    assert daemon.wait_log("/ws")["error"] == "tunnel idle timeout"


def test_long_bytes_both_ways_at_once(one):
    """Spliced and copied bytes arrive unchanged, alternately and together."""
    daemon, _ = one(echo, **CONSOLE)
    sizes = (1, 32 * 1024 - 1, 5 * 1024 * 1024, 3, 1024 * 1024 + 1)
    with opened(daemon) as client:
        for size in sizes:
            data = wire.payload(size)
            sender = client.send_in_background(data)
            assert wire.sha256(client.reader.exactly(size, "tunnel")) == wire.sha256(data)
            sender.join()
    line = daemon.wait_log("/ws")
    assert line["bytes_in"] == line["size"] == sum(sizes)


def test_drain_serves_tunnels_until_shutdown_timeout(one):
    daemon, _ = one(echo, top={"shutdown_timeout": "2s"}, **CONSOLE)
    with opened(daemon, "/ws/1") as first, opened(daemon, "/ws/2") as second:
        daemon.process.terminate()
        daemon.wait_stderr("draining")
        first.send(b"still here")
        assert first.reader.exactly(10, "tunnel") == b"still here"
        assert first.expect_close() == "reset"
        assert second.expect_close() == "reset"
        # Only endless tunnels were cut.
        assert daemon.wait_exit(DEADLINE) == 0
    assert "2 tunnels were still open at the end of the drain and cut" in daemon.stderr
    for path in ("/ws/1", "/ws/2"):
        line = daemon.wait_log(path)
        assert (line["status"], line["error"]) == (101, "tunnel cut at shutdown")


def test_drain_ends_with_the_last_tunnel(one):
    daemon, _ = one(echo, top={"shutdown_timeout": "10m"}, **CONSOLE)
    with opened(daemon) as client:
        daemon.process.terminate()
        daemon.wait_stderr("draining")
        client.half_close()
        assert client.expect_close() == "eof"
    assert daemon.wait_exit(DEADLINE) == 0
    assert "cut" not in daemon.stderr


def test_backend_reset_reaches_the_client(one):
    reset = threading.Event()

    def handler(exchange):
        exchange._body_read = True
        exchange.send(SWITCH)
        reset.wait(2 * DEADLINE)
        exchange.reset()

    daemon, _ = one(handler, **CONSOLE)
    before = daemon.sockets
    with opened(daemon) as client:
        reset.set()
        assert client.expect_close() == "reset"
    assert daemon.wait_log("/ws")["error"] == "backend closed tunnel"
    wait_until(lambda: daemon.sockets <= before, what="both sockets closed")
