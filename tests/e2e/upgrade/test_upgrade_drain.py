"""Drained servers over an upgrade: the new process inherits the commands, the old one obeys later
ones, and `maintain` waits for the requests of both.

A node that is switched off because the new process is done with it cuts an upload in the old one.
"""

import subprocess

import pytest

from support.config import make_config, make_site
from support.ctl import ADMIN, ctl, socket_of, status_of
from support.daemon import binary
from support.upgrade import Held
from support.waiting import DEADLINE, wait_until

TURNS = {"method": "round_robin"}


@pytest.fixture(name="pair")
def pair_fixture(line, make_backend):
    """A daemon with two servers, of which the first one holds requests: (daemon, servers, held)."""
    held = Held()
    backends = [make_backend(held), make_backend()]
    config = make_config([make_site(backends, balance=TURNS)], admin=ADMIN)
    return line.start(config), backends, held


def hold_one(daemon, backend):
    client = daemon.client()
    while not backend.count("/b/held"):
        client.send(client.head("GET", "/b/held"))
        wait_until(lambda: backend.count("/b/held") or client.has_input())
        if not backend.count("/b/held"):
            client.read_response()
    return client


def overrides(daemon):
    return [one["state"] for one in status_of(daemon)["overrides"]]


def tell(daemon, *words):
    done = ctl(daemon, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def answers(daemon, count=8):
    out = set()
    for _ in range(count):
        with daemon.client() as client:
            out.add(client.request().data)
    return out


def test_the_new_process_inherits_and_counts_the_old_one(line, pair):
    daemon, (first, second), held = pair
    client = hold_one(daemon, first)
    tell(daemon, "drain", first.address)
    by = status_of(daemon)["overrides"][0]["by"]
    line.upgrade()
    (override,) = status_of(daemon)["overrides"]
    assert override["state"] == "drained" and override["by"] == by
    assert answers(daemon) == {b"b2"}
    done = ctl(daemon, "maintain", first.address, "--force", "--timeout", "500ms")
    assert done.returncode == 5 and "1 of them in old processes" in done.stdout
    command = [binary(), "ctl", "--socket", socket_of(daemon), "maintain", first.address, "--force"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as waiting:
        lines = iter(waiting.stdout.readline, "")
        wait_until(lambda: "1 of them in old processes" in next(lines))
        line.upgrade()  # the command goes on with the next process
        assert overrides(daemon) == ["maintenance"]
        held.go.set()
        assert waiting.wait(DEADLINE) == 0
    assert client.read_response().body.data == b"half whole"
    client.close()
    tell(daemon, "maintain", first.address, "--done")
    assert answers(daemon) == {b"ok", b"b2"}
    assert daemon.wait_exit() == 0
    assert second.requests


def test_the_old_process_obeys(line, pair):
    """Its client has one more request there, which must not go to a server that is drained now."""
    daemon, (first, second), held = pair
    kept = [daemon.client() for _ in range(6)]
    for client in kept:
        assert client.request().status == 200
    client = hold_one(daemon, first)
    line.upgrade()
    tell(daemon, "down", first.address)
    daemon.wait_stderr("down: test: ")
    before = len(first.requests)
    # The old process reads its link without a delay that an operator could notice.
    wait_until(lambda: len(first.open_connections) == 1, what="the end of its parked connections")
    for one in kept:
        assert one.request().data == b"b2"
        one.close()
    assert len(first.requests) == before
    held.go.set()
    assert client.read_response().body.data == b"half whole"
    client.close()
    assert daemon.wait_exit() == 0
    assert second.requests


def test_maintain_waits_for_what_an_old_process_has_just_begun(line, pair):
    """Old processes tell what they do every 250 ms. Figures of before the command would say that
    nothing is in progress."""
    daemon, (first, _), held = pair
    kept = [daemon.client() for _ in range(6)]
    for client in kept:
        assert client.request().status == 200
    line.upgrade()
    for client in kept:
        client.send(client.head("GET", "/b/held"))
        wait_until(lambda client=client: first.count("/b/held") or client.has_input())
        if first.count("/b/held"):
            break
    done = ctl(daemon, "maintain", first.address, "--force", "--timeout", "100ms")
    assert done.returncode == 5 and "1 of them in old processes" in done.stderr, done
    held.go.set()
    assert client.read_response().body.data == b"half whole"
    for client in kept:
        client.close()
    tell(daemon, "maintain", first.address)
    assert daemon.wait_exit() == 0


def test_a_command_during_the_start_of_the_new_process(line, pair):
    daemon, (first, _), _ = pair
    line.replace_program(f'sleep 1\nexec "{binary()}" "$@"')
    line.begin_upgrade()
    tell(daemon, "drain", first.address)
    code, text = line.end_upgrade()
    assert code == 0, text
    assert overrides(daemon) == ["drained"]
    assert answers(daemon) == {b"b2"}
    tell(daemon, "undrain", first.address)
    assert answers(daemon) == {b"ok", b"b2"}


def test_sessions_are_known_after_an_upgrade(line, make_backend):
    backends = [make_backend() for _ in range(2)]
    daemon = line.start(make_config([make_site(backends)], admin=ADMIN))

    def names(keys):
        out = set()
        for key in keys:
            with daemon.client() as client:
                out.add(client.request(target=f"/b/k?sessionid={key}").data)
        return out

    old = [key for key in range(40) if names([key]) == {b"b1"}]
    line.upgrade()
    tell(daemon, "drain", backends[0].address, "--sessions")
    assert names(old) == {b"b1"}
    assert names(range(100, 140)) == {b"b2"}
    line.upgrade()
    assert overrides(daemon) == ["sessions"]
    assert names(old) == {b"b1"}
    assert names(range(200, 240)) == {b"b2"}


def test_a_changed_configuration_ends_it_at_the_upgrade(line, pair):
    daemon, (first, _), _ = pair
    tell(daemon, "drain", first.address)
    config = daemon.config
    config["sites"][0]["backends"]["servers"][0] = {"address": first.address, "weight": 2}
    daemon.write(config)
    line.upgrade()
    assert overrides(daemon) == []
    daemon.wait_stderr(r'"drained" by .* has ended: its weight changed')
    assert answers(daemon) == {b"ok", b"b2"}


def test_a_restart_ends_it(start, make_backend):
    backends = [make_backend() for _ in range(2)]
    config = make_config([make_site(backends, balance=TURNS)], admin=ADMIN)
    first = start(config)
    tell(first, "drain", backends[0].address)
    assert first.stop() == 0
    assert overrides(start(config)) == []
