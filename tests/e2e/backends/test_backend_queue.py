"""backends.max_connections limits the requests in progress at a server, over all workers. Further
requests go to the next server or wait in turn, for a bounded time, in a bounded number.

Without it a burst piles up inside the servers, where it can be neither seen nor bounded.
"""

import re
import threading
import time

import pytest

from support import wire
from support.config import FAST_HEALTH
from support.waiting import wait_until


# One worker serves requests in order. A request that is refused because the queue is full proves
# that the earlier ones wait.
IN_ORDER = {"workers": 1}


class Gauge:
    """A handler that holds requests until the test releases them, and counts the most at once."""

    def __init__(self, held=True):
        self.held = held
        self.now = self.most = 0
        self.bodies = {}
        self._lock = threading.Lock()
        self._pass = threading.Semaphore(0)

    def __call__(self, exchange):
        self.bodies[exchange.request.target] = exchange.read_body()
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        if self.held:
            assert self._pass.acquire(timeout=60), "the test never let this request go"
        with self._lock:
            self.now -= 1
        exchange.respond(200, [("X-Backend", exchange.backend.name)], b"done")

    def let_go(self, number=1):
        self._pass.release(number)


def send_all(daemon, number, mark="/b"):
    clients = [daemon.client() for _ in range(number)]
    for index, client in enumerate(clients):
        client.send(client.head("GET", f"{mark}/{index}"))
    return clients


def number_that_waited(daemon):
    """The number in the daemon's log, which appears about once a second."""
    found = re.findall(r"(\d+) requests? that waited for room", daemon.stderr)
    return sum(int(number) for number in found)


def finish(clients, status=200):
    for client in clients:
        assert client.read_response().status == status
        client.close()


def assert_all_places_are_free(daemon, gauge, places, mark):
    """Exactly `places` requests are let through at once: no room is lost or doubled."""
    gauge.held, gauge.most = True, 0
    clients = send_all(daemon, places + 2, mark)
    wait_until(lambda: gauge.now == places)
    gauge.let_go(places + 2)
    finish(clients)
    assert gauge.most == places


@pytest.mark.parametrize("workers", [1, 4])
def test_never_more_in_progress_and_everybody_has_a_turn(make_backend, gate, workers):
    gauge = Gauge()
    daemon = gate(
        [make_backend(gauge)],
        top={"workers": workers},
        backends={"max_connections": 3, "queue_timeout": "1m"},
    )
    clients = send_all(daemon, 12)
    wait_until(lambda: gauge.now == 3)
    for turn in range(12):
        wait_until(lambda: gauge.now == min(3, 12 - turn), what=f"turn {turn}")
        gauge.let_go()
    finish(clients)
    assert gauge.most == 3
    wait_until(lambda: len(daemon.log_lines()) == 12)
    waits = [line["queued"] for line in daemon.log_lines()]
    assert waits.count(None) == 3
    assert all(line["tries"] == 1 and line["error"] == "-" for line in daemon.log_lines())
    assert_all_places_are_free(daemon, gauge, 3, "/again")


def test_a_full_server_is_passed_over(make_backend, gate):
    """One key, two servers: the second request goes to the next one, the third waits for either."""
    gauges = [Gauge(), Gauge()]
    backends = [make_backend(gauge) for gauge in gauges]
    daemon = gate(
        backends,
        top=IN_ORDER,
        backends={"max_connections": 1, "queue": 1, "queue_timeout": "1m"},
    )
    with daemon.client() as client:
        for gauge in gauges:
            gauge.held = False
        home = client.request(target="/b/probe?sessionid=s").header("x-backend")
        for gauge in gauges:
            gauge.held = True
    clients = [daemon.client() for _ in range(3)]
    for number, client in enumerate(clients):
        client.send(client.head("GET", f"/b/{number}?sessionid=s"))
        wait_until(lambda: sum(gauge.now for gauge in gauges) == min(number + 1, 2))
    other = backends[1] if home == "b1" else backends[0]
    assert other.count("/b/1?") == 1
    assert sum(backend.count("/b/2?") for backend in backends) == 0
    with daemon.client() as probe:
        wait_until(lambda: probe.request().status == 503, what="the third to wait")
    gauges[backends.index(other)].let_go(2)
    assert clients[1].read_response().header("x-backend") == other.name
    assert clients[2].read_response().header("x-backend") == other.name, "the place that came free"
    gauges[1 - backends.index(other)].let_go()
    assert clients[0].read_response().status == 200
    line = daemon.wait_log("/b/2?")
    assert line["tries"] == 1 and line["queued"] >= 0
    for client in clients:
        client.close()


@pytest.mark.parametrize("method", ["least_conn", "round_robin"])
def test_other_methods_pass_over_full_servers_too(make_backend, gate, method):
    gauges = [Gauge(), Gauge(), Gauge()]
    backends = [make_backend(gauge) for gauge in gauges]
    servers = [
        {"address": backends[0].address, "max_connections": 1},
        {"address": backends[1].address, "max_connections": 4},
        {"address": backends[2].address, "max_connections": "off"},
    ]
    daemon = gate(
        servers,
        balance={"method": method},
        backends={"max_connections": 2},
    )
    clients = send_all(daemon, 20)
    wait_until(lambda: sum(gauge.now for gauge in gauges) == 20)
    assert gauges[0].now <= 1 and gauges[1].now <= 4, "its own figure, not the group's"
    for gauge in gauges:
        gauge.let_go(20)
    finish(clients)


def test_waiting_in_vain(make_backend, gate):
    """503 SlowDown after queue_timeout; no mark, no attempt, and the connection stays."""
    gauge = Gauge()
    backend = make_backend(gauge)
    daemon = gate(
        [backend],
        backends={"max_connections": 1, "queue_timeout": "300ms"},
        passive={"max_fails": 1},
    )
    clients = send_all(daemon, 1, "/held")
    wait_until(lambda: gauge.now == 1)
    with daemon.client() as late:
        for number in range(3):
            response = late.request(target=f"/late/{number}")
            assert response.status == 503
            assert b"<Code>SlowDown</Code>" in response.data
            assert response.header("retry-after") == "1"
            assert not response.closes
            line = daemon.wait_log(f"/late/{number}")
            assert line["error"] == "backend queue timeout"
            assert line["tries"] == 0 and line["upstreamaddr"] == "-"
            assert line["queued"] >= 290
        gauge.let_go(2)
        finish(clients)
        assert late.request(target="/after").status == 200
    assert len(backend.requests) == 2
    assert "marked" not in daemon.stderr


@pytest.mark.parametrize("queue,waiting", [("off", 0), (2, 2)])
def test_no_place_to_wait(make_backend, gate, queue, waiting):
    """A request that finds the queue full is answered at once, not after queue_timeout."""
    gauge = Gauge()
    daemon = gate(
        [make_backend(gauge)],
        backends={"max_connections": 1, "queue": queue, "queue_timeout": "1m"},
        top={"workers": 4},
    )
    held = send_all(daemon, 1 + waiting, "/held")
    wait_until(lambda: gauge.now == 1)
    # An earlier probe would take the place of one of them.
    wait_until(lambda: number_that_waited(daemon) == waiting)
    answers = []

    def refused():
        with daemon.client() as client:
            client.send(client.head("GET", "/probe"))
            if not client.has_input(wait=2):
                return False
            answers.append(client.read_response())
            return True

    wait_until(refused)
    assert answers[0].status == 503
    assert b"<Code>SlowDown</Code>" in answers[0].data
    assert daemon.wait_log("/probe")["error"] == "backend queue full"
    gauge.held = False
    gauge.let_go(100)
    finish(held)


def test_a_client_that_leaves_leaves_the_queue(make_backend, gate):
    gauge = Gauge()
    backend = make_backend(gauge)
    daemon = gate(
        [backend],
        top=IN_ORDER,
        backends={"max_connections": 1, "queue": 1, "queue_timeout": "1m"},
    )
    held = send_all(daemon, 1, "/held")
    wait_until(lambda: gauge.now == 1)
    gone = daemon.client()
    gone.send(gone.head("PUT", "/gone", [("Content-Length", 100000)]) + b"x" * 1000)
    with daemon.client() as probe:
        wait_until(lambda: probe.request(target="/probe").status == 503, what="it waits")
    gone.reset()
    line = daemon.wait_log("/gone")
    assert line["status"] == 499 and line["tries"] == 0
    assert line["bytes_in"] == 0, "a body is not read while its request waits"
    late = send_all(daemon, 1, "/late")  # there is a place in the queue again
    gauge.let_go(2)
    finish(held)
    finish(late)
    assert backend.count("/gone") == 0


def test_an_upload_waits_with_its_body(make_backend, gate):
    """Its body arrives complete after the wait; one with Expect gets its 100 only then."""
    gauge = Gauge()

    def handler(exchange):
        if exchange.request.header("expect"):
            exchange.continue_100()
        gauge(exchange)

    daemon = gate([make_backend(handler)], backends={"max_connections": 1, "queue_timeout": "1m"})
    held = send_all(daemon, 1, "/held")
    wait_until(lambda: gauge.now == 1)
    plain, asking = daemon.client(), daemon.client()
    plain.send(plain.head("PUT", "/plain", [("Content-Length", 3_000_000)]))
    sender = plain.send_in_background(b"x" * 3_000_000)
    asking.send(asking.head("PUT", "/asking", [("Content-Length", 5), ("Expect", "100-continue")]))
    assert not asking.has_input(wait=0.3)
    gauge.held = False
    gauge.let_go(3)
    finish(held)
    # The order of the two is unknown here.
    answers = []
    reader = threading.Thread(target=lambda: answers.append(plain.read_response("PUT").status))
    reader.start()
    assert asking.read_head().status == 100
    asking.send(b"hello")
    assert asking.read_response("PUT").status == 200
    reader.join()
    assert answers == [200]
    sender.join()
    assert gauge.bodies["/plain"].length == 3_000_000
    assert gauge.bodies["/asking"].data == b"hello"
    plain.close()
    asking.close()


def test_a_storm_over_all_workers(make_backend, gate):
    """Many more clients than places: every request is answered, the limit holds, and room that
    becomes free on one worker reaches the waiting requests of another without delay."""
    gauges = [Gauge(held=False), Gauge(held=False)]
    daemon = gate(
        [make_backend(gauge) for gauge in gauges],
        top={"workers": 4},
        backends={"max_connections": 2, "queue_timeout": "1m"},
    )
    found, lock = [], threading.Lock()

    def run(me):
        client = daemon.client()
        for number in range(20):
            response = client.request(target=f"/b/{me}-{number}")
            with lock:
                found.append(response.status)
            if number % 5 == 4:  # new connections too, to any worker
                client.close()
                client = daemon.client()
        client.close()

    threads = [threading.Thread(target=run, args=(me,), daemon=True) for me in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert found == [200] * 480
    assert max(gauge.most for gauge in gauges) <= 2
    wait_until(lambda: len(daemon.log_lines()) == 480)
    waits = sorted(line["queued"] for line in daemon.log_lines() if line["queued"] is not None)
    assert len(waits) > 100, "most of them had to wait"
    for gauge in gauges:
        gauge.held, gauge.most = True, 0
    clients = send_all(daemon, 6, "/again")
    wait_until(lambda: sum(gauge.now for gauge in gauges) == 4)
    for gauge in gauges:
        gauge.let_go(6)
    finish(clients)
    assert [gauge.most for gauge in gauges] == [2, 2], "every place is free again"


def test_a_place_passes_on_at_once_whatever_the_worker(make_backend, gate):
    """One request waits while another is served, on any of eight workers: the room reaches it at
    once. A worker that only polls would need 125 ms on average."""
    gauge = Gauge()
    daemon = gate(
        [make_backend(gauge)],
        top={"workers": 8},
        backends={"max_connections": 1, "queue_timeout": "1m"},
    )
    times = []
    for turn in range(25):
        clients = send_all(daemon, 2, f"/{turn}")
        wait_until(lambda: gauge.now == 1)
        wire.sleep_briefly()  # so that usually the other one waits
        begin, before = time.monotonic(), len(gauge.bodies)
        gauge.let_go()
        wait_until(lambda: len(gauge.bodies) > before, interval=0.001)
        times.append(time.monotonic() - begin)
        gauge.let_go()
        finish(clients)
    assert sorted(times)[12] < 0.06, f"median {sorted(times)[12]:.3f} s"
    assert gauge.most == 1


def test_an_answer_does_not_wait_to_be_replaced(make_backend, gate):
    """503 from one server while the others are full: the client gets it at once."""

    def refuse(exchange):
        exchange.read_body()
        exchange.respond(503, [], b"refused", "Unavailable")

    gauge = Gauge()
    full, sick = make_backend(gauge), make_backend(refuse)
    daemon = gate(
        [{"address": full.address, "max_connections": 1}, sick],
        balance={"method": "least_conn"},
        backends={"queue_timeout": "1m"},
    )
    held = daemon.client()

    def is_held():
        held.send(held.head("GET", "/held"))
        if held.has_input(wait=0.2):
            held.read_response()
        return gauge.now == 1

    wait_until(is_held)
    with daemon.client() as client:
        response = client.request(target="/quick")
        assert (response.status, response.data) == (503, b"refused")
    assert daemon.wait_log("/quick")["queued"] is None
    gauge.let_go()
    assert held.read_response().status == 200
    held.close()


def test_who_found_a_dead_server_waits_for_a_living_one(make_backend, gate):
    """No byte was sent, so the request waits its turn like a new one."""
    gauge = Gauge()
    living, dying = make_backend(gauge), make_backend()
    daemon = gate(
        [{"address": living.address, "max_connections": 1}, dying],
        balance={"method": "round_robin"},
        passive="off",
        backends={"queue_timeout": "1m"},
    )
    dying.refuse()
    held = send_all(daemon, 3, "/held")
    wait_until(lambda: gauge.now == 1)
    gauge.let_go(3)
    finish(held)
    assert gauge.most == 1


def test_a_second_connection_to_the_same_server_keeps_the_place(make_backend, gate):
    """Row 4 replaces a kept connection that died; the room is neither lost nor taken twice."""
    gauge = Gauge(held=False)

    def handler(exchange):
        if exchange.connection.requests == 2:
            exchange._body_read = True
            exchange.close()
        else:
            gauge(exchange)

    backend = make_backend(handler)
    daemon = gate(
        [backend], top={"workers": 1}, backends={"max_connections": 1, "queue_timeout": "300ms"}
    )
    with daemon.client() as client:
        for number in range(6):
            assert client.request(target=f"/b/{number}").status == 200
    assert len(backend.requests) > 6, "some were made twice"
    assert_all_places_are_free_in_turn(daemon, gauge)


def assert_all_places_are_free_in_turn(daemon, gauge):
    gauge.held = False
    with daemon.client() as client:
        assert client.request(target="/free").status == 200
    with daemon.client() as client:
        assert client.request(target="/free").status == 200


def test_full_servers_are_not_down(make_backend, gate):
    """when_all_down does not send requests to a server that is down by its checks because the
    others are full."""
    gauge = Gauge()
    good, bad = make_backend(gauge), make_backend()
    bad.health.status = 503
    daemon = gate(
        [good, bad],
        health=FAST_HEALTH,
        backends={"max_connections": 1, "queue_timeout": "300ms"},
    )
    daemon.wait_stderr("is down after")
    held = send_all(daemon, 1, "/held")
    wait_until(lambda: gauge.now == 1)
    with daemon.client() as client:
        assert client.request(target="/late").status == 503
    assert bad.requests == []
    # A server that comes up during the wait is used.
    bad.health.status = 200
    with daemon.client() as client:
        wait_until(lambda: client.request(target="/later").status == 200)
    assert bad.count("/later") == 1
    gauge.let_go()
    finish(held)
