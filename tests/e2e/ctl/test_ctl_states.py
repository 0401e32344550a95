"""The table of docs/operations.md, "What signals and commands do in each state", cell by cell.

An operator who stops a host, or a script that does, must know what a second command does meanwhile.
The state in which a reload runs is in tests/e2e/reload/test_reload_hangs.py.
"""

import contextlib
import copy
import signal
import socket
import threading

import pytest

from support.backend import answer_ok
from support.config import FAST_HEALTH, make_config, make_site
from support.ctl import ADMIN, ask, ctl, socket_of, status_of
from support.waiting import wait_until

RELOADS = (200, "reloaded: generation ")
NO_TRIAL = (409, "there is no reload to confirm")
STOPPING = (409, "reload refused: the daemon is stopping")
NO_UPGRADE = {
    "starting": "upgrade refused: this process does not serve yet",
    "trial": "upgrade refused: a reload waits to be confirmed",
    "leaving": "upgrade refused: the daemon is stopping",
    "draining": "upgrade refused: the daemon is stopping",
}
CONFIRMED = (409, "reload refused: an earlier one waits to be confirmed")


class Stage:
    """Brings daemons into states."""

    def __init__(self, start, make_backend):
        self._start = start
        self._make_backend = make_backend
        self._go = threading.Event()
        self.exits = contextlib.ExitStack()

    def _serve(self, handler=answer_ok, **top):
        site = make_site([self._make_backend(handler)])
        return self._start(make_config([site], admin=ADMIN, **top))

    def starting(self):
        silent = self.exits.enter_context(socket.create_server(("127.0.0.1", 0)))
        address = "127.0.0.1:%d" % silent.getsockname()[1]
        health = {**FAST_HEALTH, "timeout": "60s"}
        site = make_site([address], health=health)
        daemon = self._start(make_config([site], admin=ADMIN), wait_ready=False)
        wait_until(lambda: (daemon.dir / "ctl.sock").exists(), what="the socket")
        return daemon

    def serving(self):
        return self._serve()

    def standby(self):
        daemon = self._serve()
        assert ctl(daemon, "standby").returncode == 0
        return daemon

    def trial(self):
        daemon = self._serve()
        config = copy.deepcopy(daemon.config)
        config["reload_grace"] = "1m"
        daemon.write(config)
        assert ctl(daemon, "reload", "--confirm", "60s").returncode == 0
        return daemon

    def leaving(self):
        daemon = self._serve(shutdown_delay="60s")
        daemon.signal(signal.SIGTERM)
        daemon.wait_stderr("leaving: ")
        return daemon

    def draining(self):
        def handler(exchange):
            exchange.read_body()
            exchange.wait(self._go)
            answer_ok(exchange)

        daemon = self._serve(handler, shutdown_timeout="60s")
        client = self.exits.enter_context(daemon.client())
        client.send(client.head("GET", "/b/k"))
        wait_until(lambda: status_of(daemon)["requests"] == 1, what="a request in progress")
        daemon.signal(signal.SIGTERM)
        daemon.wait_stderr("draining: ")
        return daemon

    def end(self):
        self._go.set()
        self.exits.close()


@pytest.fixture(name="stage")
def stage_fixture(start, make_backend):
    made = Stage(start, make_backend)
    yield made
    made.end()


def post(daemon, command):
    status, body = ask(socket_of(daemon), "POST", f"/{command}")
    return status, body["message"]


def is_like(found, wanted):
    return found[0] == wanted[0] and found[1].startswith(wanted[1])


# State: phase, /healthz, its reason, reload, confirm, what SIGTERM logs, exit code. Upgrades from
# the states that allow one are in tests/e2e/upgrade.
STATES = {
    "starting": ("starting", 503, "starting", RELOADS, NO_TRIAL, "draining: ", 0),
    "serving": ("serving", 200, "ok", RELOADS, NO_TRIAL, "draining: ", 0),
    "standby": ("standby", 503, "standby", RELOADS, NO_TRIAL, "draining: ", 0),
    "trial": ("serving", 200, "ok", CONFIRMED, (200, "confirmed: generation 2"), "draining: ", 0),
    "leaving": ("leaving", 503, "shutdown_delay", STOPPING, NO_TRIAL, "SIGTERM ends ", 0),
    "draining": ("draining", 503, "draining", STOPPING, NO_TRIAL, "SIGTERM while draining", 3),
}


@pytest.mark.parametrize("state", STATES)
def test_commands(stage, state):
    phase, healthz, reason, reload, confirm, _, _ = STATES[state]
    daemon = getattr(stage, state)()
    status, body = ask(socket_of(daemon), "GET", "/healthz")
    assert status == healthz and reason in body["reason"]
    assert status_of(daemon)["phase"] == phase
    assert is_like(post(daemon, "reload"), reload)
    if state in NO_UPGRADE:
        assert post(daemon, "upgrade") == (409, NO_UPGRADE[state])
    assert is_like(post(daemon, "confirm"), confirm)
    assert status_of(daemon)["phase"] == phase, "none of them changes it"


@pytest.mark.parametrize("state", STATES)
def test_sigterm(stage, state):
    *_, line, code = STATES[state]
    daemon = getattr(stage, state)()
    daemon.expected_exit = code
    generation = status_of(daemon)["config"]["generation"]
    daemon.signal(signal.SIGTERM)
    daemon.wait_stderr(line)
    assert daemon.wait_exit() == code
    assert "not confirmed" not in daemon.stderr
    assert generation == (2 if state == "trial" else 1)


def test_a_trial_is_not_confirmed_during_a_stop(stage):
    """The workers close their sockets by themselves; the new configuration serves until the end."""
    daemon = stage._serve(shutdown_delay="60s")
    daemon.write({**copy.deepcopy(daemon.config), "reload_grace": "1m"})
    assert ctl(daemon, "reload", "--confirm", "60s").returncode == 0
    daemon.signal(signal.SIGTERM)
    daemon.wait_stderr("leaving: ")
    assert is_like(post(daemon, "confirm"), (409, "confirm refused: the daemon is stopping"))
    assert status_of(daemon)["config"]["generation"] == 2


def test_commands_while_it_stops_at_once(one, hang):
    """A worker that hangs keeps the daemon in this state, for some seconds at most."""
    environment, switch = hang
    daemon, _ = one(top={"admin": ADMIN}, daemon={"env": environment})
    accept = switch.with_name(switch.name + ".accept")
    accept.touch()
    with daemon.client():
        daemon.signal(signal.SIGINT)
        daemon.wait_stderr("stopping at once: SIGINT")
        assert ask(socket_of(daemon), "GET", "/healthz")[1]["reason"] == "stopping"
        assert is_like(post(daemon, "reload"), STOPPING)
        assert is_like(post(daemon, "confirm"), NO_TRIAL)
        assert post(daemon, "upgrade") == (409, "upgrade refused: the daemon is stopping")
        daemon.signal(signal.SIGTERM)
        assert status_of(daemon)["phase"] == "stopping"
    accept.unlink()
    assert daemon.wait_exit() == 0


def test_a_refused_reload_opens_the_logs(stage):
    """Whoever rotates them by SIGHUP loses nothing to a broken file."""
    daemon = stage.serving()
    moved = daemon.dir / "access.log.1"
    daemon.access_log.rename(moved)
    daemon.write("workers: many\n")
    daemon.signal(signal.SIGHUP)
    daemon.wait_stderr("reload refused: ")
    with daemon.client() as client:
        client.request()
    wait_until(lambda: daemon.access_log.exists() and daemon.log_lines(), what="the new file")
