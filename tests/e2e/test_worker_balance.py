"""Long-lived connections are spread over the workers: the fullest has at most 25 % + 4 above the
mean, also when they all come at once and the workers get their turns one after the other."""

import os
import pathlib
import re
import signal

from support.waiting import wait_until

COUNT, WORKERS = 64, 2


def connections_of_workers(pid, port):
    """Client connections that each epoll set of the daemon holds."""
    clients = set()
    for line in pathlib.Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].split(":")[1], 16) == port and fields[3] == "01":  # ESTABLISHED
            clients.add(f"socket:[{fields[9]}]")
    targets = {}
    for descriptor in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            targets[descriptor.name] = os.readlink(descriptor)
        except OSError:
            pass
    counts = []
    for name, target in targets.items():
        if target == "anon_inode:[eventpoll]":
            info = pathlib.Path(f"/proc/{pid}/fdinfo/{name}").read_text()
            members = re.findall(r"^tfd:\s+(\d+)", info, re.MULTILINE)
            counts.append(sum(targets.get(member) in clients for member in members))
    return [count for count in counts if count > 0]


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
