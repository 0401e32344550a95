"""A message whose body came separately from its head leaves a reusable connection.

A connection that still seemed readable was closed instead of parked (one connect per download), and
on the client's side the wait for the next request was taken for a slow request.
"""

import threading

import pytest

from support import wire

# The reuse of a connection must not depend on the client's worker.
ONE = {"workers": 1}
KIB = 1024


@pytest.mark.parametrize("size", [1, 64 * KIB, 256 * KIB, 1024 * KIB, 8192 * KIB])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_backend_connection_after_downloads(one, size, chunked):
    data = wire.payload(size)
    begun = threading.Event()

    def handler(exchange):
        exchange.read_body()
        framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % size
        exchange.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
        # The client has the head before the first byte of the body exists.
        exchange.wait(begun)
        exchange.send(wire.chunked(data) if chunked else data)

    daemon, backend = one(handler, top=ONE)
    with daemon.client() as client:
        for number in range(6):
            begun.clear()
            client.send(client.head("GET", f"/b/{number}"))
            response = client.begin_response()
            begun.set()
            client.finish_response(response)
            assert response.body.length == size
            assert not response.closes
    assert len(backend.data_connections) == 1


@pytest.mark.parametrize("size", [5, 64 * KIB, 1024 * KIB, 8192 * KIB])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_connections_after_uploads(one, size, chunked):
    data = wire.payload(size)
    daemon, backend = one(top=ONE)
    field = ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", size)
    with daemon.client() as client:
        for number in range(6):
            client.send(client.head("PUT", f"/b/put-{number}", [field]))
            backend.wait_request(f"/b/put-{number}")
            client.send(wire.chunked(data) if chunked else data)
            assert client.read_response().status == 200
    assert len(backend.data_connections) == 1
    assert {request.body.sha256 for request in backend.requests} == {wire.sha256(data)}


@pytest.mark.parametrize("size", [5, 64 * KIB, 256 * KIB, 1024 * KIB, 8192 * KIB])
def test_client_waits_by_client_idle_after_an_upload(one, size):
    """client_head applies to a request that has begun, and to a new connection without one."""
    data = wire.payload(size)
    daemon, backend = one(top=ONE, timeouts={"client_head": "500ms", "client_idle": "60s"})
    with daemon.client() as client:
        client.send(client.head("PUT", "/b/k", [("Content-Length", size)]))
        backend.wait_request("/b/k")
        client.send(data)
        assert client.read_response().status == 200
        # Newer silent connections: when client_head has ended them, it would have ended the first
        # one as well.
        for _ in range(2):
            with daemon.client() as fresh:
                _, how = fresh.read_until_close()
                assert how == "eof"
        assert not client.has_input()
        assert client.request(target="/b/next").status == 200
