"""Response bodies arrive complete, unchanged and in the backend's framing, at every size.

A close-delimited response becomes chunked for an HTTP/1.1 client, so that a cut differs from the
end.
"""

import re

import pytest

from support import wire
from support.tracing import needs_strace, traced
from test_body_upload import SIZES


def serve(framing):
    def handler(exchange):
        exchange.read_body()
        size = int(exchange.request.target.rpartition("-")[2])
        data = wire.payload(size, size)
        if framing == "length":
            exchange.respond(200, [], data)
        elif framing == "chunked":
            exchange.send(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                + wire.chunked(data, 100003)
            )
        else:
            exchange.send(b"HTTP/1.1 200 OK\r\n\r\n" + data)
            exchange.close()

    return handler


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_sizes(one, framing):
    daemon, _ = one(serve(framing))
    with daemon.client() as client:
        for size in SIZES:
            response = client.request(target=f"/b/get-{size}")
            assert response.framing == ("length" if framing == "length" else "chunked")
            assert response.body.length == size
            assert response.body.sha256 == wire.sha256(wire.payload(size, size))
            assert not response.closes


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_64_mib(one, framing):
    daemon, _ = one(serve(framing))
    size = 64 * 1024 * 1024
    with daemon.client() as client:
        response = client.request(target=f"/b/get-{size}")
        assert response.body.length == size
        assert response.body.sha256 == wire.sha256(wire.payload(size, size))


def test_without_pipes(make_backend, gate):
    backend = make_backend(serve("length"))
    daemon = gate([backend], top={"limits": {"pipes": 1}})
    size = 3 * 1024 * 1024 + 1
    clients = [daemon.client() for _ in range(4)]
    for client in clients:
        client.send(client.head("GET", f"/b/get-{size}"))
    for client in clients:
        assert client.read_response().body.sha256 == wire.sha256(wire.payload(size, size))


@needs_strace
def test_of_long_bodies_in_a_row_less_is_copied(one, tmp_path):
    """One read takes a head and a body of up to 16 KiB. After a GET with a long answer the next one
    is probably long too, so the first read is smaller: a copy costs more than a read."""
    daemon, _ = one(serve("length"))
    plain, short = 16 * 1024, 8 * 1024
    # The target, and the size of the first read of its answer.
    steps = [
        ("GET", 1000, plain),
        ("GET", 100_000, plain),
        ("GET", 100_000, short),
        ("HEAD", 1000, short),
        ("PUT", 1000, short),
        ("GET", 1000, short),
        ("GET", 40 * 1024 - 1, plain),
        ("GET", 40 * 1024, plain),
        ("GET", 10_000, short),
    ]
    trace = tmp_path / "trace"
    with daemon.client() as client:
        with traced(daemon, trace, "-s", "16", "-e", "trace=recvfrom"):
            for method, size, _ in steps:
                response = client.request(method, f"/b/get-{size}")
                if method != "HEAD":
                    assert response.body.sha256 == wire.sha256(wire.payload(size, size))
    asked = [
        int(size)
        for size in re.findall(r'recvfrom\(\d+, "HTTP/1\.1 200 .*"\.*, (\d+), ', trace.read_text())
    ]
    assert asked == [first for _, _, first in steps]


def test_chunk_boundaries_at_every_split(one):
    coded = b"3\r\nabc\r\nA ;name=\"v\"\r\n0123456789\r\n00000001\r\n!\r\n0\r\n\r\n".replace(
        b"A ", b"A"
    )

    def handler(exchange):
        exchange.read_body()
        at = int(exchange.request.target.rpartition("-")[2])
        exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + coded[:at])
        wire.sleep_briefly()
        exchange.send(coded[at:])

    daemon, backend = one(handler)
    with daemon.client() as client:
        for at in range(1, len(coded)):
            assert client.request(target=f"/b/split-{at}").data == b"abc0123456789!"
    assert len(backend.data_connections) == 1


def test_head_and_body_at_every_split(one):
    whole = b"HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 5\r\n\r\nhello"

    def handler(exchange):
        exchange.read_body()
        at = int(exchange.request.target.rpartition("-")[2])
        exchange.send(whole[:at])
        wire.sleep_briefly()
        exchange.send(whole[at:])

    daemon, _ = one(handler)
    with daemon.client() as client:
        for at in range(1, len(whole)):
            response = client.request(target=f"/b/split-{at}")
            assert (response.data, response.header("x-a")) == (b"hello", "b")


def test_each_piece_is_passed_on_at_once(one):
    """Event streams and keep-alive spaces: each byte must reach the client before the next one is
    written."""
    release = []

    def handler(exchange):
        exchange.read_body()
        exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for event in release:
            exchange.send(b"1\r\n \r\n")
            exchange.wait(event)
        exchange.send(b"0\r\n\r\n")

    import threading  # pylint: disable=import-outside-toplevel

    release += [threading.Event() for _ in range(5)]
    daemon, _ = one(handler)
    with daemon.client() as client:
        client.send(client.head("GET", "/b/listen"))
        response = client.begin_response()
        for event in release:
            assert client.reader.exactly(6, "chunk") == b"1\r\n \r\n"
            event.set()
        assert client.finish_response(response).body.length == 0


def test_length_piece_is_passed_on_at_once(one):
    """The same for a large Content-Length, where splice and MSG_MORE could hold bytes back."""
    import threading  # pylint: disable=import-outside-toplevel

    go = threading.Event()

    def handler(exchange):
        exchange.read_body()
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        exchange.send(b"x")
        exchange.wait(go)
        exchange.send(b"y" * 999999)

    daemon, _ = one(handler)
    with daemon.client() as client:
        client.send(client.head("GET", "/b/slow"))
        response = client.begin_response()
        assert client.reader.exactly(1, "first byte") == b"x"
        go.set()
        assert client.reader.exactly(999999, "rest") == b"y" * 999999
        assert response.length == 1000000
