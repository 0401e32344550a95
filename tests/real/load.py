"""Clients that send requests repeatedly, without retries, and record every answer."""

import dataclasses
import threading
import time

from support import wire
from support.client import RawClient

TIMEOUT = 30


@dataclasses.dataclass
class Answer:
    """One request: its begin and end (monotonic), and its answer. `error` is the reason for a
    missing one."""

    method: str
    test_id: str
    begun: float
    ended: float
    status: int = 0
    node: str = ""
    content_type: str = ""
    body: bytes = b""
    error: str = ""

    @property
    def seconds(self):
        return self.ended - self.begun

    def is_s3_error(self):
        return self.content_type.startswith("application/xml") and b"<Error><Code>" in self.body

    def __str__(self):
        what = self.error or f"{self.status} {self.body[:120]!r}"
        return f"{self.method} {self.test_id} after {self.seconds:.2f} s: {what}"


class Client(threading.Thread):
    """One connection, one request at a time; a broken connection is opened again for the next
    request. `node_field` is the response field that names the node."""

    def __init__(self, address, make_request, pause=0.0, node_field="x-node"):
        super().__init__(daemon=True)
        self.answers = []
        self._address = address
        self._make_request = make_request
        self._pause = pause
        self._node_field = node_field
        self._ended = threading.Event()

    def run(self):
        connection = None
        number = 0
        while not self._ended.is_set():
            method, test_id, request = self._make_request(number)
            number += 1
            answer = Answer(method, test_id, time.monotonic(), 0.0)
            try:
                if connection is None:
                    connection = RawClient(self._address, timeout=TIMEOUT)
                connection.send(request)
                response = connection.read_response(method)
                answer.status = response.status
                answer.node = response.header(self._node_field) or ""
                answer.content_type = response.header("content-type") or ""
                answer.body = response.data
                if response.closes:
                    connection.close()
                    connection = None
            except (OSError, wire.Truncated, wire.WireError, wire.ReadTimeout) as error:
                answer.error = repr(error)
                if connection is not None:
                    connection.close()
                    connection = None
            answer.ended = time.monotonic()
            self.answers.append(answer)
            if self._pause:
                self._ended.wait(self._pause)
        if connection is not None:
            connection.close()

    def finish(self):
        self._ended.set()


class Load:
    """A group of clients that runs within a `with` block."""

    def __init__(self, clients):
        self.clients = list(clients)

    def __enter__(self):
        for client in self.clients:
            client.start()
        return self

    def __exit__(self, *unused):
        for client in self.clients:
            client.finish()
        for client in self.clients:
            client.join(TIMEOUT + 5)
            assert not client.is_alive(), "a request never ended"

    def answers(self):
        """All answers so far, in the order in which the requests began."""
        found = [answer for client in self.clients for answer in list(client.answers)]
        return sorted(found, key=lambda answer: answer.begun)

    def count(self):
        return sum(len(client.answers) for client in self.clients)
