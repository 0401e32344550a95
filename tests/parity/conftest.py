"""Finds the support of all tests, and that of tests/real, which these tests share."""

import pathlib
import sys

import pytest

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "real")]

from support_real import require_program, s3gate_binary  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def programs():
    """Without the daemon or nginx every test skips before it starts anything."""
    s3gate_binary()
    require_program("nginx")
