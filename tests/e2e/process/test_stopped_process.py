"""A process that was stopped (VM pause, SIGSTOP) finds its clients and backends unchanged.

Otherwise every idle timeout and health check fires at once on wake-up: our own stall becomes an
outage for all.
"""

import re
import threading
import time

from support.waiting import wait_until


def test_stall_of_several_seconds(make_backend, gate):
    go = threading.Event()

    def handler(exchange):
        exchange.read_body()
        if "slow" in exchange.request.target:
            exchange.wait(go)
        exchange.respond(200, [], exchange.backend.name.encode())

    backends = [make_backend(handler) for _ in range(2)]
    daemon = gate(
        backends,
        passive="off",
        health={"interval": "200ms", "timeout": "1s", "fall": 1, "rise": 1},
        timeouts={
            "client_idle": "3s",
            "client_body": "3s",
            "backend_head": "3s",
            "client_head": "3s",
        },
    )
    with (
        daemon.client() as idle,
        daemon.client() as waiting,
        daemon.client() as uploading,
        daemon.client() as heading,
    ):
        assert idle.request(target="/b/idle").status == 200
        waiting.send(waiting.head("GET", "/b/slow"))
        uploading.send(uploading.head("PUT", "/b/up", [("Content-Length", "10")]) + b"12345")
        heading.send(b"GET /b/head HTTP/1.1\r\n")
        wait_until(
            lambda: sum(backend.count("/b/slow") + backend.count("/b/up") for backend in backends)
            == 2
        )
        with daemon.frozen():
            # Real time must pass here: the process must be late by more than two seconds.
            time.sleep(4.5)
        # Every peer continues within its remaining time.
        go.set()
        uploading.send(b"67890")
        heading.send(b"Host: a\r\n\r\n")
        assert idle.request(target="/b/idle").status == 200
        assert waiting.read_response().status == 200
        assert uploading.read_response().status == 200
        assert heading.read_response().status == 200
    seen = len(backends[0].health.seen)
    wait_until(lambda: len(backends[0].health.seen) > seen + 3)
    assert not re.search(r"(?i)\bdown\b", daemon.stderr)
    daemon.wait_stderr(r"\[warning\] this process stood still for \d+ ms")
    assert daemon.totals()["stall of this process"] == 1
