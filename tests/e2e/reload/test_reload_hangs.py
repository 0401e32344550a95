"""A user database or a file system that hangs holds up the reload that needs it, and nothing else.

On the control loop it would stop health checks, signals and the watchdog's life signs, and systemd
would kill a daemon that serves well.
"""

import copy
import pathlib
import signal
import subprocess

import pytest

from support.checkout import ROOT
from support.config import FAST_HEALTH
from support.ctl import ADMIN, ctl, status_of
from support.daemon import binary
from support.waiting import wait_until

SHIM = ROOT / "tests" / "support" / "hang_calls.c"


@pytest.fixture(name="hang")
def hang_fixture(tmp_path):
    """The environment of a daemon whose calls can hang, and the file that makes them hang."""
    program = pathlib.Path(binary()).read_bytes()
    if b"__asan_init" in program or b"__tsan_init" in program:
        pytest.skip("a sanitizer must be the first library")
    library, switch = tmp_path / "hang_calls.so", tmp_path / "hang"
    subprocess.check_call(["cc", "-O1", "-shared", "-fPIC", "-o", library, SHIM])
    yield {"LD_PRELOAD": str(library), "HANG_WHILE": str(switch)}, switch
    switch.unlink(missing_ok=True)


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
