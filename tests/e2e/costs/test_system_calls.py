"""A kept-alive exchange of 1 KiB costs two receives, two sends and a share of a wait.

Nine tenths of a small request's cost is system calls: a rewrite of the loop, or a speculative read,
could add one unnoticed.
"""

import pathlib
import re

import pytest
from support.lockstep import Backend, Lockstep
from support.tracing import needs_strace, traced
from support.waiting import wait_until

WIDTH = 32
ROUNDS = 40
EXCHANGES = WIDTH * ROUNDS


def count_calls(daemon, tmp_path, run):
    """System calls of the daemon while `run` runs: {name: (calls, errors)}."""
    table = tmp_path / "calls"
    with traced(daemon, table, "-c") as tracer:
        # Each thread is stopped once; then all threads are traced.
        tasks = list(pathlib.Path(f"/proc/{daemon.process.pid}/task").iterdir())
        wait_until(
            lambda: all(tracer_of(task) == tracer for task in tasks),
            what="all threads are traced",
        )
        run()
    calls = {}
    for row in table.read_text().splitlines():
        found = re.match(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(\d+)?\s+(\w+)$", row)
        if found:
            calls[found[3]] = (int(found[1]), int(found[2] or 0))
    return calls


def tracer_of(task):
    return int(re.search(r"TracerPid:\s+(\d+)", (task / "status").read_text())[1])


@needs_strace
@pytest.mark.parametrize("method", ["GET", "PUT", "large PUT"])
def test_calls_of_an_exchange(gate, tmp_path, method):
    backend = Backend()
    daemon = gate(
        [backend],
        top={"workers": 1},
        backends={"keepalive": 2 * WIDTH},
        balance={"salt": "x"},
        session_header="X-Session-ID",
    )
    if daemon.is_sanitized:
        pytest.skip("sanitizers make calls of their own")
    clients = Lockstep(daemon, backend, WIDTH)
    for _ in range(5):
        clients.exchange(method, gather=True)
    connections = backend.connections
    calls = count_calls(
        daemon,
        tmp_path,
        lambda: [clients.exchange(method, gather=True) for _ in range(ROUNDS)],
    )
    clients.close()
    backend.close()
    assert backend.connections == connections, "no new connections meanwhile"

    def of(name):
        return calls.get(name, (0, 0))

    text = f"calls in {EXCHANGES} exchanges: {calls}"
    slack = EXCHANGES // 50
    # Before a write on a parked connection the daemon asks the socket whether the backend closed it
    # (docs/architecture.md, "Reuse of pooled connections"). Only this call finds nothing.
    looks = EXCHANGES if "PUT" in method else 0
    # The rest of a body goes to the replay buffer, and from there in one send with its head.
    scattered = EXCHANGES if method == "large PUT" else 0
    receives, failed = of("recvfrom")
    assert receives <= 2 * EXCHANGES + looks + slack, text
    assert failed <= looks + slack, text
    assert of("recvmsg")[0] <= scattered + slack, text
    assert of("sendmsg")[0] + of("sendto")[0] <= 2 * EXCHANGES + slack, text
    assert of("sendmsg")[1] + of("sendto")[1] == 0, text
    # Readiness is fetched for many connections at once, and no interest is changed for one.
    assert of("epoll_wait")[0] + of("epoll_pwait")[0] <= EXCHANGES // 2, text
    assert of("epoll_ctl")[0] <= EXCHANGES // 4, text
    others = {"recvfrom", "recvmsg", "sendmsg", "sendto", "epoll_wait", "epoll_pwait", "epoll_ctl"}
    rest = sum(count for name, (count, _) in calls.items() if name not in others | {"total"})
    assert rest <= EXCHANGES // 4, text


@needs_strace
def test_a_lone_client_costs_two_waits(gate, tmp_path):
    """One for the request, one for its answer: a second look would find nothing, and a proxy is
    mostly idle."""
    backend = Backend()
    daemon = gate([backend], top={"workers": 1}, balance={"salt": "x"})
    if daemon.is_sanitized:
        pytest.skip("sanitizers make calls of their own")
    clients = Lockstep(daemon, backend, 1)
    for _ in range(5):
        clients.exchange("GET")
    exchanges = 400
    calls = count_calls(
        daemon, tmp_path, lambda: [clients.exchange("GET") for _ in range(exchanges)]
    )
    clients.close()
    backend.close()
    waits = sum(calls.get(name, (0, 0))[0] for name in ("epoll_wait", "epoll_pwait"))
    # The control thread and the ticks add a few; a loop inside another one took four per request.
    assert exchanges <= waits <= 2.5 * exchanges, calls
    assert calls.get("epoll_ctl", (0, 0))[0] <= exchanges // 4, calls
