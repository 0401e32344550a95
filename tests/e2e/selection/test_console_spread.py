"""Requests of a plain site go to the server with the fewest in progress, and avoid failing servers.

Otherwise a node that hangs would collect every client of the console, a stopped one would show each
user an error, and one broken page would take node after node out of service.
"""

import re
import threading

import pytest

from support.backend import answer_ok
from support.waiting import DEADLINE, wait_until
from support.workers import workers_of

CONSOLE = {
    "name": "console",
    "type": "http",
    "balance": {"method": "least_conn"},
    "upgrade": True,
    "status": {"path": "/upstream/health/"},
}
UPGRADE = [("Connection", "Upgrade"), ("Upgrade", "websocket")]
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
MARKED = r"\[warning\] console: {0} is passively marked after {1} failures"
CLEARED = r"\[info\] console: {0} is no longer passively marked"


def tunnel_or_name(exchange):
    """A tunnel until the peer ends it, or an ordinary answer."""
    if exchange.request.header("upgrade"):
        exchange._body_read = True
        exchange.send(SWITCH)
        exchange.wait_closed()
        exchange.close()
    else:
        answer_ok(exchange)


def open_tunnel(client, target="/ws"):
    client.send(client.head("GET", target, UPGRADE))
    assert client.read_head().status == 101


def states(daemon):
    """{server: UP or DOWN} of the status page."""
    with daemon.client() as client:
        page = client.request(target="/upstream/health/").data.decode()
    return dict(re.findall(r"^ +(\S+:\d+) (UP|DOWN)$", page, re.MULTILINE))


def down(daemon):
    return {server for server, state in states(daemon).items() if state == "DOWN"}


def ask(daemon, method="GET", target="/", body=None):
    with daemon.client() as client:
        return client.request(method, target, body=body)


class Users:
    """Clients that send requests in turn, each on its own connection, until told to stop. `answers`
    has all that they received."""

    def __init__(self, daemon, count, target="/page"):
        self.answers = [[] for _ in range(count)]
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(daemon, target, seen), daemon=True)
            for seen in self.answers
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, daemon, target, seen):
        try:
            with daemon.client() as client:
                while not self._ended.is_set():
                    seen.append(client.request(target=target).status)
        except Exception as error:  # pylint: disable=broad-except
            seen.append(repr(error))

    def wait_more(self, count):
        """Waits until each client has `count` further answers, or an error."""
        marks = [len(seen) + count for seen in self.answers]

        def satisfied():
            return all(
                len(seen) >= mark or any(status != 200 for status in seen)
                for seen, mark in zip(self.answers, marks)
            )

        wait_until(satisfied, what=f"{count} answers for every user")

    def finish(self):
        """The answers other than 200."""
        self._ended.set()
        for thread in self._threads:
            thread.join(2 * DEADLINE)
            assert not thread.is_alive()
        return [status for seen in self.answers for status in seen if status != 200]


def test_a_slow_server_gets_what_it_can_do(make_backend, gate):
    """Six servers, one never answers. With round robin every user would hang after six requests; by
    fewest in progress the server is asked only when all others are as busy."""
    go = threading.Event()

    def slow(exchange):
        exchange.wait(go)
        answer_ok(exchange)

    backends = [make_backend(slow)] + [make_backend() for _ in range(5)]
    daemon = gate(backends, **CONSOLE)
    users = Users(daemon, 8)
    try:
        others = backends[1:]
        wait_until(
            lambda: sum(len(backend.requests) for backend in others) >= 400,
            what="the other servers go on",
        )
        # Eight users: a second request comes only when each other server had one in progress, a
        # third when each had two. One more for two workers that choose at the same moment.
        assert 1 <= len(backends[0].requests) <= 3
    finally:
        go.set()
        assert users.finish() == []


def test_nobody_sees_that_one_is_stopped(make_backend, gate):
    """Refused connects cost no user an answer: no byte was sent, so the next server is asked,
    whatever the method. After max_fails of them the server is avoided."""
    backends = [make_backend() for _ in range(6)]
    daemon = gate(
        backends, **CONSOLE, passive={"max_fails": 3, "fail_timeout": "60s"}, top={"workers": 1}
    )
    victim = backends[0]
    users = Users(daemon, 6)
    try:
        wait_until(lambda: len(victim.requests) >= 10, what="the server is in use")
        victim.refuse()
        daemon.wait_stderr(MARKED.format(re.escape(victim.address), 3))
        users.wait_more(20)
    finally:
        assert users.finish() == []
    assert states(daemon) == {
        backend.address: "DOWN" if backend is victim else "UP" for backend in backends
    }
    for number in range(12):
        assert ask(daemon, "POST", f"/after/{number}", b"login").status == 200
    daemon.wait_log("/after/11")
    lines = daemon.log_lines()
    assert not any(victim.address in line["upstreamaddr"] for line in lines[-12:])
    # Proves the number of tries: each user may have had an answer cut, and one connect in progress
    # when the mark was set.
    refused = [line for line in lines if f"{victim.address}, " in line["upstreamaddr"]]
    assert 3 <= len(refused) <= 3 + 2 * 6
    assert all(line["status"] == 200 for line in refused)


def test_one_request_tries_it_again(make_backend, gate):
    """After fail_timeout one request is the trial; all others avoid the server until the trial has
    an answer."""
    go = threading.Event()

    def handler(exchange):
        if exchange.backend.name == "b1":
            exchange.wait(go)
        answer_ok(exchange)

    backends = [make_backend(handler) for _ in range(6)]
    daemon = gate(backends, **CONSOLE, passive={"max_fails": 1, "fail_timeout": "4s"})
    victim = backends[0]
    victim.refuse()
    wait_until(lambda: ask(daemon).status == 200 and down(daemon) == {victim.address})
    victim.listen()
    users = Users(daemon, 3)
    try:
        victim.wait_request()
        # One user waits for the trial's answer; the others are served elsewhere meanwhile.
        before = sum(len(backend.requests) for backend in backends[1:])
        wait_until(
            lambda: sum(len(backend.requests) for backend in backends[1:]) >= before + 60,
            what="60 requests elsewhere",
        )
        assert len(victim.requests) == 1
        assert down(daemon) == {victim.address}
        go.set()
        daemon.wait_stderr(CLEARED.format(re.escape(victim.address)))
        wait_until(lambda: len(victim.requests) > 10, what="the server in use again")
        assert down(daemon) == set()
    finally:
        go.set()
        assert users.finish() == []


@pytest.mark.parametrize("status,counts", [(500, True), (502, True), (504, True), (503, False)])
def test_statuses_that_cost_a_retry(make_backend, gate, status, counts):
    """On plain sites a 500, 502 or 504 that caused a retry counts like a broken connection; a 503
    may mean load and never counts."""

    def handler(exchange):
        exchange.read_body()
        if exchange.backend.name == "b1":
            exchange.respond(status, [], b"broken", "Broken")
        else:
            exchange.respond(200, [], b"well")

    backends = [make_backend(handler) for _ in range(6)]
    daemon = gate(
        backends, **CONSOLE, passive={"max_fails": 2, "fail_timeout": "60s"}, top={"workers": 1}
    )
    for _ in range(36):
        assert ask(daemon).status == 200
    assert len(backends[0].requests) == (2 if counts else 6)
    assert down(daemon) == ({backends[0].address} if counts else set())
    if counts:
        daemon.wait_stderr(MARKED.format(re.escape(backends[0].address), 2))
    else:
        assert "passively marked" not in daemon.stderr


@pytest.mark.parametrize(
    "status,method,on",
    [
        (429, "GET", ["error", "500", "502", "503", "504"]),
        (500, "POST", ["error", "500", "502", "503", "504"]),
        (500, "GET", ["error"]),
    ],
)
def test_statuses_that_were_passed_on(make_backend, gate, status, method, on):
    """Load, an answer to a write, and statuses outside retry.on are relayed and are no faults."""

    def handler(exchange):
        exchange.read_body()
        exchange.respond(status, [], b"no", "No")

    backends = [make_backend(handler) for _ in range(3)]
    daemon = gate(
        backends, **CONSOLE, passive={"max_fails": 1, "fail_timeout": "60s"}, retry={"on": on}
    )
    for _ in range(12):
        body = b"form" if method == "POST" else None
        assert ask(daemon, method, body=body).status == status
    assert sum(len(backend.requests) for backend in backends) == 12
    assert down(daemon) == set()
    assert "passively marked" not in daemon.stderr


def test_never_more_than_a_third_by_statuses(make_backend, gate):
    """A page that is broken on every server: two of six are marked, four still serve."""

    def handler(exchange):
        exchange.read_body()
        broken = exchange.request.target == "/broken"
        exchange.respond(500 if broken else 200, [], b"page", "Page")

    backends = [make_backend(handler) for _ in range(6)]
    daemon = gate(backends, **CONSOLE, passive={"max_fails": 1, "fail_timeout": "60s"})
    for _ in range(40):
        assert ask(daemon, target="/broken").status == 500
    marked = down(daemon)
    assert len(marked) == 2
    hits = {backend.address: backend.count("/well") for backend in backends}
    assert set(hits.values()) == {0}
    for _ in range(24):
        assert ask(daemon, target="/well").status == 200
    hits = {backend.address: backend.count("/well") for backend in backends}
    assert {server for server, count in hits.items() if count == 0} == marked


def test_backups_only_when_no_primary_is_usable(make_backend, gate):
    """However busy the primaries are; a primary that is back is used first again."""
    backends = [make_backend(tunnel_or_name) for _ in range(3)]
    servers = [b.address for b in backends[:2]]
    servers.append({"address": backends[2].address, "backup": True})
    daemon = gate(servers, **CONSOLE, passive="off")
    clients = [daemon.client() for _ in range(6)]
    for client in clients:
        open_tunnel(client)
    assert [len(backend.requests) for backend in backends] == [3, 3, 0]
    backends[0].refuse(drop_connections=False)
    for _ in range(4):
        assert ask(daemon).data == b"b2"
    backends[1].refuse()  # its tunnels and its parked connections end as well
    for _ in range(4):
        assert ask(daemon).data == b"b3"
    backends[1].listen()
    for _ in range(4):
        assert ask(daemon).data == b"b2"
    for client in clients:
        client.close()


def test_drained_and_down_are_skipped(make_backend, gate):
    """Also if all other servers are busy, and also if no other server is left."""
    backends = [make_backend(tunnel_or_name) for _ in range(4)]
    servers = [
        backends[0].address,
        {"address": backends[1].address, "drained": True},
        backends[2].address,
        {"address": backends[3].address, "down": True},
    ]
    daemon = gate(servers, **CONSOLE, passive="off")
    clients = [daemon.client() for _ in range(6)]
    for client in clients:
        open_tunnel(client)
    assert [len(backend.requests) for backend in backends] == [3, 0, 3, 0]
    assert down(daemon) == {backends[1].address, backends[3].address}
    backends[0].refuse(drop_connections=False)
    backends[2].refuse(drop_connections=False)
    assert ask(daemon).status == 503
    assert not backends[1].connections and not backends[3].connections
    for client in clients:
        client.close()


def test_workers_see_each_others_tunnels(make_backend, gate):
    """Two workers, one has tunnels on one server: the other one's requests go elsewhere until both
    servers are even. If it counted only its own, it would alternate."""
    backends = [make_backend(tunnel_or_name) for _ in range(2)]
    daemon = gate(backends, **CONSOLE, timeouts={"client_idle": "10m"})
    # Newcomers are spread over the workers, so each soon has enough.
    groups = {}

    def enough():
        client = daemon.client()
        assert client.request().status == 200
        worker = workers_of(daemon)[client.sock.getsockname()[1]]
        groups.setdefault(worker, []).append(client)
        return len(groups) == 2 and min(len(group) for group in groups.values()) >= 8

    wait_until(enough, what="eight clients on each worker")
    first, second = groups.values()
    for number, client in enumerate(first[:8]):
        open_tunnel(client, f"/ws/first/{number}")
    assert [backend.count("/ws/first") for backend in backends] == [4, 4]
    for number, client in enumerate(first[:8]):
        if backends[1].count(f"/ws/first/{number}"):
            client.close()
    daemon.wait_log("/ws/first", 4)  # a logged request no longer counts
    for number, client in enumerate(second[:4]):
        open_tunnel(client, f"/ws/second/{number}")
    assert [backend.count("/ws/second") for backend in backends] == [0, 4]
    for group in groups.values():
        for client in group:
            client.close()
