"""What can happen while a new process starts, and right after it has taken over.

Until the new process serves, the old one is the service: whatever ends, is refused or is commanded
meanwhile must cost no client, and must not be forgotten afterwards.
"""

import copy
import os
import pathlib
import signal
import socket
import threading

import pytest

from support.client import RawClient, split_address
from support.config import dead_address, free_port, make_config, make_site
from support.ctl import ADMIN, connect, ctl, read_all, socket_of, status_of
from support.descriptor_store import DescriptorStore
from support.upgrade import adopt_orphans, holding, pid_of
from support.waiting import wait_until

# A new process waits for the first checks, for the timeout and a second more.
LONG = {"interval": "60s", "timeout": "15s", "fall": 3, "rise": 1}
SHORT = {**LONG, "timeout": "500ms"}


def is_served(daemon, times=20):
    """On new connections, which every socket gets some of."""
    for _ in range(times):
        with daemon.client() as client:
            assert client.request().status == 200


def is_refused(address):
    try:
        socket.create_connection(split_address(address)).close()
    except ConnectionRefusedError:
        return True
    return False


def begin(line, serve, **more):
    """An upgrade whose new process waits for its first check: until backend.health.released."""
    daemon, backend = serve(health=LONG, **more)
    backend.health.released.clear()
    backend.health.mode = "hold"
    line.begin_upgrade()
    return daemon, backend


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_new_process_that_is_ended_changes_nothing(serve, line, number):
    """It has copies of the listening sockets: nothing that it does to them may reach the others."""
    daemon, _ = begin(line, serve, main={"workers": 2})
    successor = line.starting()
    successor.signal(number)
    successor.wait_exit()
    code, text = line.end_upgrade()
    assert code == 1 and "does not serve" in text
    is_served(daemon)
    assert pid_of(daemon) == daemon.process.pid


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_ends_the_new_process(serve, line, number):
    daemon, _ = begin(line, serve)
    successor = line.starting()
    daemon.signal(number)
    successor.wait_exit()
    assert daemon.wait_exit() == 0
    assert "this process was told to stop" in daemon.stderr
    assert is_refused(daemon.address)
    assert line.end_upgrade()[0] in (1, 4)  # 4: the process was gone before its answer


def test_commands_during_the_start_are_not_forgotten(serve, line):
    daemon, backend = begin(line, serve)
    assert ctl(daemon, "standby").returncode == 0
    backend.health.released.set()
    assert line.end_upgrade()[0] == 0
    assert status_of(daemon)["standby"]
    backend.health.released.clear()
    line.begin_upgrade()
    assert ctl(daemon, "active").returncode == 0
    backend.health.released.set()
    assert line.end_upgrade()[0] == 0
    assert not status_of(daemon)["standby"]


def test_a_rotation_during_the_start_reaches_both(serve, line):
    """The new process may have opened the file before."""
    daemon, backend = begin(line, serve)
    line.starting()
    moved = daemon.dir / "access.log.1"
    daemon.access_log.rename(moved)
    daemon.signal(signal.SIGUSR1)
    daemon.wait_stderr("reopening the logs")
    backend.health.released.set()
    assert line.end_upgrade()[0] == 0
    with daemon.client() as client:
        client.request(target="/b/later")
    daemon.wait_log("/b/later")
    assert "/b/later" not in moved.read_text()


def test_a_new_process_that_fails_at_the_last_moment_resets_nobody(serve, line):
    """Its further sockets would have had clients by then."""
    daemon, _ = serve(main={"workers": 1})
    config = copy.deepcopy(daemon.config)
    config.update(workers=8, admin={"socket": "/nonexistent/ctl.sock"})
    daemon.write(config)
    done, served, failures = threading.Event(), [], []

    def connect():
        while not done.is_set():
            try:
                with daemon.client() as client:
                    served.append(client.request().status)
            except Exception as error:  # noqa: BLE001 - whatever a client may see
                failures.append(repr(error))

    threads = [threading.Thread(target=connect) for _ in range(6)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(4):
            assert "control socket /nonexistent/ctl.sock" in line.failing_upgrade()
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert failures == [] and set(served) == {200}


def test_a_second_upgrade_during_the_start_is_refused_by_the_old_process(serve, line):
    daemon, backend = begin(line, serve)
    with connect(socket_of(daemon)) as second:
        second.sendall(b"POST /upgrade HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        backend.health.released.set()
        answer = read_all(second)
    assert answer.split()[1] == b"409"
    assert b"has handed over to another one; ask again" in answer
    assert line.end_upgrade()[0] == 0
    is_served(daemon)


def test_nobody_is_served_by_a_process_that_starts(serve, line):
    """It may still fail, and would cut them."""
    daemon, _ = begin(line, serve, main={"workers": 3})
    successor = line.starting()
    is_served(daemon, 40)
    # A worker writes its lines before it ends, or within a tick.
    wait_until(lambda: len(daemon.log_lines()) == 40, what="the lines of the old process")
    successor.signal(signal.SIGKILL)
    successor.wait_exit()
    assert line.end_upgrade()[0] == 1


def test_a_crash_after_the_take_over_leaves_the_old_process_to_its_clients(serve, line):
    with holding(serve, health={**SHORT, "interval": "100ms"}) as (daemon, client, held):
        successor = line.upgrade()
        successor.signal(signal.SIGKILL)
        assert successor.wait_exit() == -signal.SIGKILL
        line.successors.clear()
        seen = held.backend.health.seen
        checks = len(seen)
        wait_until(lambda: len(seen) > checks + 2, what="checks of the old process")
        assert daemon.process.poll() is None
        held.go.set()
        assert client.read_response().body.data == b"half whole"
    assert daemon.wait_exit() == 0


def test_the_old_process_has_no_listening_socket(serve, line):
    """It would be woken for each client, and a stop of the new process would leave its queue."""
    with holding(serve) as (daemon, client, held):
        line.upgrade()
        port = f"{split_address(daemon.address)[1]:04X}"

        def listening():
            lines = pathlib.Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
            fields = [line.split() for line in lines]
            return {f[9] for f in fields if f[3] == "0A" and f[1].endswith(":" + port)}

        def held_by(pid):
            folder = f"/proc/{pid}/fd"
            links = [os.readlink(f"{folder}/{name}") for name in os.listdir(folder)]
            return {link[8:-1] for link in links if link.startswith("socket:[")}

        assert listening() & held_by(line.present)
        wait_until(lambda: not listening() & held_by(daemon.process.pid))
        held.go.set()
        client.read_response()


@pytest.fixture(name="store")
def store_fixture():
    store = DescriptorStore()
    yield store
    store.close()


def test_an_address_that_leaves_refuses_its_clients(line, make_backend, store):
    """The service manager must not keep its socket: a client in a queue that nobody reads hangs."""
    backend = make_backend()
    leaving = f"127.0.0.1:{free_port()}"
    site = make_site([backend])
    both = make_config([{**site, "listen": [*site["listen"], leaving]}], admin=ADMIN)
    daemon = line.start(both, store=store)
    names = [f"s3gate-listen-{daemon.address.replace(':', ';')}-{place}" for place in range(2)]
    wait_until(lambda: len(store.names) == 4)
    outcomes, done = set(), threading.Event()

    def connect():
        while not done.is_set():
            try:
                with RawClient(leaving) as client:
                    outcomes.add(client.request().status)
            except ConnectionRefusedError:
                outcomes.add("refused")

    with RawClient(leaving) as kept:
        assert kept.request().status == 200
        thread = threading.Thread(target=connect)
        thread.start()
        try:
            wait_until(lambda: outcomes)
            daemon.write(make_config([site], admin=ADMIN))
            line.upgrade()
            wait_until(lambda: is_refused(leaving))
        finally:
            done.set()
            thread.join()
        answer = kept.request()
        assert (answer.status, answer.header("connection")) == (200, "close")
    assert outcomes <= {200, "refused"}
    store.wait(*names)
    is_served(daemon)
    assert daemon.wait_exit() == 0


def test_an_address_may_come(serve, line):
    daemon, _ = serve()
    config = copy.deepcopy(daemon.config)
    new = f"127.0.0.1:{free_port()}"
    config["sites"][0]["listen"].append(new)
    daemon.write(config)
    line.upgrade()
    with RawClient(new) as client:
        assert client.request().status == 200


def test_an_address_that_somebody_has_changes_nothing(serve, line):
    daemon, _ = serve()
    with socket.create_server(("127.0.0.1", 0)) as other:
        config = copy.deepcopy(daemon.config)
        config["sites"][0]["listen"].append("127.0.0.1:%d" % other.getsockname()[1])
        daemon.write(config)
        assert "cannot listen on" in line.failing_upgrade()
    is_served(daemon)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the user")
def test_a_process_that_gave_up_root_hands_over(line, make_backend):
    """The new one starts without root, and opens further sockets beside those of the first."""
    config = make_config(
        [make_site([make_backend()])], user="nobody", workers=1, access_log="off"
    )
    daemon = line.start(config)
    config = copy.deepcopy(daemon.config)
    config["workers"] = 3
    daemon.write(config)
    daemon.signal(signal.SIGUSR2)
    daemon.wait_stderr(r"upgraded: process \d+ serves")
    line.adopt(daemon.stderr)
    assert daemon.wait_exit() == 0
    is_served(daemon)
    assert "is ignored: not started as root" not in daemon.stderr


@pytest.mark.parametrize("name", ["tini", "supervisord"])
def test_it_is_refused_below_a_supervisor(start, make_backend, tmp_path, name):
    """It would take the end of the old process for a crash, and start another one."""
    script = tmp_path / name
    script.write_text(
        "#!/bin/sh\ntrap 'kill -TERM \"$child\"' TERM\n\"$@\" & child=$!\nwait\nwait $child\n"
    )
    script.chmod(0o755)
    config = make_config([make_site([make_backend()])], admin=ADMIN)
    daemon = start(config, prefix=(str(script),))
    refused = ctl(daemon, "upgrade")
    assert refused.returncode == 1
    assert f"{name} started this process and would take the upgrade for its end" in refused.stderr


def test_a_unit_without_notifications_is_refused(start, make_backend):
    """systemd would take the end of the old process for that of the service."""
    config = make_config([make_site([make_backend()])], admin=ADMIN)
    unit = ("sh", "-c", 'export SYSTEMD_EXEC_PID=$$; unset NOTIFY_SOCKET; exec "$@"', "sh")
    daemon = start(config, prefix=unit, wait_ready=False)
    wait_until(lambda: ctl(daemon, "health").returncode == 0)
    refused = ctl(daemon, "upgrade")
    assert refused.returncode == 1 and "the unit needs Type=notify" in refused.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="a pid namespace needs root")
def test_process_number_one_is_refused(start, make_backend):
    adopt_orphans()
    config = make_config([make_site([make_backend()])], admin=ADMIN)
    daemon = start(config, prefix=("unshare", "--pid", "--fork", "--kill-child"))
    refused = ctl(daemon, "upgrade")
    assert refused.returncode == 1
    assert "this process is number 1 of its container" in refused.stderr
    with daemon.client() as client:
        assert client.request().status == 200
    children = pathlib.Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children")
    os.kill(int(children.read_text(encoding="ascii")), signal.SIGTERM)
    assert daemon.wait_exit() == 0


def test_a_dead_backend_does_not_hold_it_up(line, make_backend):
    """What the old process knows of it is enough to begin with."""
    backend = make_backend()
    site = make_site([backend, dead_address()], health={**SHORT, "fall": 1})
    daemon = line.start(make_config([site], admin=ADMIN))

    def states():
        servers = status_of(daemon)["sites"][0]["groups"][0]["servers"]
        return [server["addresses"][0]["up"] for server in servers]

    wait_until(lambda: states() == [True, False])
    line.upgrade()
    assert states() == [True, False]
    is_served(daemon)
