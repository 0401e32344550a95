"""HTTP/1.1 as bytes, read strictly: an ambiguity is an error.

Used on both sides of the daemon, so a test fails if s3gate sends an ambiguous message to either
side.
"""

import ctypes
import hashlib
import random
import re
import socket
import time

from support.message import Body, values_of
from support.waiting import DEADLINE

TOKEN = re.compile(rb"^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$")
VALUE = re.compile(rb"^[\t\x20-\x7e\x80-\xff]*$")
LENGTH = re.compile(rb"^[0-9]{1,19}$")
CHUNK_SIZE = re.compile(rb"^[0-9A-Fa-f]{1,16}$")
STATUS_LINE = re.compile(rb"^HTTP/1\.([01]) ([1-9][0-9]{2}) ([\t\x20-\x7e\x80-\xff]+)$")
REQUEST_LINE = re.compile(
    rb"^([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7e\x80-\xff]+) HTTP/1\.([01])$"
)


class WireError(AssertionError):
    """Bytes that are not one unambiguous HTTP/1.1 message."""


class Truncated(Exception):
    """The connection ended inside a message. `how` is eof or reset, `got` the received bytes of the
    current part."""

    def __init__(self, where, how, got=b""):
        super().__init__(
            f"connection ended ({how}) in {where}, {len(got)} bytes: {bytes(got[:200])!r}"
        )
        self.how = how
        self.got = bytes(got)


class ReadTimeout(AssertionError):
    """The peer sent nothing within the test's timeout."""


def payload(size, seed=1):
    """Deterministic bytes without repeated regions, so a swapped or repeated piece changes the
    digest."""
    block = random.Random(seed).randbytes(min(size, 1048573))
    if not block:
        return b""
    return (block * (size // len(block) + 1))[:size]


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def abort(sock):
    """Sends RST at once and wakes every thread that waits on the socket, without closing it.

    close() does neither while another thread is inside poll() on the same socket: the kernel keeps
    the connection until that call returns, and the call looks the number up again, which may belong
    to another socket then. connect() to AF_UNSPEC resets (connect(2))."""
    unspecified = (ctypes.c_char * 16)()
    ctypes.CDLL(None, use_errno=True).connect(sock.fileno(), unspecified, 16)


def set_reset_on_close(sock):
    """close() now sends RST (SO_LINGER with zero seconds)."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")


class ByteReader:
    """Buffered reading with deadlines; distinguishes EOF and RST."""

    def __init__(self, sock, timeout=DEADLINE):
        self.sock = sock
        self.buffer = bytearray()
        self.timeout = timeout
        self.ended = None  # eof | reset

    def fill(self, timeout=None):
        """Reads once. False at the end of the stream."""
        if self.ended:
            return False
        self.sock.settimeout(self.timeout if timeout is None else timeout)
        try:
            data = self.sock.recv(262144)
        except (TimeoutError, socket.timeout) as error:
            raise ReadTimeout(f"no byte in time; buffered: {bytes(self.buffer[:300])!r}") from error
        except OSError:
            self.ended = "reset"
            return False
        if not data:
            self.ended = "eof"
            return False
        self.buffer += data
        return True

    def take(self, count):
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    def until(self, delimiter, limit, where):
        """Bytes up to and including `delimiter`."""
        searched = 0
        while True:
            at = self.buffer.find(delimiter, max(0, searched - len(delimiter)))
            if at >= 0:
                return self.take(at + len(delimiter))
            searched = len(self.buffer)
            if searched > limit:
                raise WireError(f"{where} longer than {limit}")
            if not self.fill():
                raise Truncated(where, self.ended, self.buffer)

    def exactly(self, count, where, sink=None):
        """`count` bytes, returned or fed to `sink`."""
        out = bytearray()
        left = count
        while left:
            if not self.buffer and not self.fill():
                raise Truncated(where, self.ended, out)
            piece = self.take(min(left, len(self.buffer)))
            left -= len(piece)
            if sink:
                sink(piece)
            else:
                out += piece
        return bytes(out)


def parse_head(block, where):
    """Splits a head (with its final empty line) into start line, raw field lines and (name, value)
    pairs."""
    if not block.endswith(b"\r\n\r\n"):
        raise WireError(f"{where}: no final empty line")
    lines = block[:-4].split(b"\r\n")
    for line in lines:
        if b"\r" in line or b"\n" in line or b"\0" in line:
            raise WireError(f"{where}: bare CR, LF or NUL in {line!r}")
    fields = []
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon or not TOKEN.match(name):
            raise WireError(f"{where}: bad field line {line!r}")
        if not VALUE.match(value):
            raise WireError(f"{where}: control character in {line!r}")
        fields.append((name, value.strip(b" \t")))
    return lines[0], lines[1:], fields


def framing_of(fields, where):
    """('chunked', None), ('length', n) or (None, None); every ambiguity is an error."""
    codings = values_of(fields, b"transfer-encoding")
    lengths = values_of(fields, b"content-length")
    if codings and lengths:
        raise WireError(f"{where}: both Content-Length and Transfer-Encoding")
    if len(codings) > 1 or len(lengths) > 1:
        raise WireError(f"{where}: repeated framing field")
    if codings:
        if codings[0].lower() != b"chunked":
            raise WireError(f"{where}: Transfer-Encoding {codings[0]!r}")
        return "chunked", None
    if lengths:
        if not LENGTH.match(lengths[0]):
            raise WireError(f"{where}: Content-Length {lengths[0]!r}")
        return "length", int(lengths[0])
    return None, None


def read_body(reader, kind, length, where, body=None, allow_extensions=False):
    """Reads a body of the given framing; `close` reads to a clean end of the connection."""
    body = Body() if body is None else body
    if kind == "length":
        reader.exactly(length, where + " body", body.add)
    elif kind == "chunked":
        while True:
            line = reader.until(b"\r\n", 1024, where + " chunk size")[:-2]
            if allow_extensions:
                line = line.partition(b";")[0].rstrip(b" \t")
            if not CHUNK_SIZE.match(line):
                raise WireError(f"{where}: chunk size {line!r}")
            size = int(line, 16)
            if size == 0:
                break
            body.chunks += 1
            reader.exactly(size, where + " chunk", body.add)
            if reader.exactly(2, where + " chunk end") != b"\r\n":
                raise WireError(f"{where}: chunk data not followed by CRLF")
        while True:
            line = reader.until(b"\r\n", 65536, where + " trailer")
            if line == b"\r\n":
                break
            body.trailers += parse_head(b"\r\n" + line + b"\r\n", where + " trailer")[2]
    elif kind == "close":
        while reader.buffer or reader.fill():
            body.add(reader.take(len(reader.buffer)))
        if reader.ended != "eof":
            raise Truncated(where + " close-delimited body", reader.ended)
    body.complete = True
    return body


def chunked(data, size=65536, trailers=b""):
    """Chunked coding of `data` in chunks of `size`."""
    out = bytearray()
    for at in range(0, len(data), size):
        piece = data[at : at + size]
        out += b"%x\r\n" % len(piece) + piece + b"\r\n"
    return bytes(out + b"0\r\n" + trailers + b"\r\n")


def sleep_briefly():
    """Lets other threads and processes run; no test's verdict depends on it."""
    time.sleep(0.02)
