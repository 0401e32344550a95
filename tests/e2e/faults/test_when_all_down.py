"""All checks fail at once: `try` continues in ring order, `refuse` answers 503.

A check that depends on KMS or etcd fails on all nodes together; by default that must not take the
storage offline.
"""

from support.config import FAST_HEALTH
from support.waiting import wait_until

KEYS = [f"k{number}" for number in range(9)]


def answers(daemon):
    out = {}
    with daemon.client() as client:
        for key in KEYS:
            response = client.request(target=f"/b/k?sessionid={key}")
            out[key] = (response.status, response.data.decode() if response.status == 200 else "")
            if response.closes:
                client.close()
                client = daemon.client()
    return out


def test_try_keeps_every_key_at_home(make_backend, gate):
    backends = [make_backend() for _ in range(3)]
    daemon = gate(backends, passive="off", health=FAST_HEALTH, when_all_down="try")
    before = answers(daemon)
    for backend in backends:
        backend.health.status = 503
    for backend in backends:
        daemon.wait_stderr(f"(?i)({backend.address}.*down|down.*{backend.address})")
    assert answers(daemon) == before


def test_try_is_the_default_and_ignores_marks(make_backend, gate):
    backends = [make_backend() for _ in range(3)]
    daemon = gate(backends, health=FAST_HEALTH, passive={"max_fails": 1, "fail_timeout": "60s"})
    before = answers(daemon)
    for backend in backends:
        backend.health.status = 503
    for backend in backends:
        daemon.wait_stderr(f"(?i)({backend.address}.*down|down.*{backend.address})")
    backends[0].refuse()
    for key in KEYS:
        with daemon.client() as client:
            assert client.request(target=f"/b/k?sessionid={key}").status == 200
    backends[0].listen()
    wait_until(lambda: answers(daemon) == before)


def test_refuse(make_backend, gate):
    backends = [make_backend() for _ in range(3)]
    daemon = gate(backends, passive="off", health=FAST_HEALTH, when_all_down="refuse")
    assert {status for status, _ in answers(daemon).values()} == {200}
    for backend in backends:
        backend.health.status = 503
    wait_until(lambda: {status for status, _ in answers(daemon).values()} == {503})
    with daemon.client() as client:
        response = client.request()
        assert b"<Code>ServiceUnavailable</Code>" in response.data
        assert response.header("retry-after") == "1"
    backends[1].health.status = 200
    wait_until(lambda: set(answers(daemon).values()) == {(200, "b2")})


def test_down_and_drained_servers_are_never_tried(make_backend, gate):
    backends = [make_backend() for _ in range(3)]
    servers = [
        {"address": backends[0].address, "down": True},
        {"address": backends[1].address, "drained": True},
        backends[2].address,
    ]
    daemon = gate(servers, passive="off", health=FAST_HEALTH, when_all_down="try")
    assert set(answers(daemon).values()) == {(200, "b3")}
    backends[2].health.status = 503
    daemon.wait_stderr(r"(?i)down")
    assert set(answers(daemon).values()) == {(200, "b3")}
    backends[2].refuse()
    assert {status for status, _ in answers(daemon).values()} == {503}
    assert not backends[0].requests and not backends[1].requests
