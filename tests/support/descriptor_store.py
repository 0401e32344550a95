"""The part of systemd that keeps descriptors for a service (FDSTORE=1) and passes them to its next
process (LISTEN_FDS)."""

import contextlib
import os
import sys
import threading

from support.waiting import wait_until

# Moves the descriptors to 3, 4, …, names this process in LISTEN_PID, and becomes the command.
LAUNCHER = """
import fcntl, os, sys
passed = [int(word) for word in sys.argv[1].split(",")]
moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 500) for descriptor in passed]
for descriptor in passed:
    os.close(descriptor)
for number, descriptor in enumerate(moved):
    os.dup2(descriptor, 3 + number)
    os.close(descriptor)
environment = {
    **os.environ,
    "LISTEN_PID": str(os.getpid()),
    "LISTEN_FDS": str(len(moved)),
    "LISTEN_FDNAMES": sys.argv[2],
}
os.execve(sys.argv[3], sys.argv[3:], environment)
"""


class DescriptorStore:
    """Outlives daemons. Its sockets listen until they are dropped or it is closed."""

    def __init__(self):
        self._lock = threading.Lock()
        self._kept = []  # (name, descriptor)
        self._answers = threading.Event()
        self._answers.set()

    @property
    def names(self):
        with self._lock:
            return sorted(name for name, _ in self._kept)

    def take(self, message, descriptors):
        """One datagram, as systemd takes it."""
        self._answers.wait()
        lines = message.splitlines()
        name = dict(line.partition("=")[::2] for line in lines).get("FDNAME", "stored")
        with self._lock:
            if "FDSTOREREMOVE=1" in lines:
                self._drop(name)
            if "FDSTORE=1" in lines:
                for descriptor in descriptors:
                    self._keep(name, descriptor)
                return
        for descriptor in descriptors:
            os.close(descriptor)

    def add(self, name, descriptor):
        """Takes over a descriptor that no daemon gave."""
        with self._lock:
            self._kept.append((name, descriptor))

    def wait(self, *names):
        wait_until(lambda: self.names == sorted(names), what=f"{self.names} is {sorted(names)}")

    @contextlib.contextmanager
    def hanging(self):
        """Takes no message inside."""
        self._answers.clear()
        try:
            yield
        finally:
            self._answers.set()

    def passing(self):
        """A command that becomes another one with the descriptors, and the descriptors."""
        with self._lock:
            kept = list(self._kept)
        if not kept:
            return (), ()
        numbers = ",".join(str(descriptor) for _, descriptor in kept)
        names = ":".join(name for name, _ in kept)
        command = (sys.executable, "-I", "-S", "-c", LAUNCHER, numbers, names)
        return command, tuple(descriptor for _, descriptor in kept)

    def close(self):
        with self._lock:
            for name in {name for name, _ in self._kept}:
                self._drop(name)

    def _keep(self, name, descriptor):
        """A descriptor of the same socket, from another process, adds nothing."""
        if any(os.path.sameopenfile(descriptor, kept) for _, kept in self._kept):
            os.close(descriptor)
        else:
            self._kept.append((name, descriptor))

    def _drop(self, name):
        for descriptor in [d for n, d in self._kept if n == name]:
            os.close(descriptor)
        self._kept = [item for item in self._kept if item[0] != name]
