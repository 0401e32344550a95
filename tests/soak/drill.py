"""The drill of reload_drill.py without anything special; drill_modes.py has its variants."""

import copy
import itertools
import pathlib
import random
import re
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import soak  # noqa: E402
from changes import STEADY, Changes  # noqa: E402
from support.config import free_port, to_yaml  # noqa: E402
from support.ctl import ADMIN, ask, socket_of  # noqa: E402
from support.daemon import binary  # noqa: E402

EVERY = 1.0  # seconds between two reloads
MARGIN = 0.2  # seconds between the last connect to an address and the reload that takes it away
KEYS = 400


class Drill(soak.Soak):
    """The plain drill. A variant overrides what it does differently."""

    # Numbers for soak_client. Without keys no key is judged.
    CROWD = {"fresh": 48, "idle": 40, "slow": 16, "tunnel": 16, "keys": KEYS}
    GUEST_SHARE = 0.5  # of the configurations that have the guest's address
    TURN_EVERY = 7  # reloads between two changes of a wildcard into a specific address and back
    TAIL = 2.0  # seconds of reloads after the last slow request has begun
    OPERATIONS = ("CompleteMultipartUpload", "tunnel", "PUT", "GET")  # each must succeed

    def __init__(self, options):
        super().__init__(options)
        self.random = random.Random(options.seed + 2)
        self.reloads = 0
        self.turns = itertools.count(1)
        self.refused = []
        self.reload_seconds = []
        self.has_guest = False
        self.is_wildcard = False

    def _config(self):
        config = super()._config()
        config["admin"] = ADMIN
        site = config["sites"][0]
        site["upgrade"] = True
        # Sound nodes on a busy machine: no verdict may move a key.
        site["health"] = {"interval": "10s", "timeout": "10s", "fall": 5, "rise": 1}
        site["passive"] = "off"
        site["timeouts"] = {"connect": "20s", "client_body": "60s", "client_idle": "5m"}
        self.turning_port, self.guest = free_port(), f"127.0.0.1:{free_port()}"
        site["listen"].append(self._turning())
        return config

    def _turning(self):
        return f"{'0.0.0.0' if self.is_wildcard else '127.0.0.1'}:{self.turning_port}"

    def _start_daemon(self):
        super()._start_daemon()
        self.changes = Changes(copy.deepcopy(self.daemon.config), self.nodes, self.options.seed + 3)

    def _start_clients(self):
        numbers = {"slow_ms": round(self.options.slow_seconds * 1000), **self.CROWD}
        super()._start_clients([f"{name}={number}" for name, number in numbers.items()])
        self.clients.tell(f"use 127.0.0.1:{self.turning_port}")

    def _reload_once(self):
        self.reloads += 1
        self._change(self._tell_daemon, self.reload_seconds)

    def _change(self, tell, seconds):
        """Writes the next configuration and calls `tell`, whose time is appended to `seconds`."""
        if self.TURN_EVERY and next(self.turns) % self.TURN_EVERY == 0:
            self.is_wildcard = not self.is_wildcard
        had_guest, self.has_guest = self.has_guest, self._will_have_guest()
        if had_guest and not self.has_guest:
            self._leave_guest()
        self.daemon.write(self._next_config(self.has_guest))
        begin = time.monotonic()
        tell()
        seconds.append(time.monotonic() - begin)
        if self.has_guest and not had_guest:
            self.clients.tell(f"use {self.guest}")

    def _will_have_guest(self):
        return self.random.random() < self.GUEST_SHARE

    def _leave_guest(self):
        """No client connects to the guest's address any more."""
        self.clients.leave(self.guest)
        time.sleep(MARGIN)

    def _next_config(self, has_guest):
        config = self.changes.next()
        listen = [self.address, self._turning()] + [self.guest] * has_guest
        config["sites"][0]["listen"] = listen
        return config

    def _tell_daemon(self):
        if self.reloads % 2:
            status, outcome = ask(socket_of(self.daemon), "POST", "/reload")
            if status != 200:
                self.refused.append(outcome)
        else:
            line = self.daemon.reload()
            if not line.startswith("reloaded: "):
                self.refused.append(line)

    def _load(self):
        options = self.options
        self._start_clients()
        begin = time.monotonic()
        next_reload = next_sample = begin
        next_rotation = begin + soak.ROTATE_EVERY
        next_word = begin + 60
        is_quick = False
        while True:
            now = time.monotonic()
            has_all = self.clients.latest["requests"] >= (options.requests or 0)
            # Slow requests that begin later than this would be waited for in vain.
            if not is_quick and has_all and now - begin >= options.seconds - 5:
                self.clients.tell("quick")
                is_quick, end = True, max(now, begin + options.seconds) + self.TAIL
            if is_quick and now >= end and self._slow_ones_are_done(now, begin):
                break
            assert self.daemon.process.poll() is None, f"the daemon ended:\n{self.daemon.stderr}"
            assert self.clients.process.poll() is None, "the clients ended"
            if now >= next_reload:
                next_reload = max(next_reload + EVERY, now)
                self._reload_once()
            if now >= next_sample:
                next_sample = now + soak.SAMPLE_EVERY
                self._sample(now - begin)
            if now >= next_rotation:
                next_rotation = now + soak.ROTATE_EVERY
                self.log.rotate()
            if now >= next_word:
                next_word = now + 60
                self._say(now - begin)
            time.sleep(0.02)
        seconds = time.monotonic() - begin
        self.clients.tell("stop")
        latest = self.report["clients"] = self.clients.wait_end(options.slow_seconds + 60)
        self._judge_clients(latest, seconds)
        self._restore()

    def _slow_ones_are_done(self, now, begin):
        """Reloads go on until those that began first are answered."""
        return now - begin >= self.options.slow_seconds + 2

    def _judge_clients(self, latest, seconds):
        self.report["seconds"] = round(seconds, 1)
        self.report["reloads"] = self.reloads
        self.report["longest reload, seconds"] = round(max(self.reload_seconds), 3)
        self.report["requests a second"] = round(latest["requests"] / seconds)
        self.report["new connections a second"] = round(latest["connections"] / seconds)
        failed = sum(n for name, n in latest["outcomes"].items() if name != "ok")
        if failed != self._failures_as_configured(latest):
            self.problems.append(f"requests failed: {latest['outcomes']}")
        if latest["idle_closed"]:
            self.problems.append(f"{latest['idle_closed']} kept connections closed when idle")
        if self.refused:
            self.problems.append(f"{len(self.refused)} reloads refused: {self.refused[:3]}")
        for name in self.OPERATIONS:
            if not latest["operations"][name][1]:
                self.problems.append(f"no {name} was made")
        if latest["nodes_of_keys"]:
            self._judge_keys(latest["nodes_of_keys"])

    def _failures_as_configured(self, latest):
        """How many requests ended without their answer because the configuration says so."""
        return 0

    def _judge_keys(self, nodes_of_keys):
        homes = self._steady_homes()
        moved = []
        for key, home in homes.items():
            others = nodes_of_keys[key] & ~(1 << home)
            if others:
                moved.append(f"key-{key} of node {home}: mask {nodes_of_keys[key]:x}")
        self.report["keys of servers that never change"] = len(homes)
        if moved:
            self.problems.append(f"{len(moved)} keys moved: {moved[:5]}")
        if len(homes) < KEYS / 20:
            self.problems.append("too few keys stay where they are to show anything")

    def _steady_homes(self):
        """Number of the key -> number of its node, for keys that the steady nodes keep whatever the
        others weigh: those that are theirs when the others weigh most. A lighter server has some of
        the points of a heavier one and no others."""
        servers = [node.address for node in self.nodes[:STEADY]]
        servers += [{"address": node.address, "weight": 5} for node in self.nodes[STEADY:]]
        config = copy.deepcopy(self.changes.whole)
        config["sites"][0]["backends"]["servers"] = servers
        file = self.folder / "heaviest.yaml"
        file.write_text(to_yaml(config))
        numbers = {node.address: node.number for node in self.nodes}
        steady = {node.number for node in self.nodes[:STEADY]}
        run = subprocess.run(
            [binary(), "route", "--config", str(file), "--site", "soak"]
            + [f"?sessionid=key-{key}" for key in range(KEYS)],
            capture_output=True,
            text=True,
            check=True,
        )
        found = re.findall(r"^server +(\S+)$", run.stdout, re.MULTILINE)
        assert len(found) == KEYS, run.stdout + run.stderr
        homes = {key: numbers[address] for key, address in enumerate(found)}
        return {key: number for key, number in homes.items() if number in steady}
