"""The cost of a proxy (processor time and memory of all its processes) and the spread of its
connections over its workers, from /proc.
"""

import dataclasses
import os
import re

TICK = os.sysconf("SC_CLK_TCK")


def _read(path):
    """Text of a file below /proc, or None if the process or thread has ended."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return None


def _stat_fields(pid):
    """The fields of /proc/PID/stat after the command name, which may hold spaces and
    parentheses."""
    text = _read(f"/proc/{pid}/stat")
    return text[text.rindex(")") + 2 :].split() if text else None


def _pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def process_tree(root):
    """`root` and all its descendants that are running."""
    children = {}
    for pid in _pids():
        fields = _stat_fields(pid)
        if fields:
            children.setdefault(int(fields[1]), []).append(pid)
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        if os.path.exists(f"/proc/{pid}"):
            found.append(pid)
        todo += children.get(pid, [])
    return found


def _run_time(path):
    """Nanoseconds on a processor, as the scheduler counted them: exact, unlike the sampled
    ticks."""
    text = _read(path)
    return int(text.split()[0]) if text else 0


def thread_time(pid, tid):
    """Nanoseconds that one thread has run."""
    return _run_time(f"/proc/{pid}/task/{tid}/schedstat")


@dataclasses.dataclass
class CpuTime:
    """Processor time used so far: an exact total, and a sampled split into user and system."""

    seconds: float = 0.0
    user: float = 0.0
    system: float = 0.0

    def __sub__(self, earlier):
        return CpuTime(
            self.seconds - earlier.seconds, self.user - earlier.user, self.system - earlier.system
        )


def cpu_time(pids):
    total = CpuTime()
    for pid in pids:
        try:
            threads = os.listdir(f"/proc/{pid}/task")
        except OSError:
            continue
        total.seconds += (
            sum(_run_time(f"/proc/{pid}/task/{tid}/schedstat") for tid in threads) / 1e9
        )
        fields = _stat_fields(pid)
        if fields:
            total.user += int(fields[11]) / TICK
            total.system += int(fields[12]) / TICK
    return total


def memory_kib(pids, field):
    """Sum of a field of /proc/PID/status given in KiB: VmRSS now, VmHWM at most."""
    total = 0
    for pid in pids:
        for line in (_read(f"/proc/{pid}/status") or "").splitlines():
            if line.startswith(field + ":"):
                total += int(line.split()[1])
    return total


def reset_peak_memory(pids):
    for pid in pids:
        try:
            with open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as file:
                file.write("5")
        except OSError:
            pass


def softirq_threads():
    """Seconds used by ksoftirqd: network work that the kernel moved away from its originator."""
    return sum(
        _run_time(f"/proc/{pid}/schedstat") / 1e9
        for pid in _pids()
        if (_read(f"/proc/{pid}/comm") or "").startswith("ksoftirqd")
    )


def machine_busy():
    """(seconds all processors were busy, seconds stolen by the hypervisor) since boot."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(
        int, _read("/proc/stat").splitlines()[0].split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / TICK, steal / TICK


def connections_of_workers(pid, port):
    """Client connections that each epoll set of a process holds."""
    clients = set()
    with open(f"/proc/{pid}/net/tcp", encoding="ascii") as table:
        for line in list(table)[1:]:
            fields = line.split()
            if int(fields[1].split(":")[1], 16) == port and fields[3] == "01":
                clients.add(fields[9])
    by_descriptor = {}
    sets = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue
        if target.startswith("socket:["):
            by_descriptor[name] = target[8:-1]
        elif target == "anon_inode:[eventpoll]":
            sets.append(name)
    counts = []
    for name in sets:
        with open(f"/proc/{pid}/fdinfo/{name}", encoding="ascii") as info:
            members = re.findall(r"^tfd:\s+(\d+)", info.read(), re.MULTILINE)
        counts.append(sum(by_descriptor.get(member) in clients for member in members))
    return [count for count in counts if count > 0]
