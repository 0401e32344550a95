"""Limits on heads and connections hold, and requests beyond them get a clear answer, not a hang."""

import threading

import pytest

from support import wire
from support.waiting import wait_until


def test_head_below_and_above_the_limit(one):
    daemon, backend = one(limits={"head": "32KiB"})
    with daemon.client() as client:
        assert client.request(fields=[("X-Long", "x" * 30000)]).status == 200
        assert client.request(target="/b/" + "x" * 30000).status == 200
    for fields in (
        [("X-Long", "x" * 33000)],
        [(f"X-{number}", "y" * 100) for number in range(400)],
    ):
        with daemon.client() as client:
            client.send_quietly(client.head("GET", "/b/k", fields))
            assert client.read_response().status == 431
            assert client.expect_close() == "eof"
    with daemon.client() as client:
        client.send_quietly(client.head("GET", "/b/" + "x" * 33000))
        assert client.read_response().status == 414
        assert client.expect_close() == "eof"
    assert len(backend.requests) == 2
    wait_until(lambda: len(daemon.log_lines()) == 5)
    refused = [
        (line["request_method"], line["request"], line["status"], line["error"])
        for line in daemon.log_lines()
        if line["status"] != 200
    ]
    too_large = "request head too large"
    assert sorted(refused) == sorted(
        [
            ("GET", "/b/k", 431, too_large),
            ("GET", "/b/k", 431, too_large),
            ("-", "-", 414, "request line too long"),
        ]
    )
    assert daemon.totals()["malformed requests refused"] == 3


def test_head_that_came_whole_and_is_too_large(one):
    """The limit may be smaller than one read."""
    daemon, backend = one(limits={"head": "4KiB"})
    with daemon.client() as client:
        client.send(client.head("PUT", "/b/whole", [("X-Long", "x" * 9000)]))
        assert client.read_response().status == 431
        assert client.expect_close() == "eof"
    line = daemon.wait_log("/b/whole")
    assert (line["request_method"], line["error"]) == ("PUT", "request head too large")
    assert not backend.requests
    assert daemon.totals()["malformed request refused"] == 1


def test_head_that_never_ends(one):
    daemon, backend = one(limits={"head": "32KiB"})
    with daemon.client() as client:
        sender = client.send_in_background(
            b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * (8 * 1024 * 1024)
        )
        assert client.read_response().status == 431
        client.close()
        sender.join()
    assert backend.connections == []


def test_limit_counts_one_head_not_the_pipeline(one):
    daemon, _ = one(limits={"head": "16KiB"})
    with daemon.client() as client:
        client.send_in_background(client.head("GET", "/b/k", [("X-Long", "x" * 10000)]) * 20)
        for _ in range(20):
            assert client.read_response().status == 200


def test_large_head_up_to_a_mebibyte(one):
    daemon, backend = one(limits={"head": "1MiB"})
    with daemon.client() as client:
        sender = client.send_in_background(client.head("GET", "/b/k", [("X-Long", "x" * 1000000)]))
        assert client.read_response().status == 200
        sender.join()
    assert len(backend.requests[0].header("x-long")) == 1000000


@pytest.mark.parametrize("where", ["site", "process"])
def test_connections(make_backend, gate, where):
    """Beyond the limit a client gets 503 SlowDown or is closed at once; clients within it are
    served; a closed connection makes room."""
    more = (
        {"limits": {"connections": 10}}
        if where == "site"
        else {"top": {"limits": {"connections": 10}}}
    )
    daemon = gate([make_backend()], **more)
    inside = []
    for _ in range(30):
        client = daemon.client()
        try:
            client.send(client.head())
            response = client.read_response()
        except (wire.Truncated, OSError):
            client.close()
            continue
        if response.status == 200:
            inside.append(client)
        else:
            assert response.status == 503
            assert b"<Code>SlowDown</Code>" in response.data
            client.close()
    assert 8 <= len(inside) <= 12, "10, give or take what several workers do at once"
    for client in inside:
        assert client.request().status == 200
        client.close()

    def room():
        try:
            with daemon.client() as client:
                return client.request().status == 200
        except (wire.Truncated, OSError):
            return False

    wait_until(room)


def test_many_connections_spread_over_the_workers(make_backend, gate):
    """Two hundred busy connections at once, on every worker; none waits for another."""
    gathered = threading.Event()

    def handler(exchange):
        exchange.read_body()
        exchange.wait(gathered)
        exchange.respond(200)

    backend = make_backend(handler)
    daemon = gate([backend], top={"workers": 4})
    clients = [daemon.client() for _ in range(200)]
    for number, client in enumerate(clients):
        client.send(client.head("GET", f"/b/{number}"))
    wait_until(lambda: len(backend.requests) == 200)
    gathered.set()
    for client in clients:
        assert client.read_response().status == 200
        client.close()
