"""Network namespaces for servers that must not be on loopback: one veth pair each, an address on
either side, packets that can be dropped. Root only."""

import itertools
import os
import subprocess

from nodes import Node
from support_real import require, require_program


class Namespace:
    """A network namespace with one address, joined to ours by a veth pair. It can drop incoming
    packets silently."""

    _numbers = itertools.count()

    def __init__(self):
        require(os.geteuid() == 0, "a network namespace needs root")
        self._ip = require_program("ip")
        number = next(self._numbers)
        assert number < 4, "out of addresses"
        self.name = f"s3gate{os.getpid()}n{number}"
        self._ours, self._theirs = (f"sg{os.getpid()}{side}{number}" for side in "ab")
        low = os.getpid() % 16384
        net, first = f"10.{200 + (low >> 12)}.{(low >> 4) % 256}", (low % 16) * 16 + number * 4
        self._our_address, self.address = f"{net}.{first + 1}", f"{net}.{first + 2}"
        try:
            self._build()
        except subprocess.CalledProcessError as error:
            self.remove()
            require(False, f"no network namespace: {error.stderr.strip()}")

    @property
    def prefix(self):
        """The prefix of a command that is to run inside."""
        return [self._ip, "netns", "exec", self.name]

    def _run(self, *words, check=True):
        return subprocess.run(
            [self._ip, *words], check=check, capture_output=True, text=True, timeout=20
        ).stdout

    def _inside(self, *words):
        return self._run("-n", self.name, *words)

    def _build(self):
        self._run("netns", "add", self.name)
        self._run("link", "add", self._ours, "type", "veth", "peer", "name", self._theirs)
        self._run("link", "set", self._theirs, "netns", self.name)
        self._run("addr", "add", f"{self._our_address}/30", "dev", self._ours)
        self._run("link", "set", self._ours, "up")
        self._inside("link", "set", "lo", "up")
        self._inside("addr", "add", f"{self.address}/30", "dev", self._theirs)
        self._inside("link", "set", self._theirs, "up")
        # The neighbour entry is fixed: an expired one would end the silence with "no route to
        # host".
        hardware = self._inside("-o", "link", "show", self._theirs).split("ether ")[1].split()[0]
        self._run(
            "neigh",
            "replace",
            self.address,
            "lladdr",
            hardware,
            "dev",
            self._ours,
            "nud",
            "permanent",
        )
        # The rule that drops must precede the local table, which is first by default.
        self._inside("rule", "add", "pref", "10", "lookup", "local")
        self._inside("rule", "del", "pref", "0")

    def cut(self):
        self._inside("rule", "add", "pref", "1", "iif", self._theirs, "blackhole")

    def mend(self):
        self._inside("rule", "del", "pref", "1")

    def node(self, name, options):
        return Node(name, f"{self.address}:9000", *options, prefix=self.prefix)

    def remove(self):
        self._run("link", "del", self._ours, check=False)
        self._run("netns", "del", self.name, check=False)
