"""Row 4: a reused connection that dies without a response byte costs a read nothing and repeats no
write.

Backends close idle connections at any time; that race must neither cause errors (haproxy#1236) nor
repeat a write.
"""

import threading

import pytest


class Racing:
    """Serves one request per connection and resets it when the next one arrives."""

    def __init__(self):
        self.lock = threading.Lock()

    def __call__(self, exchange):
        exchange.read_body()
        if exchange.connection.requests > 1:
            exchange.reset()
        else:
            exchange.respond(200, [], b"ok")


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_reads_are_repeated_on_a_fresh_connection(one, method):
    daemon, backend = one(
        Racing(), retry={"max_tries": 1}, passive={"max_fails": 1, "fail_timeout": "60s"}
    )
    with daemon.client() as client:
        for number in range(6):
            assert client.request(method, f"/b/{number}").status == 200
    # The first request found no parked connection; each later one cost one dead attempt and one
    # good one.
    assert backend.count("/b/0") == 1
    assert all(backend.count(f"/b/{number}") <= 2 for number in range(6))


def test_free_of_charge_then_row_7(make_backend, gate):
    """The repetition on the same backend does not use up the one further backend."""

    def handler(exchange):
        exchange.read_body()
        if exchange.request.target.startswith("/b/warm"):
            exchange.respond(200, [], exchange.backend.name.encode())
        elif exchange.backend.name == home[0]:
            exchange.reset()
        else:
            exchange.respond(200, [], exchange.backend.name.encode())

    home = [""]
    backends = [make_backend(handler) for _ in range(3)]
    daemon = gate(backends, passive="off")
    with daemon.client() as client:
        home[0] = client.request(target="/b/warm?sessionid=x").data.decode()
        response = client.request(target="/b/test?sessionid=x")
        assert response.status == 200
        assert response.data.decode() != home[0]
    by_name = {backend.name: backend for backend in backends}
    assert by_name[home[0]].count("/b/test") == 2
    assert sum(backend.count("/b/test") for backend in backends) == 3


@pytest.mark.parametrize(
    "method,body", [("PUT", b"x"), ("POST", b"x"), ("DELETE", None), ("PUT", b"")]
)
def test_writes_are_not_repeated(one, method, body):
    """The backend read the request and then died: the write may have been executed."""
    daemon, backend = one(Racing(), passive="off")
    with daemon.client() as client:
        assert client.request("GET", "/b/warm").status == 200
        response = client.request(method, "/b/write", body=body)
        assert response.status in (200, 502)
    assert backend.count("/b/write") == 1


@pytest.mark.parametrize("warm", [True, False], ids=["reused", "fresh"])
def test_read_with_a_body_that_was_sent(one, warm):
    """It cannot be repeated and a backend has read it: 502, for any kind of connection."""

    def handler(exchange):
        exchange.read_body()
        if exchange.request.target == "/b/warm":
            exchange.respond(200, [], b"ok")
        else:
            exchange.reset()

    daemon, backend = one(handler, passive="off", top={"workers": 1})
    with daemon.client() as client:
        if warm:
            assert client.request("GET", "/b/warm").status == 200
        assert client.request("GET", "/b/read", body=b"abc").status == 502
    assert backend.count("/b/read") == 1
