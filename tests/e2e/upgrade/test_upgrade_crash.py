"""The process that took over crashes. Under systemd the service starts anew as soon as all its
processes have ended, so the old one makes way; else the old one serves the clients that it has.
"""

import signal

import pytest

from support.config import make_config, make_site
from support.ctl import ADMIN
from support.upgrade import Held, pid_of
from support.waiting import wait_until

IN_UNIT = {"INVOCATION_ID": "0" * 32}
# Says that it serves. Nobody has its link to the process before.
DEAD = """ready=${S3GATE_UPGRADE%%:*}
eval "exec ${S3GATE_UPGRADE##*:}>&-"
eval "echo pid $$ >&$ready; echo serving >&$ready"
"""


@pytest.fixture(name="held")
def held_fixture(line, make_backend):
    """Starts a process that has a request in progress, and upgrades it: (daemon, client, Held)."""
    clients = []

    def run(environment):
        held = Held()
        backend = make_backend(held)
        config = make_config([make_site([backend])], admin=ADMIN)
        daemon = line.start(config, env=environment)
        client = daemon.client()
        clients.append(client)
        client.send(client.head("GET", "/b/held"))
        wait_until(lambda: backend.requests)
        line.upgrade()
        return daemon, client, held

    yield run
    for client in clients:
        client.close()


def crash(successor):
    successor.signal(signal.SIGKILL)
    successor.wait_exit()


def assert_whole(client, held):
    held.go.set()
    assert client.read_response().body.data == b"half whole"
    client.close()


def test_in_a_unit_the_old_process_makes_way(held, line):
    daemon, client, _ = held(IN_UNIT)
    crash(line.successors.pop())
    daemon.expected_exit = 1
    assert daemon.wait_exit() == 1, "also a service manager that knows no other process restarts it"
    assert daemon.stderr.count("the process that took over from this one has crashed") == 1
    assert "this one ends too, so that systemd can start the next one" in daemon.stderr
    assert b"whole" not in client.read_until_close()[0]


def test_a_signal_that_comes_first_makes_no_difference(held, line):
    """systemd sees the end of the service, and the old process that of the link, in any order."""
    daemon, _, _ = held(IN_UNIT)
    daemon.signal(signal.SIGTERM)
    daemon.wait_stderr("draining: ")
    crash(line.successors.pop())
    daemon.expected_exit = 1
    assert daemon.wait_exit() == 1


def test_without_a_unit_it_serves_its_clients(held, line):
    daemon, client, held_ = held({})
    crash(line.successors.pop())
    daemon.wait_stderr("has crashed; this one serves the clients that it has")
    assert_whole(client, held_)
    assert daemon.wait_exit() == 0


def test_a_stop_is_no_crash(held, line):
    daemon, client, held_ = held(IN_UNIT)
    line.successors[-1].signal(signal.SIGTERM)
    daemon.wait_stderr(r"draining[^\n]*\n(.*\n)*.*draining")
    assert_whole(client, held_)
    assert daemon.wait_exit() == 0
    assert line.successors[-1].wait_exit() == 0
    assert "crashed" not in daemon.stderr


def test_the_end_of_an_old_process_between_is_no_crash(held, line):
    daemon, client, held_ = held(IN_UNIT)
    between = line.successors[-1]
    line.upgrade()
    assert between.wait_exit() == 0
    assert pid_of(daemon) == line.present
    assert_whole(client, held_)
    assert daemon.wait_exit() == 0
    assert "crashed" not in daemon.stderr


def test_a_crash_after_two_upgrades_reaches_the_first_process(held, line):
    daemon, _, _ = held(IN_UNIT)
    between = line.successors[-1]
    line.upgrade()
    assert between.wait_exit() == 0
    crash(line.successors.pop())
    daemon.expected_exit = 1
    assert daemon.wait_exit() == 1


def test_one_that_ends_as_soon_as_it_serves_changes_nothing(serve, line):
    daemon, _ = serve()
    line.replace_program(DEAD)
    assert "it ended as soon as it served" in line.failing_upgrade()
    assert pid_of(daemon) == daemon.process.pid
    with daemon.client() as client:
        assert client.request().status == 200
    line.restore_program()
    line.upgrade()
    assert daemon.wait_exit() == 0
