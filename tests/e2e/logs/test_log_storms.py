"""Nothing that clients, servers or callers of the admin sockets do floods the operational log: of
each kind of line the first is written at once, and then one a minute with the number of the others.

Six servers that flapped wrote hundreds of lines a minute, and the line that mattered was gone from
the journal before anybody read it.
"""

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading

import pytest

from support.admin import admin_at, ask, free_address
from support.backend import HealthAnswers
from support.client import split_address
from support.ctl import socket_of, status_of
from support.waiting import DEADLINE, wait_until

SERVERS = 6
ENOUGH = 100  # events of a kind: far more than lines may be
OTHER = 61002  # a number that no user has

MORE = r" \((\d+) more lines? about it in the last \d+ s\)"

# Commands of somebody who may only look.
ASK_AS_OTHER = """
import socket, sys
for i in range(int(sys.argv[2])):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(sys.argv[1])
        sock.sendall(b"POST /standby HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 0\\r\\n\\r\\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 403 ")
"""


class FlappingHealth(HealthAnswers):
    """Two checks pass, two fail."""

    @property
    def status(self):
        return 200 if len(self.seen) % 4 < 2 else 503

    @status.setter
    def status(self, _):
        pass


class Breaking:
    """Breaks every second request."""

    def __init__(self):
        self.requests = 0

    def __call__(self, exchange):
        exchange.read_body()
        self.requests += 1
        if self.requests % 2:
            exchange.close()
        else:
            exchange.respond(200, [], b"well")


@pytest.fixture(name="storm")
def storm_fixture(make_backend, gate):
    """(daemon, its address for monitoring); the disk of its access log is full."""
    address = free_address()
    backends = [make_backend(Breaking()) for _ in range(SERVERS)]
    for backend in backends:
        backend.health = FlappingHealth()
    daemon = gate(
        backends,
        type="http",
        balance={"method": "round_robin"},
        health={"interval": "50ms", "timeout": "2s", "fall": 1, "rise": 1},
        passive={"max_fails": 1, "fail_timeout": "50ms"},
        top={
            "admin": admin_at(address, allow=["127.0.0.1"]),
            "access_log": {"target": "/dev/full"},
        },
    )
    return daemon, address


def keep_doing(deed, end):
    """Repeats it in a thread of its own until `end`; the storm may refuse or cut it."""

    def run():
        while not end.is_set():
            with contextlib.suppress(OSError, AssertionError, ValueError):
                deed()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def send_rubbish(daemon):
    with socket.create_connection(split_address(daemon.address), DEADLINE) as sock:
        sock.sendall(b"GET /b/k HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        sock.recv(4096)


def send_good(daemon):
    with daemon.client() as client:
        for i in range(20):
            client.request("GET", f"/b/{i}")


def connect_from_elsewhere(address):
    with socket.create_connection(split_address(address), source_address=("127.0.0.2", 0)) as sock:
        sock.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert sock.recv(10) == b""


def command_as_other(daemon):
    if os.geteuid() == 0:  # only root can be another user
        subprocess.run(
            [sys.executable, "-c", ASK_AS_OTHER, socket_of(daemon), str(ENOUGH)],
            user=OTHER,
            group=OTHER,
            extra_groups=[0],
            timeout=DEADLINE,
            check=True,
        )


def kinds_of(text):
    """How often each kind of line was written: lines without names, numbers and reasons."""
    counts = {}
    for line in re.findall(r"\[(?:warning|info|error)\] (.*)", text):
        kind = re.sub(r"[\d.:]+", "N", line)[:60]
        counts[kind] = counts.get(kind, 0) + 1
    return counts


def is_enough(daemon):
    figures = status_of(daemon)["counters"]
    names = ["backends_went_down", "backends_went_up", "passive_marks_set"]
    return all(figures.get(name, 0) >= ENOUGH for name in names)


def test_a_storm_is_a_few_lines_with_numbers(storm):
    daemon, address = storm
    end = threading.Event()
    threads = [
        keep_doing(lambda: send_good(daemon), end),
        keep_doing(lambda: send_good(daemon), end),
        keep_doing(lambda: send_rubbish(daemon), end),
        keep_doing(lambda: connect_from_elsewhere(address), end),
        keep_doing(lambda: ask(address, "/status", host="evil.example"), end),
    ]
    try:
        command_as_other(daemon)
        wait_until(lambda: is_enough(daemon), 3 * DEADLINE, what="a storm")
    finally:
        end.set()
        for thread in threads:
            thread.join()
    daemon.stop()
    counts = kinds_of(daemon.stderr)
    # A line of each server when it begins, and one when the process ends.
    assert max(counts.values()) <= 2 * SERVERS, counts
    once = [
        "a connection from 127.0.0.2 is closed: not in admin.allow",
        "a request by 127.0.0.1 is refused: ",
        "lines are being dropped",
        *(["/standby is refused: "] if os.geteuid() == 0 else []),
    ]
    for line in once:
        assert 1 <= daemon.stderr.count(line) <= 3, line
    assert_nothing_is_lost(daemon.stderr)


def assert_nothing_is_lost(text):
    """The lines and their numbers are all that the counters have."""
    totals = re.search(r"; in all: (.*)", text)[1]
    told = re.findall(rf" is (down|up) after \d+ [^\n]*?(?:{MORE})?\n", text)
    assert {word for word, _ in told} == {"down", "up"}
    others = re.findall(r"(\d+) more lines about servers that went up or down: ", text)
    changes = sum(1 + int(more or 0) for _, more in told) + sum(map(int, others))
    downs, ups = [
        int(re.search(rf"(\d+) backends? {word}", totals)[1]) for word in ("down", "up again")
    ]
    assert min(downs, ups) >= ENOUGH and changes == downs + ups
