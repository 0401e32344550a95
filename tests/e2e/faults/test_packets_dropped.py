"""A host whose packets vanish in the middle of an exchange: nothing is refused or acknowledged, so
only the kernel's timers can tell.

Without keepalive and TCP_USER_TIMEOUT a client would wait for backend_body, five minutes, for a
machine without power. The host is a network namespace behind a pair of virtual interfaces.
"""

import ctypes
import os
import shutil
import subprocess
import threading

import pytest

from support import wire
from support.backend import ScriptedBackend
from support.waiting import wait_until

CLONE_NEWNET = 0x40000000


class Host:
    """A namespace with one address that this machine reaches; cut() drops all incoming packets."""

    def __init__(self):
        low = os.getpid() % 16384
        self.name = f"s3gate-drop-{os.getpid()}"
        self._ours, self._theirs = f"sd{os.getpid()}a", f"sd{os.getpid()}b"
        net, base = f"10.{210 + (low >> 12)}.{(low >> 4) % 256}", (low % 16) * 16
        self.address = f"{net}.{base + 2}"
        try:
            self._ip("netns", "add", self.name)
            self._ip("link", "add", self._ours, "type", "veth", "peer", "name", self._theirs)
            self._ip("link", "set", self._theirs, "netns", self.name)
            self._ip("addr", "add", f"{net}.{base + 1}/28", "dev", self._ours)
            self._ip("link", "set", self._ours, "up")
            self._inside("addr", "add", f"{self.address}/28", "dev", self._theirs)
            self._inside("link", "set", self._theirs, "up")
            # Fixed: an expired entry would end the silence with "no route to host".
            link = self._inside("-o", "link", "show", self._theirs)
            hardware = link.split("ether ")[1].split()[0]
            fixed = ("lladdr", hardware, "dev", self._ours, "nud", "permanent")
            self._ip("neigh", "replace", self.address, *fixed)
            # The rule that drops must precede the local table, which is first by default.
            self._inside("rule", "add", "pref", "10", "lookup", "local")
            self._inside("rule", "del", "pref", "0")
        except subprocess.CalledProcessError as error:
            self.remove()
            pytest.skip(f"network namespaces are not permitted here: {error.stderr.strip()}")

    def _ip(self, *words, check=True):
        return subprocess.run(
            ["ip", *words], check=check, capture_output=True, text=True, timeout=20
        ).stdout

    def _inside(self, *words):
        return self._ip("-n", self.name, *words)

    def cut(self):
        self._inside("rule", "add", "pref", "1", "iif", self._theirs, "blackhole")

    def backend(self, handler, name):
        """A backend of this process with the host's sockets: a socket belongs to the namespace of
        the thread that makes it."""
        made = []

        def make():
            with open(f"/run/netns/{self.name}", "rb") as space:
                assert ctypes.CDLL(None).setns(space.fileno(), CLONE_NEWNET) == 0
            made.append(ScriptedBackend(handler, name, self.address))

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        return made[0]

    def remove(self):
        self._ip("link", "del", self._ours, check=False)
        self._ip("netns", "del", self.name, check=False)


@pytest.fixture(name="host")
def host_fixture():
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("a network namespace needs root and iproute2")
    made = Host()
    yield made
    made.remove()


def test_in_the_middle_of_a_download(host, gate):
    """No sent byte is unacknowledged, so keepalive notices: after 11 s instead of backend_body."""
    cut = threading.Event()

    def handler(exchange):
        exchange.read_body()
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc")
        cut.wait(60)

    far = host.backend(handler, "far")
    daemon = gate([far], timeouts={"backend_body": "300s"}, passive="off")
    with daemon.client(timeout=40) as client:
        client.send(client.head("GET", "/b/k"))
        client.begin_response()
        client.reader.exactly(3, "first bytes")
        host.cut()
        data, how = client.read_until_close()
        assert (data, how) == (b"", "eof"), "visibly cut: fewer bytes than the length says"
    assert daemon.wait_log("/b/k")["error"] == "backend closed in body"
    assert daemon.totals()["response cut by its backend"] == 1
    cut.set()
    far.stop()


def test_while_an_answer_is_awaited_and_while_connecting(host, make_backend, gate):
    """A waiting read goes to the next node; so does a new request, after timeouts.connect."""
    cut = threading.Event()

    def handler(exchange):
        exchange.read_body()
        cut.wait(60)

    far = host.backend(handler, "far")
    near = make_backend()
    daemon = gate(
        [far, near],
        balance={"method": "round_robin"},
        timeouts={"backend_head": "300s", "connect": "500ms"},
        passive="off",
        top={"workers": 1},
    )
    with daemon.client(timeout=40) as waiting, daemon.client(timeout=40) as other:

        def reaches_far():
            # By either server's turn: the waiting client uses the far host.
            waiting.send(waiting.head("GET", "/b/waits"))
            wait_until(lambda: far.count("/b/waits") or waiting.has_input())
            if far.count("/b/waits"):
                return True
            assert waiting.read_response().data == b"b1"
            return False

        wait_until(reaches_far)
        host.cut()
        for _ in range(2):
            assert other.request(target="/b/new").data == b"b1"
        assert waiting.read_response().data == b"b1"
    assert {line["error"] for line in daemon.log_lines()} == {"-"}
    totals = daemon.totals()
    assert totals["connect timeout"] == 1
    assert totals["backend connection broken before an answer"] == 1
    assert totals["retries"] == 2
    cut.set()
    far.stop()


def test_in_the_middle_of_an_upload(host, gate):
    """Sent bytes are not acknowledged: TCP_USER_TIMEOUT ends the upload, and the client gets an
    answer."""
    cut = threading.Event()

    def handler(exchange):
        exchange._body_read = True
        cut.wait(60)

    far = host.backend(handler, "far")
    daemon = gate([far], timeouts={"backend_body": "300s"}, passive="off")
    with daemon.client(timeout=60) as client:
        body = wire.payload(300)
        client.send(client.head("PUT", "/b/k", [("Content-Length", len(body))]) + body[:100])
        far.wait_request("/b/k")
        host.cut()
        client.send(body[100:])
        assert client.read_response("PUT").status == 502
    assert daemon.wait_log("/b/k")["error"] in ("backend closed", "backend reset")
    assert daemon.totals()["backend connection broken before an answer"] == 1
    cut.set()
    far.stop()
