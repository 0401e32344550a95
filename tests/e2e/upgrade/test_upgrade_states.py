"""The rows of an upgrade in the table of docs/operations.md, "What signals and commands do in each
state".
"""

import signal

import pytest

from support.ctl import ask, connect, ctl, read_all, socket_of, status_of
from support.upgrade import holding, pid_of
from support.waiting import wait_until

LONG = {"interval": "60s", "timeout": "15s", "fall": 3, "rise": 1}
REQUEST = b"POST /%b HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


def begin(serve, line, health=LONG):
    """The old process while its successor waits for the first check, and the successor."""
    daemon, backend = serve(health=health)
    backend.health.mode = "hang"
    line.begin_upgrade()
    return daemon, line.starting()


def takes_signal(pid, number):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        caught = next(line for line in status if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) & 1 << number - 1)


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
    second = line.starting()
    second.signal(signal.SIGKILL)
    second.wait_exit()
    assert b"does not serve" in read_all(waiting[b"upgrade"])
    assert b"reloaded: generation 2" in read_all(waiting[b"reload"])
    for sock in waiting.values():
        sock.close()


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
    with holding(serve) as (daemon, client, held):
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


LATE = {
    REQUEST % b"standby": b"has handed over to another one; ask again",
    REQUEST % b"confirm": b"there is no reload to confirm",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n": b"HTTP/1.1 200 ",
}


@pytest.mark.parametrize("request_bytes", LATE)
def test_a_client_that_came_before_the_hand_over(serve, line, request_bytes):
    """It connected to the old process, and speaks once that one has handed over."""
    daemon, _ = serve()
    with connect(socket_of(daemon)) as sock:
        line.upgrade()
        sock.sendall(request_bytes)
        assert LATE[request_bytes] in read_all(sock)
    assert not status_of(daemon)["standby"]


@pytest.mark.parametrize(
    "number, words",
    [
        (signal.SIGHUP, "reload refused: this process has not taken over yet"),
        (signal.SIGUSR2, "upgrade refused: this process does not serve yet"),
    ],
)
def test_a_process_that_starts_refuses_changes(serve, line, number, words):
    daemon, successor = begin(serve, line, {**LONG, "timeout": "1s"})
    wait_until(lambda: takes_signal(successor.pid, number), what="it handles signals")
    successor.signal(number)
    daemon.wait_stderr(words)
    assert line.end_upgrade()[0] == 0


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


def test_a_command_in_the_moment_of_the_take_over_is_done(serve, line):
    """The old process stands still after it heard that the new one serves, so it has not said yet
    that the new one is the service."""
    daemon, backend = serve(health={**LONG, "timeout": "1s"})
    backend.health.mode = "hang"
    line.begin_upgrade()
    line.starting()
    with daemon.frozen():
        wait_until(lambda: "ready: s3gate" in daemon.stderr.split("upgrade: starting")[1])
        waiting = post_late(daemon, b"reload")
    assert b"reloaded: generation 2" in read_all(waiting)
    assert line.end_upgrade()[0] == 0


def test_an_old_process_that_stands_still_does_not_hold_up_a_stop(serve, line):
    with holding(serve, main={"shutdown_timeout": "0"}) as (daemon, client, held):
        successor = line.upgrade()
        with daemon.frozen():
            successor.signal(signal.SIGTERM)
            assert successor.wait_exit() == 0
            assert "an old process does not end; giving up on it" in daemon.stderr
        daemon.expected_exit = 3
        assert daemon.wait_exit() == 3
