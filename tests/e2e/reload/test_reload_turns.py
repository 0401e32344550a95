"""Reloads that come while one is under way wait for it, and a stop does not wait for any of them.

What makes a reload last here is a name that the resolver is silent about: it is waited for.
"""

import copy
import signal

import pytest

from support.ctl import ADMIN, ctl
from support.waiting import wait_until

SERVER = "127.0.53.18"


@pytest.fixture(name="daemon")
def daemon_fixture(names, prefix, gate, make_backend):
    """A daemon whose file names a server that nobody knows."""
    names.silent = {"silent.s3.test"}
    daemon = gate([make_backend()], top={"admin": ADMIN}, daemon={"prefix": prefix})
    config = copy.deepcopy(daemon.config)
    config["sites"][0]["backends"]["servers"].append("silent.s3.test:9000")
    daemon.write(config)
    return daemon


def hang_up(daemon, times):
    for number in range(1, times + 1):
        daemon.signal(signal.SIGHUP)
        wait_until(lambda number=number: daemon.stderr.count("SIGHUP: reopening") == number)


def control_seconds(daemon):
    """Processor time of the control thread."""
    with open(f"/proc/{daemon.process.pid}/schedstat", encoding="ascii") as figures:
        return int(figures.read().split()[0]) / 1e9


def test_an_unknown_name_is_a_warning_of_the_answer(daemon):
    done = ctl(daemon, "reload")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[-1] == "reloaded: generation 2"
    assert any(
        line.startswith("warning: ") and "cannot resolve silent.s3.test: " in line for line in lines
    )
    assert daemon.stderr.count("cannot resolve silent.s3.test: ") == 1


def test_each_has_its_turn(daemon):
    hang_up(daemon, 4)
    before = control_seconds(daemon)
    daemon.wait_stderr("reloaded: generation 2")
    # A sanitizer multiplies the work, not the wait.
    used = control_seconds(daemon) - before
    assert daemon.is_sanitized or used < 0.05, f"{used} s: who waits does nothing"
    for generation in range(3, 6):
        daemon.wait_stderr(f"reloaded: generation {generation}")
    with daemon.client() as client:
        assert client.request().status == 200


def test_a_stop_waits_for_none(daemon):
    hang_up(daemon, 3)
    daemon.signal(signal.SIGTERM)
    assert daemon.wait_exit() == 0
    assert "reloaded" not in daemon.stderr
