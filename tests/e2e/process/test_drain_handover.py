"""Clients that connect during a stop are answered or refused, none is forgotten.

A worker hands new clients to a less loaded one; if that one had ended meanwhile, a client was
neither served nor closed.
"""

import contextlib
import select
import signal
import socket
import threading

import pytest

from support import wire
from support.client import split_address
from support.config import dead_address, make_config, make_site
from support.waiting import DEADLINE, wait_until
from support.workers import workers_of

REQUEST = b"GET /b/new HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def longest_queue():
    """The kernel's limit on clients that wait at one listener."""
    with open("/proc/sys/net/core/somaxconn", encoding="ascii") as limit:
        # The real newcomers need room as well.
        return int(limit.read()) - 200


def come_and_go(address, number):
    """Clients that are reset before the daemon accepts them. They cost the accepting worker time,
    in which the other worker learns of the stop without staying busy itself."""
    for _ in range(number):
        sock = socket.create_connection(address, DEADLINE)
        wire.set_reset_on_close(sock)
        sock.close()


class Crowd:
    """Clients that come one after the other until they are refused."""

    def __init__(self, address, most):
        self.sockets = []
        self._address = address
        self._most = most
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while len(self.sockets) < self._most:
            try:
                sock = socket.create_connection(self._address, DEADLINE)
            except OSError:
                return  # refused
            with contextlib.suppress(OSError):  # reset already: its end can be read
                sock.sendall(REQUEST)
            self.sockets.append(sock)

    def finish(self):
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive(), "a connect hangs"

    def close(self):
        self._most = 0
        for sock in self.sockets:
            sock.close()


def wait_heard(sockets):
    """Waits until every socket has input: an answer or its end."""
    left = {sock.fileno() for sock in sockets}
    poll = select.poll()
    for number in left:
        poll.register(number, select.POLLIN)

    def everybody_heard():
        for number, _ in poll.poll(100):
            poll.unregister(number)
            left.discard(number)
        return not left

    wait_until(everybody_heard, what="an answer or an end for every client")


@pytest.mark.parametrize("attempt", range(8))
def test_no_client_is_forgotten(make_backend, start, attempt):
    del attempt  # The faster thread is random: several attempts
    go = threading.Event()

    def handler(exchange):
        exchange.read_body()
        if exchange.request.target == "/b/held":
            go.wait(2 * DEADLINE)
        exchange.respond(200)

    backend = make_backend(handler)
    # Newcomers ask a site without a living backend: its answers need no other process.
    sites = [make_site([backend]), make_site([dead_address()], name="dead")]
    daemon = start(make_config(sites, shutdown_timeout="10m"))
    clients = [daemon.client() for _ in range(60)]
    for client in clients:
        assert client.request().status == 200
    # One worker has many clients, the other one none: it would end at once, and all newcomers of
    # the first one are handed to it.
    owners = workers_of(daemon)
    groups = {}
    for client in clients:
        groups.setdefault(owners[client.sock.getsockname()[1]], []).append(client)
    assert len(groups) == 2
    idle, loaded = sorted(groups.values(), key=len)
    gone = {client.sock.getsockname()[1] for client in idle}
    for client in idle:
        client.reset()
    wait_until(lambda: not gone & set(workers_of(daemon)), what="one worker without clients")
    # The process lives at least until this request is answered.
    loaded[0].send(loaded[0].head("GET", "/b/held"))
    backend.wait_request("/b/held")
    address = split_address(daemon.address_of(1))
    daemon.signal(signal.SIGSTOP)
    crowd = None
    try:
        come_and_go(address, min(5000, longest_queue()))
        crowd = Crowd(address, 120)
        wait_until(lambda: len(crowd.sockets) >= 20, what="clients wait to be accepted")
        daemon.signal(signal.SIGTERM)
        daemon.signal(signal.SIGCONT)
        crowd.finish()
        wait_heard(crowd.sockets)
        answered = 0
        for sock in crowd.sockets:
            sock.settimeout(DEADLINE)
            try:
                data = sock.recv(1024)
            except ConnectionError:
                continue
            assert data == b"" or data.startswith(b"HTTP/1.1 503 "), data
            answered += data != b""
        assert answered > 0
        go.set()
        assert loaded[0].read_response().status == 200
    finally:
        daemon.signal(signal.SIGCONT)
        go.set()
        if crowd:
            crowd.close()
        for client in clients:
            client.close()
    assert daemon.wait_exit() == 0
