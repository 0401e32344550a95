"""The parts of a row of the request table: a request and its required result."""

import dataclasses

CRLF = b"\r\n"


@dataclasses.dataclass
class Expected:
    """A message that the backend must receive; `fields` without the three that s3gate adds."""

    method: bytes
    target: bytes
    fields: list  # (name, value), in order
    body: bytes = b""
    trailers: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Refuse:
    statuses: tuple = (400,)


@dataclasses.dataclass
class Forward:
    messages: list
    closes: bool = False  # the connection ends after them: a following request is not served


@dataclasses.dataclass
class ThenRefuse:
    """The messages are served, the rest is refused."""

    messages: list
    statuses: tuple = (400,)


@dataclasses.dataclass
class Case:
    name: str
    data: bytes
    want: object
    # False: longer than one read, so a faulty body may be found after its head was forwarded.
    at_once: bool = True
    cuts: tuple = ()  # further offsets to split at
    # First byte that must not be sent upstream: after a request that ends its connection.
    served: int | None = None


# Never forwarded; Transfer-Encoding is written anew, at the end.
DROPPED = (
    b"connection",
    b"keep-alive",
    b"proxy-connection",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"te",
    b"upgrade",
    b"http2-settings",
    b"transfer-encoding",
    b"x-forwarded-for",
    b"x-real-ip",
    b"x-forwarded-proto",
    b"x-forwarded-host",
    b"x-forwarded-port",
    b"x-forwarded-prefix",
    b"x-forwarded-server",
    b"forwarded",
)


def raw(line, *fields, host=b"a", body=b""):
    """A request from its lines; Host first unless `host` is None."""
    lines = [line] + ([] if host is None else [b"Host: " + host]) + list(fields)
    return CRLF.join(lines) + CRLF + CRLF + body


def get(*fields, **more):
    return raw(b"GET /t HTTP/1.1", *fields, **more)


def put(*fields, body=b"abc", **more):
    return raw(b"PUT /t HTTP/1.1", *fields, body=body, **more)


def chunked(body, *fields, line=b"PUT /t HTTP/1.1"):
    return raw(line, b"Transfer-Encoding: chunked", *fields, body=body)


def refuse(name, data, *statuses, **more):
    return Case(name, data, Refuse(statuses or (400,)), **more)


def expected_of(line, fields, host, body, trailers=(), target=None, gone=(), added=()):
    """The message that must arrive for a request of these lines."""
    method, written, _ = line.split(b" ", 2)
    pairs = [] if host is None else [(b"Host", host.strip(b" \t"))]
    is_chunked = False
    for text in fields:
        name, _, value = text.partition(b":")
        is_chunked = is_chunked or name.lower() == b"transfer-encoding"
        if name.lower() not in DROPPED and name.lower() not in gone:
            pairs.append((name, value.strip(b" \t")))
    pairs += added
    if is_chunked:
        pairs.append((b"Transfer-Encoding", b"chunked"))
    return Expected(method, written if target is None else target, pairs, body, list(trailers))


def forward(
    name,
    line=b"GET /t HTTP/1.1",
    *fields,
    host=b"a",
    body=b"",
    sent=None,
    closes=False,
    before=b"",
    **more,
):
    """`body` is the payload; `sent` its encoded bytes if they differ."""
    data = before + raw(line, *fields, host=host, body=body if sent is None else sent)
    want = Forward([expected_of(line, fields, host, body, **more)], closes)
    return Case(name, data, want, cuts=(len(before) + 1,) if before else ())
