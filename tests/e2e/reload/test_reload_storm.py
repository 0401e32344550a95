"""Sixty reloads, one right after the other, while threads of clients ask all the time.

Under ThreadSanitizer it is the test of what the control thread and the workers share: generations,
listeners, cells of the board, log writers, marks and rooms.
"""

import copy
import itertools
import threading

from support.client import RawClient
from support.config import FAST_HEALTH, free_port, make_config, make_site
from support.waiting import wait_until

RELOADS = 60


class Asker(threading.Thread):
    """Asks until it is told to stop: on one connection, or on a new one for each request."""

    def __init__(self, address, is_keeping):
        super().__init__()
        self.address = address
        self.is_keeping = is_keeping
        self.count = 0
        self.failure = None
        self.is_over = threading.Event()

    def run(self):
        try:
            while not self.is_over.is_set():
                with RawClient(self.address) as client:
                    self._ask(client)
        except (OSError, AssertionError) as error:
            self.failure = repr(error)

    def _ask(self, client):
        while not self.is_over.is_set():
            response = client.request(target=f"/b/k?sessionid={self.count % 16}")
            assert response.status == 200, response.status
            self.count += 1
            if response.closes or not self.is_keeping:
                return


def variations(backends, port, turning, other):
    """What a reload can change, a bit of everything in each."""
    servers = [backend.address for backend in backends]
    base = make_site(servers, listen=f"127.0.0.1:{port}", health=FAST_HEALTH, passive="off")
    base["listen"].append(f"127.0.0.1:{turning}")
    yield [base], {}
    fewer = copy.deepcopy(base)
    fewer["backends"]["servers"] = servers[:2]
    fewer["limits"] = {"per_client": 50, "requests_per_client": "10000/s"}
    yield [fewer], {"log": {"level": "debug", "target": "{dir}/s3gate.log"}}
    wide = copy.deepcopy(base)
    wide["listen"][1] = f"0.0.0.0:{turning}"
    wide["backends"] = {"servers": servers[1:] + servers[:1], "max_connections": 30}
    yield [wide, make_site(servers, listen=f"127.0.0.1:{other}", name="other")], {}
    weighted = copy.deepcopy(base)
    weighted["backends"]["servers"] = [{"address": servers[0], "weight": 4}, *servers[1:]]
    weighted["balance"]["method"] = "least_conn"
    yield [weighted], {"access_log": {"target": "{dir}/other.log"}}


def test_nobody_notices_sixty_reloads(start, make_backend):
    backends = [make_backend() for _ in range(3)]
    port, turning, other = free_port(), free_port(), free_port()
    configs = [
        make_config(sites, **{"log": {"level": "info", "target": "{dir}/log"}, **more})
        for sites, more in variations(backends, port, turning, other)
    ]
    configs[0]["log"] = {"level": "info"}
    daemon = start(configs[0])
    askers = [
        Asker(f"127.0.0.1:{number}", is_keeping)
        for number in (port, turning)
        for is_keeping in (True, False)
    ]
    for asker in askers:
        asker.start()
    try:
        for number, config in zip(range(RELOADS), itertools.cycle(configs[1:] + configs[:1])):
            daemon.write(config)
            reload_by_signal(daemon, f"reloaded: generation {number + 2}")
            asked = [asker.count for asker in askers[:2]]
            wait_until(
                lambda asked=asked: [asker.count for asker in askers[:2]] > asked
                or any(asker.failure for asker in askers)
            )
            assert not [asker.failure for asker in askers if asker.failure]
    finally:
        for asker in askers:
            asker.is_over.set()
        for asker in askers:
            asker.join()
    assert not [asker.failure for asker in askers if asker.failure]


def reload_by_signal(daemon, line):
    """The line goes to the log that the new configuration names."""
    daemon.signal(1)
    logs = [daemon.stderr_file, daemon.dir / "log", daemon.dir / "s3gate.log"]
    wait_until(
        lambda: any(line in log.read_text() for log in logs if log.exists()), what=line
    )
