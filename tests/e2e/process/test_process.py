"""Start, stop and exit codes as systemd and an operator see them.

A second instance that shares the port takes half the traffic; a stop that cuts requests makes every
deployment cause errors.
"""

import os
import pwd
import signal
import socket
import threading

import pytest

from support import wire
from support.client import split_address
from support.config import free_port, make_config, make_site
from support.daemon import run_command
from support.waiting import wait_until


def test_ready_and_stopping_are_notified(one):
    daemon, _ = one()
    assert daemon.notify.has("READY=1")
    daemon.signal(signal.SIGTERM)
    assert daemon.wait_exit() == 0
    assert daemon.notify.has("STOPPING=1")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT, signal.SIGINT])
def test_idle_process_stops_at_once(one, number):
    daemon, _ = one()
    daemon.signal(number)
    assert daemon.wait_exit() == 0


def test_second_instance_fails_loudly(one):
    daemon, _ = one()
    done = run_command("--config", str(daemon.file))
    assert done.returncode > 0
    assert daemon.address in done.stderr
    with daemon.client() as client:
        assert client.request().status == 200


def test_address_held_by_another_program(make_backend, start):
    with socket.create_server(("127.0.0.1", 0)) as holder:
        address = "127.0.0.1:%d" % holder.getsockname()[1]
        daemon = start(make_config([make_site([make_backend()], listen=address)]), wait_ready=False)
        daemon.expected_exit = daemon.wait_exit()
        assert daemon.expected_exit > 0
        assert address in daemon.stderr
        assert not daemon.notify.has("READY=1")


def test_unwritable_log_is_a_loud_failure(make_backend, start):
    daemon = start(
        make_config(
            [make_site([make_backend()])], access_log={"target": "/proc/nowhere/access.log"}
        ),
        wait_ready=False,
    )
    daemon.expected_exit = daemon.wait_exit()
    assert daemon.expected_exit > 0
    assert "/proc/nowhere/access.log" in daemon.stderr


def slow_handler(go):
    def handler(exchange):
        exchange.read_body()
        if "slow" in exchange.request.target:
            exchange.wait(go)
        exchange.respond(200, [], b"x" * 100000)

    return handler


def test_drain(one):
    """SIGTERM: requests in flight complete with Connection: close, new connects are refused, idle
    connections end."""
    go = threading.Event()
    daemon, backend = one(slow_handler(go))
    address = split_address(daemon.address)
    with daemon.client() as busy, daemon.client() as idle:
        assert idle.request(target="/b/idle").status == 200
        busy.send(busy.head("GET", "/b/slow"))
        backend.wait_request("/b/slow")
        daemon.signal(signal.SIGTERM)

        def refused():
            try:
                socket.create_connection(address, 5).close()
            except OSError:
                return True
            return False

        wait_until(refused, what="connects refused")
        assert daemon.process.poll() is None
        # A kept connection may still send one request, which is served before the close.
        response = idle.request(target="/b/last")
        assert response.status == 200
        assert response.closes
        assert idle.expect_close() == "eof"
        go.set()
        response = busy.read_response()
        assert (response.status, response.body.length) == (200, 100000)
        assert response.closes
        assert busy.expect_close() == "eof"
    assert daemon.wait_exit() == 0


def test_drain_of_a_long_upload(one):
    daemon, backend = one()
    data = wire.payload(2 * 1024 * 1024)
    with daemon.client() as client:
        client.send(client.head("PUT", "/b/k", [("Content-Length", len(data))]) + data[:1000])
        backend.wait_request("/b/k")
        daemon.signal(signal.SIGTERM)
        daemon_seen = wait_until(lambda: daemon.notify.has("STOPPING=1"))
        assert daemon_seen
        client.send(data[1000:])
        response = client.read_response()
        assert response.status == 200
        assert response.closes
    assert backend.requests[0].body.sha256 == wire.sha256(data)
    assert daemon.wait_exit() == 0


def test_idle_connections_do_not_hold_the_process(make_backend, gate):
    """They get a FIN after a quiet second, since a request may be in transit."""
    daemon = gate([make_backend()], top={"shutdown_timeout": "2s"})
    with daemon.client() as client:
        client.request()
        daemon.signal(signal.SIGTERM)
        assert client.expect_close() == "eof"
        assert daemon.wait_exit() == 0


def test_shutdown_timeout_ends_the_stubborn(make_backend, gate):
    go = threading.Event()
    backend = make_backend(slow_handler(go))
    daemon = gate([backend], top={"shutdown_timeout": "1s"})
    with daemon.client() as client:
        client.send(client.head("GET", "/b/slow"))
        backend.wait_request("/b/slow")
        daemon.signal(signal.SIGTERM)
        daemon.expected_exit = daemon.wait_exit()
        assert daemon.expected_exit >= 0, "killed by a signal"
        client.read_until_close()
    go.set()


STOPS = [signal.SIGTERM, signal.SIGQUIT]


@pytest.mark.parametrize("number", STOPS)
def test_sigterm_and_sigquit_drain(one, number):
    go = threading.Event()
    daemon, backend = one(slow_handler(go))
    with daemon.client() as client:
        client.send(client.head("GET", "/b/slow"))
        backend.wait_request("/b/slow")
        daemon.signal(number)
        wait_until(lambda: daemon.notify.has("STOPPING=1"))
        go.set()
        assert client.read_response().status == 200
    assert daemon.wait_exit() == 0


@pytest.mark.parametrize("first", STOPS)
@pytest.mark.parametrize("second", STOPS)
def test_second_one_ends_at_once(make_backend, gate, first, second):
    go = threading.Event()
    backend = make_backend(slow_handler(go))
    daemon = gate([backend], top={"shutdown_timeout": "10m"})
    with daemon.client() as client:
        client.send(client.head("GET", "/b/slow"))
        backend.wait_request("/b/slow")
        daemon.signal(first)
        wait_until(lambda: daemon.notify.has("STOPPING=1"))
        daemon.signal(second)
        daemon.expected_exit = daemon.wait_exit()
        assert daemon.expected_exit >= 0, "killed by a signal"
        client.read_until_close()
    assert f"stopping at once: {second.name} while draining" in daemon.stderr
    go.set()


def test_accepted_but_unserved_connections_survive_a_stop(one):
    """Connections in the accept queue at the stop are served, not reset."""
    daemon, _ = one()
    clients = [daemon.client() for _ in range(50)]
    for client in clients:
        client.send(client.head("GET", "/b/k"))
    daemon.signal(signal.SIGTERM)
    for client in clients:
        assert client.read_response().status == 200
        client.close()
    assert daemon.wait_exit() == 0


def test_watchdog_is_fed(make_backend, gate):
    """systemd restarts a process without life signs; the daemon sends them only while every loop
    ticks."""
    daemon = gate([make_backend()], daemon={"env": {"WATCHDOG_USEC": "2000000"}})
    wait_until(lambda: sum("WATCHDOG=1" in text for text in daemon.notify.messages) >= 2)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the user")
def test_user_is_dropped(make_backend, gate):
    daemon = gate([make_backend()], top={"user": "nobody"}, daemon={"access_log": False})
    with open(f"/proc/{daemon.process.pid}/status", encoding="ascii") as status:
        fields = dict(line.split(":", 1) for line in status)
    wanted = pwd.getpwnam("nobody")
    assert fields["Uid"].split() == [str(wanted.pw_uid)] * 4
    assert fields["Gid"].split() == [str(wanted.pw_gid)] * 4
    assert fields["CapEff"].strip() == "0" * 16
    with daemon.client() as client:
        assert client.request().status == 200


def test_starts_without_notify_socket(make_backend, start):
    daemon = start(make_config([make_site([make_backend()])]), notify=False, wait_ready=False)

    def served():
        try:
            with daemon.client() as client:
                return client.request().status == 200
        except OSError:
            return False

    wait_until(served)


def test_several_sites_and_addresses(make_backend, start):
    first, second = make_backend(), make_backend()
    extra = f"127.0.4.7:{free_port('127.0.4.7')}"
    one_site = make_site([first], name="one")
    one_site["listen"].append(extra)
    daemon = start(
        make_config(
            [
                one_site,
                make_site([second], name="two"),
                {**make_site([second], name="off"), "enabled": False},
            ][:2]
        )
    )
    with daemon.client(0) as client:
        assert client.request(target="/b/1").data == b"b1"
    with daemon.client(1) as client:
        assert client.request(target="/b/2").data == b"b2"
    from support.client import RawClient  # pylint: disable=import-outside-toplevel

    with RawClient(extra) as client:
        assert client.request(target="/b/3").data == b"b1"
    assert daemon.wait_log("/b/2")["site"] == "two"
    assert daemon.wait_log("/b/3")["@source"] == "127.0.4.7"


def test_ipv6_listener(make_backend, start):
    if (
        not os.path.exists("/proc/net/if_inet6")
        or "00000000000000000000000000000001"
        not in open("/proc/net/if_inet6", encoding="ascii").read()
    ):
        pytest.skip("this host has no IPv6 loopback")
    backend = make_backend()
    address = f"[::1]:{free_port('::1')}"
    daemon = start(make_config([make_site([backend], listen=address)]))
    with daemon.client() as client:
        assert client.request(target="/b/v6").status == 200
    assert backend.requests[0].header("x-real-ip") == "::1"
    assert daemon.wait_log("/b/v6")["client"] == "::1"


def test_vip_that_is_not_here_yet(make_backend, start):
    """keepalived may add the address later: the bind must not wait for it (IP_FREEBIND)."""
    site = make_site([make_backend()])
    site["listen"].append("198.51.100.77:9000")
    daemon = start(make_config([site]))
    with daemon.client() as client:
        assert client.request().status == 200
