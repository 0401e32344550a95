"""A minute in which a reload each second changes everything, and no client sees one of them
(reload_drill.py).

Otherwise operators would have to choose an hour for each change. S3GATE_DRILL_REQUESTS makes it
longer, S3GATE_DRILL_REPORT keeps the report.
"""

import os

import reload_drill


def test_no_client_sees_a_reload():
    arguments = []
    if "S3GATE_DRILL_REQUESTS" in os.environ:
        arguments += ["--requests", os.environ["S3GATE_DRILL_REQUESTS"]]
    if "S3GATE_DRILL_REPORT" in os.environ:
        arguments += ["--report", os.environ["S3GATE_DRILL_REPORT"]]
    assert reload_drill.main(arguments) == 0
