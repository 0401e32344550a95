"""The shipped unit keeps the promises of operations.md (scripts/check-unit lists them).

A unit that promises a reload without effect, or restarts after a typo until systemd refuses every
start, costs its operator the night. tests/real/test_unit.py tests it with systemd.
"""

import shutil
import subprocess

import pytest

from support.checkout import ROOT

CHANGES = {
    "as shipped": ("", "", True),
    "reload by signal": ("s3gate ctl reload", "kill -HUP $MAINPID", False),
    "second reload": ("KillSignal=", "ExecReload=/bin/kill -HUP $MAINPID\nKillSignal=", False),
    "no folder for the socket": ("RuntimeDirectory=s3gate\n", "", False),
    "check before the start": ("KillSignal=", "ExecStartPre=/bin/true\nKillSignal=", False),
    "typo is restarted": ("RestartPreventExitStatus=2 3", "RestartPreventExitStatus=3", False),
    "stop is restarted": ("RestartPreventExitStatus=2 3", "RestartPreventExitStatus=2", False),
    "starts are limited": ("StartLimitIntervalSec=0", "StartLimitIntervalSec=60", False),
}


@pytest.mark.parametrize("change", CHANGES)
def test_unit(tmp_path, change):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    old, new, is_good = CHANGES[change]
    for name in ("scripts", "systemd", "include/s3gate/control"):
        shutil.copytree(ROOT / name, tmp_path / name)
    unit = tmp_path / "systemd/s3gate.service"
    text = unit.read_text()
    assert old in text
    unit.write_text(text.replace(old, new) if old else text)
    done = subprocess.run(
        [tmp_path / "scripts/check-unit"], capture_output=True, text=True, check=False
    )
    assert (done.returncode == 0) == is_good, done.stdout + done.stderr
