"""The PROXY protocol with Debian's HAProxy and nginx: in front as balancers of connections (the
recipes of docs/behind-a-proxy.md), and behind as servers that require it.

Our reader and our writer might agree on a mistake; these programs wrote the protocol.
"""

import pathlib
import re

import pytest

from front_proxies import HAProxy, Nginx
from support import proxy_protocol as pp
from support.backend import ScriptedBackend
from support.client import RawClient
from support.config import free_port, make_config, make_site
from support.daemon import Daemon
from support.waiting import wait_until

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
    [
        "haproxy",
        "haproxy, version 1",
        "haproxy with vectors",
        "haproxy in mode http",
        "nginx stream",
    ],
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


# What the server saw, in fields of its answer.
HAPROXY_SERVER = """
listen node
    mode http
    bind 127.0.0.1:{port} accept-proxy
    http-request return status 200 hdr X-Seen "%[src]:%[src_port] %[dst]:%[dst_port]"
"""
NGINX_SERVER = """
    log_format seen '$proxy_protocol_addr:$proxy_protocol_port';
    server {{
        access_log {log} seen;
        listen 127.0.0.1:{port} proxy_protocol;
        set $source "$proxy_protocol_addr:$proxy_protocol_port";
        add_header X-Seen "$source $proxy_protocol_server_addr:$proxy_protocol_server_port";
        location / {{ return 200; }}
    }}
"""


@pytest.mark.parametrize("kind", ["haproxy", "nginx"])
def test_servers_that_require_the_header(kind, tmp_path):
    """They see each client and take our checks; IPv6 and mixed families too."""
    port = free_port()
    if kind == "haproxy":
        server = HAProxy(HAPROXY_SERVER.format(port=port), [f"127.0.0.1:{port}"])
    else:
        log = tmp_path / "seen.log"
        server = Nginx(NGINX_SERVER.format(port=port, log=log), [f"127.0.0.1:{port}"])
    listen = {"address": f"127.0.0.1:{free_port()}", "accept_proxy": ["127.0.30.1"]}
    site = make_site(
        [f"127.0.0.1:{port}"],
        listen=listen,
        backends={"send_proxy": "v2"},
        health={"path": "/", "interval": "100ms", "timeout": "2s", "reject_headers": {}},
    )
    daemon = Daemon(make_config([site]))
    try:
        assert "1 of 1 server up" in daemon.stderr
        where = daemon.address
        for source in ("127.0.20.1", "127.0.20.2"):
            with RawClient(where, source=source) as client:
                own = client.sock.getsockname()[1]
                for _ in range(2):
                    assert client.request().header("x-seen") == f"{source}:{own} {where}"
        for source, destination, seen in (
            ("2001:db8::7", "2001:db8::9", "2001:db8::7:1000 2001:db8::9:443"),
            ("192.0.2.7", "198.51.100.9", "192.0.2.7:1000 198.51.100.9:443"),
            ("2001:db8::7", "198.51.100.9", "2001:db8::7:1000 ::ffff:198.51.100.9:443"),
        ):
            with RawClient(where, source="127.0.30.1") as client:
                mapped = destination if ":" in destination or ":" not in source else (
                    f"::ffff:{destination}"
                )
                client.send(pp.binary(source, mapped, (1000, 443)))
                assert client.request().header("x-seen") == seen
        assert "down" not in daemon.stderr
        if kind == "nginx":
            wait_until(lambda: "127.0.20.2:" in log.read_text(), what="nginx's log")
    finally:
        daemon.finish()
        server.stop()
