"""Waiting for conditions. Tests never wait for an amount of time; they wait for a condition, with a
generous deadline.
"""

import os
import time

# Sanitizer builds and busy machines are slow; a deadline only ends a test that has failed.
SCALE = float(os.environ.get("S3GATE_TEST_SCALE", "1"))
DEADLINE = 20.0 * SCALE


class Timeout(AssertionError):
    """A condition did not come true before its deadline."""


def wait_until(condition, deadline=None, what=None, interval=0.01):
    """Calls `condition` until it returns something true and returns that."""
    limit = DEADLINE if deadline is None else deadline
    end = time.monotonic() + limit
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= end:
            raise Timeout(f"not true after {limit:.1f} s: {what or condition}")
        time.sleep(interval)
