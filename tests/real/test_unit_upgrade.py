"""What systemd and clients see of upgrades: who is the main process, who is watched, what a crash
and a stop mean afterwards."""

import json
import pathlib

import pytest

from container import installed_files, require_systemd, run_in_systemd
from support_real import report

HERE = pathlib.Path(__file__).resolve().parent
# A crash is restarted after RestartSec=1.
LONGEST_RESTART = 2.5


@pytest.fixture(name="seen", scope="module")
def seen_fixture(tmp_path_factory):
    require_systemd()
    files = {
        **installed_files(),
        "ends.py": HERE / "ends_probe.py",
        "upgrade.py": HERE / "upgrade_probe.py",
        "etc/s3gate/s3gate.yaml": "",
    }
    probe = "/usr/bin/python3 -B /upgrade.py >/probe.out 2>/probe.err; journalctl -q -u s3gate >/log\n"
    upper = run_in_systemd(tmp_path_factory.mktemp("unit"), files, probe, seconds=240)
    print((upper / "log").read_text()[-8000:], (upper / "probe.err").read_text())
    found = json.loads((upper / "seen.json").read_text())
    report("unit_upgrade", found)
    return found


def clients_of(found):
    """Without those that were served."""
    words = ("refused", "reset in connect", "hung", "cut")
    return {word: found[word] for word in words if word in found}


def test_upgrades_are_seen_by_nobody(seen):
    found = seen["upgrades"]
    assert (seen["start"], found["codes"]) == (0, [0, 0, 0, 0])
    assert clients_of(found) == {} and found["served"] >= 40
    assert (found["state"], found["restarts"], found["kept"]) == ("active", 0, 6)


def test_a_program_that_does_not_serve_changes_nothing(seen):
    assert seen["bad program"] == {"code": 1, "same": True, "served": "served"}


def test_a_crash_right_after_is_restarted_and_refuses_nobody(seen):
    found = seen["crash"]
    assert set(clients_of(found)) <= {"cut"}, "requests in progress are lost, connects are not"
    assert max(found["took"]) <= LONGEST_RESTART
    assert found["kept"] == 6


def test_a_stop_waits_for_an_upload_in_the_old_process(seen):
    found = seen["stop"]
    assert (found["code"], found["answer"]) == (0, "HTTP/1.1 200 OK")
    assert found["bodies"] == [30000] and found["ended_after"] > 0
    assert (found["left"], found["later"]) == ([], "refused")


def test_the_new_process_is_watched(seen):
    found = seen["watchdog"]
    assert found["codes"] == [0, 0, 0]
    assert found["alive"] == 0, "the new process tells systemd that it lives"
    assert found["took"] < 10
