"""The shipped configuration in operation: the S3 API and the console of one cluster, same nodes,
two ports.

Files that load may still check the console's nodes at a port without an answer, or add an unwanted
header to signed requests.
"""

import re

import pytest

from support.backend import answer_ok
from support.checkout import ROOT
from support.client import RawClient
from support.config import free_port
from support.waiting import wait_until

CONFIG = ROOT / "config"
NODES = [f"127.0.61.{number}" for number in range(1, 7)]
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
UPGRADE = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Cookie", "token=t")]


def console(exchange):
    """The answer names the node; a WebSocket gets a hello."""
    if exchange.request.header("upgrade"):
        exchange._body_read = True
        exchange.send(SWITCH + b"hello")
        exchange.wait_closed()
        exchange.close()
    else:
        answer_ok(exchange)


def replaced(text, changes):
    for old, new in changes:
        assert old in text, f"{old} is not in the shipped file any more"
        text = text.replace(old, new)
    return text


class Cluster:
    """Six nodes with two ports each, and the daemon on the shipped files; only addresses and log
    differ."""

    def __init__(self, make_backend, start, folder):
        self.api = [make_backend(name=f"api{at}", host=NODES[at - 1]) for at in (1,)]
        self.console = [make_backend(console, name="console1", host=NODES[0])]
        api_port, console_port = self.api[0].port, self.console[0].port
        for at in range(2, 7):
            host = NODES[at - 1]
            self.api.append(make_backend(name=f"api{at}", host=host, port=api_port))
            self.console.append(
                make_backend(console, name=f"console{at}", host=host, port=console_port)
            )
        self.address = {}
        (folder / "sites").mkdir()
        nodes = "127.0.61.{1...6}"
        for name, file, old, port in (
            ("api", "cluster01-minio.yaml", 9000, api_port),
            ("console", "console01-minio.yaml", 9001, console_port),
        ):
            ours, ours6 = free_port(), free_port("::1")
            self.address[name] = f"127.0.0.1:{ours}"
            changes = [
                (f'"cluster01-{{1...6}}.minio.xunku.in:{old}"', f'"{nodes}:{port}"'),
                (f'"0.0.0.0:{old}"', f'"127.0.0.1:{ours}"'),
                (f'"[::]:{old}"', f'"[::1]:{ours6}"'),
            ]
            if name == "console":
                changes.append(("port: 9000}", f"port: {api_port}}}"))
            text = replaced((CONFIG / "sites" / file).read_text(), changes)
            (folder / "sites" / file).write_text(text)
        main = replaced(
            (CONFIG / "s3gate.yaml").read_text(),
            [
                ("[sites/*.yaml]", f'["{folder}/sites/*.yaml"]'),
                ("/var/log/s3gate/access.log", "{dir}/access.log"),
            ],
        )
        self.daemon = start(main)

    def ask(self, site, method="GET", target="/", fields=(), body=None):
        with RawClient(self.address[site]) as client:
            return client.request(method, target, fields=fields, body=body)

    def states(self):
        """{server: UP or DOWN} of both groups, from the S3 site's page."""
        page = self.ask("api", target="/upstream/health/").data.decode()
        assert re.findall(r"^Upstream (.*)$", page, re.MULTILINE) == [
            "backend_cluster01-minio-xunku-in",
            "backend_console01-minio-xunku-in",
        ]
        return dict(re.findall(r"^ +(\S+:\d+) (UP|DOWN)$", page, re.MULTILINE))


@pytest.fixture(name="cluster")
def cluster_fixture(make_backend, start, tmp_path):
    return Cluster(make_backend, start, tmp_path)


def test_both_sites_are_served(cluster):
    # S3: the key decides and is reported, and no signed field is changed.
    names = set()
    for number in range(40):
        response = cluster.ask("api", target=f"/b/k?sessionid=s{number}")
        assert (response.status, response.values("x-session-id")) == (200, [f"s{number}"])
        assert response.data == cluster.ask("api", target=f"/b/k2?sessionid=s{number}").data
        names.add(response.data.decode())
    assert names == {backend.name for backend in cluster.api}
    for backend in cluster.api:
        for request in backend.requests:
            assert request.values("x-nginx-proxy") == []
    # Console: in turn while no request is in progress, with the configured field.
    for _ in range(24):
        assert cluster.ask("console", fields=[("X-NginX-Proxy", "forged")]).status == 200
    assert all(backend.requests for backend in cluster.console)
    for backend in cluster.console:
        for request in backend.requests:
            assert request.values("x-nginx-proxy") == ["true"]
    response = cluster.ask("console", "POST", "/api/v1/login", [], b"{}")
    assert (response.status, response.values("x-session-id")) == (200, [])
    lines = [cluster.daemon.wait_log("/b/k?"), cluster.daemon.wait_log("/api/v1/login")]
    assert [line["site"] for line in lines] == ["cluster01-minio", "console01-minio"]


def test_websockets_are_relayed_by_the_console_only(cluster):
    with RawClient(cluster.address["console"]) as client:
        client.send(client.head("GET", "/ws/objectManager", UPGRADE))
        assert client.read_head().status == 101
        assert client.reader.exactly(5, "tunnel") == b"hello"
    assert cluster.ask("api", target="/b/ws", fields=UPGRADE).status == 200
    request = next(b.find("/b/ws")[0] for b in cluster.api if b.count("/b/ws"))
    assert request.values("upgrade") == []


def test_the_api_port_answers_for_the_console(cluster):
    """The console has no health page: its node is up as long as the node's API is."""
    node, console_node = cluster.api[2], cluster.console[2]
    assert all(state == "UP" for state in cluster.states().values())
    assert not any(backend.health.seen for backend in cluster.console)
    node.health.fields = [("X-Minio-Server-Status", "offline")]
    wait_until(
        lambda: {server for server, state in cluster.states().items() if state == "DOWN"}
        == {node.address, console_node.address},
        what="both ports of the node are down",
    )
    before = len(console_node.requests)
    for _ in range(12):
        assert cluster.ask("console").status == 200
    assert len(console_node.requests) == before
    assert node.health.seen[0].header("host") == "minio"
    node.health.fields = []
    wait_until(
        lambda: set(cluster.states().values()) == {"UP"}, what="both are back", deadline=40
    )


def test_nobody_but_the_allowed_sees_the_page(cluster):
    with RawClient(cluster.address["api"], source="127.0.0.9") as client:
        assert client.request(target="/upstream/health/").status == 200
    # The console site has no status page: the path belongs to the console.
    assert cluster.ask("console", target="/upstream/health/").data.startswith(b"console")
