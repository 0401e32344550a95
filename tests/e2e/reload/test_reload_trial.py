"""A trial (`ctl reload --confirm`) serves with the new configuration only, also where its sockets
lie over those of the configuration before, which stay bound.

Otherwise the operator tries something else than what is confirmed.
"""

import os
import re
import signal
from pathlib import Path

import pytest

from support.client import RawClient
from support.config import free_port, make_config, make_site, merge
from support.ctl import ADMIN, ctl
from support.tracing import needs_strace, traced
from support.waiting import wait_until


class Trial:
    """A daemon at `before`, and in its file another backend at `after`. All of it on one port."""

    def __init__(self, start, make_backend, before, after, logs=({}, {}), env=None):
        self.port = free_port()
        self.old, self.new = make_backend(name="old"), make_backend(name="new")
        site = make_site([self.old], listen=f"{before}:{self.port}")
        config = make_config([site], admin=ADMIN, **logs[0])
        self.daemon = start(config, wait_ready=False, env=env)
        wait_until(lambda: self.daemon.notify.has("READY=1"))
        config = merge(self.daemon.config, logs[1])
        config["sites"] = [make_site([self.new], listen=f"{after}:{self.port}")]
        self.daemon.write(config)

    def begin(self, time="60s"):
        done = ctl(self.daemon, "reload", "--confirm", time)
        assert done.returncode == 0, done.stderr

    def client(self, host="127.0.0.1"):
        return RawClient(f"{host}:{self.port}")


def served_by(client):
    """The backend of one request, and whether its answer is the connection's last one."""
    response = client.request()
    assert response.status == 200
    return response.header("x-backend"), response.closes


def goes_over(client, name):
    """Its connection stays, and once its worker knows of the reload, that backend serves it."""

    def is_there():
        backend, is_last = served_by(client)
        assert not is_last
        return backend == name

    wait_until(is_there, what=f"the backend {name}")


@pytest.mark.parametrize("end", ["confirm", "undo"])
def test_a_wildcard_replaces_an_address(start, make_backend, end):
    """The kernel prefers the sockets of the address as long as they are bound."""
    trial = Trial(start, make_backend, "127.0.0.1", "0.0.0.0")
    with trial.client() as kept:
        assert served_by(kept) == ("old", False)
        trial.begin("60s" if end == "confirm" else "1s")
        goes_over(kept, "new")
        for host in ("127.0.0.1", "127.0.0.2"):
            with trial.client(host) as client:
                goes_over(client, "new")
        if end == "confirm":
            assert ctl(trial.daemon, "confirm").returncode == 0
        else:
            trial.daemon.wait_stderr("not confirmed within 1 s")
        name = "new" if end == "confirm" else "old"
        goes_over(kept, name)
        with trial.client() as client:
            goes_over(client, name)


def test_an_address_replaces_a_wildcard(start, make_backend):
    """Its clients are the new site's. Nothing replaces the rest of the wildcard: there each client
    gets an answer of the configuration before."""
    trial = Trial(start, make_backend, "0.0.0.0", "127.0.0.1")
    trial.begin()
    for _ in range(2):
        with trial.client() as client:
            goes_over(client, "new")
        with trial.client("127.0.0.2") as client:
            assert served_by(client) == ("old", True)
    assert ctl(trial.daemon, "confirm").returncode == 0
    with trial.client() as client:
        assert served_by(client) == ("new", False)


@needs_strace
def test_a_stop_resets_no_client_of_an_address_that_is_gone(start, make_backend, tmp_path):
    """Its sockets close with the others, so they begin no handshake either before that."""
    # LeakSanitizer stops the threads as a debugger does, which strace is already.
    trial = Trial(
        start, make_backend, "127.0.0.1", "127.0.0.2", env={"LSAN_OPTIONS": "detect_leaks=0"}
    )
    trial.begin()
    trace = tmp_path / "trace"
    with traced(trial.daemon, str(trace), "-e", "trace=setsockopt"):
        assert trial.daemon.stop() == 0
    told = re.findall(r"SOL_SOCKET, (?:SO_BINDTOIFINDEX|0x3e)", trace.read_text(encoding="ascii"))
    assert len(told) == 4, "two sockets for each address"


def logs_in(folder):
    folder.mkdir()
    return {
        "log": {"target": str(folder / "own.log")},
        "access_log": {"target": str(folder / "access.log")},
    }


@pytest.fixture
def moved(start, make_backend, tmp_path):
    """A trial that moves the address and both logs."""
    logs = [logs_in(tmp_path / name) for name in ("before", "after")]
    return Trial(start, make_backend, "127.0.0.1", "127.0.0.2", logs)


def has_undone(trial, folder):
    """The configuration before serves again, and writes its logs there."""
    own, lines = folder / "own.log", folder / "access.log"
    wait_until(lambda: own.is_file() and "not confirmed within 1 s" in own.read_text("utf-8"))
    before = len(trial.daemon.log_lines(lines))
    with trial.client() as client:
        assert served_by(client) == ("old", False)
    wait_until(lambda: len(trial.daemon.log_lines(lines)) > before)
    assert ctl(trial.daemon, "confirm").returncode != 0


def has_open(daemon, folder):
    files = Path(f"/proc/{daemon.process.pid}/fd").iterdir()
    return any(os.path.realpath(file).startswith(f"{folder}/") for file in files)


def test_a_trial_is_undone_where_the_old_logs_cannot_be_opened(moved, tmp_path):
    """Their folder is away for a moment, or belongs to root and the process does not any more."""
    moved.begin("1s")
    (tmp_path / "before").rename(tmp_path / "away")
    has_undone(moved, tmp_path / "away")
    # The writers were used twice. Their end is that of all others.
    moved.begin("60s")
    assert ctl(moved.daemon, "confirm").returncode == 0
    wait_until(lambda: not has_open(moved.daemon, tmp_path / "away"))


def test_logs_that_are_rotated_in_a_trial_are_so_after_it(moved, tmp_path):
    moved.begin("1s")
    (tmp_path / "before").rename(tmp_path / "rotated")
    (tmp_path / "before").mkdir()
    moved.daemon.signal(signal.SIGUSR1)
    has_undone(moved, tmp_path / "before")
