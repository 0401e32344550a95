"""Whoever can connect may look; commands are for root, the daemon's user and admin.operators.

A monitoring account that can stop a host's traffic is one account too many.
"""

import os
import subprocess

import pytest

from support.ctl import ADMIN, ctl, socket_of, status_of
from support.daemon import binary
from support.waiting import DEADLINE

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")

OPERATOR, OTHER = 61001, 61002  # numbers that no user has


@pytest.fixture
def daemon(one):
    return one(top={"admin": {**ADMIN, "operators": ["daemon", str(OPERATOR)]}})[0]


def ctl_as(daemon, uid, groups, *words):
    return subprocess.run(
        [binary(), "ctl", "--socket", socket_of(daemon), *words],
        user=uid,
        group=uid,
        extra_groups=groups,
        timeout=DEADLINE,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("user", [OPERATOR, "daemon"])
def test_operators_may_command(daemon, user):
    done = ctl_as(daemon, user, [0], "standby")
    assert done.returncode == 0, done.stderr
    assert status_of(daemon)["standby"]
    known = r"daemon \(uid 1\)" if user == "daemon" else f"uid {OPERATOR}"
    assert daemon.wait_stderr(rf"standby: /healthz answers 503 \(asked by {known}, pid \d+\)")


@pytest.mark.parametrize("command", ["reload", "confirm", "standby", "active"])
def test_others_of_the_group_may_look_only(daemon, command):
    done = ctl_as(daemon, OTHER, [0], "status")
    assert done.returncode == 0 and "serving" in done.stdout
    assert ctl_as(daemon, OTHER, [0], "health").returncode == 0
    done = ctl_as(daemon, OTHER, [0], command)
    assert done.returncode == 1 and "admin.operators" in done.stderr
    assert daemon.wait_stderr(rf"\[warning\] /{command} is refused: asked by uid {OTHER}, pid \d+")
    assert not status_of(daemon)["standby"]


def test_everybody_else_cannot_connect(daemon):
    done = ctl_as(daemon, OTHER, [], "status")
    assert done.returncode == 4
    assert socket_of(daemon) in done.stderr
    assert "Permission denied; try as root or as a member of the group root" in done.stderr


def test_an_operator_needs_the_group_too(daemon):
    """The key gives no right to connect."""
    assert ctl_as(daemon, OPERATOR, [], "standby").returncode == 4
    assert ctl(daemon, "health").returncode == 0
