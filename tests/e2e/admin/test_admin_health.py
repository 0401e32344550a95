"""A check of admin.listen is answered whatever clients do, and tells the truth in every state."""

import contextlib
import resource
import signal
import socket
import threading
import time

from support.admin import admin_at, ask, free_address, health
from support.backend import answer_ok, hang as never_answer
from support.client import split_address
from support.config import make_config, make_site
from support.ctl import ctl
from support.metrics import Metrics, scrape_text_at
from support.waiting import DEADLINE, SCALE, wait_until

FLOOD = 200


@contextlib.contextmanager
def silent_clients(address, count):
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection(split_address(address), DEADLINE))
            for _ in range(count)
        ]


def assert_quick(address, times=20):
    for _ in range(times):
        began = time.monotonic()
        assert health(address) == (200, "ok")
        assert ask(address, "/status")[0] == 200
        assert time.monotonic() - began < 2 * SCALE


def test_a_flood_of_clients_fails_no_check(one):
    """Silent clients fill limits.connections, and more wait or are refused."""
    address = free_address()
    daemon, _ = one(top={"admin": admin_at(address), "limits": {"connections": 20}})
    with silent_clients(daemon.address, FLOOD):
        refused = "connections_shed"
        wait_until(lambda: ask(address, "/status")[2]["counters"][refused] >= FLOOD - 20)
        assert_quick(address)


def test_clients_that_take_all_descriptors_fail_no_check(one):
    """The listeners pause then, and the check says so; it is answered all the same."""
    address = free_address()
    top = {"admin": admin_at(address), "limits": {"connections": 1000}}
    daemon, _ = one(top=top, daemon={"nofile": 128})
    reason = "listeners that do not accept for want of descriptors or memory"
    with silent_clients(daemon.address, FLOOD):
        wait_until(lambda: health(address)[1].startswith(reason))
        for _ in range(20):
            status, text = health(address)
            assert (status, text.partition(":")[0]) == (503, reason)
            assert ask(address, "/status")[0] == 200
        found = Metrics(scrape_text_at(address))
        assert found.sum("process_open_fds") > 0.9 * found.sum("process_max_fds") == 0.9 * 128
        assert found.sum("process_resident_memory_bytes") > 2**20
    wait_until(lambda: health(address) == (200, "ok"), what="the end of the flood")
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > FLOOD


def test_silent_clients_of_the_address_itself_fail_no_check(one):
    address = free_address()
    daemon, _ = one(top={"admin": admin_at(address)})
    before = daemon.descriptors
    with silent_clients(address, FLOOD):
        assert_quick(address)
        assert daemon.descriptors < before + 30, "the bound of waiting connections"
        assert ctl(daemon, "health").returncode == 0, "the command socket has places of its own"


def test_one_hung_worker_is_seen_by_every_check(make_backend, start, hang):
    environment, switch = hang
    address = free_address()
    config = make_config([make_site([make_backend()])], admin=admin_at(address), workers=4)
    daemon = start(config, env=environment)
    assert health(address) == (200, "ok")
    switch = switch.with_name(switch.name + ".accept")
    switch.touch()
    try:
        with silent_clients(daemon.address, 1):
            wait_until(lambda: health(address)[0] == 503, what="the hung worker is seen")
            for _ in range(20):
                status, reason = health(address)
                assert status == 503 and reason.startswith("worker "), reason
                assert "has not moved for" in reason
                assert health(address, "?live=1")[0] == 503, "it is not alive either"
            late = "s3gate_worker_tick_lateness_seconds"
            number = reason.split()[1]
            assert Metrics(scrape_text_at(address)).sum(late, worker=number) > 0.5
            switch.unlink()
            wait_until(lambda: health(address) == (200, "ok"), what="it moves again")
    finally:
        switch.unlink(missing_ok=True)


def test_standby(one):
    address = free_address()
    daemon, _ = one(top={"admin": admin_at(address)})
    assert ctl(daemon, "standby").returncode == 0
    assert health(address) == (503, "standby")
    assert health(address, "?live=1") == (200, "ok")
    assert ctl(daemon, "active").returncode == 0
    assert health(address) == (200, "ok")


def test_before_the_first_round_of_checks(start):
    address = free_address()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = "127.0.0.1:%d" % silent.getsockname()[1]
        site = make_site([server], health={"interval": "1s", "timeout": "60s"})
        start(make_config([site], admin=admin_at(address)), wait_ready=False)

        def verdict():
            with contextlib.suppress(OSError):
                return health(address)
            return None

        assert wait_until(verdict) == (503, "starting: the first round of checks is not done")
        assert health(address, "?live=1") == (200, "ok")


def test_a_stop_is_told_until_the_process_ends(make_backend, start):
    """In the delay, in the drain, and as long as a request goes on."""
    address = free_address()
    go = threading.Event()

    def handler(exchange):
        exchange.read_body()
        exchange.wait(go)
        answer_ok(exchange)

    site = make_site([make_backend(handler)])
    config = make_config([site], admin=admin_at(address), shutdown_delay="60s")
    daemon = start(config)
    client = daemon.client()
    client.send(client.head("GET", "/b/held"))
    wait_until(lambda: ask(address, "/status")[2]["requests"] == 1)
    daemon.signal(signal.SIGTERM)
    wait_until(lambda: health(address)[0] == 503)
    assert health(address) == (503, "stopping after shutdown_delay")
    daemon.signal(signal.SIGTERM)
    wait_until(lambda: health(address)[1] == "draining")
    for _ in range(20):
        assert health(address) == (503, "draining")
        assert health(address, "?live=1") == (200, "ok")
    assert ask(address, "/status")[2]["phase"] == "draining"
    go.set()
    assert client.read_response().status == 200
    client.close()
    assert daemon.wait_exit() == 0


def test_a_process_that_ends_has_answered_503_or_refuses(make_backend, gate):
    """No check sees a 200 after the stop began, and none hangs."""
    address = free_address()
    daemon = gate([make_backend(never_answer)], top={"admin": admin_at(address)})
    daemon.signal(signal.SIGTERM)
    daemon.wait_stderr("draining: ")
    with contextlib.suppress(OSError):
        while True:
            assert health(address)[0] == 503
    assert daemon.wait_exit() == 0
