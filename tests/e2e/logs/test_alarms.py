"""A node that fails while all its checks pass is named in the log within seconds, with numbers, and
the end of that is told as well.

Forty uploads that were answered 500 left the log silent: the operator heard of them from clients.
"""

import contextlib
import re
import time

import pytest

from support.backend import close, hang
from support.config import FAST_HEALTH
from support.ctl import ADMIN, ctl, status_of
from support.daemon import run_command
from support.waiting import SCALE, wait_until

TOP = {"admin": ADMIN}


def refuse(status, code=""):
    body = f"<Error><Code>{code}</Code></Error>".encode()

    def handler(exchange):
        exchange.read_body()
        exchange.respond(status, [], body)

    return handler


def put(daemon, number, key="k"):
    with daemon.client() as client:
        for i in range(number):
            client.request("PUT", f"/b/{i}?sessionid={key}", body=b"x")


def key_of(daemon, address):
    """A key that belongs to that server."""
    for i in range(200):
        done = ctl_route(daemon, f"k{i}")
        if done == address:
            return f"k{i}"
    raise AssertionError(f"no key for {address}")


def ctl_route(daemon, key):
    text = run_command("route", "-c", daemon.file, key).stdout
    return re.search(r"^server +(\S+)$", text, re.M)[1]


@pytest.fixture(name="cluster")
def cluster_fixture(make_backend, gate):
    def make(bad, **more):
        backends = [make_backend(), make_backend(bad)]
        daemon = gate(backends, health=FAST_HEALTH, top=TOP, **more)
        keys = [key_of(daemon, backend.address) for backend in backends]
        return daemon, backends, keys

    return make


def test_a_node_that_answers_500_is_named(cluster):
    daemon, (_, bad), (good_key, bad_key) = cluster(refuse(500, "InternalError"))
    put(daemon, 60, good_key)
    put(daemon, 40, bad_key)
    began = time.monotonic()
    text = rf"test: {bad.address} answers 5xx: (\d+) of (\d+) in 10 s \(others 0 of (\d+)\)"
    daemon.wait_stderr(r"\[warning\] " + text)
    assert time.monotonic() - began < 2 * SCALE
    found = re.search(text, daemon.stderr)
    assert found[1] == found[2] and 5 <= int(found[1]) <= 40 and int(found[3]) == 60
    (alarm,) = status_of(daemon)["alarms"]
    assert alarm["server"] == bad.address and alarm["kind"] == "errors"
    wait_until(
        lambda: status_of(daemon)["alarms"][0]["window"] == {"bad": 40, "all": 40}, what="all"
    )
    assert "alarm for " in ctl(daemon, "status").stdout
    addresses = status_of(daemon)["sites"][0]["groups"][0]["servers"]
    assert all(server["usable"] for server in addresses), "a status takes no server out"
    daemon.wait_stderr(
        rf"\[info\] test: {bad.address}: 5xx answers are over after \d+ s: 40 of 40 answers"
    )
    assert status_of(daemon)["alarms"] == []
    assert daemon.stderr.count("answers 5xx") == 1, "told once"


def test_a_node_that_resets_is_named_and_counted_by_name(cluster):
    # A mark would take the node out before anybody is named.
    daemon, (_, bad), (good_key, bad_key) = cluster(close, passive="off")
    put(daemon, 60, good_key)
    put(daemon, 20, bad_key)
    daemon.wait_stderr(
        rf"\[warning\] test: {bad.address} fails: \d+ of \d+ attempts broke or found no connection"
        r" in 10 s \(others 0 of 60\)"
    )
    daemon.wait_stderr(rf"backend connections? broken before an answer \({bad.address} \d+\)")


def test_a_node_that_hangs_is_named(cluster):
    """Its checks pass; its requests time out."""
    daemon, (_, bad), (good_key, bad_key) = cluster(hang, timeouts={"backend_head": "500ms"})
    put(daemon, 40, good_key)
    with contextlib.ExitStack() as clients:
        for i in range(8):
            client = clients.enter_context(daemon.client())
            client.send(client.head("GET", f"/b/{i}?sessionid={bad_key}"))
        daemon.wait_stderr(rf"\[warning\] test: {bad.address} fails: \d+ of \d+ attempts broke")
        daemon.wait_stderr(rf"backend head timeouts? \({bad.address} \d+\)")


def test_a_slow_node_is_named(cluster):
    def slow(exchange):
        exchange.read_body()
        time.sleep(0.7 * SCALE)  # the node's time is what is measured
        exchange.respond(200, [], b"")

    daemon, (_, bad), (good_key, bad_key) = cluster(slow)
    put(daemon, 60, good_key)
    with contextlib.ExitStack() as clients:
        for i in range(8):
            client = clients.enter_context(daemon.client())
            client.send(client.head("GET", f"/b/{i}?sessionid={bad_key}"))
        daemon.wait_stderr(
            rf"\[warning\] test: {bad.address} is slow: \d+ of \d+ answers took longer than 500 ms"
            r" in 10 s \(others 0 of \d+, half of theirs within \d+ ms\)"
        )


@pytest.mark.parametrize("status, code", [(503, "SlowDown"), (429, "TooManyRequests")])
def test_load_is_no_fault(cluster, status, code):
    daemon, (_, bad), (good_key, bad_key) = cluster(refuse(status, code))
    put(daemon, 40, good_key)
    put(daemon, 30, bad_key)
    daemon.wait_stderr(rf"\[info\] test: {bad.address} is busy: \d+ of \d+ answers refuse for load")
    assert "5xx" not in daemon.stderr
    assert [alarm["kind"] for alarm in status_of(daemon)["alarms"]] == ["load"]


def test_a_group_of_one_is_named(one):
    daemon, backend = one(refuse(500), top=TOP)
    put(daemon, 20)
    daemon.wait_stderr(rf"\[warning\] test: {backend.address} answers 5xx: \d+ of \d+ in 10 s\n")


def test_a_group_that_is_bad_as_a_whole_is_one_line(make_backend, gate):
    backends = [make_backend(refuse(500)) for _ in range(3)]
    daemon = gate(backends, health=FAST_HEALTH, top=TOP)
    keys = [key_of(daemon, backend.address) for backend in backends]
    clients = [daemon.client() for _ in keys]
    for i in range(30):
        for client, key in zip(clients, keys):
            client.request("PUT", f"/b/{i}?sessionid={key}", body=b"x")
    for client in clients:
        client.close()
    daemon.wait_stderr(r"\[warning\] Group test answers 5xx: \d+ of \d+ in 10 s: 127\.0\.0\.1:")


def test_few_failures_and_none_are_no_alarm(one):
    daemon, backend = one(refuse(500), top=TOP)
    put(daemon, 4)
    wait_until(lambda: status_of(daemon)["uptime_seconds"] >= 3, what="three looks")
    assert "5xx" not in daemon.stderr and status_of(daemon)["alarms"] == []


def test_a_server_that_leaves_ends_its_alarm(cluster):
    daemon, (good, bad), (good_key, bad_key) = cluster(refuse(500))
    put(daemon, 60, good_key)
    put(daemon, 40, bad_key)
    daemon.wait_stderr(rf"\[warning\] test: {bad.address} answers 5xx")
    (site,) = daemon.config["sites"]
    backends = {**site["backends"], "servers": [good.address]}
    daemon.write({**daemon.config, "sites": [{**site, "backends": backends}]})
    assert ctl(daemon, "reload").returncode == 0
    daemon.wait_stderr(rf"\[info\] test: {bad.address}: not watched for 5xx answers any more")
    assert status_of(daemon)["alarms"] == []


def test_a_reload_keeps_an_alarm_and_off_ends_it(one):
    daemon, backend = one(refuse(500), top={**TOP, "log": {"level": "info"}})
    put(daemon, 20)
    daemon.wait_stderr("answers 5xx")
    daemon.write({**daemon.config, "reload_grace": "1m"})
    assert ctl(daemon, "reload").returncode == 0
    (alarm,) = status_of(daemon)["alarms"]
    assert alarm["server"] == backend.address
    put(daemon, 5)
    wait_until(
        lambda: status_of(daemon)["alarms"][0]["since"] == {"bad": 25, "all": 25},
        what="the alarm goes on",
    )
    assert daemon.stderr.count("answers 5xx") == 1 and "are over" not in daemon.stderr
    daemon.write({**daemon.config, "log": {"level": "info", "alarms": False}})
    assert ctl(daemon, "reload").returncode == 0
    wait_until(lambda: status_of(daemon)["alarms"] == [], what="no alarm")
    daemon.wait_stderr(rf"{backend.address}: not watched for 5xx answers any more after \d+ s: 25")
    put(daemon, 20)
    assert daemon.stderr.count("answers 5xx") == 1
