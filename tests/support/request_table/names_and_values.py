"""Bytes in the names and values of fields."""

from support.request_table.rows import forward, get, refuse


def names_and_values():
    for byte in b"\x00\x01\x07\x08\x0b\x0c\x0e\x1b\x1f\x7f":
        yield refuse(f"{byte:02x} in a value", get(b"X: a" + bytes([byte]) + b"b"))
    for byte in b"\x00\x1f \t\"(),/;<=>?@[\\]{}\x7f\x80\xe9\xff":
        yield refuse(f"{bytes([byte])!r} in a name", get(b"X" + bytes([byte]) + b"Y: a"))
    yield refuse("no name", get(b": a"))
    yield refuse("no colon", get(b"X"))
    yield refuse("space before the colon", get(b"X : a"))
    yield refuse("tab before the colon", get(b"X\t: a"))
    yield refuse("a request line as field", get(b"GET /u HTTP/1.1"))
    yield refuse("1,001 fields", get(*[b"X-%d: y" % number for number in range(1001)]), 431)
    yield forward(
        "999 fields beside Host",
        b"GET /t HTTP/1.1",
        *[b"X-%d: y" % number for number in range(999)],
    )
    yield forward("empty values", b"GET /t HTTP/1.1", b"X-A:", b"X-B: ", b"X-C:\t \t")
    yield forward("white space around values", b"GET /t HTTP/1.1", b"X-A:a", b"X-B: \t b \t")
    yield forward("white space inside", b"GET /t HTTP/1.1", b"X-A: a  b\tc   d")
    yield forward("obs-text", b"GET /t HTTP/1.1", b"x-amz-meta-a: \xc3\xa4\xff\x80\xa0")
    yield forward("all of a name", b"GET /t HTTP/1.1", b"!#$%&'*+-.^_`|~09azAZ: v")
    yield forward("repeated fields", b"GET /t HTTP/1.1", b"X-A: 1", b"x-a: 2", b"X-B: 3", b"X-A: 4")
    yield forward(
        "underscores and dots",
        b"GET /t HTTP/1.1",
        b"x-amz-meta-original_file_name: x",
        b"x-amz-meta-a.b: y",
        b"content_type: z",
    )
    yield forward("colons in a value", b"GET /t HTTP/1.1", b"X-A: b: c:d", b"X-B::")
    yield forward("names that begin alike", b"GET /t HTTP/1.1", b"Content-Lengthy: 5", b"Hosts: b")
    yield forward("a value of quotes", b"GET /t HTTP/1.1", b"X-A: \"a\\\"b\", 'c")
    yield forward(
        "what a signature covers",
        b"GET /t HTTP/1.1",
        b"Accept-Encoding: identity",
        b"Range: bytes=0-1",
        b"X-Amz-Date: 20260101T000000Z",
        b"Authorization: AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=c",
    )
