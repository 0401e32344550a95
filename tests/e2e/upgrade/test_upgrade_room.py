"""`max_connections` bounds the requests at a server, whichever process sends them."""

import threading

from support.config import make_config, make_site
from support.ctl import ADMIN, status_of
from support.upgrade import Held
from support.waiting import wait_until


def occupied(daemon):
    return status_of(daemon)["sites"][0]["groups"][0]["servers"][0]["occupied"]


def serve(line, make_backend, most):
    held = Held()
    backend = make_backend(held)
    servers = [{"address": backend.address, "max_connections": most}]
    site = make_site(servers, backends={"servers": servers, "queue_timeout": "20s"})
    return line.start(make_config([site], admin=ADMIN)), backend, held


def ask(daemon, number):
    client = daemon.client()
    client.send(client.head("GET", f"/b/held{number}"))
    return client


def test_many_upgrades_do_not_exceed_it(line, make_backend):
    daemon, backend, held = serve(line, make_backend, 2)
    clients = [ask(daemon, number) for number in range(2)]
    wait_until(lambda: len(backend.requests) == 2)
    for upgrade in range(4):
        clients += [ask(daemon, 10 * upgrade + number) for number in range(3)]  # they wait
        wait_until(lambda: status_of(daemon)["sites"][0]["groups"][0]["waiting"] == 3)
        line.upgrade()
        assert occupied(daemon) == 2, "known before the first client"
    old = wait_until(lambda: [one for one in status_of(daemon)["old_processes"] if one["pid"]])
    assert len(old) == 4
    assert len(backend.requests) == 2
    held.go.set()
    for client in clients:
        assert client.read_response().body.data == b"half whole"
        client.close()
    assert daemon.wait_exit() == 0
    for successor in line.successors[:-1]:
        assert successor.wait_exit() == 0


def test_an_old_process_leaves_room_that_the_new_one_has(line, make_backend):
    daemon, backend, held = serve(line, make_backend, 1)
    with daemon.client() as kept:
        assert kept.request().status == 200
        line.upgrade()
        other = ask(daemon, 1)
        wait_until(lambda: len(backend.requests) == 2)
        # The old process is told with the answer to its next report.
        told = threading.Event()
        told.wait(0.6)
        kept.send(kept.head("GET", "/b/second"))
        assert not kept.has_input(0.5)
        assert len(backend.requests) == 2
        held.go.set()
        assert other.read_response().body.data == b"half whole"
        assert kept.read_response().status == 200
        other.close()
    assert daemon.wait_exit() == 0
