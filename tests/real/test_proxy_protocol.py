"""The PROXY protocol with Debian's HAProxy and nginx in front, as balancers of connections (the
recipes of docs/behind-a-proxy.md).

Our reader and our tests might agree on a mistake; HAProxy's authors wrote the protocol.
"""

import pathlib
import re

import pytest

from front_proxies import HAProxy, Nginx
from support.backend import ScriptedBackend
from support.client import RawClient
from support.config import free_port, make_config, make_site
from support.daemon import Daemon

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "behind-a-proxy.md"
BALANCER = "127.0.0.1"
CLIENTS = [f"127.0.20.{n}" for n in range(1, 121)]
STREAM = "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n"
MODE_HTTP = """
listen s3
    mode http
    bind 127.0.0.1:{port}
    server s3gate {backend} send-proxy-v2 check inter 200ms
"""


def recipe(language, changes):
    """The block of the page in that language, with other addresses."""
    [text] = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    for old, new in changes.items():
        assert old in text, f"the recipe has no {old!r}"
        text = text.replace(old, new)
    return text


def front(kind, port, backend):
    where = [f"127.0.0.1:{port}"]
    if kind == "haproxy in mode http":
        return HAProxy(MODE_HTTP.format(port=port, backend=backend), where)
    if kind == "nginx stream":
        changes = {"listen 9000": f"listen {where[0]}", "10.0.0.21:9000": backend}
        return Nginx("", where, main=STREAM + recipe("conf", changes))
    changes = {"bind :9000": f"bind {where[0]}", "10.0.0.21:9000": backend}
    text = recipe("cfg", changes)
    if kind == "haproxy, version 1":
        text = text.replace("send-proxy-v2", "send-proxy")
    elif kind == "haproxy with vectors":
        text = text.replace(
            "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id,authority"
        )
        text = text.replace("mode tcp", "mode tcp\n    unique-id-format %{+X}o%ci:%cp", 1)
    return HAProxy(text, where)


@pytest.mark.parametrize(
    "kind",
    ["haproxy", "haproxy, version 1", "haproxy with vectors", "haproxy in mode http", "nginx stream"],
)
def test_clients_spread_as_if_they_were_direct(kind):
    """Each has its own address in the log and for the servers; checks do no harm."""
    nodes = [ScriptedBackend(name=f"node{n}") for n in range(6)]
    direct = f"127.0.0.1:{free_port()}"
    listen = {"address": f"127.0.0.1:{free_port()}", "accept_proxy": [BALANCER]}
    site = make_site(nodes, listen=listen)
    site["listen"].append(direct)
    daemon = Daemon(make_config([site], workers=1))
    port = free_port()
    balancer = front(kind, port, daemon.address)
    try:
        for client in CLIENTS:
            with RawClient(direct, source=client) as connection:
                node = connection.request(target=f"/direct/{client}/").header("x-backend")
            with RawClient(f"127.0.0.1:{port}", source=client) as connection:
                for _ in range(2):
                    answer = connection.request(target=f"/through/{client}/")
                    assert (answer.status, answer.header("x-backend")) == (200, node), client
        lines = {client: daemon.wait_log(f"/through/{client}/", 2) for client in CLIENTS}
        assert {(line["client"], line["peer"]) for line in lines.values()} == {
            (client, BALANCER) for client in CLIENTS
        }
        assert {line["@source"] for line in lines.values()} == {"127.0.0.1"}
        assert len({line["upstreamaddr"] for line in lines.values()}) == 6
        for request in (request for node in nodes for request in node.find("/through/")):
            assert request.values("x-forwarded-for") == [request.target.split("/")[2]]
        assert not [line for line in daemon.log_lines() if line["status"] != 200]
        assert "PROXY protocol header" not in daemon.stderr
    finally:
        balancer.stop()
        daemon.finish()
        for node in nodes:
            node.stop()
