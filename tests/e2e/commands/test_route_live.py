"""`s3gate route --live`: where a request goes today, and why not where its key belongs.

The printed server is compared with the one that a request with that key really reaches.
"""

import re

import pytest

from support.config import FAST_HEALTH
from support.ctl import ADMIN, ctl, socket_of
from support.daemon import run_command
from support.waiting import wait_until

KEY = "/b/k?sessionid=seven"


def route(daemon, *words):
    done = run_command("route", "--live", "--socket", socket_of(daemon), *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def value(text, label):
    found = re.search(rf"^{label} +(.*)$", text, re.M)
    return found and found[1]


def reached(daemon):
    """The address that a request with the key reaches."""
    number = len(daemon.log_lines())
    with daemon.client() as client:
        assert client.request(target=KEY).status == 200
    wait_until(lambda: len(daemon.log_lines()) > number, what="the line")
    return daemon.log_lines()[-1]["upstreamaddr"]


@pytest.fixture(name="cluster")
def cluster_fixture(make_backend, gate):
    backends = [make_backend() for _ in range(4)]
    return gate(backends, health=FAST_HEALTH, top={"admin": ADMIN}), backends


def of_address(backends, address):
    return next(backend for backend in backends if backend.address == address)


def test_it_agrees_with_the_daemon(cluster):
    daemon, backends = cluster
    text = route(daemon, KEY)
    owner = value(text, "server")
    assert value(text, "owner") == owner and value(text, "not now") is None
    assert reached(daemon) == owner

    of_address(backends, owner).refuse()
    wait_until(lambda: "(down by the checks)" in route(daemon, KEY), what="the checks")
    text = route(daemon, KEY)
    assert value(text, "owner") == value(text, "not now") == owner + " (down by the checks)"
    second = value(text, "server")
    assert second != owner
    assert reached(daemon) == second
    # What the configuration says alone is what the ring says.
    done = run_command("route", "-c", daemon.file, KEY)
    assert value(done.stdout, "server") == owner and value(done.stdout, "if down") == second


def test_a_drained_server_says_so(make_backend, gate):
    backends = [make_backend() for _ in range(3)]
    daemon = gate(backends, health=FAST_HEALTH, top={"admin": ADMIN})
    owner = value(route(daemon, KEY), "server")
    config = daemon.config
    servers = config["sites"][0]["backends"]["servers"]
    config["sites"][0]["backends"]["servers"] = [
        {"address": one, "drained": True} if one == owner else one for one in servers
    ]
    daemon.write(config)
    assert value(route(daemon, KEY), "server") == owner, "the running one counts, not the file"
    assert ctl(daemon, "reload").returncode == 0
    text = route(daemon, KEY)
    assert value(text, "owner") == owner + " (drained)"
    assert value(text, "server") not in (owner, None)


@pytest.mark.parametrize(
    "words, reason",
    [
        (["drain"], "drained by a command"),
        (["drain", "--sessions"], "drained by a command, its sessions stay"),
        (["down"], "down by a command"),
    ],
)
def test_a_command_is_a_reason(cluster, words, reason):
    daemon, _ = cluster
    owner = value(route(daemon, KEY), "server")
    assert ctl(daemon, words[0], owner, *words[1:]).returncode == 0
    text = route(daemon, KEY)
    assert value(text, "owner") == f"{owner} ({reason})"
    second = value(text, "server")
    assert second != owner and reached(daemon) == second
    upload = next(
        target
        for target in (f"/b/k?uploadId={number}" for number in range(1000))
        if value(route(daemon, target), "owner").startswith(owner)
    )
    stays = "--sessions" in words
    assert (value(route(daemon, upload), "server") == owner) == stays


def test_when_all_are_down_checks_are_ignored(cluster):
    daemon, backends = cluster
    owner = value(route(daemon, KEY), "server")
    for backend in backends:
        backend.refuse()
    wait_until(lambda: route(daemon, KEY).count("(down by the checks)") == 5, what="the checks")
    text = route(daemon, KEY)
    assert value(text, "server") == owner
    assert "checks and marks are ignored (when_all_down: try)" in text


def test_it_needs_a_daemon(tmp_path):
    done = run_command("route", "--live", "--socket", tmp_path / "none", "x")
    assert done.returncode == 4 and "cannot reach the daemon" in done.stderr
    done = run_command("route", "--socket", tmp_path / "none", "x")
    assert done.returncode == 1 and "--socket belongs to --live" in done.stderr
