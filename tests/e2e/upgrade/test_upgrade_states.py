"""The rows of an upgrade in the table of docs/operations.md, "What signals and commands do in each
state".
"""

import signal

import pytest

from support.ctl import ask, connect, ctl, read_all, socket_of, status_of
from support.upgrade import Held, pid_of
from support.waiting import wait_until

LONG = {"interval": "60s", "timeout": "15s", "fall": 3, "rise": 1}
REQUEST = b"POST /%b HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


def begin(serve, line, health=LONG):
    """The old process while its successor waits for the first check, and the successor."""
    daemon, backend = serve(health=health)
    backend.health.mode = "hang"
    line.begin_upgrade()
    return daemon, line.starting()


def post_late(daemon, command):
    """A command whose answer comes later."""
    sock = connect(socket_of(daemon))
    sock.sendall(REQUEST % command)
    return sock


def test_what_needs_the_configuration_waits_while_a_successor_starts(serve, line):
    daemon, successor = begin(serve, line)
    waiting = {name: post_late(daemon, name) for name in (b"reload", b"upgrade")}
    status, body = ask(socket_of(daemon), "GET", "/healthz")
    assert (status, body["reason"]) == (200, "ok")
    status, body = ask(socket_of(daemon), "POST", "/confirm")
    assert (status, body["message"]) == (409, "there is no reload to confirm")
    assert "an upgrade is running\n" in ctl(daemon, "status").stdout
    successor.signal(signal.SIGKILL)
    successor.wait_exit()
    assert line.end_upgrade()[0] == 1
    # The upgrade that waited starts another one.
    line.adopt("upgraded: process %d serves" % line.starting().pid)
    answer = {}
    for name, sock in waiting.items():
        if name == b"reload":
            answer[name] = read_all(sock)
        sock.close()
    assert b"reloaded: generation 2" in answer[b"reload"] or b"ask again" in answer[b"reload"]


def test_a_crash_while_a_successor_starts_is_no_end(serve, line):
    """Without a service manager that ends both."""
    daemon, successor = begin(serve, line, {**LONG, "timeout": "1s"})
    daemon.signal(signal.SIGKILL)
    daemon.expected_exit = daemon.wait_exit()
    line.successors.append(successor)
    wait_until(lambda: ctl(daemon, "health").returncode == 0, what="the new process serves")
    assert pid_of(daemon) == successor.pid
    with daemon.client() as client:
        assert client.request().status == 200
    assert ctl(daemon, "reload").returncode == 0
    line.begun.communicate()


@pytest.fixture(name="old")
def old_fixture(serve, line):
    """A process that has handed over and still serves a request: (daemon, client, Held)."""
    held = Held()
    daemon, backend = serve(held)
    with daemon.client() as client:
        client.send(client.head("GET", "/b/held"))
        wait_until(lambda: backend.requests)
        line.upgrade()
        wait_until(lambda: status_of(daemon)["old_processes"])
        yield daemon, client, held


def finish(daemon, client, held):
    held.go.set()
    assert client.read_response().body.data == b"half whole"
    client.close()
    assert daemon.wait_exit() == 0


def test_sigterm_drains_an_old_process(old):
    daemon, client, held = old
    daemon.signal(signal.SIGTERM)
    daemon.wait_stderr("draining: ")
    finish(daemon, client, held)


@pytest.mark.parametrize(
    "number, words",
    [(signal.SIGHUP, "reload refused: "), (signal.SIGUSR2, "upgrade refused: ")],
)
def test_an_old_process_refuses_changes(old, number, words):
    daemon, client, held = old
    daemon.signal(number)
    daemon.wait_stderr(words + "this process has handed over to another one")
    finish(daemon, client, held)


def test_a_second_signal_stops_an_old_process_at_once(old):
    daemon, _, _ = old
    daemon.signal(signal.SIGTERM)
    daemon.wait_stderr("draining: ")
    daemon.signal(signal.SIGTERM)
    daemon.expected_exit = 3
    assert daemon.wait_exit() == 3


def test_a_command_that_came_before_the_hand_over_is_told_to_ask_again(serve, line):
    """Its client connected to the old process, and speaks once that one has handed over."""
    daemon, _ = serve()
    with connect(socket_of(daemon)) as sock:
        line.upgrade()
        sock.sendall(REQUEST % b"standby")
        assert b"has handed over to another one; ask again" in read_all(sock)
    assert not status_of(daemon)["standby"]


def test_an_upgrade_waits_for_a_reload(serve, line, hang):
    environment, switch = hang
    daemon, _ = serve(environment=environment)
    switch.touch()
    daemon.write({**daemon.config, "access_log": {"target": "{dir}/access.hangs"}})
    daemon.signal(signal.SIGHUP)
    daemon.wait_stderr("SIGHUP: ")
    waiting = post_late(daemon, b"upgrade")
    assert ctl(daemon, "health").returncode == 0
    assert "upgrade: starting" not in daemon.stderr
    switch.unlink()
    answer = read_all(waiting)
    assert b"upgraded: process " in answer
    line.adopt(answer.decode())
    assert daemon.stderr.index("reloaded: generation 2") < daemon.stderr.index("upgrade: starting")
