"""Active checks decide which backends are used; every change is one log line with its reason.

MinIO answers 200 while its object layer is not up: without the header rule such a node gets traffic
that it can only refuse.
"""

import re

import pytest

from support.config import FAST_HEALTH
from support.waiting import wait_until

# Sixty keys: the ports, and so the ring, differ from run to run, and every backend must be the home
# of a key.
KEYS = [f"k{number}" for number in range(60)]


def homes(daemon):
    with daemon.client() as client:
        return {key: client.request(target=f"/b/k?sessionid={key}").data.decode() for key in KEYS}


@pytest.fixture(name="stage")
def stage_fixture(make_backend, gate):
    backends = [make_backend() for _ in range(3)]
    return gate(backends, health=FAST_HEALTH, passive="off"), backends


def fail_status(health):
    health.status = 503


def fail_offline(health):
    health.fields = [("X-Minio-Server-Status", "offline")]


def fail_other_offline(health):
    health.fields = [("x-minio-server-status", "bucket-metadata-OFFLINE")]


def fail_close(health):
    health.mode = "close"


def recover(health):
    health.status, health.fields, health.mode = 200, [], "answer"


@pytest.mark.parametrize("fail", [fail_status, fail_offline, fail_other_offline, fail_close])
def test_down_and_up_again(stage, fail):
    daemon, backends = stage
    before = homes(daemon)
    assert set(before.values()) == {"b1", "b2", "b3"}
    fail(backends[1].health)
    wait_until(lambda: "b2" not in homes(daemon).values(), what="b2 unused")
    during = homes(daemon)
    assert all(
        during[key] == before[key] for key in KEYS if before[key] != "b2"
    ), "only its own keys move"
    recover(backends[1].health)
    wait_until(lambda: homes(daemon) == before, what="its keys home")
    flips = [
        line
        for line in daemon.stderr.splitlines()
        if backends[1].address in line and re.search(r"(?i)\b(down|up)\b", line)
    ]
    assert len(flips) == 2, flips
    assert re.search(r"(?i)down", flips[0]) and re.search(r"(?i)up", flips[1])


def test_a_hung_check_is_down(make_backend, gate):
    backends = [make_backend() for _ in range(3)]
    daemon = gate(
        backends,
        passive="off",
        health={"interval": "100ms", "timeout": "300ms", "fall": 1, "rise": 1},
    )
    before = homes(daemon)
    backends[0].health.mode = "hang"
    wait_until(lambda: "b1" not in homes(daemon).values(), what="b1 unused")
    backends[0].health.mode = "answer"
    wait_until(lambda: homes(daemon) == before, what="its keys home")


def test_refused_and_back(stage):
    daemon, backends = stage
    before = homes(daemon)
    backends[2].refuse()
    wait_until(
        lambda: re.search(
            re.escape(backends[2].address)
            + ".*(?i:down)|(?i:down).*"
            + re.escape(backends[2].address),
            daemon.stderr,
        ),
        what="a line of the flip",
    )
    assert "b3" not in homes(daemon).values()
    backends[2].listen()
    wait_until(lambda: homes(daemon) == before, what="its keys home")


def test_first_check_decides_alone(make_backend, gate):
    """A daemon that starts beside a dead backend must not send it traffic for fall × interval."""
    backends = [make_backend() for _ in range(3)]
    backends[0].health.status = 503
    daemon = gate(
        backends, passive="off", health={"interval": "60s", "timeout": "2s", "fall": 3, "rise": 3}
    )
    # READY came after the first round of checks.
    assert "b1" not in homes(daemon).values()
    assert [len(backend.health.seen) for backend in backends] == [1, 1, 1]


def test_ready_does_not_wait_for_ever(make_backend, gate):
    backends = [make_backend() for _ in range(2)]
    backends[0].health.mode = "hang"
    daemon = gate(
        backends,
        passive="off",
        health={"interval": "60s", "timeout": "500ms", "fall": 1, "rise": 1},
    )
    assert "b1" not in homes(daemon).values()


def test_fall_needs_consecutive_failures(make_backend, gate):
    """Two failures, a success and so on never reach a fall of three."""
    backend, other = make_backend(), make_backend()
    answers = [200] + [503, 503, 200] * 6 + [200] * 1000
    original = backend._serve_health

    def scripted(connection, request):
        backend.health.status = answers[min(len(backend.health.seen), len(answers) - 1)]
        return original(connection, request)

    backend._serve_health = scripted
    daemon = gate(
        [backend, other],
        passive="off",
        health={"interval": "50ms", "timeout": "2s", "fall": 3, "rise": 3},
    )
    wait_until(lambda: len(backend.health.seen) > 20)
    assert not re.search(r"(?i)\bdown\b", daemon.stderr)


def test_the_request_of_a_check(make_backend, gate):
    backend = make_backend()
    backend.health.path = "/alive"
    gate(
        [backend],
        health={
            "path": "/alive",
            "method": "HEAD",
            "host": "check.example",
            "interval": "100ms",
            "timeout": "2s",
        },
    )
    seen = wait_until(lambda: backend.health.seen)
    assert (seen[0].method, seen[0].target, seen[0].header("host")) == (
        "HEAD",
        "/alive",
        "check.example",
    )
    assert seen[0].values("authorization") == []


def test_default_check_is_minios(make_backend, gate):
    backend = make_backend()
    gate([backend], health={"interval": "100ms"})
    seen = wait_until(lambda: backend.health.seen)
    assert (seen[0].method, seen[0].target, seen[0].header("host")) == (
        "GET",
        "/minio/health/ready",
        "minio",
    )


def test_check_port(make_backend, gate):
    """The console has no health endpoint, so the check uses the API port of the same node."""
    data, api = make_backend(), make_backend()
    daemon = gate(
        [data],
        health={"port": api.port, "interval": "100ms", "timeout": "2s", "fall": 1, "rise": 1},
    )
    wait_until(lambda: len(api.health.seen) > 2)
    assert data.health.seen == []
    api.health.status = 500
    daemon.wait_stderr(r"(?i)down")


def test_check_port_of_a_server(make_backend, gate):
    """Nodes whose API ports differ."""
    data, other, api = make_backend(), make_backend(), make_backend()
    daemon = gate(
        [{"address": data.address, "health_port": api.port}, other],
        passive="off",
        health={**FAST_HEALTH, "fall": 1, "rise": 1},
    )
    wait_until(lambda: len(api.health.seen) > 2 and len(other.health.seen) > 2)
    assert data.health.seen == []
    api.health.status = 500
    wait_until(lambda: set(homes(daemon).values()) == {"b2"})
    daemon.wait_stderr(f"{data.address} is down")


def test_a_connection_is_all_that_a_tcp_check_asks_for(make_backend, gate):
    """For servers with nothing to ask."""
    backends = [make_backend() for _ in range(2)]
    for backend in backends:
        backend.health.status = 500
    daemon = gate(backends, passive="off", health={**FAST_HEALTH, "type": "tcp"})
    wait_until(lambda: set(homes(daemon).values()) == {"b1", "b2"})
    backends[0].refuse()
    daemon.wait_stderr(f"{backends[0].address} is down.*connect refused")
    assert set(homes(daemon).values()) == {"b2"}
    backends[0].listen()
    wait_until(lambda: set(homes(daemon).values()) == {"b1", "b2"})
    assert not any(backend.health.seen for backend in backends)


def test_expected_statuses(make_backend, gate):
    backend, other = make_backend(), make_backend()
    backend.health.status = 429
    daemon = gate(
        [backend, other], passive="off", health={**FAST_HEALTH, "expect_status": ["400-429", 200]}
    )
    wait_until(lambda: len(backend.health.seen) > 4)
    assert set(homes(daemon).values()) == {"b1", "b2"}
    for status in (430, 204):
        backend.health.status = status
        wait_until(lambda: set(homes(daemon).values()) == {"b2"})
        backend.health.status = 400
        wait_until(lambda: set(homes(daemon).values()) == {"b1", "b2"})


def test_header_rule_can_be_changed(make_backend, gate):
    backend, other = make_backend(), make_backend()
    backend.health.fields = [("X-State", "leaving soon")]
    daemon = gate(
        [backend, other],
        passive="off",
        health={**FAST_HEALTH, "reject_headers": {"x-state": "leaving*"}},
    )
    assert set(homes(daemon).values()) == {"b2"}
    backend.health.fields = [("X-State", "not leaving")]
    wait_until(lambda: set(homes(daemon).values()) == {"b1", "b2"})


def test_checks_are_not_in_the_access_log(stage):
    daemon, backends = stage
    wait_until(lambda: len(backends[0].health.seen) > 5)
    with daemon.client() as client:
        client.request(target="/b/only")
    daemon.wait_log("/b/only")
    assert all("/b/" in line["request"] for line in daemon.log_lines())


def test_checks_use_connections_of_their_own(stage):
    daemon, backends = stage
    homes(daemon)
    wait_until(lambda: all(len(backend.health.seen) > 3 for backend in backends))
    for backend in backends:
        health_connections = {request.connection for request in backend.health.seen}
        assert health_connections.isdisjoint(backend.data_connections)


def test_taken_down_releases_what_waits(make_backend, gate):
    """A node without power: when its checks fail, requests that wait for it move on, not minutes
    later."""

    def handler(exchange):
        exchange.read_body()
        if exchange.backend.frozen and "/b/wait" in exchange.request.target:
            exchange.wait_closed()
            exchange.close()
        else:
            exchange.respond(200, [], exchange.backend.name.encode())

    backends = [make_backend(handler) for _ in range(3)]
    for backend in backends:
        backend.frozen = False
    daemon = gate(
        backends,
        passive="off",
        health={"interval": "100ms", "timeout": "300ms", "fall": 2, "rise": 2},
    )
    victim = homes(daemon)[KEYS[0]]
    for backend in backends:
        if backend.name == victim:
            backend.frozen = True
            backend.health.mode = "hang"
            frozen = backend
    with daemon.client() as reader, daemon.client() as writer:
        reader.send(reader.head("GET", f"/b/wait-get?sessionid={KEYS[0]}"))
        writer.send(
            writer.head("POST", f"/b/wait-post?sessionid={KEYS[0]}", [("Content-Length", "1")])
            + b"x"
        )
        response = reader.read_response()
        assert response.status == 200 and response.data.decode() != victim
        assert writer.read_response().status in (502, 504)
    assert frozen.count("/b/wait-get") == 1
    assert sum(backend.count("/b/wait-post") for backend in backends) == 1
    wait_until(
        lambda: not [found for found in frozen.data_connections if found.open],
        what="its connections closed",
    )
