"""A minute in which a reload each second changes everything, and no client sees one of them
(reload_drill.py): first as it is, then with upgrades, at limits, with reload_grace, with names,
with confirm.

Otherwise operators would have to choose an hour for each change. S3GATE_DRILL_REQUESTS makes it
longer, and S3GATE_DRILL_MODE_REQUESTS the last four modes, with slow requests of a minute and an
upgrade every ten seconds. S3GATE_DRILL_REPORT is a folder for the reports.
"""

import os

import pytest

import reload_drill

# Seconds of each mode, and of one slow request in it.
SHORT = {
    "plain": (32, 20),
    "upgrade": (18, 6),
    "limits": (13, 6),
    "grace": (5, 20),
    "names": (6, 4),
    "confirm": (5, 4),
}


@pytest.mark.parametrize("mode", SHORT)
def test_no_client_sees_a_reload(mode):
    is_long = mode in ("plain", "upgrade")
    name = "S3GATE_DRILL_REQUESTS" if is_long else "S3GATE_DRILL_MODE_REQUESTS"
    arguments = ["--mode", mode]
    if name in os.environ:
        arguments += ["--requests", os.environ[name]]
    else:
        seconds, slow = SHORT[mode]
        arguments += ["--seconds", str(seconds), "--slow-seconds", str(slow)]
        arguments += ["--upgrade-seconds", "5"]  # of mode "upgrade"
    if "S3GATE_DRILL_REPORT" in os.environ:
        arguments += ["--report", f"{os.environ['S3GATE_DRILL_REPORT']}/{mode}.json"]
    assert reload_drill.main(arguments) == 0
