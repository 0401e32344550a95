"""Requests in progress come before new ones: an answer that arrives behind a hundred requests is
relayed before most of them begin.

Otherwise all requests would be in progress at once, each with a backend connection, and every
client would wait for the last of them. A request that waits for its turn still counts when it is
cut, and no longer when its client has left.
"""

import contextlib
import fcntl
import pathlib
import signal
import socket
import struct
import termios

import pytest
from support.client import split_address
from support.lockstep import ANSWERS, REQUESTS, Backend, receive_answer
from support.tracing import needs_strace, traced
from support.waiting import DEADLINE, wait_until

CROWD = 100
BEGUN_AT_ONCE = 16  # net::Reactor::kBeginsPerRound
GONE = b"GET /bucket/gone HTTP/1.1\r\nHost: s3.example.test:9000\r\n\r\n"

pytestmark = needs_strace


class Crowd:
    """Kept-alive clients of one worker, each with an open backend connection."""

    def __init__(self, gate):
        self.backend = Backend()
        self.daemon = gate(
            [self.backend],
            top={"workers": 1},
            balance={"salt": "x"},
            backends={"keepalive": 2 * CROWD},
        )
        self.clients = [self._connect() for _ in range(CROWD + 1)]
        for client in self.clients:
            client.sendall(REQUESTS["GET"][0])
        self.answer(len(self.clients))
        for client in self.clients:
            receive_answer(client)

    def _connect(self):
        return socket.create_connection(split_address(self.daemon.address), DEADLINE)

    def answer(self, count):
        for connection in self.backend.take(count):
            connection.sendall(ANSWERS["GET"])

    def close(self):
        for client in self.clients:
            client.close()
        self.backend.close()

    @contextlib.contextmanager
    def stopped(self, trace, *options):
        """Records the daemon's sends with strace while the daemon stands still."""
        with traced(self.daemon, trace, "-s", "64", "-e", "trace=sendto", *options):
            self.daemon.signal(signal.SIGSTOP)
            threads = len(list(pathlib.Path(f"/proc/{self.daemon.process.pid}/task").iterdir()))
            try:
                wait_until(
                    lambda: trace.read_text().count("stopped by SIGSTOP") >= threads,
                    what="the daemon stands still",
                )
                yield
            finally:
                self.daemon.signal(signal.SIGCONT)


def has_arrived(connection):
    """True if all sent bytes are in the receiver's kernel (tcp(7), SIOCOUTQ)."""
    unacknowledged = fcntl.ioctl(connection, termios.TIOCOUTQ, struct.pack("i", 0))
    return struct.unpack("i", unacknowledged) == (0,)


def send_and_wait(connections, data):
    for connection in connections:
        connection.sendall(data)
    wait_until(lambda: all(map(has_arrived, connections)), what="it lies with the daemon")


def sends_of(trace):
    return [line for line in trace.read_text().splitlines() if "sendto(" in line]


def test_an_answer_overtakes_requests_that_have_not_begun(gate, tmp_path):
    crowd = Crowd(gate)
    first, *others = crowd.clients
    first.sendall(REQUESTS["GET"][0])
    (waiting,) = crowd.backend.take(1)
    trace = tmp_path / "sends"
    with crowd.stopped(trace):
        send_and_wait(others, REQUESTS["GET"][0])
        send_and_wait([waiting], ANSWERS["GET"])
        crowd.daemon.signal(signal.SIGCONT)
        receive_answer(first)
        crowd.answer(CROWD)
        for client in others:
            receive_answer(client)
    sends = sends_of(trace)
    answer = next(i for i, line in enumerate(sends) if "HTTP/1.1 200" in line)
    begun = sum("GET /bucket" in line for line in sends[:answer])
    assert begun <= BEGUN_AT_ONCE, f"{begun} requests began before the answer"
    assert sum("GET /bucket" in line for line in sends) == CROWD
    crowd.close()


# strace delays each send that forwards a request by 20 ms, so the crowd takes two seconds: time for
# an event at its last request.
SLOWLY = ("-e", f"inject=sendto:delay_enter=20000:when=1..{CROWD}")


def test_a_request_whose_client_has_gone_does_not_begin(gate, tmp_path):
    crowd = Crowd(gate)
    *others, leaver = crowd.clients
    trace = tmp_path / "sends"
    with crowd.stopped(trace, *SLOWLY):
        send_and_wait(others, REQUESTS["GET"][0])
        send_and_wait([leaver], GONE)
        crowd.daemon.signal(signal.SIGCONT)
        begun = crowd.backend.take(1)
        leaver.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        leaver.close()
        for connection in begun + crowd.backend.take(CROWD - len(begun)):
            connection.sendall(ANSWERS["GET"])
        for client in others:
            receive_answer(client)
    sends = sends_of(trace)
    assert sum("GET /bucket/dir" in line for line in sends) == CROWD
    assert not any("GET /bucket/gone" in line for line in sends)
    crowd.close()


def test_requests_that_wait_for_their_turn_are_counted_when_they_are_cut(gate, tmp_path):
    crowd = Crowd(gate)
    if crowd.daemon.is_sanitized:
        pytest.skip("the leak check at the end cannot be traced")
    *others, _ = crowd.clients
    trace = tmp_path / "sends"
    with crowd.stopped(trace, *SLOWLY):
        send_and_wait(others, REQUESTS["GET"][0])
        crowd.daemon.signal(signal.SIGCONT)
        crowd.backend.take(1)
        crowd.daemon.signal(signal.SIGINT)
        crowd.daemon.expected_exit = crowd.daemon.wait_exit()
    assert crowd.daemon.expected_exit == 3
    assert f"{CROWD} request" in crowd.daemon.stderr, crowd.daemon.stderr[-2000:]
    begun = sum("GET /bucket" in line for line in sends_of(trace))
    assert 0 < begun < CROWD, "some of them never began"
    crowd.close()
