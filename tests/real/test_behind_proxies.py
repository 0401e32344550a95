"""The recipes of docs/behind-a-proxy.md with Debian's nginx and HAProxy as TLS terminators.

Without it all clients behind a terminator lead to one node and share one rate, the status page
opens to everybody behind a terminator that may see it, and the log shows the terminator.
"""

import http.client
import pathlib
import re
import ssl
import subprocess

import pytest

from front_proxies import HAProxy, Nginx
from support.backend import ScriptedBackend
from support.client import RawClient
from support.config import free_port, make_config, make_site
from support.daemon import Daemon
from support.waiting import wait_until
from support_real import require_program

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "behind-a-proxy.md"
STATUS = "/upstream/health/"
TERMINATOR = "127.0.0.1"
INSIDER, OUTSIDER = "127.0.20.1", "127.0.21.1"
# Each is a client of its own: another address, and one of three user agents.
CLIENTS = {f"127.0.20.{n}": f"agent-{n % 3}" for n in range(1, 121)}
UNVERIFIED = ssl._create_unverified_context()  # pylint: disable=protected-access


def recipe(language):
    """The block of the page in that language."""
    [block] = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return block


def replaced(text, changes):
    for old, new in changes.items():
        assert old in text, f"the recipe has no {old!r}"
        text = text.replace(old, new)
    return text


def start_nginx(files, port, backend, appends):
    changes = {
        "listen 443 ssl": f"listen {TERMINATOR}:{port} ssl",
        "/etc/nginx/tls/s3.pem": str(files / "s3.crt"),
        "/etc/nginx/tls/s3.key": str(files / "s3.key"),
        "127.0.0.1:9000": backend,
    }
    if appends:
        changes["X-Forwarded-For $remote_addr"] = "X-Forwarded-For $proxy_add_x_forwarded_for"
    return Nginx(replaced(recipe("nginx"), changes), [f"{TERMINATOR}:{port}"])


def start_haproxy(files, port, backend, appends):
    changes = {
        "bind :443": f"bind {TERMINATOR}:{port}",
        "/etc/haproxy/s3.pem": str(files / "s3.pem"),
        "127.0.0.1:9000": backend,
    }
    if appends:
        changes["http-request set-header X-Forwarded-For %[src]"] = "option forwardfor"
    return HAProxy(replaced(recipe("haproxy"), changes), [f"{TERMINATOR}:{port}"])


@pytest.fixture(scope="module", name="files")
def files_fixture(tmp_path_factory):
    """A key, a certificate of its own, and both in one file as HAProxy wants them."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [require_program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=s3.example.net", "-keyout", folder / "s3.key", "-out", folder / "s3.crt"],
        check=True,
        capture_output=True,
    )  # fmt: skip
    (folder / "s3.pem").write_text(
        (folder / "s3.crt").read_text() + (folder / "s3.key").read_text()
    )
    return folder


class Stage:
    """Six nodes, s3gate before them, a terminator before s3gate."""

    def __init__(self, files, kind):
        start_front, self.appends = {
            "nginx": (start_nginx, False),
            "nginx-appends": (start_nginx, True),
            "haproxy": (start_haproxy, False),
            "haproxy-forwardfor": (start_haproxy, True),
        }[kind]
        self.nodes = [ScriptedBackend(name=f"node{n}") for n in range(6)]
        self.listen = f"{TERMINATOR}:{free_port()}"
        self.daemon = Daemon(self.changed())
        self.port = free_port()
        self.front = start_front(files, self.port, self.daemon.address, self.appends)
        self.through = {}  # the connection of each source to the terminator

    def changed(self, **changes):
        """The configuration with these keys of the site."""
        site = {
            "forwarded": {"mode": "append", "trusted": [TERMINATOR]},
            "status": {"path": STATUS, "allow": ["127.0.20.0/24", "127.0.0.0/24"]},
            **changes,
        }
        return make_config([make_site(self.nodes, listen=self.listen, **site)], workers=1)

    def reload(self, **changes):
        """Reloads. The event loop may hear of it in the same round as of a request, so one request
        comes first."""
        assert self.daemon.reload(self.changed(**changes)).startswith("reloaded")
        assert self.ask("127.0.22.1", "/first") == 200

    def stop(self):
        for connection in self.through.values():
            connection.close()
        self.front.stop()
        self.daemon.finish()
        for node in self.nodes:
            node.stop()

    def ask(self, source, path, **fields):
        """The status of a request through the terminator."""
        if source not in self.through:
            self.through[source] = http.client.HTTPSConnection(
                TERMINATOR, self.port, timeout=20, context=UNVERIFIED, source_address=(source, 0)
            )
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        self.through[source].request("GET", path, headers=headers)
        response = self.through[source].getresponse()
        response.read()
        return response.status

    def ask_directly(self, source, path, **fields):
        pairs = [(name.replace("_", "-"), value) for name, value in fields.items()]
        with RawClient(self.daemon.address, source=source) as client:
            return client.request(target=path, fields=pairs).status

    def line(self, path):
        """The log line of a path."""
        return self.daemon.wait_log(path)

    def request(self, path):
        """What the node received for a path."""
        received = [request for node in self.nodes for request in node.requests]
        return next(request for request in received if request.target == path)


@pytest.fixture(
    scope="module",
    name="stage",
    params=["nginx", "nginx-appends", "haproxy", "haproxy-forwardfor"],
)
def stage_fixture(request, files):
    stage = Stage(files, request.param)
    yield stage
    stage.stop()


def test_clients_spread_as_if_they_were_direct(stage):
    """And each has its own line in the log."""
    for client, agent in CLIENTS.items():
        assert stage.ask_directly(client, f"/direct/{client}/", User_Agent=agent) == 200
        assert stage.ask(client, f"/through/{client}/", User_Agent=agent) == 200
    nodes = set()
    for client in CLIENTS:
        direct, through = stage.line(f"/direct/{client}/"), stage.line(f"/through/{client}/")
        assert (direct["client"], direct["peer"]) == (client, client)
        assert (through["client"], through["peer"]) == (client, TERMINATOR)
        assert through["session"] == direct["session"]
        assert through["upstreamaddr"] == direct["upstreamaddr"]
        nodes.add(through["upstreamaddr"])
    assert len(nodes) == 6


def test_servers_learn_who_asked(stage):
    unwanted = ("Forwarded", *(f"X-Forwarded-{it}" for it in ("Host", "Port", "Prefix", "Server")))
    claim = {"X_Real_IP": "127.0.20.9", **{name.replace("-", "_"): "a" for name in unwanted}}
    assert stage.ask(OUTSIDER, "/fields", X_Forwarded_For="127.0.20.9", **claim) == 200
    request = stage.request("/fields")
    claimed = "127.0.20.9, " if stage.appends else ""
    [hops] = request.values("x-forwarded-for")
    assert hops == f"{claimed}{OUTSIDER}, {TERMINATOR}"
    assert request.values("x-real-ip") == [OUTSIDER]
    assert request.values("x-forwarded-proto") == ["https"]
    assert not any(request.values(name.lower()) for name in unwanted)


def test_outsiders_do_not_see_the_page(stage):
    for claim in ({}, {"X_Forwarded_For": INSIDER}, {"X_Forwarded_For": "127.0.0.1, junk,"}):
        assert stage.ask(INSIDER, STATUS, **claim) == 200
        assert stage.ask(OUTSIDER, STATUS, **claim) == 403
        assert stage.ask_directly(OUTSIDER, STATUS, **claim) == 403
        assert stage.ask(INSIDER, STATUS, **claim) == 200


def test_a_trusted_proxy_that_names_nobody_does_not_see_the_page(stage):
    """Its own requests, and those of a proxy that forgets the field."""
    assert stage.ask_directly(TERMINATOR, STATUS) == 403
    assert stage.ask_directly(TERMINATOR, STATUS, X_Forwarded_For="unknown") == 403
    assert stage.ask_directly(TERMINATOR, STATUS, X_Forwarded_For=TERMINATOR) == 403
    assert stage.ask_directly(TERMINATOR, STATUS, X_Forwarded_For=INSIDER) == 200


def test_an_untrusted_peer_names_nobody(stage):
    assert stage.ask_directly(OUTSIDER, "/untrusted", X_Forwarded_For=INSIDER) == 200
    line = stage.line("/untrusted")
    assert (line["client"], line["peer"], line["ip"]) == (OUTSIDER, OUTSIDER, INSIDER)
    assert stage.request("/untrusted").values("x-forwarded-for") == [OUTSIDER]


def test_each_client_has_its_own_rate(stage):
    """Over connections that the terminator shares between them, and together with the client's own
    connections. A refusal does not end the shared connection."""
    stage.reload(limits={"requests_per_client": {"rate": "1/m", "burst": 3}, "per_client": 2})
    found = {client: [] for client in list(CLIENTS)[:20]}
    for _ in range(4):
        for client, statuses in found.items():
            statuses.append(stage.ask(client, f"/rate/{client}/"))
    assert set(map(tuple, found.values())) == {(200, 200, 200, 503)}
    client = next(iter(found))
    assert stage.ask_directly(client, "/rate/direct") == 503

    def refused():
        lines = stage.daemon.log_lines()
        return {line["client"] for line in lines if line["error"] == "client rate limit"}

    wait_until(lambda: refused() == set(found))
    stage.reload()


def test_a_changed_salt_and_list_hold_from_the_next_request(stage):
    """On the connections that the terminator keeps open."""
    client, agent = next(iter(CLIENTS.items()))
    sessions = {}
    for name, changes in {
        "before": {},
        "salted": {"balance": {"salt": "salt"}},
        "untrusted": {"forwarded": {"mode": "append", "trusted": ["192.0.2.1"]}},
        "set": {"forwarded": {"mode": "set"}},
        "after": {},
    }.items():
        stage.reload(**changes)
        assert stage.ask(client, f"/reload/{name}", User_Agent=agent) == 200
        line = stage.line(f"/reload/{name}")
        sessions[name] = line["session"]
        believed = name not in ("untrusted", "set")
        assert line["client"] == (client if believed else TERMINATOR)
        # The terminator itself may see the page, so without trust everybody may.
        assert stage.ask(OUTSIDER, STATUS) == (403 if believed else 200)
    assert sessions["before"] == sessions["after"] != sessions["salted"]
    assert sessions["untrusted"] == sessions["set"] != sessions["before"]


def test_the_terminator_kept_its_connections(stage):
    """The last test of a stage: the connections carried requests of many clients."""
    through = [line for line in stage.daemon.log_lines() if line["peer"] == TERMINATOR]
    direct = [line for line in stage.daemon.log_lines() if line["peer"] != TERMINATOR]
    totals = stage.daemon.totals()
    # Each direct request, and each for the page, which is not logged, had its own connection.
    assert totals["connections"] - len(direct) < len(through) / 2
