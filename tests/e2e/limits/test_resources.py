"""Memory stays bounded with any slow peer, and descriptors are returned.

A proxy that buffers what one side cannot take fails at the first large object with a slow client.
"""

import threading

import pytest

from support import wire
from support.waiting import wait_until

LARGE = 96 * 1024 * 1024
BOUND = 24 * 1024 * 1024


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_slow_reader(one, framing):
    """The backend offers 96 MiB, the client reads nothing: the daemon's memory stays far below."""
    stuck = threading.Event()

    def handler(exchange):
        exchange.read_body()
        head = (
            b"Content-Length: %d" % LARGE if framing == "length" else b"Transfer-Encoding: chunked"
        )
        exchange.send(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n")
        piece = wire.payload(1024 * 1024)
        data = piece if framing == "length" else b"100000\r\n" + piece + b"\r\n"
        exchange.sock.settimeout(1)
        try:
            for _ in range(96):
                exchange.sock.sendall(data)
        except OSError:
            stuck.set()
        exchange.close()

    daemon, _ = one(handler)
    before = daemon.resident
    clients = [daemon.client(rcvbuf=65536) for _ in range(2)]
    for client in clients:
        client.send(client.head())
    assert stuck.wait(30), "the backend was never slowed down: everything was buffered"
    if not daemon.is_sanitized:
        assert daemon.resident - before < BOUND
    for client in clients:
        client.close()


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_slow_backend(one, framing):
    release = threading.Event()

    def handler(exchange):
        exchange._body_read = True
        release.wait(30)
        exchange.close()

    daemon, backend = one(handler)
    before = daemon.resident
    with daemon.client() as client:
        field = (
            ("Content-Length", LARGE) if framing == "length" else ("Transfer-Encoding", "chunked")
        )
        client.send(client.head("PUT", "/b/k", [field]))
        backend.wait_request()
        piece = wire.payload(1024 * 1024)
        data = piece if framing == "length" else b"100000\r\n" + piece + b"\r\n"
        client.sock.settimeout(1)
        sent = 0
        try:
            for _ in range(96):
                client.sock.sendall(data)
                sent += 1
        except OSError:
            pass
        assert sent < 60, "the client was never slowed down: everything was buffered"
        if not daemon.is_sanitized:
            assert daemon.resident - before < BOUND
    release.set()


def test_large_transfers_leave_memory_flat(one):
    data = wire.payload(LARGE)

    def handler(exchange):
        exchange.read_body()
        exchange.respond(200, [], data if exchange.request.method == "GET" else b"")

    daemon, _ = one(handler)
    with daemon.client() as client:
        client.request("PUT", body=data[:1000000])
        before = daemon.resident
        for _ in range(3):
            assert client.request().body.length == LARGE
            client.send(client.head("PUT", "/b/k", [("Content-Length", LARGE)]))
            sender = client.send_in_background(data)
            assert client.read_response().status == 200
            sender.join()
        if not daemon.is_sanitized:
            assert daemon.resident - before < BOUND


def test_descriptors_return(one):
    """After a crowd of good, bad and vanished clients only listeners, loops and parked connections
    remain."""

    def handler(exchange):
        if "die" in exchange.request.target:
            exchange._body_read = True
            exchange.reset()
            return
        exchange.read_body()
        exchange.respond(200, [], b"x" * 300000)

    daemon, _ = one(handler, backends={"keepalive": 0}, passive="off")
    before = daemon.sockets

    def crowd():
        for number in range(120):
            visit(number)

    def visit(number):
        client = daemon.client()
        kind = number % 6
        if kind == 0:
            client.request()
        elif kind == 1:
            client.send(client.head())
        elif kind == 2:
            client.send(b"GARBAGE\r\n\r\n")
        elif kind == 3:
            client.send(client.head("PUT", "/b/k", [("Content-Length", "100000")]) + b"x" * 100)
        elif kind == 4:
            client.send(client.head("GET", "/b/die"))
            client.read_response()
        else:
            client.send(b"GET /")
        if number % 2:
            client.reset()
        else:
            client.close()

    crowd()
    wait_until(lambda: daemon.sockets <= before, what=f"sockets back to {before}")
    # Pipes are kept for the next transfer; a second crowd needs no more of them.
    pooled = daemon.descriptors
    crowd()
    wait_until(lambda: daemon.descriptors <= pooled + 8, what=f"descriptors back to {pooled}")


def test_descriptor_exhaustion(make_backend, gate):
    """With too few descriptors the daemon neither dies nor spins, and serves again when some are
    free."""
    backend = make_backend()
    daemon = gate([backend], daemon={"nofile": 64}, top={"limits": {"connections": 1000}})
    clients = []
    for _ in range(150):
        try:
            clients.append(daemon.client(timeout=5))
        except OSError:
            break
    assert len(clients) > 64, "the kernel's queue takes more than the process can"
    wait_until(lambda: daemon.descriptors >= 40)
    before = daemon.cpu_seconds
    threading.Event().wait(1.5)
    spent = daemon.cpu_seconds - before
    assert daemon.process.poll() is None
    if not daemon.is_sanitized:
        assert spent < 0.75, f"{spent} s of CPU while nothing can be done: it spins"
    # Clients in the kernel's queue are served as soon as there is room: no further connect must
    # wake the listener.
    last = clients.pop()
    last.send(last.head())
    for client in clients:
        client.close()
    assert last.read_response().status == 200
    last.close()

    def served():
        try:
            with daemon.client() as client:
                return client.request().status == 200
        except (wire.Truncated, OSError):
            return False

    wait_until(served)


def test_idle_daemon_uses_no_cpu(one):
    daemon, _ = one()
    with daemon.client() as client:
        client.request()
        before = daemon.cpu_seconds
        threading.Event().wait(2)
        if not daemon.is_sanitized:
            assert daemon.cpu_seconds - before < 0.2
