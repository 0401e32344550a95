"""Commands that waited for an upgrade are done by the new process: `systemctl reload` must not fail
because of one.
"""

import pytest

from support.ctl import connect, ctl, read_all, socket_of, status_of

# The first check fails after two seconds.
SLOW = {"interval": "60s", "timeout": "2s", "fall": 1, "rise": 1}


@pytest.fixture(name="upgrading")
def upgrading_fixture(serve, line):
    """The old process while its successor waits for the first check."""
    daemon, backend = serve(health=SLOW)
    backend.health.mode = "hang"
    line.begin_upgrade()
    yield daemon
    backend.health.mode = "answer"


def test_a_reload_is_done_by_the_new_process(upgrading, line):
    done = ctl(upgrading, "reload")
    assert done.returncode == 0 and done.stdout.endswith("\nreloaded: generation 2\n")
    assert "reload refused: this process has handed over" in upgrading.stderr, "it came too late"
    assert line.end_upgrade()[0] == 0
    status = status_of(upgrading)
    assert (status["pid"], status["config"]["generation"]) == (line.present, 2)


def test_who_asks_without_ctl_is_told_to_ask_again(upgrading, line):
    with connect(socket_of(upgrading)) as sock:
        sock.sendall(b"POST /reload HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        answer = read_all(sock)
    assert answer.startswith(b"HTTP/1.1 421 Misdirected Request\r\n") and b"ask again" in answer
    assert line.end_upgrade()[0] == 0


@pytest.mark.parametrize("command", ["standby", "active"])
def test_a_client_of_the_process_before_is_told_to_ask_again(serve, line, command):
    daemon, _ = serve()
    with connect(socket_of(daemon)) as sock:
        line.upgrade()
        head = f"POST /{command} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
        sock.sendall(head.encode())
        assert read_all(sock).startswith(b"HTTP/1.1 421 Misdirected Request\r\n")
    assert daemon.wait_exit() == 0
