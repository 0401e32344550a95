"""A client that leaves ends its backend connection at once, without a clean end of its upload.

A terminating chunk after half a body would store a truncated object; a forgotten long poll occupies
the backend.
"""

import threading

import pytest

from support import wire
from support.waiting import wait_until


class Ending:
    """The end of the backend's connection, as the handler saw it."""

    def __init__(self):
        self.how = None
        self.body_complete = False
        self.noted = threading.Event()

    def note(self, how):
        self.how = how
        self.noted.set()

    def wait(self):
        assert self.noted.wait(20), "the backend connection was not closed"


def leave(client, how):
    if how == "reset":
        client.reset()
    else:
        client.close()


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("size", [1000, 2000000])
def test_mid_upload(one, how, framing, size):
    ending = Ending()

    def handler(exchange):
        try:
            exchange.read_body()
            ending.body_complete = True
        except wire.Truncated as cut:
            ending.note(cut.how)
            raise
        ending.note("complete")

    daemon, backend = one(handler)
    client = daemon.client()
    if framing == "length":
        client.send(client.head("PUT", "/b/k", [("Content-Length", size * 2)]) + wire.payload(size))
    else:
        client.send(
            client.head("PUT", "/b/k", [("Transfer-Encoding", "chunked")])
            + wire.chunked(wire.payload(size))[:-5]
        )
    backend.wait_request("/b/k")
    leave(client, how)
    ending.wait()
    assert not ending.body_complete
    assert daemon.wait_log("/b/k")["status"] in (499, 400)
    assert backend.count("/b/k") == 1


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("size", [1000, 50 * 1024 * 1024])
def test_mid_download(one, how, size):
    ending, left = Ending(), threading.Event()

    def handler(exchange):
        exchange.read_body()
        try:
            exchange.send(
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (size * 2) + wire.payload(size)
            )
            exchange.wait(left)
            for _ in range(size):
                try:
                    ending.note(exchange.wait_closed(0.01))
                    break
                except wire.ReadTimeout:
                    exchange.send(b"x")
        except OSError:
            ending.note("send failed")
        exchange.close()

    daemon, backend = one(handler)
    client = daemon.client(rcvbuf=65536)
    client.send(client.head("GET", "/b/k"))
    client.begin_response()
    client.reader.exactly(500, "some of the body")
    leave(client, how)
    left.set()
    ending.wait()
    assert backend.count("/b/k") == 1
    daemon.wait_log("/b/k")


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_reset_while_waiting_for_the_answer(one, method):
    ending = Ending()

    def handler(exchange):
        exchange.read_body()
        ending.note(exchange.wait_closed())
        exchange.close()

    daemon, backend = one(handler)
    client = daemon.client()
    client.send(client.head(method, "/b/k", [("Content-Length", "3")]) + b"abc")
    backend.wait_request("/b/k")
    client.reset()
    ending.wait()
    assert daemon.wait_log("/b/k")["status"] == 499
    assert backend.count("/b/k") == 1, "a request without a client must not be repeated"


def has_read_all(daemon, client):
    """True if no sent byte waits in the daemon's socket."""
    here = client.sock.getsockname()[1]
    there = client.sock.getpeername()[1]
    with open(f"/proc/{daemon.process.pid}/net/tcp", encoding="ascii") as table:
        for line in table.readlines()[1:]:
            _, local, remote, _, queues = line.split()[:5]
            if int(local[-4:], 16) == there and int(remote[-4:], 16) == here:
                return int(queues.partition(":")[2], 16) == 0
    return False


@pytest.mark.parametrize("method,body", [("GET", b""), ("PUT", b"abc"), ("DELETE", b"")])
def test_reset_in_the_same_look_as_the_end_of_the_request(one, method, body):
    """The end of the head, the body and the reset arrive together while the daemon waits for the
    head."""
    daemon, backend = one(top={"workers": 1})
    client = daemon.client()
    fields = [("Content-Length", len(body))] if body else []
    request = client.head(method, "/b/k", fields) + body
    client.send(request[:20])
    wait_until(lambda: has_read_all(daemon, client), what="the daemon waits for the rest")
    with daemon.frozen():
        client.send(request[20:])
        client.reset()
    line = daemon.wait_log("/b/k")
    assert (line["status"], line["error"]) == (499, "client closed")
    assert backend.count("/b/k") == 0


def test_reset_during_a_silent_download(one):
    """Long poll: no bytes move, and the client vanishes."""
    ending = Ending()

    def handler(exchange):
        exchange.read_body()
        exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n \r\n")
        ending.note(exchange.wait_closed())
        exchange.close()

    daemon, _ = one(handler)
    client = daemon.client()
    client.send(client.head("GET", "/b/?events=x"))
    client.begin_response()
    client.reader.exactly(6, "first chunk")
    client.reset()
    ending.wait()


def test_many_that_vanish_leave_nothing(one):
    """Many clients vanish directly after their request: no descriptor and no backend connection
    stays."""
    release = threading.Event()

    def handler(exchange):
        exchange.read_body()
        release.wait(20)
        exchange.respond(200)

    daemon, _ = one(handler, backends={"keepalive": 0})
    before = daemon.descriptors
    for _ in range(50):
        client = daemon.client()
        client.send(client.head("GET", "/b/k"))
        client.reset()
    release.set()
    wait_until(lambda: daemon.descriptors <= before + 1)
    with daemon.client() as client:
        assert client.request().status == 200


def test_abort_does_not_mark_the_backend(make_backend, gate):
    """The fault is the client's: the only backend of its key must stay in use."""

    def handler(exchange):
        exchange.read_body()
        exchange.respond(200, [], exchange.backend.name.encode())

    backends = [make_backend(handler) for _ in range(3)]
    daemon = gate(backends, passive={"max_fails": 1, "fail_timeout": "60s"})
    with daemon.client() as client:
        home = client.request(target="/b/k?sessionid=s1").data
    for number in range(1, 6):
        client = daemon.client()
        client.send(
            client.head("PUT", "/b/up?sessionid=s1", [("Content-Length", "100000")]) + b"x" * 5000
        )
        wait_until(
            lambda wanted=number: sum(backend.count("/b/up") for backend in backends) == wanted
        )
        client.reset()
    daemon.wait_log("/b/up", 5)
    with daemon.client() as client:
        assert client.request(target="/b/k?sessionid=s1").data == home
