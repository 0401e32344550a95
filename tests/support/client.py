"""A client that sends exactly the bytes it is given and reads answers strictly."""

import array
import contextlib
import fcntl
import select
import socket
import termios
import threading

from support import wire
from support.waiting import DEADLINE


class Response:
    """A final response with the interim ones before it."""

    def __init__(self):
        self.interim = []  # [(status, raw head)]
        self.raw_head = b""
        self.status = 0
        self.reason = b""
        self.version = b""
        self.fields = []
        self.framing = None
        self.body = wire.Body()

    def values(self, name):
        return [value.decode("latin-1") for value in wire.values_of(self.fields, name)]

    def header(self, name):
        found = self.values(name)
        assert len(found) <= 1, f"{name} is repeated: {found}"
        return found[0] if found else None

    @property
    def data(self):
        return self.body.data

    @property
    def closes(self):
        """True when the daemon announced that it closes the connection."""
        options = ",".join(self.values("connection")).lower().replace(" ", "").split(",")
        return "close" in options or (self.version == b"1.0" and "keep-alive" not in options)

    def __repr__(self):
        return f"<Response {self.status} {self.fields}>"


def split_address(address):
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


class RawClient:
    def __init__(self, address, source=None, timeout=DEADLINE, rcvbuf=None, sndbuf=None):
        self.address = split_address(address)
        family = socket.AF_INET6 if ":" in self.address[0] else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        if sndbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, sndbuf)
        self.sock.settimeout(timeout)
        if source:
            self.sock.bind((source, 0))
        self.sock.connect(self.address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = wire.ByteReader(self.sock, timeout)
        self.timeout = timeout
        self._senders = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # Sending

    def send(self, data):
        self.sock.settimeout(self.timeout)
        self.sock.sendall(data)

    def send_quietly(self, data):
        """Sends as much as the peer takes; a peer that has closed is no error. Returns True if all
        went out."""
        try:
            self.send(data)
            return True
        except OSError:
            return False

    def send_in_background(self, data, pieces=None):
        """Sends from a thread of its own, so that the answer can be read meanwhile. Call join() on
        the result."""

        def run():
            for piece in pieces or [data]:
                if not self.send_quietly(piece):
                    return

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self._senders.append(thread)
        return thread

    def head(
        self, method="GET", target="/b/k", fields=(), host="bucket.example:9000", version="1.1"
    ):
        """Bytes of a head; `fields` are (name, value) pairs or whole lines."""
        lines = [f"{method} {target} HTTP/{version}".encode("latin-1")]
        if host is not None:
            lines.append(b"Host: " + host.encode("latin-1"))
        for field in fields:
            if isinstance(field, bytes):
                lines.append(field)
            else:
                lines.append(f"{field[0]}: {field[1]}".encode("latin-1"))
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def request(self, method="GET", target="/b/k", fields=(), body=None, **more):
        """Sends a request (a body gets its Content-Length) and returns the response."""
        fields = list(fields)
        if body is not None:
            fields.append(("Content-Length", len(body)))
        self.send(self.head(method, target, fields, **more) + (body or b""))
        return self.read_response(method)

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        """RST, at once."""
        if self._sending():
            wire.abort(self.sock)
        else:
            wire.set_reset_on_close(self.sock)
        self.close()

    def close(self):
        """An ordinary close(): RST instead of FIN where received bytes were not read."""
        if self._sending():
            # A thread inside poll() would keep the connection (see wire.abort).
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)
            for sender in self._senders:
                sender.join()
        self.sock.close()

    def _sending(self):
        return any(sender.is_alive() for sender in self._senders)

    # Receiving

    def read_head(self):
        """The next head: (raw, version, status, reason, fields)."""
        raw = self.reader.until(b"\r\n\r\n", 1 << 21, "response head")
        start, _, fields = wire.parse_head(raw, "response")
        match = wire.STATUS_LINE.match(start)
        if not match:
            raise wire.WireError(f"status line {start!r}")
        version, status, reason = match.groups()
        if not reason.strip():
            raise wire.WireError(f"empty reason phrase: {start!r}")
        return raw, b"1." + version, int(status), reason, fields

    def begin_response(self, method="GET"):
        """Reads heads up to the final one; the body is left to finish_response()."""
        response = Response()
        while True:
            raw, version, status, reason, fields = self.read_head()
            kind, length = wire.framing_of(fields, "response")
            if 100 <= status < 200 and status != 101:
                if kind:
                    raise wire.WireError(f"{status} with framing fields")
                response.interim.append((status, raw))
                continue
            response.raw_head, response.version, response.status = raw, version, status
            response.reason, response.fields = reason, fields
            if method == "HEAD" or status in (101, 204, 304):
                if status in (101, 204) and kind:
                    raise wire.WireError(f"{status} with framing fields")
                response.framing, response.length = "none", length
            else:
                response.framing, response.length = kind or "close", length
            return response

    def finish_response(self, response):
        if response.framing != "none":
            wire.read_body(
                self.reader, response.framing, response.length, "response", response.body
            )
        return response

    def read_response(self, method="GET"):
        """One complete response; Truncated when the daemon cut it short."""
        return self.finish_response(self.begin_response(method))

    def read_until_close(self):
        """Everything up to the end of the connection, and how it ended: (bytes, eof | reset)."""
        while self.reader.fill():
            pass
        return self.reader.take(len(self.reader.buffer)), self.reader.ended

    def expect_close(self):
        """The connection ends without another byte."""
        data, how = self.read_until_close()
        assert data == b"", f"unexpected bytes: {data[:300]!r}"
        return how

    def unread(self):
        """Bytes that came and were not read from the socket."""
        count = array.array("i", [0])
        fcntl.ioctl(self.sock, termios.FIONREAD, count)
        return count[0]

    def has_input(self, wait=0.0):
        """True if a byte or the end of the connection can be read now."""
        return bool(self.reader.buffer) or bool(select.select([self.sock], [], [], wait)[0])
