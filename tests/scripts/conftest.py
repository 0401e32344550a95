"""Fixtures: copies of the checkout that are removed when the test ends."""

import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support.checkout import Checkout  # noqa: E402


@pytest.fixture
def make_checkout():
    """Makes copies of the checkout, see support.checkout."""
    made = []

    def make(*arguments, **more):
        made.append(Checkout(*arguments, **more))
        return made[-1]

    yield make
    for checkout in made:
        checkout.remove()


def pytest_sessionstart(session):
    del session
    if "S3GATE_BIN" not in os.environ:
        raise pytest.UsageError("S3GATE_BIN must name the s3gate program")
