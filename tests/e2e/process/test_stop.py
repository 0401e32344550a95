"""A stop waits for requests, not for connections.

During a stop every connect is refused, so one idle kept connection must not prolong it. And a
request that a stop cuts counts as cut by the proxy, not by the client.
"""

import signal
import threading

from support import wire
from support.waiting import wait_until

# Far above every deadline of the tests: a test that waits for it fails.
PATIENT = {"shutdown_timeout": "10m"}


def test_idle_connections_do_not_hold_it(one):
    daemon, _ = one(top=PATIENT)
    clients = [daemon.client() for _ in range(20)]
    for number, client in enumerate(clients):
        if number % 2 == 0:
            client.request()
    daemon.signal(signal.SIGTERM)
    for client in clients:
        assert client.expect_close() == "eof"
        client.close()
    assert daemon.wait_exit() == 0


def test_a_request_that_was_on_its_way_is_served(one):
    """Not closed at once: a client that has not noticed the stop may be sending."""
    daemon, _ = one(top=PATIENT)
    with daemon.client() as client:
        client.request()
        daemon.signal(signal.SIGTERM)
        wait_until(lambda: daemon.notify.has("STOPPING=1"))
        response = client.request()
        assert response.status == 200 and response.closes
        assert client.expect_close() == "eof"
    assert daemon.wait_exit() == 0


def test_half_a_head_has_its_time(one):
    daemon, _ = one(top=PATIENT)
    with daemon.client() as idle, daemon.client() as client:
        head = client.head("GET", "/b/k")
        client.send(head[:10])
        wire.sleep_briefly()
        daemon.signal(signal.SIGTERM)
        assert idle.expect_close() == "eof"
        client.send(head[10:])
        assert client.read_response().status == 200
    assert daemon.wait_exit() == 0


def test_an_empty_line_is_no_request(one):
    daemon, _ = one(top=PATIENT)
    with daemon.client() as client:
        client.request()
        client.send(b"\r\n")
        wire.sleep_briefly()
        daemon.signal(signal.SIGTERM)
        assert client.expect_close() == "eof"
        assert daemon.wait_exit() == 0


def test_what_it_cuts_says_so(one):
    go = threading.Event()

    def handler(exchange):
        exchange.read_body()
        if "begun" in exchange.request.target:
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf ")
        exchange.wait(go)
        exchange.close()

    daemon, backend = one(handler, top={"shutdown_timeout": "300ms"})
    with daemon.client() as waits, daemon.client() as reads, daemon.client() as sends:
        waits.send(waits.head("GET", "/b/waits"))
        reads.send(reads.head("GET", "/b/begun"))
        sends.send(sends.head("PUT", "/b/sends", [("Content-Length", 10)]) + b"half ")
        assert reads.begin_response().status == 200
        for mark in ("/b/waits", "/b/sends"):
            backend.wait_request(mark)
        daemon.signal(signal.SIGTERM)
        daemon.expected_exit = daemon.wait_exit()
        assert daemon.expected_exit > 0, "requests were cut"
        answer = waits.read_response()
        assert (answer.status, answer.closes) == (503, True)
        assert b"ServiceUnavailable" in answer.data
        assert answer.header("Retry-After") == "1"
        assert reads.read_until_close()[0] == b"half "
        sends.read_until_close()
    lines = {line["request"]: (line["status"], line["error"]) for line in daemon.log_lines()}
    assert lines == {
        "/b/waits": (503, "cut at shutdown"),
        "/b/begun": (200, "cut at shutdown"),
        "/b/sends": (503, "cut at shutdown"),
    }
    assert "client gone before its answer's end" not in daemon.totals()
    go.set()


def test_shutdown_delay_serves_everything_for_the_last_time(one):
    daemon, backend = one(top={**PATIENT, "shutdown_delay": "10m"})
    with daemon.client() as kept:
        assert not kept.request().closes
        daemon.signal(signal.SIGTERM)
        daemon.wait_stderr("leaving: serves on for 600 s")
        response = kept.request()
        assert response.status == 200 and response.closes
        assert kept.expect_close() == "eof"
    for _ in range(3):
        with daemon.client() as fresh:
            assert fresh.request().closes
    # TimeoutStopSec of the unit may be shorter.
    wait_until(lambda: daemon.notify.has("EXTEND_TIMEOUT_USEC=10000000"))
    assert len(backend.requests) == 5
    daemon.signal(signal.SIGTERM)
    daemon.wait_stderr("SIGTERM ends shutdown_delay")
    assert daemon.wait_exit() == 0


def test_shutdown_delay_ends(one):
    daemon, _ = one(top={**PATIENT, "shutdown_delay": "300ms"})
    daemon.signal(signal.SIGTERM)
    assert daemon.wait_exit() == 0
    assert "draining" in daemon.stderr
