"""`s3gate ctl log-level`: more lines for a moment, without a reload, and surely back again."""

import copy
import json
import re

import pytest

from support.ctl import ADMIN, ask, ctl, socket_of, status_of

TOP = {"admin": ADMIN}
REST = "; of this host only; a restart ends it, and a configuration with another log.level"


@pytest.fixture
def daemon(one):
    return one(top={**TOP, "log": {"level": "info"}})[0]


def level_of(daemon):
    done = ctl(daemon, "log-level", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_level_holds_until_it_is_taken_back(daemon):
    assert ctl(daemon, "log-level").stdout == "log level info\n"
    done = ctl(daemon, "log-level", "debug")
    assert done.stdout == "log level debug until `log-level default`" + REST + "\n"
    assert daemon.wait_stderr(r"\[info\] log level debug until .* \(asked by .*, pid \d+\)")
    assert level_of(daemon) == {
        "level": "debug",
        "configured": "info",
        "changed": True,
        "ends_in_seconds": None,
    }
    assert ctl(daemon, "log-level").stdout == "log level debug by command; log.level says info\n"
    assert status_of(daemon)["log_level"]["level"] == "debug"
    assert "log level debug by command" in ctl(daemon, "status").stdout
    assert ctl(daemon, "log-level", "default").stdout == "log level info, as log.level says\n"
    assert not level_of(daemon)["changed"]
    assert "log level" not in ctl(daemon, "status").stdout


def test_the_level_holds_for_lines(daemon):
    """Of the same event: a command that changes nothing else."""
    assert ctl(daemon, "log-level", "error").returncode == 0
    ctl(daemon, "standby")
    assert ctl(daemon, "log-level", "warning").returncode == 0
    ctl(daemon, "active")
    assert ctl(daemon, "log-level", "info").returncode == 0
    ctl(daemon, "standby")
    daemon.wait_stderr(r"standby: /healthz answers 503 \(asked by")
    assert len(re.findall(r"standby: /healthz", daemon.stderr)) == 1
    assert "active: " not in daemon.stderr
    for level in ("error", "warn", "info"):  # a change is logged, whatever the level
        assert re.search(rf"log level {level} until .*asked by", daemon.stderr)


def test_it_ends_after_its_time(daemon):
    done = ctl(daemon, "log-level", "error", "--for", "1s")
    assert done.stdout == "log level error for 1s, then info" + REST + "\n"
    assert level_of(daemon)["ends_in_seconds"] in (0, 1)
    daemon.wait_stderr(r"\[info\] log level info again: the time of `log-level` is over")
    assert not level_of(daemon)["changed"]


def test_it_survives_a_reload_but_no_other_level(daemon):
    ctl(daemon, "log-level", "debug")
    config = copy.deepcopy(daemon.config)
    config["reload_grace"] = "1m"
    daemon.write(config)
    assert ctl(daemon, "reload").returncode == 0
    assert level_of(daemon)["level"] == "debug"
    config["log"]["level"] = "warn"
    daemon.write(config)
    assert ctl(daemon, "reload").returncode == 0
    assert daemon.wait_stderr("log level warn: the configuration has another log.level now")
    assert level_of(daemon)["level"] == "warn" and not level_of(daemon)["changed"]


def test_mistakes_change_nothing(daemon):
    for words in (["loud"], ["debug", "--for", "0s"], ["default", "--for", "1m"], ["--for", "1m"]):
        done = ctl(daemon, "log-level", *words)
        assert done.returncode == 2 and done.stderr, words
    status, body = ask(socket_of(daemon), "POST", "/log-level", '{"level": 1}')
    assert status == 400 and body["error"].startswith("/log-level takes")
    status, body = ask(socket_of(daemon), "PUT", "/log-level")
    assert status == 405 and body["error"] == "/log-level takes GET, HEAD and POST"
    assert not level_of(daemon)["changed"]
