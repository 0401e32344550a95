"""Metrics: each series moves when its thing happens, and nothing else does; they are bounded, and
scrapes disturb nobody."""

import random
import re
import shutil
import socket
import subprocess
import threading
import time

import pytest

from support.admin import admin_at, free_address, health
from support.backend import answer_ok, die, hang
from support.client import split_address
from support.config import FAST_HEALTH, Blackhole, dead_address, make_config, make_site
from support.ctl import ADMIN, ctl, status_of
from support.metrics import Metrics, scrape, scrape_text, scrape_text_at
from support.waiting import wait_until

ATTEMPTS = "s3gate_server_attempts_total"
REQUESTS = "s3gate_site_requests_total"


@pytest.fixture(name="stage")
def stage_fixture(make_backend, gate):
    """(daemon, backend) with a command socket."""

    def run(handler=answer_ok, main=None, **site):
        backend = make_backend(handler)
        return gate([backend], top={"admin": ADMIN, **(main or {})}, **site), backend

    return run


def moved(daemon, before, name, **labels):
    """Waits until that sum has moved, as the figures of a request come just after its answer."""
    was = before.sum(name, **labels)
    wait_until(lambda: scrape(daemon).sum(name, **labels) != was, what=f"{name} {labels}")
    return scrape(daemon).sum(name, **labels) - was


def ask(daemon, method="GET", target="/b/k", **more):
    with daemon.client() as client:
        return client.request(method, target, **more).status


def test_an_attempt_is_counted_once_with_its_bytes_and_times(stage):
    daemon, _ = stage(lambda exchange: (exchange.read_body(), exchange.respond(200, body=b"hello")))
    before = scrape(daemon)
    with daemon.client() as client:
        assert client.request("PUT", "/b/k", body=b"x" * 1000).status == 200
        assert client.request("GET", "/b/k").status == 200
    assert moved(daemon, before, REQUESTS, operation="GetObject", **{"class": "2xx"}) == 1
    after = scrape(daemon)

    def grown(name, **labels):
        return after.sum(name, **labels) - before.sum(name, **labels)

    assert grown(REQUESTS) == 2 and grown(REQUESTS, operation="PutObject") == 1
    assert grown(ATTEMPTS) == grown(ATTEMPTS, **{"class": "2xx"}) == 2
    assert grown("s3gate_server_sent_bytes_total") == 1000
    assert grown("s3gate_server_received_bytes_total") == 10
    assert grown("s3gate_site_received_bytes_total") == 1000
    assert grown("s3gate_site_sent_bytes_total") == 10
    assert grown("s3gate_server_connect_seconds_count") == 1
    assert grown("s3gate_server_reused_connections_total") == 1
    for kind in ["first_byte", "duration"]:
        name = f"s3gate_server_{kind}_seconds"
        assert grown(name + "_count") == grown(name + "_bucket", le="+Inf") == 2
    assert grown("s3gate_worker_requests_total") == grown("s3gate_requests_total") == 2
    assert grown("s3gate_site_keys_total", source="fingerprint") == 2
    assert grown("s3gate_site_own_answers_total") == 0


@pytest.mark.parametrize(
    ("status", "word"), [(204, "2xx"), (304, "3xx"), (404, "4xx"), (500, "5xx"), (599, "5xx")]
)
def test_answers_are_counted_by_the_class_of_their_status(stage, status, word):
    daemon, _ = stage(lambda exchange: exchange.respond(status))
    before = scrape(daemon)
    assert ask(daemon) == status
    assert moved(daemon, before, ATTEMPTS, **{"class": word}) == 1
    assert moved(daemon, before, REQUESTS, **{"class": word}) == 1


def cut(exchange):
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    exchange.close()


@pytest.mark.parametrize(("handler", "word"), [(die, "broken"), (cut, "broken"), (hang, "broken")])
def test_an_answer_that_is_not_whole_is_broken(stage, handler, word):
    daemon, _ = stage(handler, timeouts={"backend_head": "500ms"})
    before = scrape(daemon)
    with daemon.client() as client:
        client.send(client.head("PUT", "/b/k", [("Content-Length", 0)]))
        client.read_until_close() if handler is cut else client.read_response()
    assert moved(daemon, before, ATTEMPTS, **{"class": word}) == 1
    assert moved(daemon, before, ATTEMPTS) == 1


def test_a_server_that_is_not_there_is_unsent_and_the_cause_of_a_retry(stage, gate, make_backend):
    good = make_backend()
    dead = dead_address()
    daemon = gate(
        [dead, good],
        top={"admin": ADMIN, "workers": 1},
        health="off",
        balance={"method": "round_robin"},
        passive="off",
    )
    before = scrape(daemon)
    for _ in range(4):
        assert ask(daemon) == 200
    wait_until(lambda: scrape(daemon).sum(REQUESTS) == 4)
    assert moved(daemon, before, ATTEMPTS, server=dead, **{"class": "unsent"}) == 2
    assert moved(daemon, before, "s3gate_server_retries_total", server=dead) == 2
    assert moved(daemon, before, "s3gate_site_retries_total", row="2", cause="refused") == 2
    assert scrape(daemon).sum(ATTEMPTS, server=good.address, **{"class": "2xx"}) == 4


def test_a_client_that_leaves_is_no_fault_of_the_server(stage):
    daemon, backend = stage(hang)
    before = scrape(daemon)
    with daemon.client() as client:
        client.send(client.head("GET", "/b/gone"))
        backend.wait_request("/b/gone")
        assert scrape(daemon).sum("s3gate_server_requests_in_flight") == 1
        assert scrape(daemon).sum("s3gate_group_requests_in_flight") == 1
        assert scrape(daemon).sum("s3gate_site_connections") == 1
        assert scrape(daemon).sum("s3gate_worker_connections") == 1
        assert scrape(daemon).sum("s3gate_backend_connections", state="active") == 1
    assert moved(daemon, before, ATTEMPTS, **{"class": "given_up"}) == 1
    assert moved(daemon, before, REQUESTS, **{"class": "4xx"}) == 1
    assert moved(daemon, before, "s3gate_clients_gone_total") == 1
    expect_rest(daemon)


def expect_rest(daemon):
    """Every gauge of what is in progress is 0."""
    names = ["in_flight", "waiting", "connections", "occupied", "old_users"]

    def busy():
        found = scrape(daemon)
        return {
            key: value
            for key, value in found.series.items()
            if found.types.get(key[0]) == "gauge"
            and any(key[0].endswith(name) for name in names)
            and ("state", "idle") not in key[1]
            and value != 0
        }

    wait_until(lambda: not busy(), what="rest")


def test_gauges_return_to_zero_after_connects_that_were_given_up(stage, gate):
    hole = Blackhole()
    daemon = gate([hole.address], top={"admin": ADMIN}, health="off")
    with daemon.client() as client:
        client.send(client.head("GET", "/b/k"))
        wait_until(lambda: scrape(daemon).sum("s3gate_server_requests_in_flight") == 1)
    expect_rest(daemon)
    hole.close()


def test_kept_connections_are_idle_until_their_time_is_over(stage):
    daemon, _ = stage(backends={"idle_timeout": "1s"})
    assert ask(daemon) == 200
    wait_until(lambda: scrape(daemon).sum("s3gate_backend_connections", state="idle") == 1)
    wait_until(lambda: scrape(daemon).sum("s3gate_backend_connections", state="idle") == 0)


def test_own_answers_are_counted_by_their_code(stage):
    daemon, _ = stage(die, limits={"head": "16KiB"})
    before = scrape(daemon)
    assert ask(daemon, "PUT", body=b"x") == 502
    with daemon.client() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        client.read_until_close()
    own = "s3gate_site_own_answers_total"
    assert moved(daemon, before, own, code="InvalidRequest") == 1
    assert moved(daemon, before, own, code="InternalError") == 1
    assert moved(daemon, before, REQUESTS, **{"class": "4xx"}) == 1


def test_room_and_queue(stage):
    daemon, backend = stage(
        hang, backends={"max_connections": 1, "queue": 1, "queue_timeout": "1s"}
    )
    before = scrape(daemon)
    with daemon.client() as first, daemon.client() as second:
        first.send(first.head("GET", "/b/first"))
        backend.wait_request("/b/first")
        second.send(second.head("GET", "/b/second"))
        wait_until(lambda: scrape(daemon).sum("s3gate_group_requests_waiting") == 1)
        assert scrape(daemon).sum("s3gate_server_room_occupied") == 1
        assert scrape(daemon).sum("s3gate_server_room") == 1
        assert second.read_response().status == 503
    assert moved(daemon, before, "s3gate_queue_timeouts_total") == 1
    assert moved(daemon, before, "s3gate_site_own_answers_total", code="SlowDown") == 1
    expect_rest(daemon)


def test_health_marks_and_standby(stage):
    daemon, backend = stage(health=FAST_HEALTH)
    wait_until(lambda: scrape(daemon).sum("s3gate_server_up") == 1)
    before = scrape(daemon)
    backend.health.mode = "close"
    flips = "s3gate_server_flips_total"
    wait_until(lambda: scrape(daemon).sum(flips, to="down") > before.sum(flips, to="down"))
    wait_until(lambda: scrape(daemon).sum("s3gate_server_usable") == 0)
    assert scrape(daemon).sum("s3gate_group_usable_servers") == 0
    assert scrape(daemon).sum("s3gate_server_checks_failed_total") > 0
    backend.health.mode = "answer"
    wait_until(lambda: scrape(daemon).sum(flips, to="up") > before.sum(flips, to="up"))
    wait_until(lambda: scrape(daemon).sum("s3gate_server_usable") == 1)
    assert scrape(daemon).sum("s3gate_healthy") == 1


def test_a_server_that_is_gone_has_no_series_and_another_address_loses_none(stage, make_backend):
    daemon, backend = stage()
    other = make_backend()
    assert ask(daemon) == 200
    wait_until(lambda: scrape(daemon).sum(ATTEMPTS, server=backend.address) == 1)
    daemon.reload(make_config([make_site([other], name="new")], admin=ADMIN))
    text = scrape_text(daemon)
    assert backend.address not in text and 'site="test"' not in text
    found = Metrics(text)
    assert found.sum(ATTEMPTS, server=other.address) == 0
    assert found.sum("s3gate_config_generation") == 2
    assert found.sum("s3gate_requests_total") == 1


def test_buckets_are_counted_where_it_is_asked_for(stage):
    """Two get places, and only where they answer well; the rest is counted together."""
    daemon, _ = stage(
        lambda exchange: exchange.respond(404 if "absent" in exchange.request.target else 200),
        main={"metrics": {"buckets": 2}},
    )
    requests = "s3gate_bucket_requests_total"
    for target in ["/absent1/k", "/photos/k", "/photos/k", "/absent1/k", "/", "/logs/k", "/more/k"]:
        ask(daemon, target=target)
    wait_until(lambda: scrape(daemon).sum(REQUESTS) == 7)
    found = scrape(daemon)
    buckets = {dict(labels)["bucket"] for name, labels in found.series if name == requests}
    assert buckets == {"photos", "logs", "other"}
    assert found.sum(requests, bucket="photos") == 2
    assert found.sum(requests, bucket="logs", **{"class": "2xx"}) == 1
    assert found.sum(requests, bucket="other") == 4
    assert found.sum(requests, bucket="other", **{"class": "4xx"}) == 2


def test_no_bucket_has_series_otherwise(stage):
    daemon, _ = stage()
    assert ask(daemon) == 200
    wait_until(lambda: scrape(daemon).sum(REQUESTS) == 1)
    assert "bucket=" not in scrape_text(daemon)


def test_the_ring_digest_is_that_of_check(stage):
    daemon, _ = stage()
    done = subprocess.run(
        [daemon.process.args[0], "check", "--config", str(daemon.dir / "s3gate.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )
    digest = re.search(r"ring digest (\w+)", done.stdout)[1]
    assert scrape(daemon).sum("s3gate_config_info", ring_digest=digest) == 1


def test_the_ring_digest_is_that_of_status_while_a_command_holds(stage):
    """Hosts that obey different commands differ, and the alert must see that."""
    daemon, backend = stage()
    before = status_of(daemon)["config"]["ring_digest"]
    assert ctl(daemon, "drain", "--force", backend.address).returncode == 0
    drained = status_of(daemon)["config"]["ring_digest"]
    assert drained != before
    assert scrape(daemon).sum("s3gate_config_info", ring_digest=drained) == 1
    assert ctl(daemon, "undrain", backend.address).returncode == 0
    assert scrape(daemon).sum("s3gate_config_info", ring_digest=before) == 1


def test_promtool_has_nothing_to_say(stage):
    if shutil.which("promtool") is None:
        pytest.skip("promtool (Debian's prometheus) is not installed")
    daemon, _ = stage()
    assert ask(daemon) == 200
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=scrape_text(daemon),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_parameters_and_methods(stage, gate, make_backend):
    address = free_address()
    daemon = gate([make_backend()], top={"admin": admin_at(address)})
    for query in ["", "?", "?a=1&a=1", "?name[]=x&name[]=x&" * 20]:
        assert Metrics(scrape_text_at(address, f"/metrics{query}")).sum("s3gate_healthy") == 1
    assert scrape(daemon).sum("s3gate_healthy") == 1


@pytest.fixture(name="many")
def many_fixture(gate):
    """A daemon with a thousand servers, none of which is there, and its address for scrapes."""
    servers = [f"127.{1 + i // 250}.0.{1 + i % 250}:9" for i in range(1000)]
    address = free_address()
    daemon = gate(servers, top={"admin": admin_at(address)}, health="off")
    return daemon, address


def test_a_thousand_servers(many):
    """They are rendered within 300 ms while /healthz answers within 10 ms; the bounds are of a host
    that is not busy."""
    daemon, address = many
    slow = 20 if daemon.is_sanitized else 1
    assert scrape(daemon).sum("s3gate_healthy") == 1  # the ring is counted through once
    times, checks, stop = [], [], threading.Event()

    def check():
        while not stop.is_set():
            begun = time.monotonic()
            assert health(address) == (200, "ok")
            checks.append(time.monotonic() - begun)

    thread = threading.Thread(target=check)
    thread.start()
    try:
        for _ in range(10):
            begun = time.monotonic()
            text = scrape_text_at(address)
            times.append(time.monotonic() - begun)
    finally:
        stop.set()
        thread.join()
    series = Metrics(text).series
    per_server = sum(('server', "127.1.0.1:9") in labels for _, labels in series)
    assert 30 < per_server <= 60
    print(f"rendered in {min(times):.3f}…{max(times):.3f} s, {len(text)} bytes")
    print(f"healthz in {sorted(checks)[len(checks) // 2]:.4f} s, at most {max(checks):.4f} s")
    assert min(times) < 0.3 * slow
    assert sorted(checks)[len(checks) // 2] < 0.01 * slow


def test_many_scrapes_at_once_share_the_text(many):
    """Each is answered or refused, and the daemon works on."""
    daemon, address = many
    results = []

    def run():
        try:
            results.append(len(scrape_text_at(address)))
        except (AssertionError, OSError):
            results.append(0)

    threads = [threading.Thread(target=run) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 12 and all(results)
    assert health(address) == (200, "ok")


def test_scrapes_that_are_cut_leave_nothing_behind(many):
    """A thousand, each at a random byte of the request or of the answer."""
    daemon, address = many
    request = f"GET /metrics HTTP/1.1\r\nHost: {address}\r\n\r\n".encode()
    size = len(scrape_text_at(address))
    before = status_of(daemon)
    descriptors = daemon.descriptors
    chance = random.Random(7)
    for number in range(1000):
        with socket.create_connection(split_address(address)) as sock:
            if number % 10:  # most ends are in the request: an answer takes its rendering
                sock.sendall(request[: chance.randrange(len(request))])
            else:
                sock.sendall(request)
                left = chance.randrange(size)
                while left > 0 and (some := sock.recv(min(left, 65536))):
                    left -= len(some)
            if chance.random() < 0.5:
                sock.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00"
                )
    wait_until(lambda: daemon.descriptors <= descriptors, what="all descriptors")
    after = status_of(daemon)
    for key in ["phase", "connections", "requests", "workers", "sites"]:
        assert after[key] == before[key], key
    assert Metrics(scrape_text_at(address)).sum("s3gate_healthy") == 1
