"""A client and a backend in one thread that take turns: request, its arrival, answer, its arrival.
Ten thousand exchanges pass in a second or two, and nothing depends on how threads are scheduled."""

import re
import selectors
import signal
import socket

from support.client import split_address
from support.waiting import DEADLINE

BODY = b"b" * 1024
# More than comes with the head, and no more than a socket holds while the daemon stands still.
LARGE = b"b" * 48 * 1024
FIELDS = (
    b"Host: s3.example.test:9000\r\nUser-Agent: MinIO (linux; amd64) minio-go/v7.0.63\r\n"
    b"Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261120/us-east-1/s3/"
    b"aws4_request, SignedHeaders=host;x-amz-date, Signature=f0e8bdb87c964420e857bd35b5d6ed31\r\n"
    b"X-Amz-Content-Sha256: UNSIGNED-PAYLOAD\r\nX-Amz-Date: 20261120T100000Z\r\n"
)
REQUESTS = {
    "GET": [
        b"GET /bucket/dir/a%%20key%s HTTP/1.1\r\n%s\r\n" % (query, FIELDS)
        for query in (
            b"?sessionid=0123456789abcdef",
            b"?partNumber=7&uploadId=OGIwMmM4ZTUtZTY0Zi00-77",
            b"?versionId=1&X-Amz-Signature=0123456789abcdef",
            b"",
        )
    ],
    "PUT": [
        b"PUT /bucket/dir/key%s HTTP/1.1\r\n%sContent-Length: 1024\r\n\r\n%s"
        % (query, FIELDS, BODY)
        for query in (b"?sessionid=0123456789abcdef", b"?partNumber=7&uploadId=OGIwMmM4ZTUtZ", b"")
    ],
    # Clients of a proxy, by turns on each of its connections (three on four, so they do change).
    # With a session: libcrypto allocates for each MD5, so a fingerprint of another client does so.
    "forwarded GET": [
        b"GET /bucket/dir/key?sessionid=0123456789abcdef HTTP/1.1\r\n%sX-Forwarded-For: %s\r\n\r\n"
        % (FIELDS, client)
        for client in (b"192.0.2.1", b"192.0.2.2", b"2001:db8:1111:2222:3333:4444:5555:6666")
    ],
    "large PUT": [
        b"PUT /bucket/dir/key HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s"
        % (FIELDS, len(LARGE), LARGE)
    ],
}
ANSWER_FIELDS = (
    b'Accept-Ranges: bytes\r\nETag: "9b2cf535f27731c974343645a3985328"\r\nServer: MinIO\r\n'
    b"Vary: Origin\r\nX-Amz-Request-Id: 17F3C1B0A1B2C3D4\r\nX-Content-Type-Options: nosniff\r\n"
)
ANSWERS = {
    "GET": b"HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n" + ANSWER_FIELDS + b"\r\n" + BODY,
    "PUT": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + ANSWER_FIELDS + b"\r\n",
}
ANSWERS["forwarded GET"] = ANSWERS["GET"]
ANSWERS["large PUT"] = ANSWERS["PUT"]


def is_whole(message):
    head, end, body = message.partition(b"\r\n\r\n")
    length = re.search(rb"Content-Length: (\d+)", head)
    return bool(end) and len(body) >= int(length[1] if length else 0)


def receive_answer(client):
    answer = b""
    while not is_whole(answer):
        data = client.recv(65536)
        assert data, "the daemon closed a kept-alive connection"
        answer += data
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer[:200]


class Backend:
    """The end of the daemon's connections. `address` is for the configuration."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._listener.setblocking(False)
        self.address = "%s:%d" % self._listener.getsockname()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self.connections = 0

    def take(self, count):
        """Waits for this number of complete requests; returns their connections."""
        waiting, partly = [], {}
        while len(waiting) < count:
            ready = self._selector.select(DEADLINE)
            assert ready, f"{len(waiting)} of {count} requests arrived"
            for key, _ in ready:
                if key.fileobj is self._listener:
                    connection, _ = self._listener.accept()
                    self._selector.register(connection, selectors.EVENT_READ)
                    self.connections += 1
                    continue
                data = key.fileobj.recv(65536)
                if not data:
                    self._selector.unregister(key.fileobj)
                    key.fileobj.close()
                    continue
                message = partly.pop(key.fileobj, b"") + data
                if is_whole(message):
                    waiting.append(key.fileobj)
                else:
                    partly[key.fileobj] = message
        return waiting

    def close(self):
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()
        self._selector.close()


class Lockstep:
    """`width` client connections to a daemon before one Backend."""

    def __init__(self, daemon, backend, width):
        self._daemon = daemon
        self._backend = backend
        self._clients = [
            socket.create_connection(split_address(daemon.address), DEADLINE) for _ in range(width)
        ]
        self._turn = 0

    def exchange(self, method, gather=False):
        """One exchange on every connection. With `gather` the daemon stands still while its input
        arrives, so it finds all at once, as under load."""
        if gather:
            self._daemon.signal(signal.SIGSTOP)
        for client in self._clients:
            requests = REQUESTS[method]
            client.sendall(requests[self._turn % len(requests)])
            self._turn += 1
        if gather:
            self._daemon.signal(signal.SIGCONT)
        waiting = self._backend.take(len(self._clients))
        if gather:
            self._daemon.signal(signal.SIGSTOP)
        for connection in waiting:
            connection.sendall(ANSWERS[method])
        if gather:
            self._daemon.signal(signal.SIGCONT)
        for client in self._clients:
            receive_answer(client)

    def close(self):
        for client in self._clients:
            client.close()
