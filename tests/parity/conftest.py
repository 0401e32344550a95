"""Finds the support of tests/real, which these tests share."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "real"))
