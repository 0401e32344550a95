"""Common signals of operators, terminals and scripts for other servers: none of them ends the
daemon, at any time.

A log rotation during a start, or `kill -USR2` from a script for the previous server, would
otherwise take the storage off the network.
"""

import os
import re
import signal
import socket

import pytest

from support.config import free_port
from support.names import resolver_prefix
from support.waiting import DEADLINE

MUTE_SERVER = "127.0.53.8"
IGNORED = [
    signal.SIGPIPE,
    signal.SIGALRM,
    signal.SIGVTALRM,
    signal.SIGPROF,
    signal.SIGIO,
    signal.SIGPWR,
    signal.SIGXFSZ,
    signal.SIGURG,
    signal.SIGRTMIN,
    signal.SIGRTMIN + 3,
    signal.SIGRTMAX,
] + [getattr(signal, name) for name in ("SIGSTKFLT",) if hasattr(signal, name)]
# Signals that command other servers.
ANSWERED = [signal.SIGWINCH, signal.SIGTTIN, signal.SIGTTOU]


def name_of(number):
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def ignored_by(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return int(re.search(r"^SigIgn:\s*([0-9a-f]+)$", status.read(), re.MULTILINE)[1], 16)


def ignores(daemon, number):
    return ignored_by(daemon.process.pid) >> (number - 1) & 1


@pytest.fixture(name="detached")
def detached_fixture(make_backend, gate):
    """A daemon without a terminal, as a service manager starts it."""
    return gate([make_backend()], daemon={"prefix": ("setsid",)})


def is_serving(daemon):
    with daemon.client() as client:
        return client.request().status == 200


@pytest.mark.parametrize("number", IGNORED, ids=name_of)
def test_ignored(detached, number):
    before = detached.stderr
    detached.signal(number)
    assert is_serving(detached)
    assert detached.process.poll() is None
    assert detached.stderr == before, "nobody needs to hear of it"


@pytest.mark.parametrize("number", ANSWERED, ids=name_of)
def test_answered_with_one_warning(detached, number):
    detached.signal(number)
    detached.wait_stderr(rf"\[warning\] {name_of(number)}: .+\n")
    assert is_serving(detached)
    assert detached.stderr.count(name_of(number)) == 1
    assert "[error]" not in detached.stderr


def test_at_a_terminal_the_terminals_signals_are_its_own(make_backend, gate):
    """A resized window means nothing, and a handled SIGTTOU would recur with every attempt to
    write."""
    leader, follower = os.openpty()
    # setsid --ctty makes standard input the controlling terminal; the shell gives it one.
    command = f'exec setsid --ctty "$@" <{os.ttyname(follower)}'
    daemon = gate([make_backend()], daemon={"prefix": ("sh", "-c", command, "sh")})
    for number in (signal.SIGTTIN, signal.SIGTTOU, signal.SIGWINCH):
        daemon.signal(number)
    assert ignores(daemon, signal.SIGTTOU)
    daemon.signal(signal.SIGUSR1)
    daemon.wait_stderr("reopening the logs")
    assert not re.search("SIGTT|SIGWINCH", daemon.stderr)
    assert is_serving(daemon)
    daemon.stop()
    os.close(follower)
    os.close(leader)


@pytest.fixture(name="starting")
def starting_fixture(make_backend, gate, tmp_path):
    """A daemon that waits for a name, for the five seconds of a start with a silent DNS."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        try:
            mute.bind((MUTE_SERVER, 53))
        except OSError as error:
            pytest.skip(f"no name server on port 53 here: {error}")
        mute.settimeout(DEADLINE)
        daemon = gate(
            [make_backend(), f"mute.s3.test:{free_port()}"],
            passive="off",
            daemon={"prefix": resolver_prefix(tmp_path, MUTE_SERVER), "wait_ready": False},
        )
        mute.recv(512)  # it asks
        yield daemon


def test_none_ends_the_start(starting):
    """Nothing is served yet, but a log rotation at that moment must not end the start."""
    for number in IGNORED + ANSWERED + [signal.SIGUSR1, signal.SIGHUP]:
        starting.signal(number)
    starting.wait_ready()
    assert is_serving(starting)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT], ids=name_of)
def test_a_start_can_be_ended(starting, number):
    starting.signal(number)
    # systemd sees a clean end. The default action of SIGQUIT would be a failure with a core.
    starting.expected_exit = -number if number == signal.SIGINT else -signal.SIGTERM
    assert starting.wait_exit() == starting.expected_exit


def test_a_log_that_reached_its_limit_ends_nothing(make_backend, gate):
    """Past RLIMIT_FSIZE a write raises SIGXFSZ, which ends a process without a handler."""
    daemon = gate([make_backend()], daemon={"prefix": ("prlimit", "--fsize=4096")})
    with daemon.client() as client:
        for number in range(40):
            assert client.request(target=f"/b/{number}").status == 200
    daemon.wait_stderr(r"access log .*lines are being dropped")
    assert is_serving(daemon)
