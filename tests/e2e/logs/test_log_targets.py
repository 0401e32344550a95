"""Rotation and stuck log targets: SIGUSR1 opens the file anew, and an unread log stops nothing.

A full disk or a dead log collector must never become an outage of the storage.
"""

import os
import signal

from support.config import FAST_HEALTH, make_config, make_site
from support.waiting import wait_until


def test_reopen(one):
    daemon, _ = one()
    moved = daemon.dir / "access.log.1"
    with daemon.client() as client:
        client.request(target="/b/before")
        daemon.wait_log("/b/before")
        daemon.access_log.rename(moved)
        client.request(target="/b/between")
        daemon.signal(signal.SIGUSR1)
        wait_until(daemon.access_log.exists)
        client.request(target="/b/after")
        daemon.wait_log("/b/after")
    every = [
        line["request"] for path in (moved, daemon.access_log) for line in daemon.log_lines(path)
    ]
    assert every == ["/b/before", "/b/between", "/b/after"]


def test_many_reopens_lose_nothing(one):
    daemon, _ = one()
    parts = []
    with daemon.client() as client:
        for number in range(10):
            client.request(target=f"/b/{number}-")
            part = daemon.dir / f"access.log.{number}"
            daemon.access_log.rename(part)
            parts.append(part)
            daemon.signal(signal.SIGUSR1)
            wait_until(daemon.access_log.exists)
        client.request(target="/b/end")
        daemon.wait_log("/b/end")
    every = [
        line["request"] for path in parts + [daemon.access_log] for line in daemon.log_lines(path)
    ]
    assert sorted(every) == sorted([f"/b/{number}-" for number in range(10)] + ["/b/end"])


def test_operational_log_to_a_file(make_backend, gate):
    daemon = gate([make_backend()], top={"log": {"level": "info", "target": "{dir}/s3gate.log"}})
    path = daemon.dir / "s3gate.log"
    wait_until(lambda: path.exists() and path.read_text())
    moved = daemon.dir / "s3gate.log.1"
    path.rename(moved)
    daemon.signal(signal.SIGUSR1)
    daemon.stop()
    assert path.exists() and path.read_text()


def test_fifo_nobody_reads(make_backend, start, tmp_path):
    """The pipe is full after 64 KiB; health changes, requests and the end of the process continue.
    """
    backends = [make_backend() for _ in range(3)]
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        daemon = start(
            make_config(
                [make_site(backends, health=FAST_HEALTH, passive="off")],
                access_log={"target": str(fifo)},
            )
        )
        with daemon.client() as client:
            for number in range(1500):
                assert client.request(target=f"/b/{number}/{'x' * 200}").status == 200
        backends[0].health.status = 503
        daemon.wait_stderr(r"(?i)down")
        backends[0].health.status = 200
        daemon.wait_stderr(r"(?i)\bup\b")
        with daemon.client() as client:
            assert client.request().status == 200
        daemon.signal(signal.SIGTERM)
        assert daemon.wait_exit() == 0
    finally:
        os.close(reader)


def test_fifo_without_any_reader(make_backend, start, tmp_path):
    """open() of such a pipe for writing blocks forever; requests must still be served."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    daemon = start(
        make_config([make_site([make_backend()])], access_log={"target": str(fifo)}),
        wait_ready=False,
    )
    wait_until(lambda: daemon.notify.has("READY=1") or daemon.process.poll() is not None)
    if daemon.process.poll() is not None:
        # A start that fails with a message is fine too; a blocked start is not.
        assert daemon.process.returncode != 0 and str(fifo) in daemon.stderr
        daemon.expected_exit = daemon.process.returncode
        return
    with daemon.client() as client:
        assert client.request().status == 200
