"""Clients of the control socket that send garbage, half a request or nothing, that do not read, or
that leave: the next one is answered at once, and the daemon goes on.

It is the same thread that checks servers and takes signals.
"""

import os
import random
import signal
import socket
import threading
import time

import pytest

from support.backend import hang
from support.config import FAST_HEALTH, make_config, make_site
from support.ctl import ADMIN, ask, connect, ctl, exchange, read_all, socket_of, status_of
from support.waiting import DEADLINE, SCALE, wait_until

MOST = 16  # connections that wait for their client, at a time
GOOD = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def daemon(one):
    return one(top={"admin": ADMIN})[0]


def is_well(daemon):
    return ask(socket_of(daemon), "GET", "/healthz") == (200, {"healthy": True, "reason": "ok"})


def malformed(count):
    """Requests with a mistake each: bytes changed, left out or put in at random places."""
    rng = random.Random(7)
    base = b"POST /standby HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
    yield from (
        b"\r\n\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /healthz\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /reload HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /reload HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nno colon\r\n\r\n",
    )
    for _ in range(count):
        data = bytearray(base)
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(len(data))
            how = rng.randrange(3)
            if how == 0:
                data[at] = rng.randrange(256)
            elif how == 1:
                del data[at]
            else:
                data.insert(at, rng.randrange(256))
        yield bytes(data)


def test_garbage(daemon):
    """Each sender is done at once, because nothing follows what it sent."""
    for data in malformed(200):
        with connect(socket_of(daemon)) as sock:
            try:
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            answer = read_all(sock)
            assert not answer or answer.startswith(b"HTTP/1.1 "), (data, answer)
    ctl(daemon, "active")
    assert is_well(daemon)
    assert "error" not in daemon.stderr


SIZES = {
    "head": (b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", b"431"),
    "endless target": (b"GET /" + b"x" * 100_000, b"431"),
    "body": (b"POST /reload HTTP/1.1\r\nContent-Length: 70000\r\n\r\n" + b"x" * 70_000, b"413"),
    "chunked body": (
        b"POST /reload HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"1000\r\n%s\r\n" % (b"x" * 4096) * 20
        + b"0\r\n\r\n",
        b"413",
    ),
}


@pytest.mark.parametrize("size", SIZES)
def test_sizes_are_bounded(daemon, size):
    data, status = SIZES[size]
    assert exchange(socket_of(daemon), data).split()[1] == status
    assert is_well(daemon)


def test_one_request_for_each_connection(daemon):
    answer = exchange(socket_of(daemon), GOOD * 3)
    assert answer.count(b"HTTP/1.1 ") == 1 and b"Connection: close" in answer


def test_half_a_request_has_five_seconds(daemon):
    body = b"POST /standby HTTP/1.1\r\nContent-Length: 5\r\n\r\n{"
    began = time.monotonic()
    waiting = [connect(socket_of(daemon)) for _ in range(4)]
    for sock, beginning in zip(waiting, [b"", GOOD[:10], GOOD[:-2], body]):
        sock.sendall(beginning)
    for sock in waiting:
        assert read_all(sock) == b""
        assert 4.5 < time.monotonic() - began < 6 + 4 * SCALE
        sock.close()
    assert not status_of(daemon)["standby"]


def test_hanging_clients_lock_nobody_out(daemon):
    """Three times as many as there are places: whoever asks properly is answered at once."""
    hanging = [connect(socket_of(daemon)) for _ in range(3 * MOST)]
    try:
        for number, sock in enumerate(hanging):
            try:
                sock.sendall(GOOD[: number % 30])
            except OSError:
                pass  # had to make room already
        for _ in range(10):
            began = time.monotonic()
            assert is_well(daemon)
            assert time.monotonic() - began < 4.5  # no patience had to end for it
            assert ctl(daemon, "health").returncode == 0
        assert daemon.descriptors < 200
    finally:
        for sock in hanging:
            sock.close()


def big_config(make_backend):
    """A status that no socket takes at once."""
    servers = [f"127.9.{i}.{j}:9" for i in range(10) for j in range(1, 101)]
    sites = [make_site(servers, name="big"), make_site([make_backend()], name="small")]
    return make_config(sites, admin=ADMIN)


def test_slow_readers(start, make_backend):
    """They have five seconds as well, and no part of the daemon waits for them."""
    daemon = start(big_config(make_backend))
    path = socket_of(daemon)
    slow = [connect(path) for _ in range(MOST)]
    for sock in slow:
        sock.sendall(b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n")
    began = time.monotonic()
    assert is_well(daemon)
    assert len(status_of(daemon)["sites"][0]["groups"][0]["servers"]) == 1000
    assert time.monotonic() - began < 4.5 * SCALE
    before = daemon.descriptors
    wait_until(lambda: daemon.descriptors <= before - MOST + 2, what="the end of their patience")
    for sock in slow:
        sock.close()


def test_clients_that_leave(daemon):
    before = daemon.descriptors
    for number in range(200):
        sock = connect(socket_of(daemon))
        if number % 3:
            sock.sendall(GOOD if number % 2 else b"GET /status HTTP/1.1\r\n\r\n")
        sock.close()
    assert is_well(daemon)
    wait_until(lambda: daemon.descriptors <= before, what="no descriptor is left behind")


def test_many_at_once(daemon):
    """More than there are places, all of them quick."""
    failures = []

    def run():
        for _ in range(20):
            if ask(socket_of(daemon), "GET", "/status")[0] != 200:
                failures.append(1)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert not failures and is_well(daemon)


def test_signals_and_checks_wait_for_none_of_them(make_backend, gate):
    daemon = gate([make_backend()], health=FAST_HEALTH, top={"admin": ADMIN})
    hanging = [connect(socket_of(daemon)) for _ in range(MOST)]
    passed = status_of(daemon)["counters"]["checks_passed"]
    wait_until(
        lambda: status_of(daemon)["counters"]["checks_passed"] > passed + 3, what="further checks"
    )
    began = time.monotonic()
    daemon.signal(signal.SIGTERM)
    assert daemon.wait_exit() == 0
    assert time.monotonic() - began < 3 * SCALE
    for sock in hanging:
        assert read_all(sock) == b""
        sock.close()
    assert not os.path.exists(socket_of(daemon))


def test_a_client_of_a_stopped_daemon_is_told(make_backend, gate):
    daemon = gate([make_backend(hang)], top={"admin": ADMIN})
    with daemon.frozen():
        sock = connect(socket_of(daemon))
        sock.sendall(GOOD)
    assert read_all(sock).startswith(b"HTTP/1.1 ")
    sock.close()
