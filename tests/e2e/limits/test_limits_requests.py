"""limits.requests_per_client: the rate holds over all of a client's connections and all workers,
new connections included. A client below the rate never notices it.

Without it one client that asks without pause has the servers to itself.
"""

import threading
import time

from support.waiting import wait_until

AGGRESSOR, OTHER = "127.0.8.1", "127.0.8.2"
SLOW = {"rate": "1/m", "burst": 10}  # no token returns during a test


def statuses(daemon, number, keep, source=AGGRESSOR, **request):
    out = []
    client = None
    for _ in range(number):
        client = client or daemon.client(source=source)
        response = client.request(**request)
        out.append(response.status)
        if response.status == 503:
            assert b"<Code>SlowDown</Code>" in response.data
            assert response.header("retry-after") == "1"
        if not keep or response.closes:
            client.close()
            client = None
    if client:
        client.close()
    return out


def test_burst_on_one_connection_that_goes_on(make_backend, gate):
    backend = make_backend()
    daemon = gate([backend], limits={"requests_per_client": SLOW})
    with daemon.client(source=AGGRESSOR) as client:
        found = []
        for _ in range(30):
            response = client.request()
            found.append(response.status)
            assert not response.closes
        assert found == [200] * 10 + [503] * 20
    assert len(backend.requests) == 10
    assert daemon.wait_log("/b/k", 11)["error"] == "client rate limit"
    assert statuses(daemon, 5, keep=True, source=OTHER) == [200] * 5


def test_burst_over_fresh_connections_and_workers(make_backend, gate):
    """Ten requests in all, although each comes on its own connection, to any of four workers."""
    backend = make_backend()
    daemon = gate([backend], top={"workers": 4}, limits={"requests_per_client": SLOW})
    found = []
    lock = threading.Lock()

    def run():
        mine = statuses(daemon, 10, keep=False)
        with lock:
            found.extend(mine)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [200] * 10 + [503] * 30
    assert len(backend.requests) == 10


def test_uploads_over_the_rate_can_read_why(make_backend, gate):
    backend = make_backend()
    daemon = gate([backend], limits={"requests_per_client": {"rate": "1/m", "burst": 1}})
    assert statuses(daemon, 1, keep=True) == [200]
    with daemon.client(source=AGGRESSOR) as client:
        client.send(client.head("PUT", "/b/k", [("Content-Length", 4_000_000)]))
        sender = client.send_in_background(b"x" * 4_000_000)
        response = client.read_response("PUT")
        assert response.status == 503 and response.closes
        sender.join()
    with daemon.client(source=AGGRESSOR) as client:
        client.send(
            client.head("PUT", "/b/k", [("Content-Length", 5), ("Expect", "100-continue")])
        )
        response = client.read_response("PUT")
        assert response.status == 503 and not response.interim
    with daemon.client(source=AGGRESSOR) as client:
        response = client.request("HEAD")
        assert response.status == 503 and response.data == b"" and not response.closes
    assert len(backend.requests) == 1


def test_what_it_earns_back_is_the_rate(make_backend, gate):
    daemon = gate([make_backend()], limits={"requests_per_client": {"rate": "50/s", "burst": 5}})
    begin = time.monotonic()
    found = statuses(daemon, 400, keep=True)
    passed = time.monotonic() - begin
    # The elapsed time bounds the admitted requests, also on a slow machine.
    assert found.count(200) <= 5 + 50 * passed + 2
    assert found.count(200) >= 5
    wait_until(lambda: statuses(daemon, 1, keep=False) == [200], what="a request at the rate")


def test_a_well_behaved_client_beside_an_aggressor(make_backend, gate):
    """One address asks without pause, on kept and on new connections; another one within its rate
    gets every answer."""
    backend = make_backend()
    daemon = gate(
        [backend],
        top={"workers": 4},
        limits={"requests_per_client": {"rate": "100/s", "burst": 100}, "per_client": 20},
    )
    stop = threading.Event()
    asked = []

    def attack(keep):
        while not stop.is_set():
            asked.extend(statuses(daemon, 20, keep))

    threads = [threading.Thread(target=attack, args=(i % 2 == 0,)) for i in range(4)]
    for thread in threads:
        thread.start()
    try:
        assert statuses(daemon, 60, keep=True, source=OTHER) == [200] * 60
        assert statuses(daemon, 30, keep=False, source="127.0.8.3") == [200] * 30
        wait_until(lambda: 503 in asked, what="the aggressor to meet its limit")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    # The refusal ends when the time is over.
    wait_until(lambda: statuses(daemon, 1, keep=False) == [200])
