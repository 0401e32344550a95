"""`s3gate ctl connections`: who is connected, and what each client waits for.

An operator who sees that requests take long must see which ones, of whom and at which server, and
the question must hold up none of them.
"""

import contextlib
import json
import os
import re
import threading

import pytest

from support.backend import hang
from support.client import RawClient
from support.ctl import ADMIN, connect, ctl, socket_of, status_of
from support.upgrade import SWITCH, UPGRADE
from support.waiting import wait_until

TOP = {"admin": ADMIN}


def connections_of(daemon, *options):
    done = ctl(daemon, "connections", "--json", *options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def wait_state(daemon, state, number=1):
    """The connections, once so many are in that state."""

    def look():
        found = connections_of(daemon)["connections"]
        return found if sum(one["state"] == state for one in found) == number else None

    return wait_until(look, what=f"{number} in state {state!r}")


@pytest.fixture(name="client_of")
def client_of_fixture():
    with contextlib.ExitStack() as clients:
        yield lambda daemon: clients.enter_context(daemon.client())


def test_an_idle_client(one, client_of):
    daemon, backend = one(top=TOP)
    client = client_of(daemon)
    client.request()
    client.request()
    (found,) = wait_state(daemon, "idle")
    assert found["client"] == "127.0.0.1"
    assert found["peer"] == "127.0.0.1:%d" % client.sock.getsockname()[1]
    assert found["listener"] == daemon.address
    assert found["requests"] == 2 and found["request"] is None
    assert found["site"] == daemon.config["sites"][0]["name"] and found["worker"] in (0, 1)
    assert connections_of(daemon)["matching"] == 1


def test_a_client_that_sends_its_head(one, client_of):
    daemon, _ = one(top=TOP)
    client_of(daemon).send(b"GET /b/k HTTP/1.1\r\nHost: x\r\n")
    (found,) = wait_state(daemon, "reading head")
    assert found["requests"] == 1
    assert found["request"]["method"] == found["request"]["server"] == ""


def test_a_request_that_waits_for_its_server(one, client_of):
    """With its secrets hidden as in the access log."""
    daemon, backend = one(hang, top=TOP)
    target = "/bucket/key?X-Amz-Signature=abc123&X-Amz-Credential=AK%2Fx&prefix=%22a"
    client_of(daemon).send(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % target.encode())
    (found,) = wait_state(daemon, "waiting for the backend")
    request = found["request"]
    assert request["method"] == "GET" and request["op"] == "GetObject"
    assert request["bucket"] == "bucket"
    hidden = "/bucket/key?X-Amz-Signature=***&X-Amz-Credential=***&prefix=%22a"
    assert request["target"] == hidden
    assert request["server"] == request["address"] == backend.address
    assert 0 <= request["age_ms"] <= found["age_ms"]
    text = ctl(daemon, "connections")
    assert "abc123" not in text.stdout and not text.stderr
    head, row = text.stdout.splitlines()
    assert head.split()[:4] == ["CLIENT", "PEER", "SITE", "LISTENER"]
    assert row.split()[0] == "127.0.0.1" and row.endswith(f"GetObject  GET {hidden}")


def test_an_upload_counts_its_bytes(one, client_of):
    daemon, _ = one(lambda exchange: exchange.wait_closed(), top=TOP)
    client = client_of(daemon)
    client.send(b"PUT /b/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + b"x" * 300)
    (found,) = wait_state(daemon, "upload")
    assert found["request"]["op"] == "PutObject"
    wait_until(
        lambda: connections_of(daemon)["connections"][0]["request"]["bytes_in"] == 300,
        what="the bytes",
    )


def test_a_download_counts_its_bytes(one, client_of):
    go = threading.Event()

    def handler(exchange):
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 400)
        exchange.wait(go)
        exchange.send(b"x" * 600)

    daemon, _ = one(handler, top=TOP)
    client = client_of(daemon)
    client.send(client.head("GET", "/b/k"))
    (found,) = wait_state(daemon, "download")
    wait_until(
        lambda: connections_of(daemon)["connections"][0]["request"]["bytes_out"] == 400,
        what="the bytes",
    )
    go.set()
    assert client.read_response().status == 200


def test_a_tunnel_counts_both_ways(one, client_of):
    def echo(exchange):
        exchange.send(SWITCH)
        while data := exchange.read_some(4):
            exchange.send(data)

    site = {"type": "http", "balance": {"method": "least_conn"}, "upgrade": True}
    daemon, _ = one(echo, top=TOP, **site)
    client = client_of(daemon)
    client.send(client.head("GET", "/b/tunnel", UPGRADE))
    assert client.read_head().status == 101
    client.send(b"ping")
    assert client.reader.exactly(4, "tunnel") == b"ping"
    (found,) = wait_state(daemon, "tunnel")
    assert found["request"]["bytes_in"] == 4 and found["request"]["bytes_out"] >= 4
    assert found["request"]["op"] == found["request"]["bucket"] == ""


def test_a_request_in_the_queue(one, client_of):
    backends = {"max_connections": 1, "queue": 10, "queue_timeout": "1m"}
    daemon, _ = one(hang, top=TOP, backends=backends)
    for _ in range(2):
        client = client_of(daemon)
        client.send(client.head("GET", "/b/k"))
    found = wait_state(daemon, "queued")
    queued = next(one for one in found if one["state"] == "queued")
    assert queued["request"]["server"] == ""


def test_a_lingering_client(one, client_of):
    daemon, _ = one(top=TOP)
    client = client_of(daemon)
    client.send(b"NONSENSE\r\n\r\n")
    assert client.read_head().status == 400
    (found,) = wait_state(daemon, "lingering")
    assert found["request"] is None


def test_only_the_clients_that_are_asked_for(one, client_of):
    """By the client that a trusted proxy names, and by the proxy."""
    daemon, _ = one(hang, top=TOP, forwarded={"mode": "append", "trusted": ["127.0.0.0/8"]})
    client = client_of(daemon)
    client.send(client.head("GET", "/b/k", [("X-Forwarded-For", "192.0.2.7")]))
    wait_state(daemon, "waiting for the backend")
    client_of(daemon)
    wait_state(daemon, "idle")
    (found,) = connections_of(daemon, "--client", "192.0.2.0/24")["connections"]
    assert found["client"] == "192.0.2.7" and found["peer"].startswith("127.0.0.1:")
    assert len(connections_of(daemon, "--client", "127.0.0.1")["connections"]) == 2
    assert connections_of(daemon, "--client", "2001:db8::/32")["matching"] == 0
    assert ctl(daemon, "connections", "--client", "192.0.2.9").stdout == "no connection\n"


def test_the_limit_keeps_the_requests_that_last_longest(one, client_of):
    daemon, _ = one(hang, top=TOP)
    for i in range(3):
        client_of(daemon)
        wait_state(daemon, "idle", i + 1)
    for i in range(3):
        client = client_of(daemon)
        client.send(client.head("GET", f"/b/{i}"))
        wait_state(daemon, "waiting for the backend", i + 1)
    whole = connections_of(daemon)
    assert [one["state"] for one in whole["connections"]].count("idle") == 3
    assert [one["state"] for one in whole["connections"][3:]] == ["idle"] * 3
    few = connections_of(daemon, "--limit", "2")
    assert [one["request"]["target"] for one in few["connections"]] == ["/b/0", "/b/1"]
    assert few["matching"] == 6 and few["more"] == 4
    text = ctl(daemon, "connections", "--limit", "2").stdout
    assert text.splitlines()[-1] == "4 more; --limit shows more of them"


@pytest.mark.parametrize(
    "options",
    [["--limit", "0"], ["--limit", "20001"], ["--limit", "x"], ["--client", "10.0.0.1/8"]],
)
def test_wrong_options(one, options):
    daemon, _ = one(top=TOP)
    done = ctl(daemon, "connections", *options)
    assert done.returncode == 2 and done.stderr


def test_not_at_the_admin_address(one):
    """Whoever may ask for /healthz must not learn the addresses of clients."""
    daemon, _ = one(top={"admin": {**ADMIN, "listen": ["127.0.0.1:0"]}})
    (address,) = re.findall(r"admin on (\S+)", daemon.stderr)
    with RawClient(address) as client:
        client.send(b"GET /connections HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.read_response().status == 404


def test_askers_that_leave_cost_nothing(one, client_of):
    """Sixty that do not read, one after another's end; then the answer is as before."""
    daemon, _ = one(top=TOP)
    client_of(daemon).request()
    wait_state(daemon, "idle")
    files = lambda: len(os.listdir(f"/proc/{daemon.process.pid}/fd"))
    before = files()
    for _ in range(60):
        with connect(socket_of(daemon)) as sock:
            sock.sendall(b"GET /connections HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_state(daemon, "idle")
    wait_until(lambda: files() <= before, what="their descriptors to be closed")


def test_clients_come_and_leave_during_an_answer(one):
    """The walk along the clients of a worker takes several steps; whoever leaves in between is
    passed over."""
    daemon, _ = one(top={**TOP, "workers": 1})
    stop = threading.Event()

    def come_and_leave():
        while not stop.is_set():
            with contextlib.ExitStack() as clients:
                for _ in range(100):
                    clients.enter_context(daemon.client())

    with contextlib.ExitStack() as stay:
        for _ in range(300):
            stay.enter_context(daemon.client())
        threads = [threading.Thread(target=come_and_leave) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(20):
                answer = connections_of(daemon)
                assert answer["matching"] >= len(answer["connections"]) > 290
                peers = [one["peer"] for one in answer["connections"]]
                assert len(set(peers)) == len(peers), "nobody is there twice"
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    wait_until(lambda: connections_of(daemon)["matching"] == 0, what="their end")


def test_a_worker_that_hangs_is_named(one, hang, client_of):
    environment, switch = hang
    daemon, _ = one(top=TOP, daemon={"env": environment})
    accept = switch.with_name(switch.name + ".accept")
    accept.touch()
    client_of(daemon)
    answer = wait_until(
        lambda: (now := connections_of(daemon))["silent_workers"] and now, what="the worker"
    )
    text = ctl(daemon, "connections").stdout
    phase = status_of(daemon)["phase"]
    accept.unlink()
    assert answer["silent_workers"] and "which does not move" in text
    assert phase == "serving", "the control loop waits for no worker"
