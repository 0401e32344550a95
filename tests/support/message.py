"""An HTTP message as a value, independent of its reader.

There are two readers on purpose (support.wire and support.strict), so one mistake cannot hide in
both. Both produce this value.
"""

import hashlib

# Bodies up to this size are kept; longer ones only as length and digest.
KEEP = 2 * 1024 * 1024


def values_of(fields, name):
    name = name.lower().encode() if isinstance(name, str) else name.lower()
    return [value for key, value in fields if key.lower() == name]


class Body:
    """A message body as received: length, digest and, when it is small enough, the bytes."""

    def __init__(self):
        self._digest = hashlib.sha256()
        self._kept = bytearray()
        self.length = 0
        self.trailers = []
        self.complete = False
        self.chunks = 0

    def add(self, piece):
        self._digest.update(piece)
        self.length += len(piece)
        if self.length <= KEEP:
            self._kept += piece

    @property
    def data(self):
        if self.length > KEEP:
            raise ValueError("body too long to be kept")
        return bytes(self._kept)

    @property
    def sha256(self):
        return self._digest.hexdigest()


class Message:
    """A request (with method and target) or a response (with status and reason)."""

    def __init__(self):
        self.raw_head = b""
        self.start = b""
        self.lines = []  # the fields as received
        self.fields = []  # (name, value), bytes without the white space around the value, in order
        self.version = b""  # 1.0 or 1.1
        self.method = self.target = ""
        self.status = 0
        self.reason = b""
        self.interim = []  # the messages before a final response
        self.framing = None  # None | length | chunked; of responses also close, and none: no body
        self.length = None  # the value of Content-Length
        self.body = Body()
        self.connection = None  # the connection that carried it

    def values(self, name):
        """The values of all fields of this name: texts, or bytes where the name is given as
        bytes."""
        found = values_of(self.fields, name)
        return found if isinstance(name, bytes) else [value.decode("latin-1") for value in found]

    def header(self, name):
        """The one value of this field, None without it."""
        found = self.values(name)
        assert len(found) <= 1, f"{name} is repeated: {found}"
        return found[0] if found else None

    def options(self):
        """Connection options, lower case."""
        joined = ",".join(self.values("connection")).lower()
        return [option.strip(" \t") for option in joined.split(",") if option.strip(" \t")]

    @property
    def closes(self):
        """True if the sender announced that it closes the connection."""
        options = self.options()
        return "close" in options or (self.version == b"1.0" and "keep-alive" not in options)

    @property
    def data(self):
        return self.body.data

    @property
    def trailers(self):
        return self.body.trailers

    def __repr__(self):
        return f"<{bytes(self.start)!r} {self.fields} {self.body.length} bytes>"
