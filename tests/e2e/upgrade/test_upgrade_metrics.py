"""In an upgrade no counter falls, and what old processes still do is seen."""

import threading

from support.config import make_config, make_site
from support.ctl import ADMIN, ctl
from support.metrics import fallen, scrape
from support.upgrade import Held, pid_of
from support.waiting import wait_until

ATTEMPTS = "s3gate_server_attempts_total"
IN_FLIGHT = "s3gate_server_requests_in_flight"


def test_the_old_process_is_in_the_sums_and_its_figures_stay(serve, line):
    held = Held()
    daemon, backend = serve(held)
    held.backend = backend
    with daemon.client() as client:
        assert client.request("GET", "/b/first").status == 200
    client = daemon.client()
    client.send(client.head("GET", "/b/held"))
    response = client.begin_response()
    before = scrape(daemon)
    line.upgrade()
    after = scrape(daemon)
    assert fallen(before, after) == {}
    assert after.sum("s3gate_old_processes") == 1
    assert after.sum(IN_FLIGHT) == 1 and after.sum("s3gate_site_connections") == 1
    assert after.sum("s3gate_group_requests_in_flight") == 1
    held.go.set()
    client.finish_response(response)
    client.close()
    assert daemon.wait_exit() == 0
    wait_until(lambda: scrape(daemon).sum("s3gate_old_processes") == 0)
    last = scrape(daemon)
    assert fallen(after, last) == {}
    assert last.sum(IN_FLIGHT) == last.sum("s3gate_site_connections") == 0
    assert last.sum(ATTEMPTS, **{"class": "2xx"}) == 2
    assert last.sum("s3gate_requests_total") == last.sum("s3gate_site_requests_total") == 2
    assert last.sum("s3gate_server_duration_seconds_count") == 2


def test_three_upgrades_under_load_lose_no_count(serve, line):
    """One client scrapes without a pause, others ask; each request is counted exactly once."""
    daemon, _ = serve()
    stop = threading.Event()
    served = [0, 0]
    problems = []
    scrapes = []

    def ask(place):
        while not stop.is_set():
            try:
                with daemon.client() as client:
                    for _ in range(20):
                        response = client.request("GET", f"/b/{place}")
                        served[place] += response.status == 200
                        if response.closes:
                            break
            except OSError:
                pass  # between two processes

    def look():
        last = scrape(daemon)
        while not stop.is_set():
            try:
                now = scrape(daemon)
            except (AssertionError, OSError):
                continue  # told to ask again
            problems.extend(fallen(last, now).items())
            scrapes.append(pid_of(daemon))
            last = now

    threads = [threading.Thread(target=ask, args=[place]) for place in range(2)]
    threads.append(threading.Thread(target=look))
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            seen = len(scrapes)
            wait_until(lambda seen=seen: len(scrapes) > seen + 2)
            line.upgrade()
        seen = len(scrapes)
        wait_until(lambda: len(scrapes) > seen + 2)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert problems == []
    assert len(set(scrapes)) == 4, "each process was scraped"
    wait_until(lambda: scrape(daemon).sum("s3gate_old_processes") == 0)
    last = scrape(daemon)
    assert last.sum(ATTEMPTS, **{"class": "2xx"}) == sum(served)
    assert last.sum("s3gate_worker_requests_total") == last.sum("s3gate_requests_total")
    for name in [IN_FLIGHT, "s3gate_site_connections", "s3gate_group_requests_in_flight"]:
        assert last.sum(name) == 0


def test_a_bucket_keeps_its_place(serve, line):
    daemon, _ = serve(main={"metrics": {"buckets": 1}})
    requests = "s3gate_bucket_requests_total"

    def ask(target):
        with daemon.client() as client:
            assert client.request("GET", target).status == 200

    ask("/photos/k")
    wait_until(lambda: scrape(daemon).sum(requests) == 1)
    line.upgrade()
    ask("/logs/k")
    ask("/photos/k")
    wait_until(lambda: scrape(daemon).sum(requests) == 3)
    found = scrape(daemon)
    assert found.sum(requests, bucket="photos") == 2
    assert found.sum(requests, bucket="other") == 1


def test_a_server_that_comes_back_after_an_upgrade_begins_at_zero(make_backend, line):
    """A count that began where the processes before had left it would be taken for a sudden number
    of requests."""
    stays, leaves = make_backend(), make_backend()
    site = make_site([stays, leaves], balance={"method": "round_robin"})
    both = make_config([site], admin=ADMIN)
    one = make_config([{**site, "backends": {"servers": [stays.address]}}], admin=ADMIN)
    daemon = line.start(both)

    def ask(times):
        with daemon.client() as client:
            for _ in range(times):
                assert client.request("GET", "/b/k").status == 200

    def use(config):
        daemon.write(config)
        assert ctl(daemon, "reload").returncode == 0

    def count(backend):
        return scrape(daemon).sum(ATTEMPTS, server=backend.address)

    ask(8)
    wait_until(lambda: count(stays) == count(leaves) == 4)
    line.upgrade()
    assert count(leaves) == 4
    use(one)
    assert count(leaves) == 0 and count(stays) == 4
    use(both)
    assert count(leaves) == 0 and count(stays) == 4
    ask(2)
    wait_until(lambda: count(leaves) == 1 and count(stays) == 5)
