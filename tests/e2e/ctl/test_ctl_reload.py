"""`s3gate ctl reload` as systemd and operators call it: it waits for the outcome, says all
problems, and its exit code is the outcome's.

A roll-out that takes a refused reload for a good one serves yesterday's configuration for a month.
"""

import copy

import pytest

from support.config import dead_address, make_config, make_site, to_yaml
from support.ctl import ADMIN, connect, ctl, socket_of, status_of
from support.waiting import wait_until


@pytest.fixture
def daemon(start, make_backend):
    return start(make_config([make_site([make_backend()])], admin=ADMIN))


def write(daemon, change):
    config = copy.deepcopy(daemon.config)
    change(config)
    daemon.file.write_text(to_yaml(config).replace("{dir}", str(daemon.dir)))


def add_server(config):
    config["sites"][0]["backends"]["servers"].append(dead_address())


def servers_of(daemon):
    return len(status_of(daemon)["sites"][0]["groups"][0]["servers"])


def test_it_waits_for_the_outcome(daemon):
    write(daemon, add_server)
    done = ctl(daemon, "reload")
    assert (done.returncode, done.stderr) == (0, "")
    assert "generation 2" in done.stdout and done.stdout.count("\n") == 1
    status = status_of(daemon)
    assert status["config"]["generation"] == 2 and not status["config"]["differs_from_disk"]
    assert servers_of(daemon) == 2
    daemon.wait_stderr(r"\[info\] reload \(asked by \S.*, pid \d+\)")


def test_a_refusal_says_all_problems_as_check_does(daemon):
    def spoil(config):
        config["sites"][0]["backends"]["servers"] = []
        config["sties"] = []

    write(daemon, spoil)
    done = ctl(daemon, "reload")
    assert done.returncode == 1 and done.stdout == ""
    lines = done.stderr.splitlines()
    for key in ("sties", "backends.servers"):
        assert any(str(daemon.file) in line and f"{key}: " in line for line in lines), lines
    assert lines[-1].startswith("s3gate: reload refused: ")
    assert status_of(daemon)["config"]["generation"] == 1
    assert daemon.client().request().status == 200


def test_confirm_keeps_what_else_comes_back(daemon):
    write(daemon, add_server)
    assert ctl(daemon, "reload", "--confirm", "60s").returncode == 0
    config = status_of(daemon)["config"]
    assert 50 < config["confirm_within_seconds"] <= 60
    assert "to be confirmed within" in ctl(daemon, "status").stdout
    done = ctl(daemon, "confirm")
    assert done.returncode == 0 and "generation 2" in done.stdout
    assert status_of(daemon)["config"]["confirm_within_seconds"] is None
    done = ctl(daemon, "confirm")
    assert (done.returncode, done.stderr) == (1, "s3gate: there is no reload to confirm\n")

    write(daemon, lambda config: None)
    assert ctl(daemon, "reload", "--confirm", "1s").returncode == 0
    assert servers_of(daemon) == 1
    wait_until(lambda: servers_of(daemon) == 2, what="the configuration before")
    assert status_of(daemon)["config"]["differs_from_disk"]
    assert "running differs from disk" in ctl(daemon, "status").stdout


def test_a_standby_survives_it(daemon):
    ctl(daemon, "standby")
    assert ctl(daemon, "reload").returncode == 0
    assert ctl(daemon, "health").stderr == "s3gate: health: standby\n"
    assert status_of(daemon)["standby"]


def test_whoever_asked_may_leave(daemon):
    """It is carried out all the same, and the next one is answered."""
    for number in range(20):
        with connect(socket_of(daemon)) as sock:
            sock.sendall(b"POST /reload HTTP/1.1\r\nHost: x\r\n\r\n")
        if number % 5 == 0:
            assert ctl(daemon, "health").returncode == 0
    wait_until(lambda: status_of(daemon)["config"]["generation"] == 21, what="all of them")
    wait_until(lambda: daemon.sockets < 30, what="no connection is left behind")
