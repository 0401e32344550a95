"""Nodes of a cluster as processes of their own (s3node.py), to be killed, stopped, continued and
started again."""

import pathlib
import signal
import subprocess
import sys

import pytest

from support_real import end_process

SCRIPT = pathlib.Path(__file__).resolve().parent / "s3node.py"


class Node:
    """One node; runs when the constructor returns. `prefix` starts it elsewhere, like `ip netns
    exec NAME`."""

    def __init__(self, name, address, *options, prefix=()):
        self.name = name
        self.address = address
        self._options = options
        self._prefix = prefix
        self._process = None
        self.start()

    def start(self):
        command = [sys.executable, "-B", str(SCRIPT), "--id", self.name, "--listen", self.address]
        self._process = subprocess.Popen(
            [*self._prefix, *command, *self._options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        if self._process.stdout.readline().strip() != "READY":
            pytest.fail(f"node {self.name} did not start on {self.address}")

    def is_running(self):
        return self._process.poll() is None

    def kill(self):
        """kill -9; the process is gone when this returns."""
        self._process.kill()
        self._process.wait(10)

    def freeze(self):
        """SIGSTOP: connections stay, the kernel still acknowledges, no answer comes."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self._process.send_signal(signal.SIGCONT)

    def stop(self):
        end_process(self._process)
        self._process.stdout.close()

    def revive(self):
        """The node runs and is not frozen when this returns."""
        if self.is_running():
            self.thaw()
        else:
            self.start()


def stop_all(nodes):
    for node in nodes:
        node.stop()
