"""A cluster whose nodes all answer 503 is not overloaded, and clients do not notice one such node
among six.

Without tokens, while few are in flight, every request of a sick cluster would be repeated up to
max_tries: three times the load at the worst moment. If tokens were not returned, one sick node
would use them up and its 503s would reach the clients.
"""

import threading

import pytest

from support.waiting import wait_until


def storm(daemon, number, concurrency, method="GET", fields=(), mark="/b"):
    """`number` requests on `concurrency` kept connections: {status: count}."""
    counts, lock, numbers = {}, threading.Lock(), iter(range(number))

    def run():
        client = daemon.client()
        while True:
            with lock:
                mine = next(numbers, None)
            if mine is None:
                client.close()
                return
            body = b"x" if method == "PUT" else None
            response = client.request(method, f"{mark}/{mine}", fields, body)
            with lock:
                counts[response.status] = counts.get(response.status, 0) + 1
            if response.closes:
                client.close()
                client = daemon.client()

    threads = [threading.Thread(target=run, daemon=True) for _ in range(concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    return counts


def refuse(exchange):
    exchange.read_body()
    exchange.respond(503, [], b"<Error><Code>ServiceUnavailable</Code></Error>", "Unavailable")


@pytest.mark.parametrize("concurrency", [1, 8, 50])
def test_nodes_see_at_most_a_fifth_more_than_the_clients_ask(make_backend, gate, concurrency):
    backends = [make_backend(refuse) for _ in range(6)]
    daemon = gate(backends)
    assert storm(daemon, 300, concurrency) == {503: 300}
    seen = sum(len(backend.requests) for backend in backends)
    assert 300 < seen <= 360, f"{seen} requests at the nodes for 300 of the clients"
    retries = sum(line["tries"] - 1 for line in all_lines(daemon, 300))
    assert seen == 300 + retries


def all_lines(daemon, number):
    wait_until(lambda: len(daemon.log_lines()) >= number)
    return daemon.log_lines()


def test_expecting_writes_do_not_hammer_either(make_backend, gate):
    """Row 3: no byte of the body was sent, so any of them might be retried."""

    def refuse_early(exchange):
        exchange._body_read = True
        exchange.respond(503, [("Connection", "close")], b"", "Unavailable")
        exchange.close()

    backends = [make_backend(refuse_early) for _ in range(6)]
    daemon = gate(backends)
    for number in range(200):
        with daemon.client() as client:
            client.send(
                client.head(
                    "PUT", f"/b/{number}", [("Content-Length", 5), ("Expect", "100-continue")]
                )
            )
            assert client.read_response("PUT").status == 503
    seen = sum(len(backend.requests) for backend in backends)
    assert 200 < seen <= 240, f"{seen} requests at the nodes for 200 of the clients"


@pytest.mark.parametrize("concurrency", [1, 8])
def test_one_sick_node_of_six_is_masked(make_backend, gate, concurrency):
    """2,000 GETs, a sixth of them first to the sick node: no 503 reaches a client."""
    backends = [make_backend() for _ in range(5)] + [make_backend(refuse)]
    daemon = gate(backends, balance={"method": "round_robin"})
    assert storm(daemon, 2000, concurrency) == {200: 2000}
    assert len(backends[5].requests) > 300, "the sick node was asked all the time"


def test_tokens_come_back_after_the_storm(make_backend, gate):
    """A cluster that has recovered: its clients earn the tokens again."""
    backends = [make_backend(refuse) for _ in range(3)]
    daemon = gate(backends, top={"workers": 1})
    assert storm(daemon, 150, 4) == {503: 150}
    for backend in backends:
        backend.handler = well
    assert storm(daemon, 110, 4, mark="/well") == {200: 110}
    before = sum(len(backend.requests) for backend in backends)
    for backend in backends:
        backend.handler = refuse
    assert storm(daemon, 10, 1, mark="/sick") == {503: 10}
    retries = sum(len(backend.requests) for backend in backends) - before - 10
    assert 10 <= retries <= 11, f"{retries} retries: the ten tokens and what ten requests paid in"


def well(exchange):
    exchange.read_body()
    exchange.respond(200)
