"""A minute of faults (soak.py).

Otherwise users would find a body that is cut, mixed up or repeated only when several faults
coincide, a write that is executed twice, or a figure that does not return to zero.
S3GATE_SOAK_SECONDS makes it longer, S3GATE_SOAK_REPORT keeps the report.
"""

import os

import soak


def test_truth_under_faults():
    arguments = ["--seconds", os.environ.get("S3GATE_SOAK_SECONDS", "60")]
    if "S3GATE_SOAK_REPORT" in os.environ:
        arguments += ["--report", os.environ["S3GATE_SOAK_REPORT"]]
    assert soak.main(arguments) == 0
