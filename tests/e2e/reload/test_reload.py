"""A reload serves the new configuration from the next request on, and nobody loses anything.

What stays (sockets, health, marks, parked connections) is carried over by name and address; what
is in progress ends with the configuration it began with; a configuration that cannot serve changes
nothing.
"""

import copy
import os
import re
import socket
import threading
import time

import pytest

from support import wire
from support.backend import answer_ok
from support.client import RawClient
from support.config import free_port, make_config, make_site
from support.ctl import ADMIN, ctl, status_of
from support.tracing import needs_strace, traced
from support.waiting import wait_until


def site_of(daemon):
    return daemon.config["sites"][0]


def changed(daemon, **keys):
    """The daemon's configuration with other values for keys of its first site."""
    config = copy.deepcopy(daemon.config)
    for key, value in keys.items():
        config["sites"][0][key] = value
    return config


def with_servers(daemon, backends, **more):
    config = copy.deepcopy(daemon.config)
    config["sites"][0]["backends"]["servers"] = [b.address for b in backends]
    config["sites"][0]["backends"].update(more)
    return config


def untouched(start, config):
    """A daemon that is ready, and to which nobody has connected."""
    daemon = start(config, wait_ready=False)
    wait_until(lambda: daemon.notify.has("READY=1"))
    return daemon


def server_of(client, target="/b/k"):
    return client.request("GET", target).header("x-backend")


def test_an_unchanged_text_is_a_reload(one):
    daemon, _ = one()
    with daemon.client() as client:
        assert client.request().status == 200
        for generation in (2, 3):
            assert daemon.reload() == f"reloaded: generation {generation}"
            assert client.request().status == 200


def test_another_server_serves_the_next_request(gate, make_backend):
    first, second = make_backend(), make_backend()
    daemon = gate([first])
    with daemon.client() as client:
        assert client.request().status == 200
        daemon.reload(with_servers(daemon, [second]))
        assert client.request().status == 200
    assert (len(first.requests), len(second.requests)) == (1, 1)


def test_parked_connections_to_a_server_that_left_are_closed(gate, make_backend):
    first, second = make_backend(), make_backend()
    daemon = gate([first, second])
    with daemon.client() as client:
        for number in range(20):
            client.request("GET", f"/b/k?sessionid={number}")
        assert first.open_connections and second.open_connections
        daemon.reload(with_servers(daemon, [second]))
        wait_until(lambda: not first.open_connections, what="no connection to what left")
        assert client.request().status == 200


def test_keys_of_servers_that_stay_do_not_move(gate, make_backend):
    backends = [make_backend() for _ in range(4)]
    daemon = gate(backends[:3])
    keys = [f"/b/k?sessionid=key-{number}" for number in range(120)]

    def homes():
        places = {}
        with daemon.client() as client:
            for key in keys:
                seen = [len(b.requests) for b in backends]
                assert client.request("GET", key).status == 200
                places[key] = [len(b.requests) - n for b, n in zip(backends, seen)].index(1)
        return places

    before = homes()
    daemon.reload(with_servers(daemon, backends))
    wait_until(lambda: 3 in homes().values(), what="the new server has keys")
    after = homes()
    moved = [key for key in keys if before[key] != after[key]]
    assert moved and all(after[key] == 3 for key in moved)


def test_what_is_in_progress_ends_where_it_began(gate, make_backend):
    go = threading.Event()

    def slow(exchange):
        exchange.read_body()
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf ")
        exchange.wait(go)
        exchange.send(b"whole")

    first, second = make_backend(slow), make_backend()
    daemon = gate([first])
    with daemon.client() as client:
        client.send(client.head("GET", "/b/slow"))
        wait_until(lambda: first.requests)
        daemon.reload(with_servers(daemon, [second]))
        with daemon.client() as other:
            assert other.request().status == 200
        assert len(second.requests) == 1
        go.set()
        response = client.read_response()
        assert response.body.data == b"half whole"
        assert not response.closes, "its address is still there"
        assert client.request().status == 200
    assert len(second.requests) == 2


def test_a_broken_file_changes_nothing_and_says_everything(one):
    daemon, backend = one()
    good = daemon.file.read_text()
    bad = good.replace("sites:", "wrokers: 3\nshutdown_timeout: soon\nsites:")
    assert daemon.reload(bad).startswith("reload refused: the configuration that serves stays")
    assert re.search(r"s3gate\.yaml:\d+: wrokers: ", daemon.stderr)
    assert re.search(r"s3gate\.yaml:\d+: shutdown_timeout: ", daemon.stderr)
    with daemon.client() as client:
        assert client.request().status == 200
    assert daemon.reload(good) == "reloaded: generation 2", "a failed reload poisons nothing"
    assert len(backend.requests) == 1


def test_a_file_that_is_gone_changes_nothing(one):
    daemon, _ = one()
    text = daemon.file.read_text()
    daemon.file.unlink()
    assert daemon.reload().startswith("reload refused: ")
    daemon.file.write_text(text)
    assert daemon.reload().startswith("reloaded: ")


def two_addresses(daemon, *addresses):
    return changed(daemon, listen=list(addresses))


def connects(address):
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), 5).close()
        return True
    except OSError:
        return False


def test_an_address_more_and_less(one):
    daemon, _ = one()
    kept, added = daemon.address, f"127.0.0.1:{free_port()}"
    with daemon.client() as client:
        assert client.request().status == 200
        daemon.reload(two_addresses(daemon, kept, added))
        with RawClient(added) as other:
            assert other.request().status == 200
            daemon.reload(two_addresses(daemon, kept))
            wait_until(lambda: not connects(added), what="the address refuses connects")
            response = other.request()
            assert response.status == 200 and response.closes, "the last generation answers"
            assert other.expect_close() == "eof"
        assert not client.request().closes
        daemon.reload(two_addresses(daemon, kept, added))
        with RawClient(added) as other:
            assert not other.request().closes


@pytest.mark.parametrize("before, after", [("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "0.0.0.0")])
def test_wildcard_and_specific_address(start, make_backend, before, after):
    """The sockets of both lie over each other for a moment; nobody is refused or reset."""
    port = free_port()
    backend = make_backend()
    config = make_config([make_site([backend], listen=f"{before}:{port}")])
    daemon = untouched(start, config)
    stop = threading.Event()
    failures = []

    def knock():
        while not stop.is_set():
            try:
                with RawClient(f"127.0.0.1:{port}") as client:
                    if client.request().status != 200:
                        failures.append("status")
            except (OSError, AssertionError) as error:
                failures.append(repr(error))

    knockers = [threading.Thread(target=knock) for _ in range(4)]
    for knocker in knockers:
        knocker.start()
    try:
        for address in (after, before, after):
            line = daemon.reload(changed(daemon, listen=[f"{address}:{port}"]))
            assert line.startswith("reloaded: "), daemon.stderr
            served = len(backend.requests)
            wait_until(lambda served=served: len(backend.requests) > served + 50)
    finally:
        stop.set()
        for knocker in knockers:
            knocker.join()
    assert not failures, failures[:5]


def test_an_address_that_another_process_has_is_refused(one):
    daemon, _ = one()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        good = copy.deepcopy(daemon.config)
        line = daemon.reload(two_addresses(daemon, daemon.address, address))
        assert line.startswith("reload refused: ")
        assert f"cannot listen on {address}" in daemon.stderr
        with daemon.client() as client:
            assert client.request().status == 200
    daemon.config = good
    assert daemon.reload(good) == "reloaded: generation 2"


def test_a_foreign_process_below_our_wildcard_is_found(start, make_backend):
    """The probe bind cannot tell its sockets from ours there: they are looked for by owner."""
    port = free_port()
    site = make_site([make_backend()], listen=f"127.0.0.1:{port}")
    daemon = untouched(start, make_config([site]))
    with socket.socket() as foreign:
        foreign.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        foreign.bind(("127.0.0.2", port))
        foreign.listen()
        line = daemon.reload(changed(daemon, listen=[f"0.0.0.0:{port}"]))
        assert line.startswith("reload refused: ")
        assert f"another process listens on 127.0.0.2:{port}" in daemon.stderr


def test_a_foreign_socket_that_does_not_listen_is_an_obstacle(start, make_backend):
    port = free_port()
    site = make_site([make_backend()], listen=f"127.0.0.1:{port}")
    daemon = untouched(start, make_config([site]))
    with socket.socket() as foreign:
        foreign.bind(("127.0.0.2", port))
        line = daemon.reload(changed(daemon, listen=[f"0.0.0.0:{port}"]))
    assert line.startswith("reload refused: ")
    assert "Address already in use" in daemon.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the user")
def test_a_wildcard_replaces_an_address_that_root_opened(start, make_backend):
    """Sockets of one port belong to one user, so the daemon gives those of its start to `user`."""
    port = free_port()
    site = make_site([make_backend()], listen=f"127.0.0.1:{port}")
    daemon = start(make_config([site], user="nobody", access_log="off"))
    assert daemon.reload(changed(daemon, listen=[f"0.0.0.0:{port}"])) == "reloaded: generation 2"
    with RawClient(f"127.0.0.2:{port}") as client:
        assert client.request().status == 200


def test_a_new_server_waits_for_its_first_check(gate, make_backend):
    """It may still be starting; the others serve meanwhile."""
    checked = threading.Event()
    asked = threading.Event()

    def starting(exchange):
        exchange.read_body()
        if exchange.request.target == "/minio/health/ready":
            asked.set()
            exchange.wait(checked)
        exchange.respond(200)

    first, second = make_backend(), make_backend(starting)
    second.health.path = "/none"  # the handler answers the checks
    health = {"interval": "200ms", "timeout": "20s", "fall": 3, "rise": 3}
    daemon = gate([first], health=health)
    daemon.reload(with_servers(daemon, [first, second]))
    assert asked.wait(10)

    def served():
        return [r for r in second.requests if r.target != "/minio/health/ready"]

    with daemon.client() as client:
        for number in range(40):
            assert client.request("GET", f"/b/k?sessionid={number}").status == 200
        assert not served()
        checked.set()
        daemon.wait_stderr(rf"{second.address}.* is up: its first check passed")
        for number in range(40):
            assert client.request("GET", f"/b/k?sessionid={number}").status == 200
        assert served()


@pytest.fixture(name="unchecked")
def unchecked_fixture(gate, make_backend):
    """A daemon that serves only what is usable, its server, and another one whose first check never
    ends."""

    def handler(exchange):
        exchange.read_body()
        if exchange.request.target == "/minio/health/ready":
            exchange.wait(threading.Event())
        exchange.respond(200)

    first, second = make_backend(), make_backend(handler)
    second.health.path = "/none"  # the handler answers the checks
    health = {"interval": "200ms", "timeout": "20s", "fall": 3, "rise": 3}
    return gate([first], health=health, when_all_down="refuse"), first, second


def test_new_servers_that_replace_all_others_do_not_wait(unchecked):
    """Where nobody else is usable, the first check would be waited for with refusals."""
    daemon, _, second = unchecked
    with daemon.client() as client:
        daemon.reload(with_servers(daemon, [second]))
        assert client.request().status == 200


def test_health_is_carried_over(gate, make_backend):
    first, second = make_backend(), make_backend()
    second.stop()
    health = {"interval": "200ms", "timeout": "1s", "fall": 1, "rise": 1}
    daemon = gate([first, second], health=health)
    daemon.wait_stderr(rf"{second.address}.* is down")
    daemon.reload()
    daemon.reload(with_servers(daemon, [second, first]))
    with daemon.client() as client:
        for number in range(40):
            assert client.request("GET", f"/b/k?sessionid={number}").status == 200
    assert len(re.findall(rf"{second.address}.* is down", daemon.stderr)) == 1
    lines = wait_until(lambda: daemon.log_lines()[39:] and daemon.log_lines())
    assert all(line["tries"] == 1 for line in lines)


def test_logs_move(one):
    daemon, _ = one()
    with daemon.client() as client:
        client.request("GET", "/b/before")
        config = copy.deepcopy(daemon.config)
        os.chmod(daemon.dir, 0o777)
        config["access_log"] = {"target": str(daemon.dir / "other.log")}
        config["log"] = {"level": "debug", "target": str(daemon.dir / "operational.log")}
        daemon.write(config)
        daemon.signal(1)
        log = daemon.dir / "operational.log"
        wait_until(lambda: log.exists() and "reloaded: generation 2" in log.read_text())
        client.request("GET", "/b/after")
    wait_until(lambda: [line["request"] for line in daemon.log_lines()] == ["/b/before"])
    other = daemon.dir / "other.log"
    wait_until(lambda: [line["request"] for line in daemon.log_lines(other)] == ["/b/after"])


def test_a_log_that_cannot_be_opened_is_refused(one):
    daemon, _ = one()
    config = copy.deepcopy(daemon.config)
    config["access_log"] = {"target": "/nowhere/access.log"}
    assert daemon.reload(config).startswith("reload refused: ")
    assert "access log /nowhere/access.log: No such file or directory" in daemon.stderr


def test_limits_hold_for_connected_clients(one):
    daemon, _ = one()
    with daemon.client() as client:
        for _ in range(3):
            assert client.request().status == 200
        limits = {"requests_per_client": "1/m"}
        daemon.reload(changed(daemon, limits=limits))
        statuses = [client.request().status for _ in range(3)]
        assert statuses.count(503) >= 1, statuses
        daemon.reload(changed(daemon, limits={}))
        assert client.request().status == 200


def test_what_cannot_change_is_said(one):
    daemon, _ = one()
    config = {**copy.deepcopy(daemon.config), "workers": 7}
    assert daemon.reload(config) == "reloaded: generation 2"
    assert "workers: does not change in a running process" in daemon.stderr


def test_a_pending_restart_is_shown(one):
    daemon, _ = one(top={"admin": ADMIN})
    before = copy.deepcopy(daemon.config)
    assert status_of(daemon)["config"]["pending_restart"] == []
    daemon.reload({**copy.deepcopy(before), "workers": 7})
    assert status_of(daemon)["config"]["pending_restart"] == ["workers"]
    assert "a restart is pending: workers\n" in ctl(daemon, "status").stdout
    daemon.reload(before)
    assert status_of(daemon)["config"]["pending_restart"] == []


def test_a_stop_refuses_reloads(one):
    go = threading.Event()

    def handler(exchange):
        exchange.read_body()
        exchange.wait(go)
        answer_ok(exchange)

    daemon, backend = one(handler)
    with daemon.client() as client:
        client.send(client.head("GET", "/b/k"))
        wait_until(lambda: backend.requests)
        daemon.signal(15)
        daemon.wait_stderr("draining")
        assert daemon.reload() == "reload refused: the daemon is stopping"
        go.set()
        assert client.read_response().status == 200
    assert daemon.wait_exit() == 0


def test_reload_grace_bounds_what_is_old(one):
    go = threading.Event()

    def handler(exchange):
        exchange.read_body()
        if "begun" in exchange.request.target:
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf ")
        exchange.wait(go)
        exchange.close()

    daemon, backend = one(handler, top={"reload_grace": "500ms"})
    with daemon.client() as waits, daemon.client() as reads:
        waits.send(waits.head("GET", "/b/waits"))
        reads.send(reads.head("GET", "/b/begun"))
        assert reads.begin_response().status == 200
        backend.wait_request("/b/waits")
        daemon.reload()
        response = waits.read_response()
        assert response.status == 503 and response.closes
        assert reads.read_until_close()[0] == b"half "
    go.set()
    lines = wait_until(lambda: len(daemon.log_lines()) == 2 and daemon.log_lines())
    assert {line["error"] for line in lines} == {"cut after reload_grace"}


def test_no_grace_cuts_nothing(one):
    go = threading.Event()

    def handler(exchange):
        exchange.read_body()
        exchange.wait(go)
        answer_ok(exchange)

    daemon, backend = one(handler)
    with daemon.client() as client:
        client.send(client.head("GET", "/b/k"))
        wait_until(lambda: backend.requests)
        for _ in range(5):
            daemon.reload()
        go.set()
        assert client.read_response().status == 200


def test_at_a_limit_the_clients_that_are_in_stay_in(one):
    """Shed connections count while they last; a reload must not find the others over the limit."""
    daemon, _ = one(top={"limits": {"connections": 4}})

    def let_in():
        client = daemon.client()
        if client.request().status == 200:
            return client
        client.close()  # an earlier connection has not ended yet
        return None

    inside = [wait_until(let_in) for _ in range(4)]
    shed = [daemon.client() for _ in range(3)]
    daemon.reload()
    assert [client.request().status for client in inside] == [200] * 4
    for client in shed + inside:
        client.close()


def test_grace_counts_from_the_begin_of_a_request(one):
    """An idle client of an address that is gone begins its last request after reload_grace."""

    def handler(exchange):
        exchange.read_body()
        if "slow" in exchange.request.target:
            wire.sleep_briefly()
            wire.sleep_briefly()
        answer_ok(exchange)

    daemon, _ = one(handler, top={"reload_grace": "1s"})
    kept, added = daemon.address, f"127.0.0.1:{free_port()}"
    daemon.reload(two_addresses(daemon, kept, added))
    with RawClient(added) as client:
        assert client.request().status == 200
        daemon.reload(two_addresses(daemon, kept))
        time.sleep(2.5)  # the time of the old generation is over
        response = client.request("GET", "/b/slow")
        assert response.status == 200 and response.closes


def test_a_server_that_waits_is_let_in_when_the_others_leave(unchecked):
    daemon, first, second = unchecked
    with daemon.client() as client:
        daemon.reload(with_servers(daemon, [first, second]))
        daemon.reload(with_servers(daemon, [second]))
        assert client.request().status == 200


def test_what_cannot_change_is_said_as_long_as_it_differs(one):
    daemon, _ = one()
    config = {**copy.deepcopy(daemon.config), "workers": 7}
    for count in (1, 2):
        daemon.reload(config)
        assert daemon.stderr.count("workers: does not change in a running process") == count


@needs_strace
def test_no_new_address_listens_before_all_are_bound(one, tmp_path):
    """If the second one could not be bound, its problem would reset clients in the queue of the
    first."""
    daemon, _ = one(top={"workers": 2})
    trace = tmp_path / "trace"
    config = two_addresses(
        daemon, daemon.address, f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    )
    with traced(daemon, str(trace), "-e", "trace=bind,listen"):
        assert daemon.reload(config) == "reloaded: generation 2"
    calls = re.findall(r"\b(bind|listen)\(", trace.read_text(encoding="ascii"))
    assert calls[-8:] == ["bind"] * 4 + ["listen"] * 4, "two sockets for each address"
