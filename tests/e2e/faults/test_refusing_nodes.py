"""Nodes that declare that they cannot serve now: a request fails only if no node serves.

For up to 16 s after a restart MinIO's nodes refuse writes (503 SlowDownWrite), up to all but one of
them, whatever their health URLs say. Limits made for a sick cluster would be spent meanwhile; then
only clients whose home is the first serving node would reach it.
"""

import pytest

from support.config import FAST_HEALTH
from support.waiting import wait_until
from test_error_codes import in_body
from test_sick_cluster import storm, well

REFUSALS = ["SlowDownWrite", "XMinioServerNotInitialized"]
MANY = 5  # more than max_tries and one


@pytest.mark.parametrize("concurrency", [1, 20])
@pytest.mark.parametrize("method", ["PUT", "GET"])
@pytest.mark.parametrize("code", REFUSALS)
def test_the_one_node_that_serves_is_found(make_backend, gate, code, method, concurrency):
    """Four of five refuse permanently: the limits for other answers do not apply."""
    backends = [make_backend(in_body(code)) for _ in range(MANY - 1)] + [make_backend(well)]
    daemon = gate(backends, balance={"method": "round_robin"})
    assert storm(daemon, 200, concurrency, method) == {200: 200}
    assert all(len(backend.requests) > 20 for backend in backends)


def test_the_first_node_that_serves_is_found_at_once(make_backend, gate):
    """While all nodes refused, the limits for the next request were not touched."""
    backends = [make_backend(in_body("SlowDownWrite")) for _ in range(3)]
    daemon = gate(backends, top={"workers": 1}, balance={"method": "round_robin"})
    assert storm(daemon, 150, 4, "PUT") == {503: 150}
    assert sum(len(backend.requests) for backend in backends) == 450, "each node once a request"
    backends[1].handler = well
    assert storm(daemon, 30, 1, "PUT", mark="/later") == {200: 30}


def test_the_last_refusal_is_the_answer(make_backend, gate):
    backends = [make_backend(in_body("SlowDownWrite")) for _ in range(MANY)]
    daemon = gate(backends)
    with daemon.client() as client:
        response = client.request("PUT", "/b/k", body=b"x")
    assert response.status == 503
    assert b"<Code>SlowDownWrite</Code>" in response.data
    assert wait_until(daemon.log_lines)[0]["tries"] == MANY


def put(daemon, key):
    with daemon.client() as client:
        return client.request("PUT", f"/b/{key}", body=b"x").status


def test_a_marked_node_is_asked_when_the_others_refuse(make_backend, gate):
    """The restart has left a mark on the only node that serves."""
    backends = [make_backend(well) for _ in range(4)]
    daemon = gate(
        backends,
        passive={"max_fails": 1, "fail_timeout": "60s"},
        balance={"method": "round_robin"},
    )
    backends[0].refuse()
    for key in range(4):
        assert put(daemon, key) == 200
    daemon.wait_stderr("passively marked")
    backends[0].listen()
    assert [put(daemon, f"elsewhere-{key}") for key in range(8)] == [200] * 8
    assert not backends[0].requests, "nobody asks a marked node while others serve"
    for backend in backends[1:]:
        backend.handler = in_body("SlowDownWrite")
    assert [put(daemon, f"late-{key}") for key in range(8)] == [200] * 8
    assert len(backends[0].requests) == 8


def test_a_node_on_its_way_up_is_asked_when_the_others_refuse(make_backend, gate):
    """It has passed a check, but not `rise` checks. Before that it is not tried: a host that is
    gone would cost each request a connect timeout."""
    backends = [make_backend(well) for _ in range(3)]
    health = {**FAST_HEALTH, "rise": 100}
    daemon = gate(backends, health=health, passive="off", balance={"method": "round_robin"})
    backends[0].health.status = 503
    daemon.wait_stderr(f"{backends[0].address} .*is down after")
    for backend in backends[1:]:
        backend.handler = in_body("SlowDownWrite")
    before = len(backends[0].requests)
    assert [put(daemon, f"early-{key}") for key in range(6)] == [503] * 6
    assert len(backends[0].requests) == before
    backends[0].health.status = 200
    wait_until(lambda: put(daemon, "late") == 200)
    assert [put(daemon, f"later-{key}") for key in range(6)] == [200] * 6
