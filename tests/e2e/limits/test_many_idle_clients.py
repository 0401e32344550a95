"""Two thousand silent clients cost almost nothing, and a request among them is served at once.

SDKs keep connections by the hundred. A proxy that holds a buffer for each, or scans all of them on
every turn, is slow and full long before it has work to do.
"""

import resource
import time

import pytest

from support.client import RawClient
from support.waiting import wait_until

COUNT = 2000
# Memory of the process per idle connection (without the kernel's share). The object is about 0.6
# KiB; a request's buffer alone would be 16.
PER_CLIENT = 4 * 1024


@pytest.fixture(autouse=True)
def descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2 * COUNT + 600:
        pytest.skip(f"the limit of open files is {hard}: too few for {COUNT} clients and a daemon")
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_request_among_them(one):
    """Half of the clients have sent a request, the others never did."""
    daemon, _ = one(timeouts={"client_idle": "60s", "client_head": "60s"})
    with daemon.client() as client:
        assert client.request().status == 200
        before, sockets = daemon.resident, daemon.sockets
        crowd = []
        try:
            for number in range(COUNT):
                crowd.append(RawClient(daemon.address))
                if number % 2:
                    assert crowd[-1].request().status == 200
            wait_until(lambda: daemon.sockets >= sockets + COUNT)
            grown = daemon.resident - before
            if not daemon.is_sanitized:
                assert grown < COUNT * PER_CLIENT, f"{grown / COUNT:.0f} bytes for an idle client"
            spent = daemon.cpu_seconds
            times = []
            for _ in range(50):
                begun = time.monotonic()
                assert client.request().status == 200
                times.append(time.monotonic() - begun)
            # The median: a busy machine may delay any request for a moment.
            assert sorted(times)[25] < 0.1
            if not daemon.is_sanitized:
                assert daemon.cpu_seconds - spent < 0.5
        finally:
            for member in crowd:
                member.close()
        wait_until(lambda: daemon.sockets <= sockets + 2, what="descriptors back")
    totals = daemon.totals()
    assert totals["requests"] == 51 + COUNT // 2
    assert totals["connections"] >= COUNT + 1


def test_what_they_sent_ahead_is_forgotten(one):
    """A large head came with the end of the previous body: once the connection is idle it keeps
    none of that memory."""
    daemon, _ = one(timeouts={"client_idle": "60s"})
    count = 200
    large = [("X-Pad", "p" * 50_000)]
    before = None
    crowd = []
    try:
        for number in range(count + 20):
            if number == 20:
                before = daemon.resident  # buffers and the request object have grown
            crowd.append(RawClient(daemon.address))
            put = crowd[-1].head("PUT", "/b/k", [("Content-Length", 10)])
            crowd[-1].send(put + b"0123456789" + crowd[-1].head("GET", "/b/k", large))
            for _ in range(2):
                assert crowd[-1].read_response().status == 200
        grown = daemon.resident - before
        if not daemon.is_sanitized:
            assert grown < count * PER_CLIENT, f"{grown / count:.0f} bytes for an idle client"
    finally:
        for member in crowd:
            member.close()


def test_they_are_closed_in_time_and_counted(one):
    daemon, _ = one(timeouts={"client_idle": "3s", "client_head": "3s"})
    sockets = daemon.sockets
    crowd = [RawClient(daemon.address) for _ in range(COUNT)]
    try:
        for member in crowd:
            assert member.expect_close() == "eof"
        wait_until(lambda: daemon.sockets <= sockets + 1, what="descriptors back")
    finally:
        for member in crowd:
            member.close()
    assert daemon.totals()["idle client connections closed"] == COUNT
    assert daemon.log_lines() == []
