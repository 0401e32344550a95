"""What admin.listen answers, and to whom: looks, never commands; this host's names, never those of
another site."""

import socket

import pytest

from support.admin import (
    admin_at,
    ask,
    free_address,
    health,
    is_refused,
    ports_of,
    send,
    taken_addresses,
)
from support.client import split_address
from support.config import dead_address, make_config, make_site, to_yaml
from support.ctl import ctl, socket_of, status_of
from support.ctl import ask as ask_socket
from support.daemon import run_command
from support.waiting import wait_until

COMMANDS = ["/reload", "/confirm", "/upgrade", "/standby", "/active"]
FOREIGN = [
    "evil.example",
    "evil.example:9180",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "10.9.8.7",
    "[2001:db8::1]:80",
    "a b",
    "127.0.0.1@evil.example",
]


@pytest.fixture(name="served")
def served_fixture(one):
    """Starts a daemon with such an address: (daemon, address)."""

    def run(address=None, **more):
        address = address or free_address()
        daemon, _ = one(top={"admin": admin_at(address, **more)})
        return daemon, address

    return run


def test_health_and_status(served):
    daemon, address = served()
    for query in ["", "?strict=1", "?live=1", "?strict=1&live=1"]:
        assert health(address, query) == (200, "ok"), query
    status, fields, body = ask(address, "/status")
    assert status == 200 and body["pid"] == daemon.process.pid
    assert body["phase"] == "serving" and body["sites"][0]["name"] == "test"
    assert fields["content-type"] == "application/json"
    assert fields["connection"] == "close" and fields["cache-control"] == "no-store"
    assert "listens there" not in daemon.stderr


def test_head_has_the_fields_of_get_alone(served):
    _, address = served()
    status, fields, body = ask(address, method="HEAD")
    assert (status, body) == (200, None)
    assert fields["content-length"] == ask(address)[1]["content-length"]


def test_a_strict_check_sees_the_servers(start):
    address = free_address()
    site = make_site([dead_address(), dead_address()], health={"interval": "100ms", "fall": 1})
    start(make_config([site], admin=admin_at(address)))
    wait_until(lambda: health(address, "?strict=1") == (503, "no server of test is usable"))
    assert health(address) == (200, "ok")


def test_http_1_0_needs_no_host(served):
    _, address = served()
    assert ask(address, version="1.0", host="")[0] == 200
    assert ask(address, version="1.0")[0] == 200
    assert ask(address, version="1.1", host="")[0] == 400
    assert send(address, b"GET /healthz\r\n\r\n").startswith(b"HTTP/1.1 400 ")


def test_other_paths_and_methods(served):
    _, address = served()
    for target in ["/", "/metric", "/healthz/", "/status/x", "*", "http://evil.example/status"]:
        assert ask(address, target)[0] == 404, target
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "QUERY"]:
        for target in ["/healthz", "/status"]:
            status, fields, _ = ask(address, target, method)
            assert (status, fields["allow"]) == (405, "GET, HEAD"), (method, target)


def test_no_command_is_done_and_no_salt_is_shown(served):
    """Also for root, and however the body looks."""
    daemon, address = served()
    before = status_of(daemon)
    for target in [*COMMANDS, "/config"]:
        for method in ["GET", "HEAD", "POST", "PUT"]:
            fields = ["Content-Length: 0"] if method in ("POST", "PUT") else []
            status, _, body = ask(address, target, method, fields)
            assert status in (404, 405), (method, target)
            assert body is None or set(body) == {"error"}
    after = status_of(daemon)
    assert (after["pid"], after["phase"]) == (before["pid"], "serving")
    assert after["config"]["generation"] == 1
    assert "asked by" not in daemon.stderr
    for target in ["/status", "/healthz", "/config"]:
        assert b"pepper" not in send(address, f"GET {target} HTTP/1.0\r\n\r\n".encode())


def test_names_of_this_host(served):
    _, address = served()
    name = socket.gethostname()
    for host in ["127.0.0.1", address, "localhost", "LOCALHOST:9180", "[::1]", name, f"{name}:1"]:
        assert ask(address, host=host)[0] == 200, host
    for origin in [address, "LocalHost:9180"]:
        assert ask(address, fields=[f"Origin: http://{origin}"], host=origin)[0] == 200


def test_a_foreign_host_is_refused(served):
    """A page whose name resolves to this host must not read what is here (DNS rebinding)."""
    daemon, address = served()
    for host in FOREIGN:
        for target in ["/status", "/healthz", "/nowhere", "/reload"]:
            status, _, body = ask(address, target, host=host)
            assert status == 403 and set(body) == {"error"}, (host, target)
    assert ask(address, version="1.0", host="evil.example")[0] == 403
    assert ask(address, method="POST", host="evil.example")[0] == 403
    assert ask(address, fields=["Host: evil.example"])[0] == 400
    assert daemon.stderr.count("a request by 127.0.0.1 is refused") == 1, "no flood in the log"
    assert "evil" not in daemon.stderr


def test_a_foreign_origin_is_refused(served):
    _, address = served()
    port = address.rpartition(":")[2]
    for origin in ["http://evil.example", "null", f"https://{address}", "http://127.0.0.1", ""]:
        assert ask(address, "/status", fields=[f"Origin: {origin}"])[0] == 403, origin
    other = f"Origin: http://localhost:{port}"
    assert ask(address, "/status", fields=[other])[0] == 403, "another name is another site"
    same = f"Origin: http://{address}"
    assert ask(address, "/status", fields=[same])[0] == 200
    assert ask(address, "/status", fields=[same, "Origin: http://evil.example"])[0] == 403
    assert ask(address, version="1.0", host="", fields=[same])[0] == 403


def test_the_command_socket_has_no_such_rule(served):
    daemon, _ = served()
    assert ask_socket(socket_of(daemon), "GET", "/healthz")[0] == 200


def test_only_those_whom_allow_names(served):
    daemon, address = served(allow=["127.0.0.2"])
    with pytest.raises(OSError):
        ask(address)
    with socket.create_connection(split_address(address), source_address=("127.0.0.2", 0)) as sock:
        sock.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 200 ")
    daemon.wait_stderr(
        r"admin\.listen: a connection from 127\.0\.0\.1 is closed: not in admin\.allow"
    )


def test_several_addresses_ipv6_and_port_0(one):
    fixed = [free_address(), free_address("::1")]
    admin = admin_at(*fixed, "127.0.0.1:0", "[::1]:0", "127.0.0.1:0")
    daemon, _ = one(top={"admin": admin})
    addresses = ports_of(daemon)
    assert addresses[:2] == fixed and len(set(addresses)) == 5
    for address in addresses:
        assert health(address) == (200, "ok"), address
    before = addresses
    assert daemon.reload().startswith("reloaded")
    for address in before:
        assert health(address) == (200, "ok"), "a reload keeps the port"


def test_a_wildcard_answers_to_the_address_that_was_reached(one):
    port = free_address().rpartition(":")[2]
    one(top={"admin": admin_at(f"0.0.0.0:{port}")})
    assert ask(f"127.0.0.2:{port}")[0] == 200
    assert ask(f"127.0.0.2:{port}", host="10.0.0.1")[0] == 403


def test_without_it_nothing_listens(one):
    daemon, _ = one(top={"admin": {"socket": "{dir}/ctl.sock"}})
    assert "admin on" not in daemon.stderr
    assert ctl(daemon, "health").returncode == 0


def test_a_taken_address_refuses_the_start_with_all_problems(tmp_path):
    with taken_addresses(2) as taken:
        free = free_address()
        site = make_site([dead_address()], listen=taken[0])
        config = make_config([site], admin=admin_at(free, taken[1], socket=str(tmp_path / "s")))
        file = tmp_path / "s3gate.yaml"
        file.write_text(to_yaml(config))
        done = run_command("--config", str(file))
    assert done.returncode == 1
    assert f"cannot listen on {taken[0]} (site test): Address already in use" in done.stderr
    assert f"cannot listen on {taken[1]} (admin): Address already in use" in done.stderr
    assert is_refused(free)
