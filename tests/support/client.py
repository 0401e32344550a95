"""A client that sends exactly the bytes it is given and reads answers strictly."""

import array
import contextlib
import fcntl
import select
import socket
import termios
import threading

from support import wire
from support.message import Message
from support.waiting import DEADLINE


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
        """Sends as much as the peer takes; a closed peer is no error. True if all was sent."""
        try:
            self.send(data)
            return True
        except OSError:
            return False

    def send_in_background(self, data, pieces=None):
        """Sends from a separate thread, so the answer can be read meanwhile. Call join() on the
        result."""

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
        """An ordinary close(): RST instead of FIN if received bytes were not read."""
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
        """The next head, of an interim or a final response, as a message without its body."""
        response = Message()
        response.raw_head = self.reader.until(b"\r\n\r\n", 1 << 21, "response head")
        response.start, response.lines, response.fields = wire.parse_head(
            response.raw_head, "response"
        )
        match = wire.STATUS_LINE.match(response.start)
        if not match:
            raise wire.WireError(f"status line {response.start!r}")
        version, status, response.reason = match.groups()
        response.version, response.status = b"1." + version, int(status)
        if not response.reason.strip():
            raise wire.WireError(f"empty reason phrase: {response.start!r}")
        response.framing, response.length = wire.framing_of(response.fields, "response")
        return response

    def begin_response(self, method="GET"):
        """Reads heads up to the final one; the body is left to finish_response()."""
        interim = []
        while True:
            response = self.read_head()
            status, kind = response.status, response.framing
            if (100 <= status < 200 or status == 204) and kind:
                raise wire.WireError(f"{status} with framing fields")
            if 100 <= status < 200 and status != 101:
                interim.append(response)
                continue
            response.interim = interim
            has_body = method != "HEAD" and status not in (101, 204, 304)
            response.framing = (kind or "close") if has_body else "none"
            return response

    def finish_response(self, response):
        if response.framing != "none":
            wire.read_body(
                self.reader, response.framing, response.length, "response", response.body
            )
        return response

    def read_response(self, method="GET"):
        """One complete response; raises Truncated if the daemon cut it short."""
        return self.finish_response(self.begin_response(method))

    def read_until_close(self):
        """Reads to the end of the connection: (bytes, eof | reset)."""
        while self.reader.fill():
            pass
        return self.reader.take(len(self.reader.buffer)), self.reader.ended

    def expect_close(self):
        """The connection ends without another byte."""
        data, how = self.read_until_close()
        assert data == b"", f"unexpected bytes: {data[:300]!r}"
        return how

    def unread(self):
        """The number of received bytes that were not read."""
        count = array.array("i", [0])
        fcntl.ioctl(self.sock, termios.FIONREAD, count)
        return count[0]

    def has_input(self, wait=0.0):
        """True if a byte or the end of the connection can be read now."""
        return bool(self.reader.buffer) or bool(select.select([self.sock], [], [], wait)[0])


def exchange(address, request, method="GET", source=None):
    """One request, given as bytes, on its own connection."""
    with RawClient(address, source) as client:
        client.send(request)
        return client.read_response(method)
