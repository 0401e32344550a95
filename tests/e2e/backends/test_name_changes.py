"""Names whose addresses change, or whose name server fails, while the daemon serves.

A proxy that asks once sends requests to a node's old address until somebody restarts it. One that
takes a failed look-up for an empty answer lets a broken DNS take away servers that work.
"""

import copy
import itertools
import os
import re
import threading
import time

import pytest

from support.config import FAST_HEALTH, free_port
from support.ctl import ADMIN, ctl
from support.names import NO_ERROR, NXDOMAIN, REFUSED, SERVFAIL, NameServer
from support.waiting import wait_until

SERVER = "127.0.53.8"
NAME = "node.s3.test"
HOSTS = [f"127.0.54.{number}" for number in range(1, 5)]
OFTEN = {"interval": "100ms"}
# How long an address flips under load; the nightly run takes a minute.
FLIP_SECONDS = float(os.environ.get("S3GATE_NAME_FLIP_SECONDS", "3"))
# How long the name server is dead under load; the nightly run takes ten minutes, with the default
# times of look-ups.
OUTAGE_SECONDS = os.environ.get("S3GATE_NAME_OUTAGE_SECONDS")


@pytest.fixture(name="nodes")
def nodes_fixture(make_backend):
    """Backends with one port on addresses of their own: b1 to b4 at HOSTS."""
    port = free_port(HOSTS[0])
    return [make_backend(host=host, port=port) for host in HOSTS]


@pytest.fixture(name="site")
def site_fixture(gate, nodes, prefix):
    """Starts a daemon with one server, which is NAME."""

    def run(**more):
        options = {"resolve": OFTEN, "status": {}, "daemon": {"prefix": prefix}, **more}
        return gate([f"{NAME}:{nodes[0].port}"], **options)

    return run


def served(daemon, count=20):
    with daemon.client() as client:
        return {
            client.request(target=f"/b/k?sessionid={number}").data.decode()
            for number in range(count)
        }


def wait_rounds(names, count=5):
    """Until NAME has been asked for so often again (A and AAAA are a question each)."""
    goal = names.asked.count(NAME) + 2 * count
    wait_until(lambda: names.asked.count(NAME) >= goal)


class Load:
    """Clients that ask one request after the other and note every status, or what went wrong."""

    def __init__(self, daemon, clients=4):
        self.statuses = []
        self._daemon = daemon
        self._end = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number,)) for number in range(clients)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, client_number):
        numbers = itertools.count()
        while not self._end.is_set():
            try:
                with self._daemon.client() as client:
                    for number in itertools.islice(numbers, 50):
                        if self._end.is_set():
                            break
                        self.statuses.append(self._ask(client, client_number, number))
            except Exception as error:  # pylint: disable=broad-except
                self.statuses.append(f"client {client_number}: {error!r} at {time.time()}")

    @staticmethod
    def _ask(client, client_number, number):
        method, body = (("GET", None), ("PUT", b"x" * 100))[number % 2]
        target = f"/b/k{client_number}-{number}?sessionid={number % 7}"
        return client.request(method, target, body=body).status

    def stop(self):
        self._end.set()
        for thread in self._threads:
            thread.join()
        return self.statuses


@pytest.mark.parametrize("health", ["off", FAST_HEALTH], ids=["unchecked", "checked"])
def test_an_address_that_flips_under_load(site, nodes, names, health):
    """A record that is another one every 200 ms: each request ends well."""
    names.answers[NAME] = lambda: HOSTS[int(time.monotonic() / 0.2) % 2]
    daemon = site(health=health)
    load = Load(daemon)
    end = time.monotonic() + FLIP_SECONDS
    wait_until(lambda: time.monotonic() >= end, deadline=FLIP_SECONDS + 10)
    statuses = load.stop()
    assert set(statuses) == {200}
    assert len(statuses) > 100
    daemon.stop()
    moves = sum(
        1 + int(more or 0)  # the log has one line a minute of each move
        for more in re.findall(r" has moved: it was [\d.]+(?: \((\d+) more lines?)?", daemon.stderr)
    )
    assert moves >= FLIP_SECONDS, "it was looked up and used"
    assert nodes[0].requests and nodes[1].requests


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (NXDOMAIN, "Name or service not known"),
        (SERVFAIL, "Temporary failure in name resolution"),
        (REFUSED, "Temporary failure in name resolution"),
        (NO_ERROR, "No address associated with hostname"),
    ],
    ids=["nxdomain", "servfail", "refused", "empty"],
)
def test_a_failure_keeps_the_addresses(site, names, code, kind):
    names.answers[NAME] = HOSTS[:2]
    daemon = site()
    assert served(daemon) == {"b1", "b2"}
    names.codes[NAME] = code
    daemon.wait_stderr(
        rf"\[warning\] cannot resolve {NAME}: {kind}; the answer of \d+ s ago is kept: "
        rf"127\.0\.54\.\d, 127\.0\.54\.\d\n"
    )
    wait_rounds(names, 10)  # a failure is a second try of two questions
    assert served(daemon) == {"b1", "b2"}
    assert daemon.stderr.count("cannot resolve") == 1, "once, not with every try"
    del names.codes[NAME]
    daemon.wait_stderr(rf"\[info\] {NAME} is resolved again, after \d+ s\n")
    assert served(daemon) == {"b1", "b2"}
    assert daemon.totals()["name lookups failed"] >= 5


def test_a_name_server_that_is_silent_keeps_the_addresses(site, names):
    """The resolver takes a second for it (its options here), the daemon allows less: the failure
    is ours, and no second look-up begins meanwhile."""
    names.answers[NAME] = HOSTS[0]
    daemon = site(resolve={"interval": "100ms", "timeout": "300ms"})
    names.silent.add(NAME)
    daemon.wait_stderr(rf"cannot resolve {NAME}: no answer in time; the answer of \d+ s ago")
    assert served(daemon) == {"b1"}
    names.answers[NAME] = HOSTS[1]
    names.silent.discard(NAME)
    daemon.wait_stderr(rf"\[info\] {NAME} is resolved again, after \d+ s\n")
    wait_until(lambda: served(daemon) == {"b2"})


def test_a_name_that_hangs_holds_up_no_other(gate, nodes, names, prefix):
    mute, moving = "mute.s3.test", "moving.s3.test"
    names.answers.update({mute: HOSTS[0], moving: HOSTS[1]})
    daemon = gate(
        [f"{mute}:{nodes[0].port}", f"{moving}:{nodes[0].port}"],
        resolve=OFTEN,
        daemon={"prefix": prefix},
    )
    names.silent.add(mute)
    asked = names.asked.count(mute)
    wait_until(lambda: names.asked.count(mute) > asked)
    for host, name in ((HOSTS[2], "b3"), (HOSTS[3], "b4")):
        names.answers[moving] = host
        wait_until(lambda name=name: served(daemon) == {"b1", name})


def test_a_dead_name_server_is_used_again(site, nodes, names):
    """Within interval + timeout after it is back, however long it was dead, and no request fails.
    For the first half of that time it is silent, then its port refuses."""
    seconds = float(OUTAGE_SECONDS or "3")
    # The defaults in the long run.
    interval, timeout = (30000, 5000) if OUTAGE_SECONDS else (100, 300)  # ms
    limit = (interval + timeout) / 1000
    names.answers[NAME] = HOSTS[0]
    daemon = site(resolve={"interval": f"{interval}ms", "timeout": f"{timeout}ms"})
    load = Load(daemon)

    def wait_half():
        end = time.monotonic() + seconds / 2

        def is_over():
            # With millions of them Python's collector holds up everybody for twenty seconds.
            for node in nodes:
                node.requests.clear()
            return time.monotonic() >= end

        wait_until(is_over, deadline=seconds + 10, interval=0.05)

    try:
        names.silent.add(NAME)
        wait_half()
        # The resolver gives up after a second, the daemon of the short run before.
        daemon.wait_stderr(
            rf"cannot resolve {NAME}: (no answer in time|Temporary failure in name resolution); the"
        )
        names.stop()  # connects to its port are refused
        wait_half()
        daemon.wait_stderr(
            rf"cannot resolve {NAME}: Temporary failure in name resolution; the answer"
        )
        assert served(daemon) == {"b1"}
        again = NameServer(SERVER)
        try:
            again.answers[NAME] = HOSTS[1]
            begin = time.monotonic()
            daemon.wait_stderr(
                r"127\.0\.54\.2\) has moved: it was 127\.0\.54\.1\n", deadline=limit + 10
            )
            took = time.monotonic() - begin
            wait_until(lambda: served(daemon) == {"b2"})
        finally:
            again.stop()
    finally:
        statuses = load.stop()
    print(f"dead for {seconds} s, used again after {took:.2f} s, {len(statuses)} requests")
    assert set(statuses) == {200}
    assert nodes[1].requests
    # Half a second for a busy machine.
    assert took < limit + 0.5


def test_addresses_come_at_once_and_leave_with_the_third_answer_without_them(site, nodes, names):
    names.answers[NAME] = HOSTS[:2]
    daemon = site()
    label = rf"test: {NAME}:{nodes[0].port}"
    names.answers[NAME] = [HOSTS[2], HOSTS[1], HOSTS[0]]
    daemon.wait_stderr(rf"\[info\] {label} \(127\.0\.54\.3\) is a new address\n")
    wait_until(lambda: served(daemon) == {"b1", "b2", "b3"})
    names.answers[NAME] = HOSTS[1:3]
    daemon.wait_stderr(rf"\[info\] {label} \(127\.0\.54\.1\) is no longer an address of it\n")
    wait_until(lambda: served(daemon) == {"b2", "b3"})
    # All of them replaced: the new ones serve while the old ones are still known.
    for node in nodes[1:3]:
        node.refuse()
    names.answers[NAME] = [HOSTS[0], HOSTS[3]]
    wait_until(lambda: served(daemon) == {"b1", "b4"})


def test_rotating_subsets_are_one_set(site, names):
    turn = itertools.count()
    names.answers[NAME] = lambda: [HOSTS[next(turn) % 4]] + [HOSTS[next(turn) % 4]]
    daemon = site()
    wait_until(lambda: served(daemon) == {"b1", "b2", "b3", "b4"})
    wait_rounds(names, 20)
    assert served(daemon) == {"b1", "b2", "b3", "b4"}
    assert "no longer an address" not in daemon.stderr
    assert daemon.stderr.count("is a new address") == 2


def test_another_order_is_no_change(site, names):
    turn = itertools.count()
    names.answers[NAME] = lambda: HOSTS[:2] if next(turn) % 2 else HOSTS[1::-1]
    daemon = site()
    wait_rounds(names, 20)
    assert served(daemon) == {"b1", "b2"}
    assert "address" not in daemon.stderr


def test_a_name_that_is_unknown_at_the_start(site, names):
    daemon = site()
    daemon.wait_stderr(rf"\[warning\] test: {NAME}:\d+ is down: cannot resolve {NAME}: ")
    with daemon.client() as client:
        assert client.request().status == 503
    wait_rounds(names)
    names.answers[NAME] = HOSTS[:2]
    daemon.wait_stderr(rf"{NAME}:\d+ \(127\.0\.54\.\d, 127\.0\.54\.\d\) is resolved\n")
    wait_until(lambda: served(daemon) == {"b1", "b2"})
    assert daemon.stderr.count("is down: cannot resolve") == 1


def with_servers(daemon, *names):
    """The daemon's configuration with servers of these names."""
    config = copy.deepcopy(daemon.config)
    backends = config["sites"][0]["backends"]
    port = backends["servers"][0].rpartition(":")[2]
    backends["servers"] = [f"{name}:{port}" for name in names]
    return config


def test_a_reload_keeps_names_while_the_name_server_is_dead(site, names):
    names.answers[NAME] = HOSTS[0]
    daemon = site(resolve="off")
    names.stop()
    assert daemon.reload(with_servers(daemon, NAME, "other.s3.test")).startswith("reloaded: ")
    assert served(daemon) == {"b1"}
    daemon.wait_stderr(r"other\.s3\.test:\d+ is down: cannot resolve other\.s3\.test: Temporary")
    daemon.wait_stderr(rf"cannot resolve {NAME}: Temporary .*; the answer of \d+ s ago is kept")
    assert served(daemon) == {"b1"}


def test_names_come_back_with_a_configuration_that_nobody_confirmed(site, names):
    """Also when the name server is dead by then."""
    names.answers.update({NAME: HOSTS[0], "other.s3.test": HOSTS[1]})
    daemon = site(resolve="off", top={"admin": ADMIN})
    daemon.write(with_servers(daemon, "other.s3.test"))
    assert ctl(daemon, "reload", "--confirm", "1s").returncode == 0
    names.stop()
    wait_until(lambda: served(daemon) == {"b2"})
    daemon.wait_stderr("the configuration before serves again")
    assert served(daemon) == {"b1"}
    assert "is down" not in daemon.stderr


def test_a_reload_knows_new_names_before_it_serves(site, names):
    names.answers.update({NAME: HOSTS[0], "other.s3.test": HOSTS[1]})
    daemon = site()
    daemon.reload(with_servers(daemon, NAME, "other.s3.test"))
    assert served(daemon) == {"b1", "b2"}
    assert "is down" not in daemon.stderr


def test_a_reload_reads_names_again(site, names):
    """Also those of a site that looks nothing up while it runs."""
    names.answers[NAME] = HOSTS[0]
    daemon = site(resolve="off")
    names.answers[NAME] = HOSTS[1]
    daemon.reload()
    daemon.wait_stderr(r"127\.0\.54\.2\) has moved: it was 127\.0\.54\.1\n")
    wait_until(lambda: served(daemon) == {"b2"})
