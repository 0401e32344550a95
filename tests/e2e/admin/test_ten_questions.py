"""Ten questions of an operator: something is broken on purpose, and the answer comes from the log,
the metrics, the status and `s3gate ctl` alone.
"""

import collections
import datetime
import re

import pytest

from support.backend import answer_ok, die, hang
from support.client import RawClient
from support.config import FAST_HEALTH, make_config, make_site
from support.ctl import ADMIN, ctl, socket_of, status_of
from support.daemon import run_command
from support.metrics import scrape
from support.waiting import wait_until

TOP = {"admin": ADMIN}
TURNS = {"method": "round_robin"}
ATTEMPTS = "s3gate_server_attempts_total"


def fail(exchange):
    exchange.read_body()
    exchange.respond(500, [], b"<Error><Code>InternalError</Code></Error>")


def put(daemon, number, bucket="b"):
    with daemon.client() as client:
        for i in range(number):
            client.request("PUT", f"/{bucket}/{i}", body=b"x")


def told(daemon, *words):
    """`s3gate ctl`, as an operator reads it."""
    done = ctl(daemon, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(name="pair")
def pair_fixture(make_backend, gate):
    """(daemon, the good node, the bad node): requests take turns."""

    def make(bad, top=None, **site):
        nodes = [make_backend(), make_backend(bad)]
        options = {"health": FAST_HEALTH, "balance": TURNS, **site}
        return gate(nodes, top={**TOP, **(top or {})}, **options), *nodes

    return make


def test_what_is_wrong(pair):
    """The checks of the node pass, and it answers 500."""
    daemon, _, bad = pair(fail)
    put(daemon, 80)
    wait_until(lambda: f"{bad.address} answers" in told(daemon, "status"), what="the alarm")
    daemon.wait_stderr(f"{bad.address} answers")
    (alarm,) = [a for a in status_of(daemon)["alarms"] if a["server"]]
    assert (alarm["kind"], alarm["server"]) == ("errors", bad.address)


def test_whose_fault_is_it(pair):
    """One request fails at a node, one because of its client, one because of the proxy's limit."""
    daemon, _, _ = pair(die, limits={"connections": 2}, retry={"on": []})
    # The one that saw it ready counts until its end.
    wait_until(lambda: scrape(daemon).sum("s3gate_site_connections") == 0, what="the place")
    with daemon.client() as first, daemon.client() as second:
        statuses = {first.request("POST", "/b/node", body=b"x").status for _ in range(2)}
        assert 502 in statuses
        second.send(b"GET /b/client HTTP/1.1\r\nHost: x\r\nBroken Header\r\n\r\n")
        assert second.read_response().status == 400
        with daemon.client() as third:
            third.request("GET", "/b/proxy")
    wait_until(lambda: len(daemon.log_lines()) == 4, what="the lines")
    blames = collections.Counter(line["blame"] for line in daemon.log_lines())
    assert blames["backend"] == blames["client"] == blames["proxy"] == 1, blames


def test_which_node(pair):
    daemon, good, bad = pair(fail)
    put(daemon, 20)
    wait_until(lambda: scrape(daemon).sum(ATTEMPTS) == 20, what="the figures of all")
    metrics = scrape(daemon)
    errors = {
        node.address: metrics.sum(ATTEMPTS, server=node.address, **{"class": "5xx"})
        for node in (good, bad)
    }
    assert errors == {good.address: 0, bad.address: 10}


def test_which_client(make_backend, gate):
    """Who waits for a node, and who is over a limit."""

    def handler(exchange):
        (hang if exchange.request.target == "/b/slow" else answer_ok)(exchange)

    limits = {"requests_per_client": {"rate": "1/m", "burst": 2}}
    daemon = gate([make_backend(handler)], top=TOP, limits=limits)
    slow, eager = [RawClient(daemon.address, f"127.0.0.{number}") for number in (8, 9)]
    with slow, eager:
        slow.send(slow.head("GET", "/b/slow"))
        waits = "waiting for the backend"
        wait_until(lambda: waits in told(daemon, "connections"), what="the request")
        assert waits in told(daemon, "connections", "--client", "127.0.0.8/32")
        assert waits not in told(daemon, "connections", "--client", "127.0.0.9")
        assert [eager.request().status for _ in range(3)] == [200, 200, 503]
    daemon.wait_log("/b/slow")
    (refused,) = [line for line in daemon.log_lines() if line["status"] == 503]
    assert (refused["client"], refused["error"]) == ("127.0.0.9", "client rate limit")


def test_which_bucket(make_backend, gate):
    def handler(exchange):
        is_bad = (exchange.request.method, exchange.request.target[:8]) == ("PUT", "/photos/")
        (fail if is_bad else answer_ok)(exchange)

    daemon = gate([make_backend(handler)], top={**TOP, "metrics": {"buckets": 10}})
    with daemon.client() as client:
        # A bucket has a name of its own once a request for it went well.
        assert client.request("GET", "/photos/k").status == 200
    put(daemon, 3, "photos")
    put(daemon, 5, "logs")
    name = "s3gate_bucket_requests_total"
    wait_until(lambda: scrape(daemon).sum(name) == 9, what="the figures of all")
    metrics = scrape(daemon)
    assert metrics.sum(name, bucket="photos", **{"class": "5xx"}) == 3
    assert metrics.sum(name, bucket="logs", **{"class": "5xx"}) == 0
    assert metrics.sum(name, bucket="logs", **{"class": "2xx"}) == 5


def test_since_when(pair):
    daemon, good, _ = pair(die)
    before = datetime.datetime.now(datetime.timezone.utc)
    good.refuse()
    line = daemon.wait_stderr(rf"{re.escape(good.address)} is down after")
    after = datetime.datetime.now(datetime.timezone.utc)
    written = [text for text in daemon.stderr.splitlines() if "is down after" in text][-1]
    when = datetime.datetime.fromisoformat(written.split()[0])
    slack = datetime.timedelta(milliseconds=1)  # the log cuts to milliseconds
    assert before - slack <= when <= after, line


def test_does_a_node_hang(pair):
    daemon, good, bad = pair(hang, top={"workers": 1})
    with daemon.client() as first, daemon.client() as second:
        for client in (first, second):
            client.send(client.head("GET", "/b/k"))
        wait_until(lambda: "waiting for the backend" in told(daemon, "connections"), what="it")
        (waits,) = [
            line
            for line in told(daemon, "connections").splitlines()
            if "waiting for the backend" in line
        ]
        assert bad.address in waits and good.address not in waits
        metrics = scrape(daemon)
        assert metrics.sum("s3gate_server_requests_in_flight", server=bad.address) == 1
        assert metrics.sum("s3gate_server_first_byte_seconds_count", server=bad.address) == 0


def test_why_was_it_tried_again(pair):
    daemon, _, bad = pair(die)
    with daemon.client() as client:
        assert {client.request("GET", f"/b/{i}").status for i in range(4)} == {200}
    wait_until(lambda: len(daemon.log_lines()) == 4, what="the lines")
    again = [line for line in daemon.log_lines() if line["tries"] == 2]
    assert again and all(
        (line["upstreamname"].split(", ")[0], line["upstreamerror"], line["blame"])
        == (bad.address, "reset, -", "-")
        for line in again
    )
    row = {"row": "7", "cause": "reset"}
    wait_until(
        lambda: scrape(daemon).sum("s3gate_site_retries_total", **row) == len(again),
        what="the retries of row 7",
    )


def test_where_does_a_request_go_now(make_backend, gate):
    backends = [make_backend() for _ in range(3)]
    daemon = gate(backends, health=FAST_HEALTH, top=TOP)

    def route():
        words = ["route", "--live", "--socket", socket_of(daemon), "/b/k?sessionid=one"]
        return dict(re.findall(r"^(owner|server) +(.*)$", run_command(*words).stdout, re.MULTILINE))

    owner = route()["server"]
    told(daemon, "drain", owner)
    now = route()
    assert now["owner"] == f"{owner} (drained by a command)" and now["server"] != owner
    assert "asked by" in daemon.stderr  # and the journal says by whom


def test_what_does_the_proxy_refuse_itself(make_backend, start):
    """Each answer of ours has its code in the metrics, whichever limit it was."""
    backend = make_backend(hang)
    site = make_site([backend], backends={"max_connections": 1, "queue": "off"})
    daemon = start(make_config([site], **TOP))
    with daemon.client() as first, daemon.client() as second:
        first.send(first.head("GET", "/b/k"))
        wait_until(
            lambda: scrape(daemon).sum("s3gate_server_room_occupied") == 1, what="the first request"
        )
        assert second.request("GET", "/b/k").status == 503
        metrics = scrape(daemon)
    assert metrics.sum("s3gate_queue_full_total") == 1
    name = "s3gate_site_own_answers_total"
    wait_until(lambda: scrape(daemon).sum(name, code="SlowDown") == 1, what="the answer")
