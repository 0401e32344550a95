"""A judge of s3gate's output: a second, small and pedantic reader of HTTP/1.1 (RFC 9112), and a
backend that records every byte that arrives.

It shares no code with support.wire, so one mistake cannot hide in both. It never guesses: an
ambiguous message is a problem, and a problem is never forgotten.
"""

import contextlib
import itertools
import select
import socket
import threading
import time

from support.message import Message
from support.waiting import DEADLINE, wait_until

TOKEN_BYTES = frozenset(
    b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)
HEX_BYTES = frozenset(b"0123456789abcdefABCDEF")
DIGITS = frozenset(b"0123456789")
# Fields for one hop: none may pass s3gate (it sends its own `Connection`).
# Names of the fields that say who asked, or where, in letters alone.
FORWARDING_LETTERS = frozenset(
    (
        b"xforwardedfor",
        b"xrealip",
        b"xforwardedproto",
        b"xforwardedhost",
        b"xforwardedport",
        b"xforwardedprefix",
        b"xforwardedserver",
    )
)

HOP_BY_HOP = frozenset(
    {
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"http2-settings",
        b"upgrade",
    }
)


class Problem(Exception):
    """Bytes that are not one unambiguous message."""


def demand(condition, text, data=b""):
    if not condition:
        raise Problem(f"{text}: {bytes(data[:160])!r}")


def letters_of(name):
    """A name as the most lenient reader sees it: letters and digits only."""
    return bytes(byte for byte in name.lower() if 97 <= byte <= 122 or byte in DIGITS)


class Parser:
    """Takes bytes in any pieces; `messages` grows. After a Problem it cannot be used further."""

    def __init__(self):
        self.buffer = bytearray()
        self.messages = []
        self.message = None  # the current one
        self.state = "head"
        self.left = 0

    def feed(self, data):
        self.buffer += data
        while self._step():
            pass

    @property
    def is_inside(self):
        """True if the stream must not end here."""
        return bool(self.buffer) or self.state != "head"

    def _line(self):
        """The next line without its CRLF; None until it is complete."""
        lf = self.buffer.find(b"\n")
        if lf < 0:
            demand(b"\r" not in self.buffer[:-1], "CR inside a line", self.buffer)
            demand(len(self.buffer) < 1 << 21, "endless line", self.buffer)
            return None
        line = bytes(self.buffer[: lf + 1])
        demand(line.endswith(b"\r\n"), "LF without CR", line)
        demand(b"\r" not in line[:-2] and b"\0" not in line, "CR or NUL inside a line", line)
        del self.buffer[: lf + 1]
        return line[:-2]

    def _step(self):
        return getattr(self, "_" + self.state)()

    def _head(self):
        line = self._line()
        if line is None:
            return False
        self.message = Message()
        self.message.start, self.message.version = line, b"1.1"
        self.start_line(self.message, line)
        self.state = "field"
        return True

    def _field(self):
        line = self._line()
        if line is None:
            return False
        if line:
            self.message.fields.append(self.split_field(line))
            demand(len(self.message.fields) <= 1100, "too many fields")
            return True
        self.frame(self.message)
        self.on_head(self.message)
        framing = self.message.framing
        if framing is None or (framing == "length" and self.message.length == 0):
            self._finish()
        else:
            self.left = self.message.length or 0
            self.state = {"length": "data", "chunked": "size", "close": "rest"}[framing]
        return True

    def _data(self):
        if not self.buffer:
            return False
        piece = self.buffer[: self.left]
        del self.buffer[: self.left]
        self.message.body.add(piece)
        self.left -= len(piece)
        if self.left == 0:
            self._finish()
        return True

    def _rest(self):
        self.message.body.add(self.buffer)
        self.buffer.clear()
        return False

    def _size(self):
        line = self._line()
        if line is None:
            return False
        # No extensions: s3gate writes none.
        demand(0 < len(line) <= 16 and all(byte in HEX_BYTES for byte in line), "chunk size", line)
        self.left = int(line, 16)
        self.state = "chunk" if self.left else "trailer"
        return True

    def _chunk(self):
        if len(self.buffer) < self.left + 2:
            return False
        self.message.body.add(self.buffer[: self.left])
        demand(self.buffer[self.left : self.left + 2] == b"\r\n", "chunk end", self.buffer)
        del self.buffer[: self.left + 2]
        self.state = "size"
        return True

    def _trailer(self):
        line = self._line()
        if line is None:
            return False
        if line:
            self.message.trailers.append(self.split_field(line))
        else:
            self._finish()
        return True

    def _finish(self):
        self.messages.append(self.message)
        self.message = None
        self.state = "head"

    @staticmethod
    def split_field(line):
        colon = line.find(b":")
        name, value = line[:colon], line[colon + 1 :]
        demand(colon > 0 and all(byte in TOKEN_BYTES for byte in name), "field name", line)
        demand(
            all(byte == 9 or (byte >= 0x20 and byte != 0x7F) for byte in value), "field value", line
        )
        return name, value.strip(b" \t")

    def frame(self, message):
        """Sets the framing that the fields announce; an ambiguity is a problem."""
        codings = message.values(b"transfer-encoding")
        lengths = message.values(b"content-length")
        for name, _ in message.fields:
            if letters_of(name) in (b"contentlength", b"transferencoding"):
                demand(
                    name.lower() in (b"content-length", b"transfer-encoding"),
                    "looks like framing",
                    name,
                )
        demand(len(codings) + len(lengths) <= 1, "framed twice", message.start)
        if codings:
            demand(codings[0].lower() == b"chunked", "coding", codings[0])
            message.framing = "chunked"
        elif lengths:
            text = lengths[0]
            demand(text and all(byte in DIGITS for byte in text), "length", text)
            demand(text == b"0" or not text.startswith(b"0"), "length with zeros", text)
            message.framing, message.length = "length", int(text)

    def start_line(self, message, line):
        raise NotImplementedError

    def on_head(self, message):
        pass


class RequestParser(Parser):
    """Requests as s3gate may send them to a backend."""

    def __init__(self, on_head=None):
        super().__init__()
        self._on_head = on_head

    def start_line(self, message, line):
        parts = line.split(b" ")
        demand(len(parts) == 3, "request line", line)
        method, target, version = parts
        demand(method and all(byte in TOKEN_BYTES for byte in method), "method", line)
        demand(method != b"CONNECT", "CONNECT", line)
        demand(version == b"HTTP/1.1", "version", line)
        demand(target.startswith(b"/") or (target == b"*" and method == b"OPTIONS"), "target", line)
        demand(all(byte > 0x20 and byte not in (0x23, 0x7F) for byte in target), "target", line)
        message.method, message.target = method.decode(), target.decode("latin-1")

    def on_head(self, message):
        hosts = message.values(b"host")
        demand(len(hosts) == 1 and hosts[0], "Host", b"|".join(hosts))
        demand(all(byte > 0x20 and byte not in b",@/?#\\\"<>^`{|}" for byte in hosts[0]), "Host")
        for name, value in message.fields:
            demand(name.lower() not in HOP_BY_HOP, "hop by hop", name)
            if name.lower() == b"expect":
                demand(value.lower() in (b"100-continue", b""), "Expect", value)
        demand(message.options() == [], "Connection towards a backend")
        for name in (b"x-forwarded-for", b"x-real-ip", b"x-forwarded-proto"):
            demand(len(message.values(name)) == 1, "forwarding field", name)
        for name, _ in message.fields:
            if letters_of(name) in FORWARDING_LETTERS:
                demand(b"_" not in name, "looks like a forwarding field", name)
        if self._on_head:
            self._on_head(message)


class ResponseParser(Parser):
    """Responses as s3gate may send them to a client. `methods` are those of the requests asked."""

    def __init__(self, *methods):
        super().__init__()
        self.interim = []
        self._methods = list(methods) or [b"GET"]

    def start_line(self, message, line):
        demand(line.startswith(b"HTTP/1.1 "), "version", line)
        code, space, reason = line[9:].partition(b" ")
        demand(len(code) == 3 and all(byte in DIGITS for byte in code), "status", line)
        demand(100 <= int(code) <= 599, "status", line)
        # SDKs lose errors whose status line ends after the code.
        demand(space and reason.strip(b" \t"), "reason", line)
        message.status, message.reason = int(code), reason

    def frame(self, message):
        super().frame(message)
        if message.status < 200 or message.status == 204:
            demand(message.framing is None, "framed without a body", message.start)
        if message.status >= 200:
            method = self._methods.pop(0) if self._methods else b"GET"
            if method == b"HEAD" or message.status in (204, 304):
                message.framing = None
            elif message.framing is None:
                message.framing = "close"

    def _finish(self):
        if self.message.status < 200 and self.message.status != 101:
            self.interim.append(self.message)
            self.message = None
            self.state = "head"
        else:
            super()._finish()

    def end(self, how):
        """Ends the connection, by eof or reset; completes a message that lasts until then."""
        if self.state == "rest" and how == "eof":
            self._finish()


class Answer:
    """The action of a RecordingBackend after a complete request: bytes to send, then the fate of
    the connection: keep | close | reset | half (FIN, then read on)."""

    def __init__(self, data=b"", then="keep"):
        self.pieces = [data] if isinstance(data, bytes) else list(data)
        self.then = then


def own_answer(message):
    """A 200 whose body names the answered request."""
    body = f"{message.connection} {message.method} {message.target}".encode("latin-1")
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    return Answer(head + (b"" if message.method == "HEAD" else body))


class RecordingBackend:
    """Records every byte and judges it. `answer(message)` returns the answer to a complete request;
    None means own_answer."""

    def __init__(self, answer=None, host="127.0.0.1"):
        self.answer = answer or (lambda message: None)
        self.messages = []  # complete ones, in the order of their ends
        self.problems = []
        self.torn = []  # streams that ended, or were reset, inside a message
        self.received = 0  # bytes on all connections
        self.accepted = 0
        self.open = {}  # number -> socket
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._listener = socket.create_server((host, 0), backlog=256)
        self.address = "%s:%d" % self._listener.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in list(self.open.values()):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _accept(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            number = next(self._numbers)
            with self._lock:
                self.accepted += 1
                self.open[number] = sock
            threading.Thread(target=self._serve, args=(sock, number), daemon=True).start()

    def _serve(self, sock, number):
        def expect(message):
            has_body = message.framing == "chunked" or bool(message.length)
            if message.values(b"expect") and has_body:
                sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

        parser = RequestParser(expect)
        answered = 0
        try:
            while True:
                try:
                    data = sock.recv(262144)
                except ConnectionResetError:
                    data = b""
                if not data:
                    if parser.is_inside:
                        self.torn.append((number, parser.message))
                    return
                with self._lock:
                    self.received += len(data)
                parser.feed(data)
                if len(parser.messages) > answered:
                    # s3gate does not pipeline, so bytes after a request are an error.
                    demand(not parser.is_inside, "bytes behind a request", parser.buffer)
                    message = parser.messages[answered]
                    message.connection = number
                    answered += 1
                    demand(len(parser.messages) == answered, "a request before its turn")
                    with self._lock:
                        self.messages.append(message)
                    if not self._respond(sock, message):
                        return
        except Problem as problem:
            self.problems.append(f"connection {number}: {problem}")
        except OSError:
            pass  # the daemon closed the connection because of a bad answer
        finally:
            with self._lock:
                del self.open[number]
            sock.close()

    def _respond(self, sock, message):
        answer = self.answer(message) or own_answer(message)
        for index, piece in enumerate(answer.pieces):
            if index:
                pause()
            if piece:
                sock.sendall(piece)
        if answer.then == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        elif answer.then == "half":
            sock.shutdown(socket.SHUT_WR)
        return answer.then in ("keep", "half")


def pause():
    """Makes it likely that two pieces are read separately. No verdict depends on it."""
    time.sleep(0.001)


class Dialogue:
    """A client connection: sends bytes and collects the input."""

    def __init__(self, address):
        host, _, port = address.rpartition(":")
        self.sock = socket.create_connection((host, int(port)), timeout=DEADLINE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.raw = bytearray()
        self.ended = None  # eof | reset

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data):
        """Sends all, or as much as the daemon takes before it closes. Receives answers meanwhile.
        """
        view = memoryview(data)
        while view:
            self.sock.settimeout(DEADLINE)
            try:
                sent = self.sock.send(view[:65536])
            except OSError:
                return False
            view = view[sent:]
        return True

    def receive(self, wait=None):
        """Reads once. False at the end of the stream, or if nothing came within `wait` seconds."""
        if self.ended:
            return False
        if wait is not None and not select.select([self.sock], [], [], wait)[0]:
            return False
        self.sock.settimeout(DEADLINE)
        try:
            data = self.sock.recv(262144)
        except ConnectionResetError:
            self.ended = "reset"
            return False
        if not data:
            self.ended = "eof"
            return False
        self.raw += data
        return True

    def responses(self, methods, until_end=False):
        """Reads until as many final responses as methods are complete, or the connection ends; with
        `until_end` on to the end of the connection, if the last response announced it. Returns the
        parser; Problem when the bytes are no responses."""
        parser = ResponseParser(*methods)
        seen = 0
        while True:
            parser.feed(self.raw[seen:])
            seen = len(self.raw)
            if len(parser.messages) >= len(methods):
                last = parser.messages[-1] if parser.messages else None
                if not until_end or (last and not last.closes):
                    return parser
            try:
                more = self.receive()
            except TimeoutError:
                raise Problem(f"no answer in time; so far {bytes(self.raw[-300:])!r}") from None
            if not more:
                parser.feed(self.raw[seen:])
                parser.end(self.ended)
                return parser


def wait_settled(backend, messages):
    """Waits until `messages` requests are complete at the backend."""
    wait_until(lambda: len(backend.messages) >= messages, what=f"{messages} requests arrived")
