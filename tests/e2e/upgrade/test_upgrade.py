"""Another binary takes over, and no client is refused, cut or answered wrongly.

The new process is started with the listening sockets. Once it serves, the old one accepts nobody
any more and serves the clients that it has. Whatever goes wrong before that changes nothing.
"""

import copy
import os
import signal
import threading

import pytest

from support.client import RawClient, split_address
from support.ctl import ctl, status_of
from support.upgrade import (
    TUNNELS,
    UPGRADE,
    Held,
    assert_echo,
    holding,
    old_of,
    open_tunnel,
    pid_of,
)
from support.waiting import wait_until


def test_the_new_process_serves_and_the_old_one_ends(serve, line):
    daemon, _ = serve()
    successor = line.upgrade()
    with daemon.client() as client:
        assert client.request().status == 200
    assert pid_of(daemon) == successor.pid
    assert daemon.wait_exit() == 0
    assert old_of(daemon) == []


def test_sigusr2_is_an_upgrade(serve, line):
    daemon, _ = serve()
    daemon.signal(signal.SIGUSR2)
    daemon.wait_stderr(r"upgraded: process \d+ serves")
    line.adopt(daemon.stderr)
    with daemon.client() as client:
        assert client.request().status == 200
    assert daemon.wait_exit() == 0


def test_an_idle_client_is_served_once_more_and_told_to_leave(serve, line):
    daemon, backend = serve()
    with daemon.client() as client:
        assert client.request().status == 200
        line.upgrade()
        time_left = threading.Event()
        time_left.wait(1.5)  # longer than a stop gives to quiet clients
        answer = client.request()
        assert (answer.status, answer.header("connection")) == (200, "close")
        client.expect_close()
    assert daemon.wait_exit() == 0
    assert len(backend.requests) == 2


def test_what_is_in_progress_ends_in_the_old_process(serve, line):
    with holding(serve) as (daemon, client, held):
        successor = line.upgrade()
        old = wait_until(lambda: [one for one in old_of(daemon) if one["requests"] == 1])
        assert [one["pid"] for one in old] == [daemon.process.pid]
        assert old[0]["counters"]["client_connections"] >= 1
        assert "old process" in ctl(daemon, "status").stdout
        held.go.set()
        assert client.read_response().body.data == b"half whole"
    assert daemon.wait_exit() == 0
    assert pid_of(daemon) == successor.pid


def test_an_upload_ends_whole(serve, line):
    daemon, backend = serve()
    with daemon.client() as client:
        client.send(client.head("PUT", "/b/k", [("Content-Length", "100000")]) + b"x" * 1000)
        wait_until(lambda: backend.requests)
        line.upgrade()
        client.send(b"x" * 99000)
        answer = client.read_response()
        assert (answer.status, answer.header("connection")) == (200, "close")
    assert backend.requests[0].body.data == b"x" * 100000
    assert daemon.wait_exit() == 0


def test_what_cannot_start_changes_nothing(serve, line):
    daemon, _ = serve()
    line.program.unlink()
    assert "No such file" in line.failing_upgrade()
    line.replace_program("exit 1")
    assert "ended before it served" in line.failing_upgrade()
    line.restore_program()
    good = daemon.file.read_text()
    daemon.file.write_text("sites: nonsense\n")
    assert "configuration has problems" in line.failing_upgrade()
    daemon.file.write_text(good)
    assert pid_of(daemon) == daemon.process.pid
    with daemon.client() as client:
        assert client.request().status == 200
    line.upgrade()
    assert daemon.wait_exit() == 0


def test_one_that_crashes_before_it_serves_changes_nothing(serve, line):
    daemon, _ = serve()
    line.replace_program('echo "pid $$" >&5; kill -SEGV $$')
    assert "ended before it served" in line.failing_upgrade()
    with daemon.client() as client:
        assert client.request().status == 200


def test_the_configuration_is_read_again(serve, line, make_backend):
    daemon, first = serve()
    second = make_backend()
    config = copy.deepcopy(daemon.config)
    config["sites"][0]["backends"]["servers"] = [second.address]
    daemon.write(config)
    line.upgrade()
    with daemon.client() as client:
        assert client.request().status == 200
    assert (len(first.requests), len(second.requests)) == (0, 1)


def test_upgrades_follow_each_other(serve, line):
    daemon, _ = serve()
    for _ in range(3):
        line.upgrade()
        with daemon.client() as client:
            assert client.request().status == 200
    assert daemon.wait_exit() == 0
    for successor in line.successors[:-1]:
        assert successor.wait_exit() == 0
    assert pid_of(daemon) == line.present


def test_a_fifth_old_process_makes_the_oldest_end_its_tunnels(serve, line):
    """Its requests go on, and so does everything in the other four."""
    held = Held()
    daemon, backend = serve(held, **TUNNELS)
    clients, tunnels = [], []
    for number in range(4):
        clients.append(daemon.client())
        clients[-1].send(clients[-1].head("GET", f"/b/held{number}"))
        tunnels.append(open_tunnel(daemon))
        wait_until(lambda: len(backend.requests) == 2 * number + 2)
        line.upgrade()
    wait_until(lambda: [one["requests"] for one in old_of(daemon)] == [2, 2, 2, 2])
    clients.append(daemon.client())
    clients[-1].send(clients[-1].head("GET", "/b/held4"))
    wait_until(lambda: len(backend.requests) == 9)
    line.upgrade()
    tunnels[0].expect_close()
    for tunnel in tunnels[1:]:
        assert_echo(tunnel)
    held.go.set()
    for client in clients:
        assert client.read_response().body.data == b"half whole"
    for connection in clients + tunnels:
        connection.close()
    assert daemon.wait_exit() == 0
    for successor in line.successors[:-1]:
        assert successor.wait_exit() == 0


def test_a_tunnel_that_begins_late_in_the_oldest_ends_too(serve, line):
    """Its head was in progress when the others ended."""
    daemon, backend = serve(Held(), **TUNNELS)
    late = daemon.client()
    head = late.head("GET", "/b/tunnel", UPGRADE)
    late.send(head[:-2])
    tunnels = [open_tunnel(daemon)]
    for _ in range(4):
        line.upgrade()
        tunnels.append(open_tunnel(daemon))
    line.upgrade()
    tunnels[0].expect_close()
    late.send(head[-2:])
    assert late.read_head().status == 101
    late.expect_close()
    for connection in [late, *tunnels]:
        connection.close()
    assert daemon.wait_exit() == 0


def test_a_reload_that_waits_to_be_confirmed_forbids_it(serve, line):
    daemon, _ = serve()
    assert ctl(daemon, "reload", "--confirm", "60s").returncode == 0
    assert "waits to be confirmed" in line.failing_upgrade()
    assert ctl(daemon, "confirm").returncode == 0
    line.upgrade()
    assert daemon.wait_exit() == 0


def test_a_stop_reaches_the_old_process(serve, line):
    with holding(serve) as (daemon, client, held):
        successor = line.upgrade()
        successor.signal(signal.SIGTERM)
        daemon.wait_stderr(r"draining[^\n]*\n(.*\n)*.*draining")
        assert successor.poll() is None and daemon.process.poll() is None
        held.go.set()
        assert client.read_response().body.data == b"half whole"
    assert daemon.wait_exit() == 0
    assert successor.wait_exit() == 0


def test_the_signal_of_the_service_manager_is_no_second_one(serve, line):
    with holding(serve) as (daemon, client, held):
        successor = line.upgrade()
        successor.signal(signal.SIGTERM)
        daemon.wait_stderr(r"draining[^\n]*\n(.*\n)*.*draining")
        daemon.signal(signal.SIGTERM)
        held.go.set()
        assert client.read_response().body.data == b"half whole"
    assert daemon.wait_exit() == 0
    assert successor.wait_exit() == 0


def test_two_signals_stop_both_at_once(serve, line):
    with holding(serve) as (daemon, client, held):
        successor = line.upgrade()
        successor.signal(signal.SIGTERM)
        daemon.wait_stderr(r"draining[^\n]*\n(.*\n)*.*draining")
        successor.signal(signal.SIGTERM)
        daemon.expected_exit = 3
        assert daemon.wait_exit() == 3
        assert successor.wait_exit() == 0


def test_upgrade_timeout_ends_the_old_process(serve, line):
    with holding(serve, main={"upgrade_timeout": "1s"}) as (daemon, client, held):
        line.upgrade()
        daemon.expected_exit = 3
        assert daemon.wait_exit() == 3
    assert "upgrade_timeout is over" in daemon.stderr


def test_reopened_logs_are_those_of_both(serve, line):
    with holding(serve) as (daemon, client, held):
        successor = line.upgrade()
        daemon.access_log.rename(daemon.dir / "access.1")
        successor.signal(signal.SIGUSR1)
        wait_until(daemon.access_log.exists)
        old_log = f"/proc/{daemon.process.pid}/fd"
        wait_until(
            lambda: any(
                os.readlink(f"{old_log}/{name}") == str(daemon.access_log)
                for name in os.listdir(old_log)
                if os.path.islink(f"{old_log}/{name}")
            ),
            what="the old process has the new file",
        )
        held.go.set()
        client.read_response()
    daemon.wait_log("/b/held")


def test_marks_and_standby_are_handed_over(serve, line):
    daemon, backend = serve(passive={"max_fails": 1})
    backend.stop()
    with daemon.client() as client:
        assert client.request().status == 503
    assert ctl(daemon, "standby").returncode == 0
    line.upgrade()
    status = status_of(daemon)
    assert status["standby"]
    assert status["sites"][0]["groups"][0]["servers"][0]["addresses"][0]["marked"]


def test_the_log_level_is_handed_over(serve, line):
    """With the rest of its time, and not where log.level is another one now."""
    daemon, _ = serve()
    assert ctl(daemon, "log-level", "debug", "--for", "1h").returncode == 0
    line.upgrade()
    level = status_of(daemon)["log_level"]
    assert level["level"] == "debug" and 3500 < level["ends_in_seconds"] <= 3600
    daemon.write({**daemon.config, "log": {"level": "warn"}})
    line.upgrade()
    level = status_of(daemon)["log_level"]
    assert level["level"] == "warn" and not level["changed"]


def test_clients_of_old_processes_are_counted(serve, line):
    daemon, _ = serve()
    with daemon.client() as client:
        client.request()
        old = line.present
        line.upgrade()
        with daemon.client() as other:
            other.request()
            done = ctl(daemon, "connections")
            assert f"1 more in the old process {old}" in done.stdout
            assert len(done.stdout.splitlines()) == 3, done.stdout


def test_a_client_has_no_second_burst(serve, line):
    """Its rate goes on with what it has used."""
    daemon, _ = serve(limits={"requests_per_client": {"rate": "1/m", "burst": 2}})
    with daemon.client() as client:
        assert [client.request().status for _ in range(3)] == [200, 200, 503]
    line.upgrade()
    with daemon.client() as client:
        assert client.request().status == 503


@pytest.mark.parametrize("counts", [(1, 3, 1), (3, 1, 2)])
def test_the_number_of_workers_may_change(serve, line, counts):
    daemon, _ = serve(main={"workers": counts[0]})
    host, port = split_address(daemon.address)
    failures, done, count = [], threading.Event(), [0]

    def connect():
        while not done.is_set():
            try:
                with RawClient(f"{host}:{port}") as client:
                    assert client.request().status == 200
                count[0] += 1
            except Exception as error:  # noqa: BLE001 - whatever a client may see
                failures.append(repr(error))

    threads = [threading.Thread(target=connect) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for workers in counts[1:]:
            config = copy.deepcopy(daemon.config)
            config["workers"] = workers
            daemon.write(config)
            line.upgrade()
            before = count[0]
            wait_until(lambda: count[0] > before + 50)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert len(status_of(daemon)["workers"]) == counts[-1]


def test_the_command_socket_answers_throughout(serve, line):
    daemon, _ = serve()
    answers, done = [], threading.Event()

    def ask():
        while not done.is_set():
            answers.append(ctl(daemon, "health").returncode)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        for _ in range(3):
            line.upgrade()
        wait_until(lambda: len(answers) > 10)
    finally:
        done.set()
        thread.join()
    assert set(answers) == {0}


def test_the_service_manager_is_told(serve, line):
    daemon, _ = serve()
    successor = line.upgrade()
    wait_until(lambda: len([m for m in daemon.notify.messages if "READY=1" in m]) == 2)
    assert daemon.wait_exit() == 0
    said = "\n".join(daemon.notify.messages).splitlines()
    assert said.index(f"MAINPID={successor.pid}") < len(said) - 1 - said[::-1].index("READY=1")
    assert "STOPPING=1" not in said
