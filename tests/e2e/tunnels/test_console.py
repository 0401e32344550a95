"""Plain sites (the console): least connections, and WebSockets as byte tunnels.

An upgrade that loses the bytes sent with it, or a tunnel cut by a request timeout, breaks the
console's live views.
"""

import threading

import pytest

from support import wire
from support.waiting import wait_until

CONSOLE = {"name": "console", "type": "http", "balance": {"method": "least_conn"}, "upgrade": True}
UPGRADE = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Protocol", "a, b"),
    ("Origin", "http://bucket.example:9000"),
    ("Cookie", "token=t"),
]
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


def echo(exchange):
    """101 with bytes directly after it, then echoes until the peer ends."""
    exchange._body_read = True
    exchange.send(SWITCH + b"glued-back")
    reader = exchange.reader
    while reader.buffer or reader.fill(timeout=30):
        exchange.send(reader.take(len(reader.buffer)))
    if reader.ended == "eof":
        exchange.send(b"goodbye")
    exchange.close()


def test_echo_with_bytes_glued_both_ways(one):
    daemon, backend = one(echo, **CONSOLE)
    with daemon.client() as client:
        client.send(client.head("GET", "/ws/objectManager", UPGRADE) + b"glued-forth")
        answer = client.read_head()
        assert answer.status == 101
        assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer.raw_head
        assert [value.lower() for value in answer.values("connection")] == ["upgrade"]
        assert answer.values("upgrade") == ["websocket"]
        assert client.reader.exactly(21, "tunnel") == b"glued-backglued-forth"
        data = wire.payload(3 * 1024 * 1024)
        sender = client.send_in_background(data)
        assert wire.sha256(client.reader.exactly(len(data), "tunnel")) == wire.sha256(data)
        sender.join()
        client.half_close()
        assert client.reader.exactly(7, "after the half-close") == b"goodbye"
        assert client.expect_close() == "eof"
    request = backend.requests[0]
    for name, value in UPGRADE[1:]:
        assert request.header(name) == value
    assert request.header("connection").lower() == "upgrade"
    line = daemon.wait_log("/ws/objectManager")
    assert line["status"] == 101
    assert line["op"] == "-"


def test_backend_ends_the_tunnel(one):
    def handler(exchange):
        exchange._body_read = True
        exchange.send(SWITCH + b"last words")
        exchange.close()

    daemon, _ = one(handler, **CONSOLE)
    with daemon.client() as client:
        client.send(client.head("GET", "/ws", UPGRADE))
        assert client.read_head().status == 101
        assert client.reader.exactly(10, "tunnel") == b"last words"
        client.expect_close()


def test_client_that_vanishes_ends_the_tunnel(one):
    ended = threading.Event()

    def handler(exchange):
        exchange._body_read = True
        exchange.send(SWITCH)
        exchange.wait_closed()
        ended.set()
        exchange.close()

    daemon, _ = one(handler, **CONSOLE)
    client = daemon.client()
    client.send(client.head("GET", "/ws", UPGRADE))
    client.read_head()
    client.reset()
    assert ended.wait(20)


def test_tunnel_outlives_request_timeouts_but_not_its_own(one):
    short = {
        name: "400ms"
        for name in (
            "client_head",
            "client_idle",
            "client_body",
            "client_write",
            "backend_head",
            "backend_body",
        )
    }
    daemon, _ = one(echo, timeouts={**short, "tunnel_idle": "3s"}, **CONSOLE)
    with daemon.client() as client:
        client.send(client.head("GET", "/ws", UPGRADE))
        client.read_head()
        assert client.reader.exactly(10, "tunnel") == b"glued-back"
        pause = threading.Event()
        for _ in range(3):
            pause.wait(1.5)
            client.send(b"ping")
            assert client.reader.exactly(4, "tunnel") == b"ping"
        data, _ = client.read_until_close()
        assert data in (b"", b"goodbye")


def test_upgrade_that_the_backend_declines(one):
    def handler(exchange):
        exchange.read_body()
        exchange.respond(400, [], b"no", "Bad Request")

    daemon, _ = one(handler, **CONSOLE)
    with daemon.client() as client:
        client.send(client.head("GET", "/ws", UPGRADE))
        response = client.read_response()
        assert (response.status, response.data) == (400, b"no")
        if not response.closes:
            assert client.request().status == 400


def test_101_nobody_asked_for(one):
    def handler(exchange):
        exchange._body_read = True
        exchange.send(SWITCH + b"tunnel")
        exchange.wait_closed()

    daemon, _ = one(handler, passive="off", **CONSOLE)
    with daemon.client() as client:
        assert client.request("POST", "/ws", body=b"").status == 502


@pytest.mark.parametrize(
    "fields",
    [
        [
            ("Connection", "Upgrade, HTTP2-Settings"),
            ("Upgrade", "h2c"),
            ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
        ],
        [("Connection", "upgrade"), ("Upgrade", "H2C")],
        [("Connection", "upgrade"), ("Upgrade", "websocket, h2c")],
        [("Connection", "upgrade"), ("Upgrade", "h2c , websocket")],
        [("Connection", "upgrade"), ("Upgrade", "websocket"), ("Upgrade", "h2c")],
        [("Connection", "upgrade"), ("Upgrade", "h2/1")],
        [("Upgrade", "websocket")],
        [("Connection", "Upgrade")],
    ],
)
def test_offers_that_are_dropped(one, fields):
    """h2c and incomplete offers are served as plain HTTP/1.1."""
    daemon, backend = one(**CONSOLE)
    with daemon.client() as client:
        for _ in range(2):
            assert client.request(fields=fields).status == 200
    for request in backend.requests:
        assert request.values("upgrade") == []
        assert request.values("http2-settings") == []
        assert "upgrade" not in (request.header("connection") or "").lower()


def test_s3_site_drops_the_offer(one):
    daemon, backend = one()
    with daemon.client() as client:
        assert client.request(fields=UPGRADE).status == 200
    assert backend.requests[0].values("upgrade") == []


def test_upgrade_of_a_request_with_a_body_stays_unambiguous(one):
    """Bytes after the head belong to its body first, never to the tunnel."""

    def handler(exchange):
        exchange.read_body()
        exchange.respond(200, [], exchange.request.body.data)

    daemon, _ = one(handler, **CONSOLE)
    with daemon.client() as client:
        client.send(client.head("POST", "/ws", UPGRADE + [("Content-Length", "5")]) + b"hello")
        response = client.read_response()
        assert (response.status, response.data) in ((200, b"hello"), (400, response.data))


def test_host_stays_the_browsers(one):
    daemon, backend = one(**CONSOLE)
    with daemon.client() as client:
        client.request(host="Console.Example:9001")
    assert backend.requests[0].header("host") == "Console.Example:9001"


def test_least_connections(make_backend, gate):
    """Open WebSockets count: six tunnels over three backends are two each, and new requests go to
    the emptier ones."""
    backends = [make_backend(echo) for _ in range(3)]
    daemon = gate(backends, **CONSOLE)
    clients = []
    for number in range(6):
        client = daemon.client()
        client.send(client.head("GET", f"/ws/{number}", UPGRADE))
        assert client.read_head().status == 101
        clients.append(client)
    assert [len(backend.requests) for backend in backends] == [2, 2, 2]
    # Both tunnels of one backend end: the next two go there.
    for client, index in zip(clients, range(6)):
        if any(f"/ws/{index}" == request.target for request in backends[1].requests):
            client.close()
    wait_until(lambda: not backends[1].open_connections)
    daemon.wait_log("/ws/", 2)
    for number in range(6, 8):
        client = daemon.client()
        client.send(client.head("GET", f"/ws/{number}", UPGRADE))
        assert client.read_head().status == 101
        clients.append(client)
    assert [len(backend.requests) for backend in backends] == [2, 4, 2]
    for client in clients:
        client.close()


def test_least_connections_with_weights(make_backend, gate):
    backends = [make_backend(echo) for _ in range(2)]
    daemon = gate([{"address": backends[0].address, "weight": 3}, backends[1].address], **CONSOLE)
    clients = []
    for number in range(8):
        client = daemon.client()
        client.send(client.head("GET", f"/ws/{number}", UPGRADE))
        assert client.read_head().status == 101
        clients.append(client)
    assert [len(backend.requests) for backend in backends] == [6, 2]
    for client in clients:
        client.close()


def test_idle_spread_is_even(make_backend, gate):
    """Without requests in flight ties alternate: no backend is preferred."""
    backends = [make_backend() for _ in range(3)]
    daemon = gate(backends, **{**CONSOLE, "upgrade": False}, top={"workers": 1})
    with daemon.client() as client:
        for _ in range(30):
            client.request()
    assert [len(backend.requests) for backend in backends] == [10, 10, 10]


def test_headers_set(make_backend, gate):
    backend = make_backend()
    daemon = gate([backend], **CONSOLE, headers={"set": {"X-Console": "yes"}})
    with daemon.client() as client:
        client.request(fields=[("x-console", "no")])
    assert backend.requests[0].values("x-console") == ["yes"]
