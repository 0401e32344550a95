"""`s3gate ctl drain`, `undrain`, `down`, `up` and `maintain`: where requests go, what the operator
is told, and how long a command holds.

A command that silently does nothing lets an operator switch off a node that serves.
"""

import copy
import json
import subprocess
import time

import pytest

from support.backend import answer_ok
from support.config import FAST_HEALTH, dead_address, make_config, make_site
from support.ctl import ADMIN, ask, ctl, socket_of, status_of
from support.daemon import binary
from support.upgrade import Held
from support.waiting import DEADLINE, SCALE, wait_until

TOP = {"admin": ADMIN}
TURNS = {"method": "round_robin"}


def name_for(daemon, target="/b/k"):
    with daemon.client() as client:
        response = client.request(target=target)
        return response.data.decode() if response.status == 200 else response.status


def names(daemon, count=12, target="/b/k?n={}"):
    return {name_for(daemon, target.format(number)) for number in range(count)}


def tell(daemon, *words, code=0):
    done = ctl(daemon, *words)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stdout if code == 0 else done.stderr


def hold_one(daemon, backend, target="/b/held"):
    """A client whose request is in progress at this backend. Others answer at once."""
    client = daemon.client()
    while not backend.count(target):
        client.send(client.head("GET", target))
        wait_until(lambda: backend.count(target) or client.has_input())
        if not backend.count(target):
            client.read_response()
    return client


def server_of(daemon, number=0, site=0):
    return status_of(daemon)["sites"][site]["groups"][0]["servers"][number]


@pytest.fixture(name="three")
def three_fixture(make_backend, gate):
    """Three servers in turn: (daemon, servers' addresses)."""
    backends = [make_backend() for _ in range(3)]
    return gate(backends, balance=TURNS, top=TOP), [backend.address for backend in backends]


@pytest.mark.parametrize("out,back", [("drain", "undrain"), ("down", "up")])
def test_a_server_leaves_and_comes_back(three, out, back):
    daemon, servers = three
    assert names(daemon) == {"b1", "b2", "b3"}
    text = tell(daemon, out, servers[0])
    assert f"{out}: test: {servers[0]}: " in text and "0 requests in progress" in text
    assert "on this host only" in text
    assert names(daemon) == {"b2", "b3"}
    server = server_of(daemon)
    assert server["override"] == {"drain": "drained", "down": "down"}[out]
    assert not server["usable"] and server["addresses"][0]["up"], "its checks are still told"
    (override,) = status_of(daemon)["overrides"]
    assert override["server"] == servers[0] and override["group"] == override["site"] == "test"
    assert override["by"].startswith(("root", "uid")) or override["by"]
    assert override["since"].endswith("Z") and override["requests"] == 0
    daemon.wait_stderr(rf"{out}: test: .* \(asked by .*, pid \d+\)")
    assert "by command: test: " + servers[0] in ctl(daemon, "status").stdout
    assert "in service again" in tell(daemon, back, servers[0])
    assert names(daemon) == {"b1", "b2", "b3"}
    assert "no command held it out" in tell(daemon, back, servers[0])
    assert server_of(daemon)["override"] is None


def test_keys_go_on_along_the_ring_and_come_home(make_backend, gate):
    backends = [make_backend() for _ in range(3)]
    daemon = gate(backends, top=TOP)
    home = {key: name_for(daemon, f"/b/k?sessionid={key}") for key in range(30)}
    digest = status_of(daemon)["config"]["ring_digest"]
    tell(daemon, "drain", backends[0].address)
    now = {key: name_for(daemon, f"/b/k?sessionid={key}") for key in home}
    assert "b1" not in now.values()
    assert all(now[key] == home[key] for key in home if home[key] != "b1")
    assert status_of(daemon)["config"]["ring_digest"] != digest, "hosts that differ look different"
    tell(daemon, "undrain", backends[0].address)
    assert {key: name_for(daemon, f"/b/k?sessionid={key}") for key in home} == home
    assert status_of(daemon)["config"]["ring_digest"] == digest


def test_unknown_names_and_mistakes_are_told(three, make_backend):
    daemon, servers = three
    text = tell(daemon, "drain", "nobody:9000", code=1)
    assert 'no site has a server "nobody:9000"' in text and servers[0] in text
    text = tell(daemon, "drain", servers[0], "--site", "tset", code=1)
    assert 'there is no site "tset"; there are: test' in text
    text = tell(daemon, "drain", servers[0], "--sessions", code=1)
    assert "--sessions needs keys" in text
    tell(daemon, "drain", servers[0])
    assert "is drained; `undrain` ends that" in tell(daemon, "up", servers[0], code=1)
    tell(daemon, "down", servers[0])
    assert "is down by command; `up` ends that" in tell(daemon, "undrain", servers[0], code=1)
    assert ctl(daemon, "drain").returncode == 2
    assert ctl(daemon, "maintain", servers[0], "--timeout", "soon").returncode == 2
    text = tell(daemon, "drain", "a\x1b[31m\nready", "--site", "test", code=1)
    assert r'site test has no server "a\u001b[31m\nready"' in text, "no terminal obeys it"
    for body in ("", "[]", '{"server": 1}', '{"server": "a", "done": true}', '{"site": "test"}'):
        assert ask(socket_of(daemon), "POST", "/drain", body)[0] == 400


def test_the_last_usable_server_needs_force(make_backend, gate):
    backend, dead = make_backend(), dead_address()
    daemon = gate([backend, dead], balance=TURNS, health=FAST_HEALTH, top=TOP)
    wait_until(lambda: not server_of(daemon, 1)["addresses"][0]["up"])
    for command in ("drain", "down", "maintain"):
        text = tell(daemon, command, backend.address, code=1)
        assert "is the last usable server of test" in text and "--force" in text
    tell(daemon, "down", dead)
    assert name_for(daemon) == "b1"
    tell(daemon, "down", backend.address, "--force")
    assert name_for(daemon) == 503, "what is down is no last resort, whatever when_all_down says"
    daemon.wait_stderr("No server of test is usable: refusing")
    assert ask(socket_of(daemon), "GET", "/healthz?strict=1")[0] == 503
    tell(daemon, "up", backend.address)
    assert name_for(daemon) == "b1"


def test_a_site_can_be_meant_alone(make_backend, start):
    shared, other = make_backend(), make_backend()
    sites = [make_site([shared, other], name=name, balance=TURNS) for name in ("one", "two")]
    daemon = start(make_config(sites, **TOP))
    tell(daemon, "drain", shared.address, "--site", "two")
    assert [server_of(daemon, site=site)["override"] for site in (0, 1)] == [None, "drained"]
    text = tell(daemon, "drain", shared.address)
    assert "one: " in text and "two: " in text
    assert [server_of(daemon, site=site)["override"] for site in (0, 1)] == ["drained"] * 2


@pytest.mark.parametrize("command", ["drain", "down"])
def test_requests_go_on_and_idle_connections_close(make_backend, gate, command):
    held = Held()
    backend, other = make_backend(held), make_backend()
    daemon = gate([backend, other], balance=TURNS, top=TOP)
    client = hold_one(daemon, backend)
    names(daemon, 8)
    wait_until(lambda: len(backend.open_connections) > 1, what="a parked connection")
    assert "1 request in progress" in tell(daemon, command, backend.address)
    wait_until(lambda: len(backend.open_connections) == 1, what="the end of the parked ones")
    held.go.set()
    assert client.read_response().body.data == b"half whole"
    wait_until(lambda: not backend.open_connections, what="the end of the last one")
    client.close()


def test_sessions_stay(make_backend, gate):
    backends = [make_backend() for _ in range(2)]
    balance = {"salt": "pepper", "session_ttl": "1s"}
    daemon = gate(backends, balance=balance, top=TOP)
    old = [key for key in range(40) if name_for(daemon, f"/b/k?sessionid={key}") == "b1"]
    uploads = [
        key for key in range(100, 140) if name_for(daemon, f"/b/k?uploadId={key}") == "b1"
    ]
    fresh = [f"f{key}" for key in range(60)]
    tell(daemon, "drain", backends[0].address, "--sessions")
    assert {name_for(daemon, f"/b/k?sessionid={key}") for key in old} == {"b1"}
    assert {name_for(daemon, f"/b/k?sessionid={key}") for key in fresh} == {"b2"}
    assert server_of(daemon)["override"] == "sessions"
    # What is used stays, on whichever worker; what is not leaves after one to two session_ttl. A
    # look is a request, so each of the unused ones is looked at once.
    used, unused = old[:2], old[2:]

    def use_for(seconds):
        end = time.monotonic() + seconds * SCALE
        while time.monotonic() < end:
            assert {name_for(daemon, f"/b/k?sessionid={key}") for key in used} == {"b1"}

    use_for(2.6)
    assert {name_for(daemon, f"/b/k?sessionid={key}") for key in unused} == {"b2"}
    assert {name_for(daemon, f"/b/k?sessionid={key}") for key in used} == {"b1"}
    assert {name_for(daemon, f"/b/k?uploadId={key}") for key in uploads} == {"b1"}
    tell(daemon, "down", backends[0].address)
    assert {name_for(daemon, f"/b/k?sessionid={key}") for key in used} == {"b2"}
    assert {name_for(daemon, f"/b/k?uploadId={key}") for key in uploads} == {"b2"}


def test_a_reload_keeps_it_unless_the_server_changed(make_backend, gate):
    backends = [make_backend() for _ in range(3)]
    daemon = gate(backends, balance=TURNS, top=TOP)
    tell(daemon, "drain", backends[0].address)
    tell(daemon, "down", backends[1].address)
    daemon.reload()
    assert [server_of(daemon, n)["override"] for n in range(3)] == ["drained", "down", None]
    assert names(daemon) == {"b3"}
    config = copy.deepcopy(daemon.config)
    config["sites"][0]["backends"]["servers"][0] = {"address": backends[0].address, "weight": 2}
    daemon.reload(config)
    assert [server_of(daemon, n)["override"] for n in range(3)] == [None, "down", None]
    daemon.wait_stderr(r'"drained" by .* has ended: its weight changed in the configuration')
    assert names(daemon) == {"b1", "b3"}
    del config["sites"][0]["backends"]["servers"][1]
    daemon.reload(config)
    daemon.wait_stderr(r'"down" by .* has ended: the configuration has it no more')
    assert not status_of(daemon)["overrides"]


def test_an_undone_reload_gives_it_back(make_backend, gate):
    backends = [make_backend() for _ in range(2)]
    daemon = gate(backends, balance=TURNS, top=TOP)
    tell(daemon, "drain", backends[0].address)
    config = copy.deepcopy(daemon.config)
    config["sites"][0]["backends"]["servers"][0] = {"address": backends[0].address, "weight": 2}
    daemon.write(config)
    assert ctl(daemon, "reload", "--confirm", "1s").returncode == 0
    assert server_of(daemon)["override"] is None
    wait_until(lambda: status_of(daemon)["config"]["differs_from_disk"])
    assert server_of(daemon)["override"] == "drained"
    assert names(daemon) == {"b2"}
    assert ctl(daemon, "reload", "--confirm", "60s").returncode == 0
    assert ctl(daemon, "confirm").returncode == 0
    assert not status_of(daemon)["overrides"]


def test_what_is_commanded_before_a_reload_is_undone_stays(make_backend, gate):
    """The operator means the server, which is to be switched off, whatever its weight becomes."""
    backends = [make_backend() for _ in range(3)]
    daemon = gate(backends[:2], balance=TURNS, top=TOP)
    config = copy.deepcopy(daemon.config)
    servers = config["sites"][0]["backends"]["servers"]
    servers[0] = {"address": backends[0].address, "weight": 2}
    servers.append(backends[2].address)
    daemon.write(config)
    assert ctl(daemon, "reload", "--confirm", "1s").returncode == 0
    tell(daemon, "drain", backends[0].address)
    tell(daemon, "down", backends[2].address)
    wait_until(lambda: status_of(daemon)["config"]["differs_from_disk"])
    assert server_of(daemon)["override"] == "drained"
    assert names(daemon) == {"b2"}
    daemon.wait_stderr(r'"down" by .* has ended: the configuration has it no more')
    daemon.reload()
    daemon.wait_stderr(r'"drained" by .* has ended: its weight changed in the configuration')


class Node:
    """A backend that has an opinion on its maintenance."""

    def __init__(self, status):
        self.status = status
        self.held = Held()

    def __call__(self, exchange):
        if exchange.request.target == "/minio/health/cluster?maintenance=true":
            exchange.read_body()
            exchange.respond(self.status)
        elif exchange.request.target.startswith("/b/held"):
            self.held(exchange)
        else:
            answer_ok(exchange)


def test_maintain_waits_holds_and_ends(make_backend, gate):
    node = Node(200)
    backend, other = make_backend(node), make_backend()
    daemon = gate([backend, other], balance=TURNS, top=TOP)
    client = hold_one(daemon, backend)
    done = ctl(daemon, "maintain", backend.address, "--timeout", "300ms")
    assert done.returncode == 5, (done.stdout, done.stderr)
    assert "waiting for 1 requests in progress" in done.stdout
    assert "stays in maintenance" in done.stderr
    assert server_of(daemon)["override"] == "maintenance" and names(daemon) == {"b2"}
    for command in ("drain", "down"):
        assert "maintain SERVER --done" in tell(daemon, command, backend.address, code=1)
    command = [binary(), "ctl", "--socket", socket_of(daemon), "maintain", backend.address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as waiting:
        lines = iter(waiting.stdout.readline, "")
        wait_until(lambda: "waiting for 1 requests" in next(lines))
        node.held.go.set()
        assert waiting.wait(DEADLINE) == 0
        assert "nothing is in progress" in "".join(lines)
    wait_until(lambda: not backend.open_connections, what="the end of parked connections")
    tell(daemon, "maintain", backend.address, "--timeout", "3000000h")  # beyond the clock
    tell(daemon, "maintain", backend.address, "--done")
    assert names(daemon) == {"b1", "b2"}
    assert client.read_response().body.data == b"half whole"
    client.close()


@pytest.mark.parametrize(
    "status,refusal",
    [(412, "cannot do without it"), (503, "has no quorum as it is"), (404, None), (403, None)],
)
def test_maintain_asks_the_node(make_backend, gate, status, refusal):
    backend, other = make_backend(Node(status)), make_backend()
    daemon = gate([backend, other], balance=TURNS, top=TOP)
    if refusal:
        text = tell(daemon, "maintain", backend.address, code=1)
        assert refusal in text and "--force" in text
        assert server_of(daemon)["override"] is None
        tell(daemon, "maintain", backend.address, "--force")
    else:
        text = tell(daemon, "maintain", backend.address)
        assert f"is not known (status {status})" in text
    assert names(daemon) == {"b2"}


def test_a_node_without_an_answer(make_backend, gate):
    """One that the checks see down may leave; one that is up and says nothing may not."""
    backend, dead = make_backend(), dead_address()
    daemon = gate([backend, dead, make_backend()], balance=TURNS, health=FAST_HEALTH, top=TOP)
    wait_until(lambda: not server_of(daemon, 1)["addresses"][0]["up"])
    assert "is not known (connect refused)" in tell(daemon, "maintain", dead)
    unchecked = gate([backend, dead], balance=TURNS, top=TOP)
    assert "does not say" in tell(unchecked, "maintain", dead, code=1)


def test_several_hosts(make_backend, start):
    backends = [make_backend() for _ in range(2)]
    daemons = [start(make_config([make_site(backends, balance=TURNS)], **TOP)) for _ in range(2)]
    sockets = [word for daemon in daemons for word in ("--socket", socket_of(daemon))]
    done = subprocess.run(
        [binary(), "ctl", *sockets, "drain", backends[0].address],
        capture_output=True, text=True, timeout=DEADLINE, check=False,
    )
    assert done.returncode == 0 and done.stdout.count("drained, 0 requests") == 2
    tell(daemons[0], "undrain", backends[0].address)
    tell(daemons[0], "maintain", backends[0].address, "--force")
    done = subprocess.run(
        [binary(), "ctl", *sockets, "--json", "undrain", backends[0].address],
        capture_output=True, text=True, timeout=DEADLINE, check=False,
    )
    assert done.returncode == 1
    assert [json.loads(line)["done"] for line in done.stdout.splitlines()] == [False, True]


def test_the_status_page_says_down(make_backend, gate):
    backends = [make_backend() for _ in range(2)]
    daemon = gate(backends, balance=TURNS, top=TOP, status={"path": "/upstream/health/"})
    tell(daemon, "drain", backends[0].address)
    with daemon.client() as client:
        page = client.request(target="/upstream/health/").data.decode()
    assert f"{backends[0].address} DOWN" in page and f"{backends[1].address} UP" in page
