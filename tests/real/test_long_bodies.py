"""Long bodies between a fast side and a slow one: nothing accumulates, nothing is lost.

A proxy that buffers passes every test with small objects and fails at the first backup that is
restored over a slow line. scripts/nightly runs the same with 1 GiB at 32 MiB/s.
"""

import contextlib
import hashlib
import os
import pathlib
import sys
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import wire  # noqa: E402
from support.backend import ScriptedBackend  # noqa: E402
from support.config import make_config, make_site  # noqa: E402
from support.daemon import Daemon  # noqa: E402
from support.waiting import wait_until  # noqa: E402

MIB = 1024 * 1024
SIZE = int(os.environ.get("S3GATE_BODY_MIB", "64")) * MIB
RATE = int(os.environ.get("S3GATE_BODY_RATE_MIB", "1")) * MIB  # bytes per second
PIECE = 64 * 1024
GROWTH = 8 * MIB  # of resident memory, for any length
BLOCK = wire.payload(MIB)
STALLED = 100  # transfers in each direction
STALLED_SIZE = 4 * MIB


def digest_of(size):
    digest = hashlib.sha256()
    for _ in range(size // MIB):
        digest.update(BLOCK)
    return digest.hexdigest()


class Slowly:
    """Takes input at RATE and hashes it."""

    def __init__(self):
        self._digest = hashlib.sha256()
        self._begun = time.monotonic()
        self.taken = 0

    def pace(self):
        ahead = self.taken / RATE - (time.monotonic() - self._begun)
        if ahead > 0:
            threading.Event().wait(ahead)  # the tested slowness

    def take(self, piece):
        self._digest.update(piece)
        self.taken += len(piece)
        self.pace()

    @property
    def sha256(self):
        return self._digest.hexdigest()


def read_slowly(sock, first, size):
    slow = Slowly()
    if first:
        slow.take(first)
    sock.settimeout(60)
    while slow.taken < size:
        piece = sock.recv(min(PIECE, size - slow.taken))
        assert piece, f"cut after {slow.taken} of {size} bytes"
        slow.take(piece)
    return slow.sha256


def send_blocks(sock, size):
    sock.settimeout(None)
    with contextlib.suppress(OSError):
        for _ in range(size // MIB):
            sock.sendall(BLOCK)


def pipes_of(daemon):
    """The daemon's pipes (two descriptors each)."""
    folder = f"/proc/{daemon.process.pid}/fd"
    seen = []
    for name in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):
            link = os.readlink(f"{folder}/{name}")
            if link.startswith("pipe:"):
                seen.append(link)
    return len(set(seen))


class Highest:
    """Records the maximum of the daemon's resident memory and pipes while it lives."""

    def __init__(self, daemon):
        self._daemon = daemon
        self._end = threading.Event()
        self.resident = self.pipes = 0
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self):
        while not self._end.wait(0.1):
            self.resident = max(self.resident, self._daemon.resident)
            self.pipes = max(self.pipes, pipes_of(self._daemon))

    def stop(self):
        self._end.set()
        self._thread.join()


@contextlib.contextmanager
def stage(handler, **top):
    """One backend, one daemon that became `nobody` if this runs as root: the kernel limits only the
    pipes of ordinary users."""
    backend = ScriptedBackend(handler)
    patient = {
        name: "300s"
        for name in ("client_body", "client_write", "backend_body", "backend_head", "client_idle")
    }
    user = {"user": "nobody"} if os.geteuid() == 0 else {}
    config = make_config(
        [make_site([backend], timeouts=patient, backends={"keepalive": 0})], **user, **top
    )
    daemon = Daemon(config, access_log=False)
    failed = True
    try:
        yield daemon, backend
        failed = False
    finally:
        backend.stop()
        daemon.finish(failed)
        assert not backend.problems


def head_of(answer_of):
    """The head and the following bytes of an answer on this socket."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = answer_of.recv(PIECE)
        assert piece
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    return rest


def test_slow_reader_and_slow_backend_at_once():
    """Both directions in parallel, so it takes the time of one."""
    stored = []

    def handler(exchange):
        if exchange.request.method == "GET":
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
            send_blocks(exchange.sock, SIZE)
        else:
            exchange._body_read = True
            first = exchange.reader.take(len(exchange.reader.buffer))
            exchange.sock.setsockopt(wire.socket.SOL_SOCKET, wire.socket.SO_RCVBUF, 4 * PIECE)
            stored.append(read_slowly(exchange.sock, first, SIZE))
            exchange.respond(200)

    with stage(handler, limits={"pipes": 4}) as (daemon, _):
        before, own_pipes = daemon.resident, pipes_of(daemon)
        highest = Highest(daemon)
        with daemon.client(rcvbuf=4 * PIECE) as reader, daemon.client(timeout=300) as writer:
            writer.send(writer.head("PUT", "/b/up", [("Content-Length", SIZE)]))
            sender = threading.Thread(target=send_blocks, args=(writer.sock, SIZE), daemon=True)
            sender.start()
            reader.send(reader.head("GET", "/b/down"))
            reader.sock.settimeout(60)
            received = read_slowly(reader.sock, head_of(reader.sock), SIZE)
            sender.join()
            writer.sock.settimeout(300)
            assert writer.read_response("PUT").status == 200
        highest.stop()
        assert received == digest_of(SIZE)
        assert stored == [received]
        assert 1 <= highest.pipes - own_pipes <= 4, "spliced, and within limits.pipes"
        if not daemon.is_sanitized:
            grown = highest.resident - before
            assert grown < GROWTH, f"{grown / MIB:.1f} MiB more for {SIZE // MIB} MiB"


def worst_case(requests):
    """docs/security.md, "Bounds": the most that a request in progress holds, here with ordinary
    heads and the default replay buffer."""
    head, up, down, replay = 16 * 1024, 256 * 1024, 512 * 1024, 64 * 1024
    return requests * (head + up + down + replay)


def left_behind(workers):
    """The same page: 4 buffers and 64 request objects (their head and replay buffers) per worker,
    and memory that the C library keeps after a burst of small objects."""
    return workers * (4 * 256 * 1024 + 64 * (16 + 64 + 16) * 1024) + 8 * MIB


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_many_stalled_transfers(chunked):
    """200 stalled transfers: the worst case. Then all of them continue to their end."""
    go = threading.Event()
    problems = []
    stored = []
    want = digest_of(STALLED_SIZE)
    coding = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % STALLED_SIZE
    body = BLOCK * (STALLED_SIZE // MIB)
    body = wire.chunked(body, size=PIECE) if chunked else body

    def handler(exchange):
        if exchange.request.method == "GET":
            exchange.sock.settimeout(None)
            exchange.sock.sendall(b"HTTP/1.1 200 OK\r\n" + coding + b"\r\n\r\n" + body)
        else:
            exchange.wait(go)
            exchange.reader.timeout = 300
            stored.append(exchange.read_body().sha256)
            exchange.respond(200)

    with contextlib.ExitStack() as stack:
        daemon, backend = stack.enter_context(stage(handler))
        before, sockets, own_pipes = daemon.resident, daemon.sockets, pipes_of(daemon)
        clients = []

        def serve(client, method):
            try:
                client.reader.timeout = 300
                client.sock.settimeout(300)
                if method == "PUT":
                    client.send(client.head("PUT", "/b/up", [coding]) + body)
                else:
                    client.send(client.head("GET", "/b/down"))
                go.wait(120)
                response = client.read_response(method)
                if response.status != 200 or (method == "GET" and response.body.sha256 != want):
                    problems.append(response)
            except BaseException as error:  # pylint: disable=broad-except
                problems.append(error)

        highest = Highest(daemon)
        threads = []
        for number in range(2 * STALLED):
            client = stack.enter_context(daemon.client(rcvbuf=PIECE, sndbuf=PIECE, timeout=300))
            clients.append(client)
            method = "PUT" if number % 2 else "GET"
            threads.append(threading.Thread(target=serve, args=(client, method), daemon=True))
            threads[-1].start()
        wait_until(lambda: len(backend.requests) == 2 * STALLED, 60)
        # All transfers have stopped once the daemon's memory and pipes are constant.
        steady = [None] * 10

        def stands_still():
            steady.append((daemon.resident, pipes_of(daemon), daemon.cpu_seconds))
            return len(set(steady[-10:])) == 1

        wait_until(stands_still, 60, interval=0.1)
        go.set()
        for thread in threads:
            thread.join(200)
        highest.stop()
        assert not problems, problems[:3]
        assert stored == [want] * STALLED
        for client in clients:
            client.close()
        wait_until(lambda: daemon.sockets <= sockets, what="descriptors back")
        workers = daemon.config["workers"]
        assert pipes_of(daemon) - own_pipes <= 8 * workers
        if not daemon.is_sanitized:
            grown = highest.resident - before
            assert grown < worst_case(2 * STALLED), f"{grown / MIB:.1f} MiB more"
            kept = daemon.resident - before
            assert kept < left_behind(workers), f"{kept / MIB:.1f} MiB stay behind"
        print(
            f"{2 * STALLED} stalled transfers: {(highest.resident - before) / MIB:.1f} MiB and"
            f" {highest.pipes - own_pipes} pipes at most,"
            f" {(daemon.resident - before) / MIB:.1f} MiB afterwards"
        )
