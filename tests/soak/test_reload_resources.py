"""After thousands of reloads the process holds what it held after ten.

A generation that somebody keeps, a listener that is not closed, a log writer without an end or a
cell of the board that is not given back would show only after weeks. S3GATE_RELOADS says how many.
"""

import copy
import itertools
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support.backend import ScriptedBackend  # noqa: E402
from support.client import RawClient  # noqa: E402
from support.config import free_port, make_config, make_site  # noqa: E402
from support.ctl import ADMIN, ask, socket_of, status_of  # noqa: E402
from support.daemon import Daemon  # noqa: E402
from support.waiting import wait_until  # noqa: E402

RELOADS = int(os.environ.get("S3GATE_RELOADS", "400"))
WARM = 10
# What the allocator may hold more between two live blocks. A leak of 400 bytes a reload exceeds it
# in the nightly run.
SLACK = 4 << 20
# The process gives free memory back at most every ten seconds.
MEMORY_LIMIT = 20
ALL_SEEN = 60  # further reloads, after which buffers and arenas have their size


def threads_of(daemon):
    return len(os.listdir(f"/proc/{daemon.process.pid}/task"))


def least_descriptors(daemon):
    """Without those of a check that is in progress."""
    return min(daemon.descriptors for _ in range(50))


def configurations(backends, ports, turning):
    """Sites, servers, addresses, limits and logs that come and go. `turning`: a port that is wide,
    then narrow."""
    addresses = [backend.address for backend in backends]
    checks = {"interval": "5s", "timeout": "5s", "fall": 3, "rise": 1}
    whole = {"admin": ADMIN, "access_log": {"target": "{dir}/access.log"}}
    soon = {"idle_timeout": "500ms"}  # parked connections are nobody's leftovers

    def site(name, port, servers):
        listen = f"127.0.0.1:{port}"
        return make_site(servers, listen=listen, name=name, health=checks, backends=soon)

    main = site("main", ports[0], addresses[:2])
    yield make_config([main], **whole)
    second = site("second", ports[1], addresses[1:])
    yield make_config([main, second], **whole)
    wide = copy.deepcopy(main)
    wide["listen"].append(f"0.0.0.0:{turning}")
    wide["backends"].update({"servers": addresses, "max_connections": 20})
    wide["limits"] = {"per_client": 50, "requests_per_client": "10000/s"}
    yield make_config([wide, {**second, "name": "third"}], **whole)
    moved = {**whole, "access_log": {"target": "{dir}/other.log"}}
    narrow = copy.deepcopy(main)
    narrow["listen"].append(f"127.0.0.1:{turning}")
    narrow["backends"]["servers"] = addresses[:1]
    yield make_config([narrow], **moved)
    more = [site(f"site-{number}", port, addresses) for number, port in enumerate(ports[2:])]
    yield make_config([main, *more], **whole, log={"level": "warn", "target": "{dir}/s3gate.log"})


class Figures:
    """What the process holds when nothing is in progress."""

    def __init__(self, daemon, settle):
        settle()
        self.resident = daemon.resident
        self.descriptors = least_descriptors(daemon)
        self.threads = threads_of(daemon)

    def __repr__(self):
        return f"{self.resident} bytes, {self.descriptors} descriptors, {self.threads} threads"


def test_many_reloads_leave_nothing_behind():
    backends = [ScriptedBackend() for _ in range(3)]
    ports = [free_port() for _ in range(6)]
    # A port returns long after it left: while its last sockets close, they lose its new clients'
    # first packets.
    turning = itertools.cycle([free_port() for _ in range(40)])
    every = itertools.chain.from_iterable(
        configurations(backends, ports, port) for port in turning
    )
    first = next(every)
    daemon = Daemon(first)
    is_sanitized = daemon.is_sanitized

    def reload():
        daemon.write(next(every))
        status, outcome = ask(socket_of(daemon), "POST", "/reload")
        assert status == 200, outcome

    def serve():
        """A kept connection, and a new one on the last address of the first site."""
        assert client.request().status == 200
        port = daemon.config["sites"][0]["listen"][-1].rpartition(":")[2]
        with RawClient(f"127.0.0.1:{port}") as other:
            assert other.request().status == 200

    def settle():
        """To the first configuration, and until nothing of an earlier one is left."""
        while True:
            reload()
            if daemon.config == first:
                break
        wait_until(lambda: status_of(daemon)["config"]["old_generations"] == 0)
        # Log writers and leaving listeners end up to a second later.
        wait_until(
            lambda: threads_of(daemon) <= start_threads
            and daemon.descriptors <= start_descriptors + 1,
            what="threads and descriptors of the start, and the client's",
        )

    start_threads = threads_of(daemon)
    start_descriptors = least_descriptors(daemon)
    client = RawClient(f"127.0.0.1:{ports[0]}")
    try:
        for _ in range(WARM):
            reload()
            serve()
        after_ten = Figures(daemon, settle)
        for _ in range(ALL_SEEN):
            reload()
            serve()
        warm = Figures(daemon, settle)
        for _ in range(RELOADS):
            reload()
            serve()
        at_the_end = Figures(daemon, settle)
        print(f"after {WARM} reloads {after_ten}, after {RELOADS} more {at_the_end}")
        assert at_the_end.descriptors <= after_ten.descriptors
        assert at_the_end.threads <= after_ten.threads
        if not is_sanitized:
            wait_until(
                lambda: daemon.resident <= warm.resident + SLACK,
                MEMORY_LIMIT,
                what=f"at most {SLACK} bytes more than {warm.resident}",
            )
    finally:
        client.close()
        daemon.finish()
        for backend in backends:
            backend.stop()
