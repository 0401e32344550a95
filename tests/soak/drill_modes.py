"""Variants of the drill: at limits, with reload_grace, with names that flip, with reloads that wait
to be confirmed."""

import collections
import itertools
import json
import re
import time

from drill import Drill
from support.ctl import ask, ctl, socket_of, status_of
from support.names import NO_ERROR, NXDOMAIN, REFUSED, SERVFAIL, NameServer, resolver_prefix
from support.waiting import wait_until

# Words of the access log, and the counter of the daemon that must say the same number.
CONNECTIONS, PER_CLIENT = "connection limit", "client connection limit"
QUEUE_FULL, QUEUE_TIMEOUT = "backend queue full", "backend queue timeout"
COUNTERS = {
    CONNECTIONS: r"connections? over limits\.connections refused",
    PER_CLIENT: r"connections? over limits\.per_client refused",
    QUEUE_FULL: r"requests? that found no place to wait",
    QUEUE_TIMEOUT: r"requests? that waited for room in vain",
}
WAITED = r"requests? that waited for room at a server"


def total_of(line, words):
    """A number of the daemon's last line of totals."""
    found = re.search(rf"(?:in all: |, )(\d+) {words}(?:,|$)", line)
    return int(found[1]) if found else 0


class AtLimits(Drill):
    """Limits near what the clients use come and go. A refusal is no failure, but each must be a
    503 SlowDown whose reason is in force, and each is counted."""

    # The fresh clients share four addresses, twelve on each; on every other address there are at
    # most four clients. (No key is judged: a server that is full is passed over.)
    CROWD = {
        **{"fresh": 48, "crowded": 4, "idle": 40, "slow": 6, "tunnel": 6},
        **{"medium": 24, "medium_ms": 800},
    }
    CROWDED = "127.1.2."
    MOST_OF_A_CLIENT = 8
    # Of 172 connections. Those beyond that get an answer up to 256.
    MOST_CONNECTIONS = 120
    # No address leaves: the limits of the last configuration that had it hold for its clients.
    GUEST_SHARE, TURN_EVERY = 1.0, 0
    # Of each server. Slow clients and tunnels hold at most twelve places, half of what three
    # servers allow; one place each is mostly held by a request that takes longer than a worker's
    # tick.
    MOST_REQUESTS, FEW_REQUESTS = 8, 1
    RELOADS = 2  # for which a regime stays
    # Seconds between the moment that decides about a request and the beginning of its time in the
    # access log: a connection is let in or not when it is accepted. A reload in between takes as
    # long as it takes on a busy machine.
    SLACK = 1.0

    # What is limited, and the only reasons for which a request may be refused meanwhile.
    REGIMES = {
        "nothing": (),
        "connections of the process": (CONNECTIONS,),
        "connections of the site": (CONNECTIONS,),
        "connections of a client": (PER_CLIENT,),
        "no room to wait": (QUEUE_FULL,),
        "no time to wait": (QUEUE_TIMEOUT,),
        "room and time to wait": (),
    }

    def __init__(self, options):
        super().__init__(options)
        self.refusals = []  # (when it began, when it ended, reason, client's address)
        self.times = []  # (from when, regime)
        self.kinds = itertools.chain.from_iterable(
            itertools.repeat(name, self.RELOADS) for name in itertools.cycle(self.REGIMES)
        )

    def _next_config(self, has_guest):
        config = super()._next_config(has_guest)
        regime = next(self.kinds)
        self.times.append((time.time(), regime))
        site = config["sites"][0]
        limits, backends = site["limits"], site["backends"]
        limits.update(connections="off", per_client="off")
        backends["max_connections"] = "off"
        if regime == "connections of the process":
            config["limits"] = {"connections": self.MOST_CONNECTIONS}
        elif regime == "connections of the site":
            limits["connections"] = self.MOST_CONNECTIONS
        elif regime == "connections of a client":
            limits["per_client"] = self.MOST_OF_A_CLIENT
        elif regime != "nothing":
            queue = {
                "no room to wait": {"queue": 4, "queue_timeout": "1m"},
                "no time to wait": {"queue": 1024, "queue_timeout": "1ms"},
                "room and time to wait": {"queue": 1024, "queue_timeout": "1m"},
            }
            most = self.FEW_REQUESTS if regime == "no time to wait" else self.MOST_REQUESTS
            backends.update(max_connections=most, **queue[regime])
        return config

    def _look_at_log(self, path):
        with open(path, "rb") as lines:
            for line in lines:
                if b'"error":"-"' not in line:
                    fields = json.loads(line)
                    ended = float(fields["@msec"])
                    begun = ended - fields["responsetime"]
                    self.refusals.append((begun, ended, fields["error"], fields["client"]))

    def _failures_as_configured(self, latest):
        return latest["slow_downs"]

    def _judge(self):
        super()._judge()
        counts = collections.Counter(reason for _, _, reason, _ in self.refusals)
        totals = self.report["the daemon's own totals"]
        self.report["refused, by reason"] = dict(counts)
        waited = self.report["requests that waited for room"] = total_of(totals, WAITED)
        if sum(counts.values()) != self.report["clients"]["slow_downs"]:
            self.problems.append(f"the log has {dict(counts)}, the clients another number")
        for reason, words in COUNTERS.items():
            if not counts[reason] or counts[reason] != total_of(totals, words):
                self.problems.append(f"{counts[reason]} times {reason}, but: {totals}")
        if waited <= counts[QUEUE_TIMEOUT]:
            self.problems.append("no request waited and was served")
        wrong = [refusal for refusal in self.refusals if not self._is_in_force(*refusal)]
        if wrong:
            self.problems.append(f"{len(wrong)} refused without a limit: {wrong[:3]}")

    def _is_in_force(self, begun, ended, reason, client):
        if reason == PER_CLIENT and not client.startswith(self.CROWDED):
            return False
        # The last regime that began before the slack, and all since.
        before = [i for i, (at, _) in enumerate(self.times) if at < begun - self.SLACK]
        first = max(before, default=0)
        regimes = [regime for at, regime in self.times[first:] if at <= ended]
        return any(reason in self.REGIMES[regime] for regime in regimes)


class WithGrace(Drill):
    """reload_grace. Requests that are longer are cut when they have had it, and nothing else is."""

    GRACE = 2.0
    CROWD = {
        **Drill.CROWD,
        "medium": 16,
        "medium_ms": 700,
        "slow_ms": 20000,
        "grace_ms": round(GRACE * 1000),
    }
    # A reload comes within a second, and the grace ends with one of the workers' ticks.
    LONGEST = GRACE + 1.0 + 2.0
    TAIL = LONGEST + 1.0
    OPERATIONS = ("CompleteMultipartUpload", "PUT", "GET")
    WORDS = ("cut after reload_grace", "tunnel cut after reload_grace")

    def __init__(self, options):
        super().__init__(options)
        self.cut = collections.Counter()

    def _config(self):
        return {**super()._config(), "reload_grace": f"{self.GRACE:.0f}s"}

    def _slow_ones_are_done(self, now, begin):
        return True  # none of them ends by itself

    def _look_at_log(self, path):
        with open(path, "rb") as lines:
            for line in lines:
                if b'"error":"-"' not in line:
                    self.cut[json.loads(line)["error"]] += 1

    def _failures_as_configured(self, latest):
        return latest["overdue"]

    def _judge_clients(self, latest, seconds):
        super()._judge_clients(latest, seconds)
        self.report["cut after reload_grace"] = latest["overdue"]
        self.report["the oldest of them, seconds"] = latest["oldest_overdue_ms"] / 1000
        if latest["oldest_overdue_ms"] > self.LONGEST * 1000 and not self.is_sanitized:
            self.problems.append(f"a request had {latest['oldest_overdue_ms']} ms")

    def _judge(self):
        super()._judge()
        for words in self.WORDS:
            if not self.cut[words]:
                self.problems.append(f"nothing was {words}")
        if set(self.cut) != set(self.WORDS):
            self.problems.append(f"other errors: {dict(self.cut)}")
        if sum(self.cut.values()) != self.report["clients"]["overdue"]:
            self.problems.append(f"the log has {dict(self.cut)}, the clients another number")


class WithNames(Drill):
    """Every server is a name, whose address flips every 200 ms, with reloads that switch checks on
    and off and a name server that fails for one name or for all."""

    # A server at an address that was not checked yet gets no requests, so keys may move.
    CROWD = {name: number for name, number in Drill.CROWD.items() if name != "keys"}
    SERVER = "127.0.53.9"
    FLIP = 0.2

    def __init__(self, options):
        super().__init__(options)
        self.names = NameServer(self.SERVER)
        self.changes_of_mind = random_cycle(self.random, (NXDOMAIN, SERVFAIL, REFUSED, NO_ERROR))

    def run(self):
        try:
            return super().run()
        finally:
            self.names.stop()

    def _prefix(self):
        return resolver_prefix(self.folder, self.SERVER)

    def _start_daemon(self):
        for node in self.nodes:
            host, _, port = node.address.rpartition(":")
            other = host.replace("127.0.2.", "127.0.3.")
            node.tell(f"listen {other}")
            name = f"{node.name}.soak.test"
            node.server = f"{name}:{port}"
            self.names.answers[name] = self._answers(node.number, [host, other])
        super()._start_daemon()

    def _answers(self, number, hosts):
        def answer():
            turn = int(time.monotonic() / self.FLIP) + number
            # For two thirds of the time one address becomes the other one, then there are both.
            return hosts[turn % 2] if turn // 25 % 3 < 2 else [hosts[turn % 2], hosts[1 - turn % 2]]

        return answer

    def _config(self):
        config = super()._config()
        config["sites"][0]["resolve"] = {"interval": "100ms", "timeout": "300ms"}
        return config

    def _next_config(self, has_guest):
        self._disturb_names()
        config = super()._next_config(has_guest)
        if self.random.random() < 0.5:
            config["sites"][0]["health"] = "off"
        return config

    def _disturb_names(self):
        """Until the next reload some names, all or none have no answer, or a failure for one."""
        known = list(self.names.answers)
        victims = self.random.choice([[], [], known, self.random.sample(known, 2)])
        self.names.codes.clear()
        self.names.silent.clear()
        if self.random.random() < 0.3:
            self.names.silent.update(victims)
        else:
            code = next(self.changes_of_mind)
            self.names.codes.update({name: code for name in victims})

    def _restore(self):
        self.names.codes.clear()
        self.names.silent.clear()
        super()._restore()

    def _judge_clients(self, latest, seconds):
        super()._judge_clients(latest, seconds)
        text = self.daemon.stderr
        moves = self.report["moves of a name"] = text.count(" has moved: it was ")
        self.report["times that a name server failed"] = text.count(" is kept: ")
        if moves < seconds:
            self.problems.append(f"names moved {moves} times only")


def random_cycle(random, items):
    while True:
        yield random.choice(items)


class WithConfirm(Drill):
    """Two of three reloads wait to be confirmed: one is, one is undone."""

    EXPECTED_ERROR = re.compile(r"reload refused: an earlier one waits to be confirmed$")
    UNDONE = "the configuration before serves again"

    def __init__(self, options):
        super().__init__(options)
        self.kinds = itertools.cycle([super()._reload_once, self._confirmed, self._undone])
        self.confirmed = self.undone = 0

    def _reload_once(self):
        next(self.kinds)()

    def _try(self, limit):
        """A reload that waits to be confirmed. Returns whether the guest's address is in it; for as
        long as it waits, an address that it lacks stays open."""
        self.reloads += 1
        will_have = self._will_have_guest()
        self.daemon.write(self._next_config(will_have))
        begin = time.monotonic()
        self._command("reload", "--confirm", limit)
        self.reload_seconds.append(time.monotonic() - begin)
        if will_have and not self.has_guest:
            self.clients.tell(f"use {self.guest}")
        if self.random.random() < 0.3:
            status, outcome = ask(socket_of(self.daemon), "POST", "/reload")
            if status == 200:
                self.problems.append(f"a second reload while one waits: {outcome}")
        return will_have

    def _command(self, *words):
        done = ctl(self.daemon, *words)
        if done.returncode != 0:
            self.refused.append(f"{words}: {done.stdout}{done.stderr}")

    def _confirmed(self):
        has_guest = self._try("1m")
        time.sleep(self.random.uniform(0.05, 0.5))
        if self.has_guest and not has_guest:
            self._leave_guest()
        self._command("confirm")
        self.has_guest = has_guest
        self.confirmed += 1

    def _undone(self):
        count = self.daemon.stderr.count(self.UNDONE)
        was_wildcard = self.is_wildcard
        self.is_wildcard = self.random.random() < 0.5
        begin = time.monotonic()
        has_guest = self._try("2s")
        if has_guest and not self.has_guest:
            # The undo takes the address away.
            time.sleep(max(0.0, begin + 1.5 - time.monotonic()))
            self._leave_guest()
        wait_until(lambda: self.daemon.stderr.count(self.UNDONE) > count, 30, what="the undo")
        self.is_wildcard = was_wildcard
        if not status_of(self.daemon)["config"]["differs_from_disk"]:
            self.problems.append("the status does not say that the disk has something else")
        self.undone += 1

    def _judge_clients(self, latest, seconds):
        super()._judge_clients(latest, seconds)
        self.report["reloads confirmed"] = self.confirmed
        self.report["reloads undone"] = self.undone
        if not self.confirmed or not self.undone:
            self.problems.append("none confirmed, or none undone")


MODES = {
    "plain": Drill,
    "limits": AtLimits,
    "grace": WithGrace,
    "names": WithNames,
    "confirm": WithConfirm,
}
