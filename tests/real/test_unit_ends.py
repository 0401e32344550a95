"""What clients see of a reload, a restart, a crash and a start that fails, under a real systemd.

Only systemd keeps listening sockets while there is no process, and only it decides when to let go
of them. S3GATE_UPLOAD_SECONDS (4) is how long the upload takes that a restart waits for,
S3GATE_CRASHES (2) how often the daemon is killed.
"""

import json
import os
import pathlib

import pytest

from container import installed_files, require_systemd, run_in_systemd
from support_real import report

HERE = pathlib.Path(__file__).resolve().parent
UPLOAD_SECONDS = int(os.environ.get("S3GATE_UPLOAD_SECONDS", "4"))
CRASHES = int(os.environ.get("S3GATE_CRASHES", "2"))
# What operators are promised (docs/operations.md, "Change, restart, roll back").
LONGEST_REFUSAL = 2.5


@pytest.fixture(name="seen", scope="module")
def seen_fixture(tmp_path_factory):
    require_systemd()
    files = {
        **installed_files(),
        "ends.py": HERE / "ends_probe.py",
        "settings.json": json.dumps({"upload_seconds": UPLOAD_SECONDS, "crashes": CRASHES}),
        "etc/s3gate/s3gate.yaml": "",
    }
    probe = "/usr/bin/python3 -B /ends.py >/probe.out 2>/probe.err; journalctl -q -u s3gate >/log\n"
    seconds = 240 + UPLOAD_SECONDS + 10 * CRASHES
    upper = run_in_systemd(tmp_path_factory.mktemp("unit"), files, probe, seconds=seconds)
    log = (upper / "log").read_text()
    print(log[-8000:], (upper / "probe.err").read_text())
    found = {**json.loads((upper / "seen.json").read_text()), "log": log}
    report("unit_ends", {name: figures for name, figures in found.items() if name != "log"})
    return found


def clients_of(found):
    """Without those that were served."""
    words = ("refused", "reset in connect", "hung", "cut")
    return {word: found[word] for word in words if word in found}


def test_a_reload_is_seen_by_nobody(seen):
    assert seen["start"] == 0
    assert seen["reload"]["codes"] == [0] * 20
    assert clients_of(seen["reload"]) == {} and seen["reload"]["served"] >= 20


def test_a_broken_file_fails_the_reload_and_nothing_else(seen):
    found = seen["broken reload"]
    assert found["code"] != 0 and found["state"] == "active"
    assert clients_of(found) == {}


def test_a_crash_refuses_no_connect(seen):
    """Two workers on a plain address, a specific address and its wildcard."""
    found = seen["crash"]
    assert found["kept"] == 6
    assert set(clients_of(found)) <= {"cut"}, "requests in progress are lost, connects are not"
    assert found.get("cut", 0) <= 3 * CRASHES
    assert found["cut in the queue"] == 0, "who connects after the crash waits"


def test_without_the_store_it_would(seen):
    """Else the test before shows nothing."""
    found = seen["crash without store"]
    assert found["kept"] == 0 and found["refused"] > 0


@pytest.mark.parametrize("code, state", [(1, "auto-restart"), (2, "failed")])
def test_nobody_waits_for_a_start_that_fails(seen, code, state):
    found = seen[f"crash and code {code}"]
    assert (found["first"], found["later"]) == ("cut", "refused")
    assert (found["state"], found["kept"], found["repaired"]) == (state, 0, "served")


def test_nobody_waits_after_a_stop(seen):
    assert seen["crash and stop"] == {"later": "refused", "kept": 0}


def test_a_restart_with_idle_clients_refuses_briefly(seen):
    found = seen["restart, idle"]
    assert (found["idle"], found["code"]) == (500, 0)
    assert set(clients_of(found)) <= {"refused"}
    assert found["refusing"] <= LONGEST_REFUSAL


def test_a_restart_waits_for_an_upload(seen):
    found = seen["restart, upload"]
    assert (found["code"], found["result"]) == (0, "success")
    assert found["answer"] == "HTTP/1.1 200 OK"
    assert found["bodies"] == [UPLOAD_SECONDS * 10 * 1000]
    assert found["began_to_stop_before"] > UPLOAD_SECONDS / 2 and found["ended_after"] > 0
    assert "systemd does not take the listening sockets" not in seen["log"]


def test_a_restart_waits_no_longer_than_it_was_told(seen):
    found = seen["restart, long upload"]
    assert found["answer"] != "HTTP/1.1 200 OK" and found["bodies"] == []
    assert 2 <= found["took"] < 20, "shutdown_timeout, not the end of the upload"
