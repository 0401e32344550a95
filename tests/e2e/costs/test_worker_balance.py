"""Long-lived connections are spread over the workers: the fullest has at most 25 % + 4 above the
mean, also when all connect at once and the workers run one after the other.
"""

import os
import pathlib
import signal
import sys

from support.checkout import ROOT
from support.waiting import wait_until

sys.path.insert(1, str(ROOT / "bench"))

from accounting import connections_of_workers  # noqa: E402

COUNT, WORKERS = 64, 2


def test_a_burst_is_spread(make_backend, gate):
    daemon = gate([make_backend()], top={"workers": WORKERS})
    pid, port = daemon.process.pid, int(daemon.address.rpartition(":")[2])
    core = min(os.sched_getaffinity(0))
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})
    for _ in range(10):
        os.kill(pid, signal.SIGSTOP)
        try:
            clients = [daemon.client() for _ in range(COUNT)]
        finally:
            os.kill(pid, signal.SIGCONT)
        wait_until(lambda: sum(connections_of_workers(pid, port)) == COUNT, what="all are taken in")
        counts = connections_of_workers(pid, port)
        for client in clients:
            client.close()
        assert max(counts) <= COUNT / WORKERS * 1.25 + 4, counts
        wait_until(lambda: not connections_of_workers(pid, port), what="all are gone")
