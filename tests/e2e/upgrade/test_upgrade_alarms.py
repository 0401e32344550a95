"""Alarms and upgrades: the process that takes over knows a server that is out of line, and tells
the end once.

The process before counted no further answers after an upgrade, so it said that the errors of a
server were over that answered nothing but errors.
"""

import contextlib
import re
import threading
import time

import pytest

from support.backend import answer_ok
from support.config import make_config, make_site
from support.ctl import ADMIN, status_of
from support.waiting import SCALE, wait_until

BEGIN = r"\[warning\] test: {} answers 5xx: \d+ of \d+ in 10 s"
END = r"\[info\] test: {}: 5xx answers are over after \d+ s: (\d+) of \d+ answers"


class Bad:
    """Answers 500 until it is well."""

    def __init__(self):
        self.is_well = False

    def __call__(self, exchange):
        if self.is_well:
            answer_ok(exchange)
        else:
            exchange.read_body()
            exchange.respond(500, [], b"")


@pytest.fixture(name="pair")
def pair_fixture(line, make_backend):
    """(daemon, the bad server's address, its handler): a good server, and a bad one."""
    handler = Bad()
    good, bad = make_backend(), make_backend(handler)
    site = make_site(
        [good, bad],
        type="http",
        balance={"method": "round_robin"},
        passive="off",
        timeouts={"client_body": "10m"},
    )
    return line.start(make_config([site], admin=ADMIN)), bad.address, handler


@pytest.fixture(name="traffic")
def traffic_fixture():
    """Keeps a daemon's servers busy with uploads, which are not repeated."""
    with contextlib.ExitStack() as stack:

        def begin(daemon):
            end = threading.Event()
            thread = threading.Thread(target=ask, args=(daemon, end))
            thread.start()
            stack.callback(thread.join)
            stack.callback(end.set)

        yield begin


@pytest.fixture(name="keep_busy")
def keep_busy_fixture():
    """Lets the process that serves now have a request that does not end."""
    with contextlib.ExitStack() as clients:

        def begin(daemon):
            client = clients.enter_context(daemon.client())
            client.send(client.head("POST", "/b/held", [("Content-Length", "10")]) + b"half")

        yield begin


def ask(daemon, end):
    """New connections all the time: they are the new process'."""
    while not end.is_set():
        with daemon.client() as client:
            client.request("POST", "/b/k", body=b"x")
        end.wait(0.01)


def begins(daemon, server):
    return len(re.findall(BEGIN.format(re.escape(server)), daemon.stderr))


def ends(daemon, server):
    return re.findall(END.format(re.escape(server)), daemon.stderr)


def test_an_upgrade_keeps_an_alarm(pair, line, traffic, keep_busy):
    daemon, server, handler = pair
    traffic(daemon)
    wait_until(lambda: begins(daemon, server) == 1)
    keep_busy(daemon)
    before = status_of(daemon)["alarms"][0]
    upgraded = time.monotonic()
    line.upgrade()
    wait_until(lambda: begins(daemon, server) == 2, what="the server is named again")
    assert time.monotonic() - upgraded < 2 * SCALE
    assert re.search(r"answers 5xx: .*, as the process before told \d+ s ago\n", daemon.stderr)
    (alarm,) = status_of(daemon)["alarms"]
    assert alarm["server"] == server and alarm["kind"] == "errors"
    assert alarm["age_seconds"] >= before["age_seconds"]
    assert alarm["since"]["bad"] >= before["since"]["bad"]
    assert status_of(daemon)["old_processes"], "the process before is still there"
    # Longer than an alarm needs to its end without answers.
    wait_until(lambda: status_of(daemon)["alarms"][0]["age_seconds"] > 22, 30 * SCALE)
    assert ends(daemon, server) == [] and begins(daemon, server) == 2
    handler.is_well = True
    wait_until(lambda: ends(daemon, server), 30 * SCALE, what="the end")
    assert status_of(daemon)["alarms"] == []
    assert len(ends(daemon, server)) == 1 and begins(daemon, server) == 2


def test_an_alarm_that_ends_in_an_upgrade_is_told_to_be_over(pair, line, traffic):
    daemon, server, handler = pair
    traffic(daemon)
    wait_until(lambda: begins(daemon, server) == 1)
    handler.is_well = True
    line.upgrade()
    wait_until(lambda: ends(daemon, server), 30 * SCALE, what="the end")
    assert len(ends(daemon, server)) == 1
