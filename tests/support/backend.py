"""A backend that does exactly what a test says, byte for byte, on as many connections as the daemon
opens.

A handler is called for every request except health checks. It receives an Exchange and decides all
that follows the request head: when to read, what to send, when to stall, how to end. Requests are
parsed strictly; an ambiguous one goes to `problems`, which the fixture asserts to be empty.
"""

import contextlib
import itertools
import socket
import threading
import traceback

from support import wire
from support.message import Message
from support.waiting import DEADLINE, wait_until


def request_of(raw_head, connection):
    """The message that this head begins; its body is unread."""
    request = Message()
    request.raw_head, request.connection = raw_head, connection
    request.start, request.lines, request.fields = wire.parse_head(raw_head, "request")
    match = wire.REQUEST_LINE.match(request.start)
    if not match:
        raise wire.WireError(f"request line {request.start!r}")
    request.method, request.target = match.group(1).decode(), match.group(2).decode("latin-1")
    request.version = b"1." + match.group(3)
    request.framing, request.length = wire.framing_of(request.fields, "request")
    hosts = request.values("host")
    if len(hosts) != 1:
        raise wire.WireError(f"{len(hosts)} Host fields")
    return request


class Exchange:
    """The handler's view: one request on one connection."""

    def __init__(self, backend, connection, request):
        self.backend = backend
        self.connection = connection
        self.request = request
        self.sock = connection.sock
        self.reader = connection.reader
        self._body_read = False

    def read_body(self):
        """Reads the whole request body; wire.Truncated when the daemon gives up."""
        self._body_read = True
        return wire.read_body(
            self.reader, self.request.framing, self.request.length, "request", self.request.body
        )

    def read_some(self, count):
        """Exactly `count` bytes after the head."""
        self._body_read = True
        return self.reader.exactly(count, "request bytes")

    def send(self, data):
        self.sock.settimeout(DEADLINE)
        self.sock.sendall(data)

    def respond(self, status=200, fields=(), body=b"", reason="OK", chunked=False, trailers=b""):
        """An ordinary response. `fields` are (name, value) pairs or whole lines."""
        lines = [f"HTTP/1.1 {status} {reason}".encode("latin-1")]
        for field in fields:
            lines.append(
                field if isinstance(field, bytes) else f"{field[0]}: {field[1]}".encode("latin-1")
            )
        if chunked:
            lines.append(b"Transfer-Encoding: chunked")
            body = wire.chunked(body, trailers=trailers)
        elif status not in (204, 304):
            lines.append(b"Content-Length: %d" % len(body))
        if self.request.method == "HEAD":
            body = b""
        self.send(b"\r\n".join(lines) + b"\r\n\r\n" + body)

    def continue_100(self):
        self.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def wait(self, event):
        assert event.wait(DEADLINE), "the test never released the backend"

    def wait_closed(self, timeout=None):
        """Waits until the daemon closes this connection, discarding its input: eof or reset."""
        self.reader.buffer.clear()
        while self.reader.fill(timeout):
            self.reader.buffer.clear()
        return self.reader.ended

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def close(self):
        self.connection.close()

    def reset(self):
        self.connection.reset()


class Connection:
    """An accepted connection. Only the thread that serves it closes its socket (wire.abort)."""

    def __init__(self, sock, number):
        self.sock = sock
        self.number = number
        self.reader = wire.ByteReader(sock)
        self.open = True
        self.ended = None  # the daemon's way to end it: eof | reset
        self.requests = 0
        self.thread = None

    def close(self):
        """FIN, at once, even while its thread reads."""
        self.open = False
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        if threading.current_thread() is self.thread:
            self.sock.close()

    def reset(self):
        """RST, at once, even while its thread reads."""
        self.open = False
        with contextlib.suppress(OSError):
            wire.abort(self.sock)
        if threading.current_thread() is self.thread:
            self.sock.close()

    def __repr__(self):
        return f"connection {self.number}"


class HealthAnswers:
    """The answers to health checks."""

    def __init__(self):
        self.status = 200
        self.fields = []
        self.mode = "answer"  # answer | hold | hang | close
        self.released = threading.Event()  # ends "hold": the answer follows
        self.seen = []  # requests
        self.path = "/minio/health/ready"


def answer_ok(exchange):
    """The ordinary handler: reads everything, answers 200 with the backend's name."""
    exchange.read_body()
    exchange.respond(200, [("X-Backend", exchange.backend.name)], exchange.backend.name.encode())


def die(exchange):
    """Resets the connection after the complete request."""
    exchange.read_body()
    exchange.reset()


def close(exchange):
    """The same with an orderly end."""
    exchange.read_body()
    exchange.close()


def hang(exchange):
    """No answer until the client of the connection ends it."""
    exchange.read_body()
    exchange.wait_closed()
    exchange.close()


class ScriptedBackend:
    def __init__(self, handler=answer_ok, name="b1", host="127.0.0.1", strict=True, port=0):
        self.handler = handler
        self.name = name
        self.host = host
        self.strict = (
            strict  # False: requests need not be well-formed (nothing is parsed beyond the head)
        )
        self.health = HealthAnswers()
        self.requests = []
        self.connections = []
        self.problems = []
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._listener = None
        self.port = port  # 0: any
        self.listen()

    def __repr__(self):
        return f"<backend {self.name} {self.address}>"

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    # Listening

    def listen(self):
        """Opens the port (the earlier one, if it was open before)."""
        self._listener = socket.create_server((self.host, self.port), backlog=256)
        self.port = self._listener.getsockname()[1]
        thread = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
        thread.start()

    def refuse(self, drop_connections=True):
        """From now on connects are refused; with `drop_connections` the open ones are reset."""
        listener, self._listener = self._listener, None
        if listener:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        if drop_connections:
            for connection in list(self.connections):
                if connection.open:
                    connection.reset()

    def stop(self):
        listener, self._listener = self._listener, None
        if listener:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for connection in list(self.connections):
            connection.close()

    # Records

    def count(self, mark):
        """Number of requests with `mark` in their target: executions here."""
        with self._lock:
            return sum(1 for request in self.requests if mark in request.target)

    def find(self, mark):
        with self._lock:
            return [request for request in self.requests if mark in request.target]

    def wait_request(self, mark="", number=1):
        """The `number`-th request with `mark`."""
        return wait_until(
            lambda: (self.find(mark) + [None] * number)[number - 1],
            what=f"request {number} {mark!r}",
        )

    @property
    def open_connections(self):
        with self._lock:
            return [connection for connection in self.connections if connection.open]

    @property
    def data_connections(self):
        """Connections that carried at least one ordinary request."""
        with self._lock:
            return [connection for connection in self.connections if connection.requests]

    # Threads

    def _accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(sock, next(self._numbers))
            with self._lock:
                self.connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            thread.start()

    def _serve(self, connection):
        connection.thread = threading.current_thread()
        try:
            while connection.open and self._serve_one(connection):
                pass
        except (wire.Truncated, wire.ReadTimeout, OSError, ValueError):
            # ReadTimeout: a test ended without releasing this handler; the test judges by itself.
            pass
        except Exception:  # pylint: disable=broad-except
            self.problems.append(f"{self}: {traceback.format_exc()}")
        finally:
            if connection.open:
                connection.ended = connection.ended or connection.reader.ended
            connection.close()

    def _serve_one(self, connection):
        reader = connection.reader
        while b"\r\n\r\n" not in reader.buffer:
            # A parked connection stays silent as long as the daemon wants.
            if not reader.fill(timeout=3600):
                connection.ended = reader.ended
                if reader.buffer:
                    self.problems.append(f"{self}: half a head: {bytes(reader.buffer[:300])!r}")
                return False
            if not self.strict and reader.buffer:
                break
        raw = reader.until(b"\r\n\r\n", 1 << 21, "request head")
        request = request_of(raw, connection)
        if request.target.partition("?")[0] == self.health.path:
            return self._serve_health(connection, request)
        with self._lock:
            connection.requests += 1
            self.requests.append(request)
        exchange = Exchange(self, connection, request)
        self.handler(exchange)
        if not connection.open:
            return False
        if not exchange._body_read and request.framing:
            exchange.read_body()
        return True

    def _serve_health(self, connection, request):
        health = self.health
        with self._lock:
            health.seen.append(request)
        if health.mode == "hang":
            connection.ended = Exchange(self, connection, request).wait_closed(timeout=3600)
            return False
        if health.mode == "close":
            return False
        if health.mode == "hold":
            while connection.open and not health.released.wait(0.05):
                pass
        Exchange(self, connection, request).respond(health.status, health.fields, reason="Health")
        return connection.open


def script(data, then="close"):
    """A handler that ignores the body, sends `data` as it is and then closes, resets, half-closes
    or keeps the connection."""

    def handler(exchange):
        exchange._body_read = True
        if data:
            exchange.send(data)
        if then == "close":
            exchange.close()
        elif then == "reset":
            exchange.reset()
        elif then == "half_close":
            exchange.half_close()
            exchange.wait_closed()

    return handler
