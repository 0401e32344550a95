"""What systemd and clients see of upgrades: who is the main process, who is watched, which sockets
are kept, what a crash and a stop mean afterwards.

Only systemd decides whether it follows to the new process, and when it starts the service anew.
S3GATE_CRASHES (2) is how often a new process is killed right after it took over.
"""

import json
import os
import pathlib

import pytest

from container import installed_files, require_systemd, run_in_systemd
from support_real import report

HERE = pathlib.Path(__file__).resolve().parent
CRASHES = int(os.environ.get("S3GATE_CRASHES", "2"))
# What operators are promised (docs/operations.md, "A new binary"). RestartSec=1 is most of it.
LONGEST_RESTART = 2
# On a machine that has other work as well.
LONGEST_BUSY_RESTART = 6
# Two workers on a plain address, a specific address and its wildcard.
SOCKETS = 6
WATCHDOG = 3
CRASHED = "the process that took over from this one has crashed; this one ends too"
CHANGED = "warning: the unit of the service is another one than at its start; "
PROBE = """
/usr/bin/python3 -B /upgrade.py >/probe.out 2>/probe.err
journalctl -q -u s3gate >/log
"""


@pytest.fixture(name="seen", scope="module")
def seen_fixture(tmp_path_factory):
    require_systemd()
    files = {
        **installed_files(),
        "ends.py": HERE / "ends_probe.py",
        "upgrade.py": HERE / "upgrade_probe.py",
        "settings.json": json.dumps({"crashes": CRASHES, "longest_restart": LONGEST_RESTART}),
        "etc/s3gate/s3gate.yaml": "",
    }
    folder = tmp_path_factory.mktemp("unit")
    upper = run_in_systemd(folder, files, PROBE, seconds=240 + 10 * CRASHES)
    print((upper / "log").read_text()[-8000:], (upper / "probe.err").read_text())
    found = json.loads((upper / "seen.json").read_text())
    report("unit_upgrade", {name: without_log(figures) for name, figures in found.items()})
    return found


def without_log(figures):
    if not isinstance(figures, dict):
        return figures
    return {name: value for name, value in figures.items() if name != "log"}


def clients_of(found):
    """Without those that were served."""
    words = ("refused", "reset in connect", "hung", "cut")
    return {word: found[word] for word in words if word in found}


def assert_nothing_changed(found):
    """After an upgrade that failed."""
    assert found["code"] == 1 and found["same"]
    assert clients_of(found) == {} and found["served"] >= 20
    assert found["kept"] == SOCKETS


def test_upgrades_are_seen_by_nobody(seen):
    found = seen["upgrades"]
    assert (seen["start"], found["codes"]) == (0, [0, 0, 0, 0])
    assert clients_of(found) == {} and found["served"] >= 40
    assert (found["state"], found["restarts"], found["kept"]) == ("active", 0, SOCKETS)


def test_upgrades_amid_reloads_are_seen_by_nobody(seen):
    found = seen["reloads"]
    assert found["codes"] == [0, 0, 0] and found["reloads"] >= 6
    assert found["failed reloads"] == []
    assert clients_of(found) == {} and found["served"] >= 40
    assert (found["restarts"], found["kept"]) == (0, SOCKETS)


def test_a_program_that_ends_changes_nothing(seen):
    found = seen["bad program"]
    assert_nothing_changed(found)
    assert "it ended before it served" in found["said"] and found["alone"]


def test_a_program_that_hangs_changes_nothing(seen):
    assert_nothing_changed(seen["hanging program"])
    assert seen["hanging program"]["alone"]


def test_a_program_that_ends_as_soon_as_it_serves_changes_nothing(seen):
    found = seen["end as it serves"]
    assert_nothing_changed(found)
    assert "it ended as soon as it served" in found["said"]


def test_a_stop_ends_a_program_that_hangs(seen):
    found = seen["stop of a hanging one"]
    assert (found["stopped"], found["code"], found["result"]) == (0, 1, "success")
    assert found["left"] == [] and found["took"] < 5


def assert_restarted(found):
    assert found["restarts"] == len(found["took"]) >= CRASHES
    assert min(found["took"]) <= LONGEST_RESTART
    assert max(found["took"]) <= LONGEST_BUSY_RESTART
    assert set(clients_of(found)) <= {"cut"}, "requests in progress are lost, connects are not"
    assert found["cut in the queue"] == 0, "who connects after the crash waits"
    assert found["kept"] == SOCKETS and found["alone"]


def test_a_crash_right_after_is_restarted_and_refuses_nobody(seen):
    assert_restarted(seen["crash"])


def test_an_upload_in_the_old_process_does_not_delay_the_restart(seen):
    found = seen["crash, upload"]
    assert found["old"] == [1] * len(found["took"])
    assert_restarted(found)
    assert "HTTP/1.1 200 OK" not in found["answers"], "else the restart waits for it"
    assert found["log"].count(CRASHED) == len(found["took"])


def test_a_crash_before_systemd_knows_the_process_is_restarted(seen):
    found = seen["crash before systemd knows"]
    assert "does not exist or is a zombie" in found["log"], "else it tests the same as the others"
    assert found["code"] == 1 and "ended as soon as it had taken over" in found["said"]
    assert found["restarts"] == 1 and found["log"].count(CRASHED) == 1
    assert max(found["took"]) <= LONGEST_BUSY_RESTART
    assert set(clients_of(found)) <= {"cut"} and found["kept"] == SOCKETS


def test_an_address_that_is_gone_is_refused_and_not_kept(seen):
    found = seen["address"]
    assert found["code"] == 0 and found["kept"] == SOCKETS - 2 and not found["listens"]
    assert set(clients_of(found)) == {"refused"} and found["after"] == ["refused"]
    assert clients_of(found["others"]) == {} and found["others"]["served"] >= 20
    assert (found["back"], found["kept then"]) == ("served", SOCKETS)


@pytest.mark.parametrize("state", ["as it was", "changed", "restarted"])
def test_an_upgrade_says_that_the_unit_has_changed(seen, state):
    said = seen["unit"][state]
    assert len(said) == 2 and all("upgraded: process " in text for text in said)
    assert [CHANGED in text for text in said] == [state == "changed"] * 2
    if state != "changed":
        assert not any("warning" in text for text in said)


def test_a_stop_waits_for_an_upload_in_the_old_process(seen):
    """For longer than TimeoutStopSec."""
    found = seen["stop"]
    assert (found["code"], found["old"], found["result"]) == (0, 1, "success")
    assert (found["answer"], found["bodies"]) == ("HTTP/1.1 200 OK", [40000])
    assert found["took"] > 2 and found["ended_after"] > 0
    assert (found["left"], found["later"]) == ([], "refused")


def test_a_stop_waits_no_longer_than_it_was_told(seen):
    found = seen["stop, long upload"]
    assert (found["code"], found["old"], found["result"]) == (0, 1, "success")
    assert found["answer"] != "HTTP/1.1 200 OK" and found["bodies"] == []
    assert 1 <= found["took"] < 10, "shutdown_timeout, not the end of the upload"
    assert (found["left"], found["later"]) == ([], "refused")


def test_the_new_process_is_watched(seen):
    found = seen["watchdog"]
    assert found["codes"] == [0, 0, 0]
    assert found["restarts"] == 0, "the new process tells systemd that it lives"
    assert found["replaced"] and found["served"] == "served"
    assert found["took"] <= WATCHDOG + LONGEST_BUSY_RESTART
