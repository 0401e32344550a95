"""The addresses of admin.listen change with a reload as those of sites do, and a new binary or a
crash takes no check away."""

import copy
import re
import signal
import threading

import pytest

from support.admin import admin_at, ask, free_address, health, is_refused, taken_addresses
from support.config import free_port, make_config, make_site
from support.ctl import ctl
from support.descriptor_store import DescriptorStore
from support.waiting import wait_until


@pytest.fixture(name="store")
def store_fixture():
    store = DescriptorStore()
    yield store
    store.close()


class Checks:
    """A load balancer that asks every 20 ms: the outcome of each check, and the processes that
    answered."""

    def __init__(self, address):
        self.outcomes = []
        self.pids = set()
        self._address = address
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        while not self._is_over.wait(0.02):
            try:
                self.outcomes.append(health(self._address))
                self.pids.add(ask(self._address, "/status")[2]["pid"])
            except OSError as error:
                self.outcomes.append(error)

    def __enter__(self):
        self._thread.start()
        self.wait_for(5)
        return self

    def __exit__(self, *_):
        self._is_over.set()
        self._thread.join()

    def wait_for(self, more):
        enough = len(self.outcomes) + more
        wait_until(lambda: len(self.outcomes) >= enough, what=f"{more} more checks")

    def assert_all_well(self):
        assert [item for item in self.outcomes if item != (200, "ok")] == []


def with_admin(daemon, *addresses, **more):
    config = copy.deepcopy(daemon.config)
    config["admin"] = admin_at(*addresses, **more)
    return config


def test_addresses_come_and_go(one):
    first, second, third = (free_address() for _ in range(3))
    daemon, _ = one(top={"admin": admin_at(first, second)})
    with Checks(first) as checks:
        assert daemon.reload(with_admin(daemon, first, third)).startswith("reloaded")
        assert health(third) == (200, "ok")
        wait_until(lambda: is_refused(second), what="the end of the one that is gone")
        assert daemon.reload(with_admin(daemon, first, second)).startswith("reloaded")
        assert health(second) == (200, "ok")
        wait_until(lambda: is_refused(third))
    checks.assert_all_well()
    assert daemon.reload(with_admin(daemon)).startswith("reloaded")
    wait_until(lambda: is_refused(first) and is_refused(second), what="none is left")
    assert daemon.reload(with_admin(daemon, first)).startswith("reloaded")
    assert health(first) == (200, "ok"), "the first one again"


def test_a_wildcard_replaces_an_address(one):
    port = free_port()
    narrow, wide = f"127.0.0.1:{port}", f"0.0.0.0:{port}"
    daemon, _ = one(top={"admin": admin_at(narrow)})
    with Checks(narrow) as checks:
        assert daemon.reload(with_admin(daemon, wide)).startswith("reloaded")
        wait_until(lambda: not is_refused(f"127.0.0.2:{port}"))
        checks.wait_for(10)
        assert daemon.reload(with_admin(daemon, narrow)).startswith("reloaded")
        wait_until(lambda: is_refused(f"127.0.0.2:{port}"))
    checks.assert_all_well()


def test_those_who_may_connect_change(one):
    address = free_address()
    daemon, _ = one(top={"admin": admin_at(address)})
    assert daemon.reload(with_admin(daemon, address, allow=["127.0.0.2"])).startswith("reloaded")
    with pytest.raises(OSError):
        health(address)
    assert daemon.reload(with_admin(daemon, address)).startswith("reloaded")
    assert health(address) == (200, "ok")


def test_a_taken_address_refuses_the_reload_with_all_problems(one):
    kept, new = free_address(), free_address()
    daemon, _ = one(top={"admin": admin_at(kept)})
    with taken_addresses(2) as taken:
        config = with_admin(daemon, new, taken[0])
        config["sites"][0]["listen"].append(taken[1])
        daemon.write(config)
        done = ctl(daemon, "reload")
    assert done.returncode == 1
    assert f"cannot listen on {taken[0]} (admin): Address already in use" in done.stderr
    assert f"cannot listen on {taken[1]} (site test): Address already in use" in done.stderr
    assert is_refused(new) and health(kept) == (200, "ok")


def test_a_trial_has_both_until_its_end(one):
    old, new = free_address(), free_address()
    daemon, _ = one(top={"admin": admin_at(old)})
    for outcome in ("undone", "confirmed"):
        daemon.write(with_admin(daemon, new))
        limit = "1s" if outcome == "undone" else "60s"
        assert ctl(daemon, "reload", "--confirm", limit).returncode == 0
        assert health(new) == (200, "ok")
        assert health(old) == (200, "ok")
        if outcome == "undone":
            wait_until(lambda: is_refused(new), what="the configuration before")
            assert health(old) == (200, "ok")
        else:
            assert ctl(daemon, "confirm").returncode == 0
            wait_until(lambda: is_refused(old))
            assert health(new) == (200, "ok")


def test_an_address_of_a_site_becomes_one_of_operators(one):
    spare = free_address()
    daemon, _ = one()
    moved = daemon.address
    config = with_admin(daemon, moved)
    config["sites"][0]["listen"] = [spare]
    assert daemon.reload(config).startswith("reloaded")
    for _ in range(20):
        assert health(moved) == (200, "ok")
    back = copy.deepcopy(daemon.config)
    back["admin"] = admin_at(spare)
    back["sites"][0]["listen"] = [moved]
    assert daemon.reload(back).startswith("reloaded")
    for _ in range(20):
        assert health(spare) == (200, "ok")


@pytest.mark.parametrize("kind", ["fixed", "port 0"])
def test_no_check_is_refused_while_upgrades_run(line, make_backend, kind):
    address = free_address() if kind == "fixed" else "127.0.0.1:0"
    config = make_config([make_site([make_backend()])], admin=admin_at(address))
    daemon = line.start(config)
    if kind == "port 0":
        address = daemon.wait_stderr(r"admin on (\S+)")[1]
    pids = {daemon.process.pid}
    with Checks(address) as checks:
        for _ in range(3):
            pids.add(line.upgrade().pid)
            checks.wait_for(10)
        daemon.wait_exit()
        checks.wait_for(10)
    checks.assert_all_well()
    assert checks.pids == pids, "each process has answered"


def test_an_upgrade_that_fails_leaves_the_checks(line, make_backend):
    address = free_address()
    daemon = line.start(make_config([make_site([make_backend()])], admin=admin_at(address)))
    line.replace_program("exit 1")
    with Checks(address) as checks:
        line.failing_upgrade()
        checks.wait_for(10)
    checks.assert_all_well()
    assert checks.pids == {daemon.process.pid}


def test_addresses_change_in_an_upgrade(line, make_backend):
    old, kept, new = (free_address() for _ in range(3))
    daemon = line.start(make_config([make_site([make_backend()])], admin=admin_at(old, kept)))
    daemon.write(with_admin(daemon, kept, new))
    with Checks(kept) as checks:
        line.upgrade()
        assert health(new) == (200, "ok")
        wait_until(lambda: is_refused(old), what="the old process has closed it")
    checks.assert_all_well()


def test_standby_goes_with_an_upgrade(line, make_backend):
    address = free_address()
    daemon = line.start(make_config([make_site([make_backend()])], admin=admin_at(address)))
    assert ctl(daemon, "standby").returncode == 0
    with Checks(address) as checks:
        line.upgrade()
        daemon.wait_exit()
        checks.wait_for(10)
    assert set(checks.outcomes) == {(503, "standby")}, "no check in between saw another state"


def test_a_crash_refuses_no_check(one, start, store):
    """It waits for the next process, as clients do."""
    address = free_address()
    name = f"s3gate-listen-admin,{address.replace(':', ';')}-0"
    daemon, _ = one(top={"admin": admin_at(address)}, daemon={"store": store})
    wait_until(lambda: name in store.names)
    daemon.signal(signal.SIGKILL)
    daemon.expected_exit = daemon.wait_exit()
    with Waiting(address) as waiting:
        next_one = start(daemon.config, store=store)
        assert waiting.outcome() == (200, "ok")
    taken = re.search(r"its listening sockets are taken over: (.*)", next_one.stderr)[1]
    assert set(taken.split(", ")) == {address, daemon.address}
    wait_until(lambda: name in store.names)
    next_one.stop()
    assert store.names == [], "a stop takes it out: no check waits in vain"
    assert is_refused(address)


class Waiting:
    """One check."""

    def __init__(self, address):
        self._outcome = None
        self._thread = threading.Thread(target=self._run, args=(address,))

    def _run(self, address):
        self._outcome = health(address)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._thread.join()

    def outcome(self):
        self._thread.join()
        return self._outcome
