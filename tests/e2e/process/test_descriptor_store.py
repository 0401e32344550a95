"""After a crash the next process serves the clients that came meanwhile; after a stop nobody waits.

systemd keeps a copy of each listening socket. Without it a crash refuses every client until the
next process listens. A socket that stays there while nobody reads it is worse than none: its
clients connect and hang.
"""

import copy
import os
import re
import signal
import socket

import pytest

from support.client import RawClient, split_address
from support.config import free_port, make_config, make_site
from support.ctl import ADMIN, ctl
from support.descriptor_store import DescriptorStore
from support.waiting import wait_until


@pytest.fixture(name="store")
def store_fixture():
    store = DescriptorStore()
    yield store
    store.close()


@pytest.fixture(name="kept")
def kept_fixture(one, store):
    """Starts a daemon whose sockets the store keeps: (daemon, backend)."""

    def run(**more):
        return one(daemon={"store": store}, **more)

    return run


def names_of(address, workers=2):
    return [f"s3gate-listen-{address.replace(':', ';')}-{place}" for place in range(workers)]


def kill(daemon):
    daemon.signal(signal.SIGKILL)
    daemon.expected_exit = daemon.wait_exit()


def is_refused(address):
    try:
        socket.create_connection(split_address(address)).close()
    except ConnectionRefusedError:
        return True
    return False


def listening(address, **options):
    """A listening socket of somebody else."""
    host, port = split_address(address)
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    for name, value in options.items():
        made.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
    made.bind((host, port))
    made.listen()
    return made


def accepts_alone(daemon, clients=24):
    """Serves so many clients at a time: every socket of its is read."""
    opened = [daemon.client() for _ in range(clients)]
    for client in opened:
        assert client.request().status == 200
    for client in opened:
        client.close()


def test_clients_that_come_after_a_crash_are_served(kept, start, store):
    first, backend = kept()
    store.wait(*names_of(first.address))
    accepts_alone(first)
    kill(first)
    waiting = [RawClient(first.address) for _ in range(40)]
    for client in waiting:
        client.send(client.head("GET", "/b/waited"))
    second = start(first.config, store=store)
    for client in waiting:
        assert client.read_response().status == 200
        client.close()
    assert sum(r.target == "/b/waited" for r in backend.requests) == 40
    assert re.search(
        rf"\[warning\] the process before ended without a stop; .*: {first.address}$",
        second.stderr,
        re.MULTILINE,
    )
    store.wait(*names_of(first.address))
    kill(second)
    third = start(first.config, store=store)
    accepts_alone(third)


@pytest.mark.parametrize("workers", [1, 3, 5])
def test_another_number_of_workers_reads_all_of_them(kept, start, store, workers):
    """Which socket gets a client is the kernel's choice: a socket without a reader is a hang."""
    first, _ = kept(top={"workers": 3})
    store.wait(*names_of(first.address, 3))
    kill(first)
    waiting = [RawClient(first.address) for _ in range(40)]
    second = start({**first.config, "workers": workers}, store=store)
    for client in waiting:
        assert client.request().status == 200
        client.close()
    accepts_alone(second)
    store.wait(*names_of(first.address, max(workers, 3)))
    second.signal(signal.SIGTERM)
    assert second.wait_exit() == 0
    assert store.names == [] and is_refused(first.address)


def test_a_stop_takes_them_out_before_it_closes_them(kept, store):
    daemon, _ = kept(top={"shutdown_timeout": "10m"})
    store.wait(*names_of(daemon.address))
    with daemon.client() as client:
        client.send(client.head("PUT", "/b/k", [("Content-Length", 4)]) + b"half")
        daemon.signal(signal.SIGTERM)
        wait_until(lambda: is_refused(daemon.address), what="connects are refused")
        assert store.names == []
        messages = daemon.notify.messages
        barrier = next(i for i, text in enumerate(messages) if "BARRIER=1" in text)
        removed = [i for i, text in enumerate(messages) if "FDSTOREREMOVE=1" in text]
        assert len(removed) == 2 and max(removed) < barrier
        assert client.read_response().status == 200
    assert daemon.wait_exit() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_every_stop_takes_them_out(kept, store, number):
    daemon, _ = kept()
    store.wait(*names_of(daemon.address))
    daemon.signal(number)
    assert daemon.wait_exit() == 0
    store.wait()
    assert is_refused(daemon.address)


def test_a_store_that_does_not_answer_does_not_hold_up_a_stop(kept, store):
    daemon, _ = kept()
    store.wait(*names_of(daemon.address))
    with store.hanging():
        daemon.signal(signal.SIGTERM)
        daemon.wait_stderr("systemd does not take the listening sockets out of its store")
        assert daemon.wait_exit() == 0
        assert is_refused(daemon.address), "though the store holds the sockets"
    store.wait()


def test_a_second_signal_does_not_wait_for_the_store(kept, store):
    daemon, _ = kept()
    store.wait(*names_of(daemon.address))
    with daemon.client() as idle, store.hanging():  # an idle client holds the drain for a second
        idle.request()
        daemon.signal(signal.SIGTERM)
        wait_until(lambda: daemon.notify.has("STOPPING=1"))
        daemon.signal(signal.SIGTERM)
        daemon.wait_stderr("stopping at once: SIGTERM while the sockets leave systemd's store")
        assert daemon.wait_exit() == 0
    assert "shutdown_delay" not in daemon.stderr
    store.wait()


def test_a_store_that_answers_is_not_blamed(kept, store):
    """The stop goes on for longer than a store may take."""
    daemon, _ = kept(top={"shutdown_delay": "1300ms"})
    store.wait(*names_of(daemon.address))
    daemon.signal(signal.SIGTERM)
    assert daemon.wait_exit() == 0
    assert "leaving: serves on" in daemon.stderr
    assert "does not take" not in daemon.stderr


def test_a_reload_adds_and_removes(kept, store):
    daemon, _ = kept()
    before, added = daemon.address, f"127.0.0.1:{free_port()}"
    store.wait(*names_of(before))
    config = copy.deepcopy(daemon.config)
    config["sites"][0]["listen"] = [before, added]
    assert daemon.reload(config).startswith("reloaded")
    store.wait(*names_of(before), *names_of(added))
    config["sites"][0]["listen"] = [added]
    assert daemon.reload(config).startswith("reloaded")
    store.wait(*names_of(added))
    wait_until(lambda: is_refused(before), what="the address that left refuses")
    config["sites"][0]["listen"] = [before]
    assert daemon.reload(config).startswith("reloaded")
    store.wait(*names_of(before))
    accepts_alone(daemon)


def test_an_address_that_may_come_back_stays(kept, store):
    """`reload --confirm` keeps its sockets bound; a crash meanwhile must refuse nobody either."""
    daemon, _ = kept(top={"admin": ADMIN})
    store.wait(*names_of(daemon.address))
    before, added = daemon.address, f"127.0.0.1:{free_port()}"
    config = copy.deepcopy(daemon.config)
    config["sites"][0]["listen"] = [added]
    daemon.write(config)
    assert ctl(daemon, "reload", "--confirm", "10m").returncode == 0
    store.wait(*names_of(before), *names_of(added))
    assert ctl(daemon, "confirm").returncode == 0
    store.wait(*names_of(added))
    wait_until(lambda: is_refused(before), what="the address that left refuses")


def test_a_refused_reload_stores_nothing(kept, store):
    daemon, _ = kept()
    store.wait(*names_of(daemon.address))
    config = copy.deepcopy(daemon.config)
    taken = listening("127.0.0.1:0")
    config["sites"][0]["listen"] += [f"127.0.0.1:{free_port()}", "%s:%d" % taken.getsockname()]
    assert daemon.reload(config).startswith("reload refused")
    assert store.names == names_of(daemon.address)
    taken.close()


def test_wildcard_and_specific_change_places_in_a_crash(kept, start, store):
    """The probe must not take our own sockets for another process's."""
    port = free_port()
    specific, wildcard = f"127.0.0.1:{port}", f"0.0.0.0:{port}"
    first, _ = kept(listen=specific)
    store.wait(*names_of(specific))
    config = copy.deepcopy(first.config)
    for listen in ([wildcard], [wildcard, specific], [specific]):
        before = config["sites"][0]["listen"]
        config["sites"][0]["listen"] = listen
        kill(first)
        first = start(config, store=store)
        store.wait(*[name for address in listen for name in names_of(address)])
        gone = [address for address in before if address not in listen]
        for address in gone:
            assert re.search(
                rf"not configured any more; they are closed: {re.escape(address)}", first.stderr
            )
        accepts_alone(first)


def test_an_address_that_is_not_configured_any_more_refuses(kept, start, store):
    first, _ = kept()
    store.wait(*names_of(first.address))
    config = copy.deepcopy(first.config)
    config["sites"][0]["listen"] = [f"127.0.0.1:{free_port()}"]
    kill(first)
    second = start(config, store=store)
    assert is_refused(first.address)
    assert store.names == names_of(second.address)


@pytest.mark.parametrize(
    "broken, code", [({"wrokers": 1}, 2), ({"access_log": {"target": "/none/a.log"}}, 1)]
)
def test_a_start_that_fails_leaves_nobody_waiting(kept, start, store, broken, code):
    """systemd tries again every second after code 1: its store would keep the sockets for ever."""
    first, _ = kept()
    store.wait(*names_of(first.address))
    kill(first)
    with RawClient(first.address) as client:
        second = start({**first.config, **broken}, store=store, wait_ready=False)
        second.expected_exit = second.wait_exit()
        assert second.expected_exit == code
        assert client.expect_close() == "reset"
    store.wait()
    assert is_refused(first.address)
    accepts_alone(start(first.config, store=store))


def test_a_crash_in_the_start_leaves_nobody_waiting(kept, start, store, tmp_path):
    first, _ = kept()
    store.wait(*names_of(first.address))
    kill(first)
    fifo = tmp_path / "site.yaml"
    os.mkfifo(fifo)  # the start waits for its text
    second = start({**first.config, "include": [str(fifo)]}, store=store, wait_ready=False)
    store.wait()
    kill(second)
    assert is_refused(first.address)


def test_a_port_of_the_kernels_choice_stays(make_backend, start, store):
    config = make_config([make_site([make_backend()], listen="[::1]:0", name="a.b_c:d-e")])
    ports = []
    for _ in range(2):
        daemon = start(config, store=store, wait_ready=False)
        ports.append(daemon.wait_stderr(r"listening on \[::1\]:(\d+) ")[1])
        with RawClient(f"[::1]:{ports[-1]}") as client:
            assert client.request().status == 200
        store.wait(*[f"s3gate-listen-[;;1];0,a.b_c;d-e,0-{place}" for place in (0, 1)])
        kill(daemon)
    assert ports[0] == ports[1] != "0"


def test_sockets_of_others_are_ignored(one, store):
    for name in ("web", "s3gate-listen-", "s3gate-listen-127.0.0.1;1-1024", "s3gate-listen-1-x"):
        store.add(name, listening("127.0.0.1:0").detach())
    read, write = os.pipe()
    store.add("a pipe", read)
    names = store.names
    daemon, _ = one(daemon={"store": store})
    found = re.findall(r"passed sockets \(LISTEN_FDS\) are ignored, .*: (.*)", daemon.stderr)
    assert [sorted(text.split(", ")) for text in found] == [sorted(names)]
    accepts_alone(daemon)
    assert store.names == sorted(names + names_of(daemon.address)), "theirs stay where they are"
    os.close(write)


def unlike_ours(address):
    """Descriptors with our names that cannot be ours, and the reasons."""
    host, port = split_address(address)
    other = f"{host}:{free_port()}"
    datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagram.bind((host, port))
    silent = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    silent.bind((host, free_port()))
    yield datagram, "it is no listening TCP socket"
    yield silent, "it is no listening TCP socket"
    yield listening(other, SO_REUSEPORT=1), f"it listens on {other}"
    yield listening(address), "it has no SO_REUSEPORT"


def test_sockets_that_do_not_fit_are_opened_anew(one, store):
    address = f"127.0.0.1:{free_port()}"
    reasons = set()
    for place, (made, reason) in enumerate(unlike_ours(address)):
        store.add(f"{names_of(address)[0][:-1]}{place}", made.detach())
        reasons.add(reason)
    daemon, _ = one(listen=address, daemon={"store": store})
    found = re.findall(r"cannot be used and is opened anew: (.*)", daemon.stderr)
    assert [set(text.split(", ")) for text in found] == [reasons]
    accepts_alone(daemon)
    store.wait(*names_of(address))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the user")
def test_sockets_of_another_user_are_opened_anew(kept, start, store):
    """Sockets that share an address must belong to one user."""
    first, _ = kept()
    store.wait(*names_of(first.address))
    kill(first)
    prefix = ("setpriv", "--reuid", "nobody", "--clear-groups")
    config = {**first.config, "workers": 3, "access_log": {"target": "off"}}
    second = start(config, store=store, prefix=prefix)
    assert "opened anew: it belongs to another user" in second.stderr
    accepts_alone(second)
    store.wait(*names_of(first.address, 3))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the user")
def test_after_a_crash_of_a_daemon_that_gave_up_root(kept, start, store):
    """Its first sockets are root's, those of a reload are the user's; the next start is root's."""
    first, _ = kept(top={"user": "nobody", "access_log": {"target": "off"}})
    config = copy.deepcopy(first.config)
    addresses = [first.address, f"127.0.0.1:{free_port()}"]
    config["sites"][0]["listen"] = addresses
    assert first.reload(config).startswith("reloaded")
    store.wait(*[name for address in addresses for name in names_of(address)])
    kill(first)
    second = start({**config, "workers": 3}, store=store)
    assert "opened anew" not in second.stderr
    for address in addresses:
        with RawClient(address) as client:
            assert client.request().status == 200
    store.wait(*[name for address in addresses for name in names_of(address, 3)])


def test_without_a_service_manager_nothing_changes(make_backend, start):
    config = make_config([make_site([make_backend()])])
    daemon = start(config, notify=False, wait_ready=False)
    daemon.wait_stderr("ready: ")
    with daemon.client() as client:
        assert client.request().status == 200
    daemon.signal(signal.SIGTERM)
    assert daemon.wait_exit() == 0
