"""A minute in which a reload each second changes everything, and no client sees one of them
(reload_drill.py): first as it is, then at limits, with reload_grace, with names, with confirm.

Otherwise operators would have to choose an hour for each change. S3GATE_DRILL_REQUESTS and, for the
four modes, S3GATE_DRILL_MODE_REQUESTS make it longer, with slow requests of a minute.
S3GATE_DRILL_REPORT is a folder for the reports.
"""

import os

import pytest

import reload_drill

# Seconds of each mode, and of one slow request in it.
SHORT = {
    "plain": (32, 20),
    "limits": (13, 6),
    "grace": (5, 20),
    "names": (6, 4),
    "confirm": (5, 4),
}


@pytest.mark.parametrize("mode", SHORT)
def test_no_client_sees_a_reload(mode):
    name = "S3GATE_DRILL_REQUESTS" if mode == "plain" else "S3GATE_DRILL_MODE_REQUESTS"
    arguments = ["--mode", mode]
    if name in os.environ:
        arguments += ["--requests", os.environ[name]]
    else:
        seconds, slow = SHORT[mode]
        arguments += ["--seconds", str(seconds), "--slow-seconds", str(slow)]
    if "S3GATE_DRILL_REPORT" in os.environ:
        arguments += ["--report", f"{os.environ['S3GATE_DRILL_REPORT']}/{mode}.json"]
    assert reload_drill.main(arguments) == 0
