"""Retries of a group share a budget: 20 % of the requests in flight, at least three, or ten of
those that a status caused.

Without it a cluster that refuses everything gets most requests in flight a second time at once.
(test_sick_cluster.py tests the load over time.)
"""

import threading

from support.waiting import wait_until


def test_spent_budget_passes_the_answer_through(make_backend, gate):
    """Twenty requests are refused at once: ten are retried, ten answers are relayed."""
    together, release = threading.Barrier(20), threading.Event()
    lock, seen, retried = threading.Lock(), set(), []

    def handler(exchange):
        exchange.read_body()
        target = exchange.request.target
        with lock:
            first = target not in seen
            seen.add(target)
            if not first:
                retried.append(target)
        if first:
            together.wait(20)
            exchange.respond(503, [], b"refused", "Unavailable")
        else:
            exchange.wait(release)
            exchange.respond(200, [], b"second try")

    backends = [make_backend(handler) for _ in range(3)]
    # One worker: several use the same tokens without a lock, and may be off by one each.
    daemon = gate(backends, passive="off", top={"workers": 1})
    clients = [daemon.client() for _ in range(20)]
    for number, client in enumerate(clients):
        client.send(client.head("GET", f"/b/{number}"))
    wait_until(lambda: sum(client.has_input() for client in clients) == 10, what="ten answers")
    wait_until(lambda: len(retried) == 10, what="ten retries")
    release.set()
    answers = []
    for client in clients:
        response = client.read_response()
        answers.append((response.status, response.data))
        client.close()
    answers.sort()
    assert answers == [(200, b"second try")] * 10 + [(503, b"refused")] * 10

    # The budget is completely available again.
    def again(exchange):
        exchange.read_body()
        with lock:
            first = exchange.request.target not in seen
            seen.add(exchange.request.target)
        exchange.respond(503 if first else 200, [], b"", "Reason")

    for backend in backends:
        backend.handler = again
    with daemon.client() as client:
        for number in range(20):
            assert client.request(target=f"/c/{number}").status == 200
    assert daemon.totals()["retries not made: budget spent"] == 10
