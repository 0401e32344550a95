"""Only a silent parked connection is used again, and the daemon closes it before the backend would.

Late bytes on a parked connection would become the answer to another request.
"""

import threading
import time

from support import wire
from support.waiting import wait_until


# The reuse of a connection must not depend on the client's worker.
ONE = {"workers": 1}


def test_bytes_on_an_idle_connection_are_never_an_answer(one):
    poisoned = []

    def handler(exchange):
        exchange.read_body()
        exchange.respond(200, [], b"good")
        if exchange.request.target == "/b/poison":
            wire.sleep_briefly()
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
            poisoned.append((exchange.connection, exchange.connection.requests))

    daemon, _ = one(handler, top=ONE)
    with daemon.client() as client:
        for number in range(5):
            assert client.request(target="/b/poison").data == b"good"
            wait_until(lambda wanted=number: len(poisoned) == wanted + 1)
            wire.sleep_briefly()
            assert client.request(target="/b/next").data == b"good"
    for connection, requests in poisoned:
        assert connection.requests == requests, "used again after it spoke unasked"


def test_bytes_glued_behind_a_response_spoil_the_connection(one):
    def handler(exchange):
        exchange.read_body()
        exchange.send(
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
        )
        exchange.wait_closed()

    daemon, backend = one(handler, top=ONE)
    with daemon.client() as client:
        for _ in range(3):
            client.send(client.head())
            try:
                assert client.read_response().data == b"good"
            except wire.Truncated:
                break
    assert all(connection.requests == 1 for connection in backend.data_connections)


def test_bytes_behind_the_last_chunk_spoil_the_connection(one):
    def handler(exchange):
        exchange.read_body()
        exchange.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n0\r\n\r\n"
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
        )
        exchange.wait_closed()

    daemon, backend = one(handler, top=ONE)
    with daemon.client() as client:
        for _ in range(3):
            client.send(client.head())
            assert client.read_response().data == b"good"
    assert all(connection.requests == 1 for connection in backend.data_connections)


def test_connection_closed_while_parked_is_replaced(one):
    """The backend closes between two requests; neither a GET nor a PUT may fail because of it."""

    def handler(exchange):
        exchange.read_body()
        exchange.respond(200, [], b"ok")
        wire.sleep_briefly()
        exchange.close()

    daemon, backend = one(handler, top=ONE)
    with daemon.client() as client:
        for number in range(6):
            method = ("GET", "PUT")[number % 2]
            assert (
                client.request(
                    method, f"/b/{number}", body=b"x" if method == "PUT" else None
                ).status
                == 200
            )
            wait_until(lambda: not backend.open_connections)
            wire.sleep_briefly()
    assert len(backend.requests) == 6


def test_parked_connection_ends_after_idle_timeout(one):
    """MinIO closes after 30 s, and the side that closes second may lose a request. So the daemon
    closes first, without other traffic."""
    daemon, backend = one(backends={"idle_timeout": "300ms"}, top=ONE)
    with daemon.client() as client:
        assert client.request().status == 200
        wait_until(lambda: not backend.open_connections)
        assert backend.connections[0].ended == "eof"
        assert client.request().status == 200


def test_writes_prefer_a_fresh_connection(one):
    """Five seconds after its last use a parked connection serves reads, but no write that could not
    be repeated."""
    daemon, backend = one(backends={"idle_timeout": "60s"}, top=ONE)
    with daemon.client() as client:
        assert client.request(target="/b/park").status == 200
        assert client.request("PUT", "/b/soon", body=b"x").status == 200
        # The test is about a connection's age, so time must pass.
        time.sleep(6)
        assert client.request("PUT", "/b/late", body=b"x").status == 200
        number = {request.target: request.connection.number for request in backend.requests}
    assert number["/b/soon"] == number["/b/park"]
    assert number["/b/late"] != number["/b/park"]


def test_keepalive_bounds_the_parked(one):
    """Two connections stay parked per backend and worker, however many were in use at once."""
    gathered = threading.Barrier(8)

    def handler(exchange):
        exchange.read_body()
        gathered.wait(20)
        exchange.respond(200)

    daemon, backend = one(handler, backends={"keepalive": 2})
    clients = [daemon.client() for _ in range(8)]
    for client in clients:
        client.send(client.head())
    for client in clients:
        assert client.read_response().status == 200
    assert len(backend.data_connections) == 8
    wait_until(lambda: len(backend.open_connections) <= 4, what="at most 2 for each of 2 workers")


def test_keepalive_zero_never_parks(one):
    daemon, backend = one(backends={"keepalive": 0}, top=ONE)
    with daemon.client() as client:
        for _ in range(3):
            assert client.request().status == 200
    wait_until(lambda: not backend.open_connections)
    assert len(backend.data_connections) == 3


def test_connection_with_a_rest_of_request_is_not_reused(one):
    """The backend answered before it had the whole body; it would read the rest as the next
    request."""

    def handler(exchange):
        if exchange.request.target == "/b/early":
            exchange._body_read = True
            exchange.respond(200, [], b"early")
            exchange.wait_closed()
        else:
            exchange.read_body()
            exchange.respond(200)

    daemon, backend = one(handler, top=ONE)
    with daemon.client() as client:
        client.send(client.head("PUT", "/b/early", [("Content-Length", "100000")]) + b"x" * 1000)
        assert client.read_response().data == b"early"
    with daemon.client() as client:
        assert client.request(target="/b/next").status == 200
    early, following = backend.find("/b/early")[0], backend.find("/b/next")[0]
    assert early.connection is not following.connection
