"""A user database or a file system that hangs holds up the reload that needs it, and nothing else.

On the control loop it would stop health checks, signals and the watchdog's life signs, and systemd
would kill a daemon that serves well.
"""

import copy
import signal

import pytest

from support.config import FAST_HEALTH
from support.ctl import ADMIN, connect, ctl, socket_of, status_of
from support.waiting import wait_until

MOST_WAITING = 64  # reloads that wait for the one that runs
MOST_SLOW = 64  # commands under way at a time that may take long

CHANGES = {
    "operators": {"admin": {**ADMIN, "operators": ["nobody"]}},
    "access log": {"access_log": {"target": "{dir}/access.hangs"}},
    "log": {"log": {"target": "{dir}/log.hangs"}},
}


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_waits_with_the_reload(gate, make_backend, hang, change):
    environment, switch = hang
    daemon = gate(
        [make_backend()], health=FAST_HEALTH, top={"admin": ADMIN}, daemon={"env": environment}
    )
    switch.touch()
    daemon.write({**copy.deepcopy(daemon.config), **CHANGES[change]})
    daemon.signal(signal.SIGHUP)
    daemon.wait_stderr("SIGHUP: ")
    passed = status_of(daemon)["counters"]["checks_passed"]
    wait_until(
        lambda: status_of(daemon)["counters"]["checks_passed"] > passed + 3, what="further checks"
    )
    assert ctl(daemon, "health").returncode == 0
    assert ctl(daemon, "confirm").stderr == "s3gate: there is no reload to confirm\n"
    assert status_of(daemon)["config"]["generation"] == 1
    switch.unlink()
    wait_until(lambda: status_of(daemon)["config"]["generation"] == 2, what="the reload's end")


@pytest.mark.parametrize("change", CHANGES)
def test_a_stop_does_not_wait_for_it(gate, make_backend, hang, change):
    environment, switch = hang
    daemon = gate([make_backend()], top={"admin": ADMIN}, daemon={"env": environment})
    switch.touch()
    daemon.write({**copy.deepcopy(daemon.config), **CHANGES[change]})
    daemon.signal(signal.SIGHUP)
    daemon.wait_stderr("SIGHUP: ")
    assert ctl(daemon, "health").returncode == 0
    assert daemon.stop() == 0


def test_signals_do_not_pile_up(gate, make_backend, hang):
    """A script that sends one every second must not fill the memory meanwhile."""
    environment, switch = hang
    daemon = gate([make_backend()], top={"admin": ADMIN}, daemon={"env": environment})
    switch.touch()
    daemon.write({**copy.deepcopy(daemon.config), **CHANGES["operators"]})
    for number in range(1, 1 + MOST_WAITING + 5 + 1):
        daemon.signal(signal.SIGHUP)
        wait_until(lambda number=number: daemon.stderr.count("SIGHUP: ") == number)
    assert status_of(daemon)["config"]["reload_running"]
    assert "a reload is running\n" in ctl(daemon, "status").stdout
    assert daemon.stderr.count(f"reload refused: {MOST_WAITING} others wait already") == 5
    switch.unlink()
    daemon.wait_stderr(f"reloaded: generation {1 + 1 + MOST_WAITING}")
    assert not status_of(daemon)["config"]["reload_running"]


def test_a_trial_ends_once_its_end_is_possible(gate, make_backend, hang):
    """The configuration before needs the user database, which hangs at that moment."""
    environment, switch = hang
    daemon = gate([make_backend()], top={"admin": ADMIN}, daemon={"env": environment})
    daemon.write({**copy.deepcopy(daemon.config), "reload_grace": "1m"})
    assert ctl(daemon, "reload", "--confirm", "1s").returncode == 0
    switch.touch()
    wait_until(lambda: status_of(daemon)["config"]["reload_running"], what="the end of the trial")
    done = ctl(daemon, "confirm")
    assert (done.returncode, done.stderr) == (1, "s3gate: there is no reload to confirm\n")
    assert ctl(daemon, "health").returncode == 0
    switch.unlink()
    daemon.wait_stderr("not confirmed within 1 s")


def test_waiting_commands_refuse_no_quick_one(gate, make_backend, hang):
    """As many reloads wait as may. One more is refused by an answer; no other command waits."""
    environment, switch = hang
    daemon = gate([make_backend()], top={"admin": ADMIN}, daemon={"env": environment})
    switch.touch()
    daemon.write({**copy.deepcopy(daemon.config), **CHANGES["operators"]})
    waiting = []
    for number in range(1, MOST_SLOW + 1):
        waiting.append(connect(socket_of(daemon)))
        waiting[-1].sendall(b"POST /reload HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda number=number: daemon.stderr.count("reload (asked by ") == number)
    done = ctl(daemon, "reload")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{MOST_SLOW} such commands are under way already" in done.stderr
    for command in ("status", "standby", "active", "health"):
        assert ctl(daemon, command).returncode == 0, command
    assert status_of(daemon)["config"]["generation"] == 1  # they all wait still
    for sock in waiting:
        sock.close()
    assert daemon.stop() == 0
