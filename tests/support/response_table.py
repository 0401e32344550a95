"""Answers of broken, old and hostile servers, and what a client may receive of each.

Relay: the client reads exactly this message, complete. Broken: a 502 of s3gate's own, or the
beginning of the message and then a visible end: a reset, or a FIN short of the length or the last
chunk. `reuse` says whether the connection may carry another request; the next one must prove it.
"""

import dataclasses

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
BODY = b"Content-Length: 5\r\n\r\nhello"
GOOD = OK + BODY
EVIL = OK + b"Content-Length: 4\r\n\r\nevil"


@dataclasses.dataclass
class Relay:
    status: int = 200
    body: bytes = b"hello"
    reason: bytes = None
    fields: list = None  # fields required in the head, in order; None = not checked
    absent: tuple = ()
    trailers: list = dataclasses.field(default_factory=list)
    interim: tuple = ()
    framing: str = None


@dataclasses.dataclass
class Broken:
    """`must_502`: no byte was sent yet, so the client gets an answer."""

    must_502: bool = False


@dataclasses.dataclass
class Row:
    name: str
    data: bytes
    want: object
    then: str = "keep"  # the backend's next action: keep | close | reset | half
    reuse: bool = False
    method: bytes = b"GET"
    version: bytes = b"HTTP/1.1"
    fields: tuple = ()
    pieces: tuple = None  # sent separately, instead of data


def bad(name, data, then="half", **more):
    """A head that every reader must refuse; the client always gets an answer."""
    return Row(name, data, Broken(must_502=True), then, **more)


def cut(name, data, then="half", **more):
    return Row(name, data, Broken(), then, **more)


def lengths():
    for value in (
        b"5, 5",
        b"5,5",
        b"5, 6",
        b"-5",
        b"+5",
        b"0x5",
        b"5x",
        b"05",
        b"5.0",
        b"5 5",
        b"",
        b"five",
        b"5_0",
        b"9223372036854775808",
        b"18446744073709551621",
        b"99999999999999999999999",
        b"\xef\xbc\x95",
    ):
        yield bad(f"length {value!r}", OK + b"Content-Length: " + value + b"\r\n\r\nhello")
    line = b"Content-Length: 5\r\n"
    yield bad("equal lengths", OK + line + line + b"\r\nhello")
    yield bad("different lengths", OK + line + b"Content-Length: 6\r\n\r\nhello")
    yield bad("0 and 5", OK + b"Content-Length: 0\r\n" + line + b"\r\nhello")
    coding = b"Transfer-Encoding: chunked\r\n"
    chunks = b"5\r\nhello\r\n0\r\n\r\n"
    yield bad("length and coding", OK + line + coding + b"\r\n" + chunks)
    yield bad("coding and length", OK + coding + line + b"\r\n" + chunks)
    yield bad("coding and length 0", OK + coding + b"Content-Length: 0\r\n\r\n" + chunks)
    for value in (
        b"gzip",
        b"identity",
        b"chunked, chunked",
        b"gzip, chunked",
        b"chunked, gzip",
        b"chunked,",
        b"xchunked",
        b"chunked;a=b",
        b"\"chunked\"",
        b"",
        b"chunked\x0b",
    ):
        yield bad(f"coding {value!r}", OK + b"Transfer-Encoding: " + value + b"\r\n\r\n" + chunks)
    yield bad("two codings", OK + coding + coding + b"\r\n" + chunks)
    yield bad("coding on 1.0", b"HTTP/1.0 200 OK\r\n" + coding + b"\r\n" + chunks)
    yield bad("coding and length on 1.0", b"HTTP/1.0 200 OK\r\n" + coding + line + b"\r\n" + chunks)
    for name in (b"Content_Length", b"Content.Length", b"Transfer_Encoding", b"Transfer-Encoding-"):
        yield bad(f"name {name!r}", OK + name + b": 5\r\n" + BODY)


def heads():
    for line in (
        b"HTTP/1.1 099 X",
        b"HTTP/1.1 000 X",
        b"HTTP/1.1 0 X",
        b"HTTP/1.1 99 X",
        b"HTTP/1.1 1000 X",
        b"HTTP/1.1 2000 X",
        b"HTTP/1.1 -1 X",
        b"HTTP/1.1 +200 X",
        b"HTTP/1.1 600 X",
        b"HTTP/1.1 999 X",
        b"HTTP/1.1 2OO OK",
        b"HTTP/1.1 20\xb2 OK",
        b"HTTP/1.1 0200 OK",
        b"HTTP/1.1 200.0 OK",
        b"HTTP/1.1 200OK",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1\t200 OK",
        b"HTTP/1.1 200\tOK",
        b"HTTP/1.1 OK 200",
        b"HTTP/1.1 OK",
        b"HTTP/1.1 ",
        b"HTTP/1.1",
        b"HTTP/1.2 200 OK",
        b"HTTP/1.10 200 OK",
        b"HTTP/2.0 200 OK",
        b"HTTP/2 200 OK",
        b"HTTP/0.9 200 OK",
        b"HTTP/3 200 OK",
        b"HTTP/11 200 OK",
        b"HTTP 200 OK",
        b"http/1.1 200 OK",
        b"HTTPS/1.1 200 OK",
        b"ICY 200 OK",
        b" HTTP/1.1 200 OK",
        b"GET / HTTP/1.1",
        b"200 OK",
        b"HTTP/1.1 200 O\x00K",
        b"HTTP/1.1 200 O\rK",
        b"HTTP/1.1 200 O\x7fK",
        b"HTTP/1.1 200 OK\r",
    ):
        yield bad(f"status line {line!r}", line + b"\r\n" + BODY)
    yield bad("an empty line first", b"\r\n" + GOOD)
    yield bad("a body only", b"<html>hello</html>\r\n\r\n")
    yield bad("a TLS alert", b"\x15\x03\x01\x00\x02\x02\x16")
    yield bad("HTTP/2 settings", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
    yield bad("zeros", bytes(100))
    yield bad("nothing", b"", "close")
    yield bad("nothing, reset", b"", "reset")
    yield bad("LF only", b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello")
    yield bad("LF behind a field", OK + b"X: y\n" + BODY)
    yield bad("LF as empty line", OK + b"Content-Length: 5\r\n\nhello")
    yield bad("CR in a value", OK + b"X: a\rb\r\n" + BODY)
    yield bad("CR CR LF", OK + b"X: y\r\r\n" + BODY)
    yield bad("NUL in a value", OK + b"X: a\x00b\r\n" + BODY)
    yield bad("NUL in a name", OK + b"X\x00Y: a\r\n" + BODY)
    yield bad("a space in a name", OK + b"X Y: a\r\n" + BODY)
    yield bad("a space before the colon", OK + b"X : a\r\n" + BODY)
    yield bad("a length with a space", OK + b"Content-Length : 5\r\n\r\nhello")
    yield bad("a coding with a tab", OK + b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n")
    yield bad("no colon", OK + b"X\r\n" + BODY)
    yield bad("no name", OK + b": x\r\n" + BODY)
    yield bad("high bytes in a name", OK + b"X\xe4: a\r\n" + BODY)
    yield bad("folded", OK + b"X: a\r\n b\r\n" + BODY)
    yield bad("folded by a tab", OK + b"X: a\r\n\tb\r\n" + BODY)
    yield bad("folded length", OK + b"Content-Length:\r\n 5\r\n\r\nhello")
    yield bad("first line folded", OK + b" X: a\r\n" + BODY)
    yield bad("1,001 fields", OK + b"".join(b"X-%d: y\r\n" % n for n in range(1001)) + BODY)
    yield bad("a head above the limit", OK + b"X: " + b"y" * 140000 + b"\r\n" + BODY)
    yield bad("a status line above the limit", b"HTTP/1.1 200 " + b"y" * 140000 + b"\r\n" + BODY)
    yield bad("an endless line", OK + b"X: " + b"y" * 1000000)
    yield bad("endless fields", OK + b"X: y\r\n" * 100000)
    yield bad("a head cut off", OK + b"Content-Length: 5\r\n", "close")


def interims():
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    go_on = b"HTTP/1.1 100 Continue\r\n\r\n"
    yield bad("101 nobody asked for", b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + GOOD)
    yield bad(
        "101 with an offer nobody made",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nbytes",
    )
    yield Row("100 nobody asked for", go_on + GOOD, Relay(), reuse=True)
    yield Row("ten times 100", go_on * 10 + GOOD, Relay(), reuse=True)
    yield Row("103", hints + GOOD, Relay(interim=(103,)), reuse=True)
    yield Row(
        "102 and 103",
        b"HTTP/1.1 102 P\r\n\r\n" + hints + GOOD,
        Relay(interim=(102, 103)),
        reuse=True,
    )
    yield Row(
        "103 without a reason", b"HTTP/1.1 103\r\n\r\n" + GOOD, Relay(interim=(103,)), reuse=True
    )
    yield Row("103 to 1.0", hints + GOOD, Relay(), version=b"HTTP/1.0", reuse=True)
    yield Row(
        "103 with a length",
        b"HTTP/1.1 103 H\r\nContent-Length: 0\r\n\r\n" + GOOD,
        Relay(interim=(103,)),
        reuse=True,
    )
    yield cut("103 with a body", b"HTTP/1.1 103 H\r\nContent-Length: 5\r\n\r\nhello" + GOOD)
    yield bad("100 with a body", b"HTTP/1.1 100 C\r\nContent-Length: 5\r\n\r\nhello" + GOOD)
    yield bad("a flood of 100", go_on * 40 + GOOD)
    yield cut("a flood of 103", hints * 200 + GOOD)
    yield bad("100 and nothing", go_on, "close")
    yield bad("100 and junk", go_on + b"junk\r\n\r\n")


def chunks():
    for body in (
        b"5\r\nhelloX\r\n0\r\n\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"5\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\rhello\r\n0\r\n\r\n",
        b"5\r\r\nhello\r\n0\r\n\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b" 5\r\nhello\r\n0\r\n\r\n",
        b"5 \r\nhello\r\n0\r\n\r\n",
        b"5h\r\nhello\r\n0\r\n\r\n",
        b"5_\r\nhello\r\n0\r\n\r\n",
        b"z\r\nhello\r\n0\r\n\r\n",
        b"\r\n5\r\nhello\r\n0\r\n\r\n",
        b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        b"10000000000000005\r\nhello\r\n0\r\n\r\n",
        b"5;a\nb\r\nhello\r\n0\r\n\r\n",
        b"5;a\rb\r\nhello\r\n0\r\n\r\n",
        b"5;\x00\r\nhello\r\n0\r\n\r\n",
        b"5;" + b"x" * 100000 + b"\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\nX y\r\n\r\n",
        b"5\r\nhello\r\n0\r\nX : y\r\n\r\n",
        b"5\r\nhello\r\n0\r\nX: y\n\r\n",
        b"5\r\nhello\r\n0\r\nX: \x00\r\n\r\n",
        b"5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n",
        b"5\r\nhello\r\n0\r\n" + b"X: y\r\n" * 20000 + b"\r\n",
        b"5\r\nhello\r\n0\n\r\n",
        b"5\r\nhello\r\n0\r\n\n",
        b"5\r\nhello\r\n-0\r\n\r\n",
        b"5\r\nhello\r\n" + EVIL,
        b"hello",
        EVIL,
    ):
        yield cut(f"chunks {body[:50]!r}", CHUNKED + body)
    yield Row("chunks", CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", Relay(framing="chunked"), reuse=True)
    yield Row(
        "single bytes",
        CHUNKED + b"".join(b"1\r\n%c\r\n" % c for c in b"hello") + b"0\r\n\r\n",
        Relay(),
        reuse=True,
    )
    yield Row("extensions", CHUNKED + b"5;a=\"b\"\r\nhello\r\n0;c\r\n\r\n", Relay(), reuse=True)
    yield Row("no chunks but the last", CHUNKED + b"0\r\n\r\n", Relay(body=b""), reuse=True)
    yield Row(
        "trailers",
        CHUNKED + b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nx-amz-checksum-crc32: 2\r\n\r\n",
        Relay(trailers=[(b"X-Sum", b"1"), (b"x-amz-checksum-crc32", b"2")]),
        reuse=True,
    )
    for name in (
        b"Content-Length",
        b"Transfer-Encoding",
        b"Content_Length",
        b"Connection",
        b"Set-Cookie",
        b"Location",
        b"Content-Type",
        b"Cache-Control",
        b"Access-Control-Allow-Origin",
        b"WWW-Authenticate",
        b"Trailer",
        b"Date",
    ):
        yield Row(
            f"trailer {name.decode()}",
            CHUNKED + b"5\r\nhello\r\n0\r\n" + name + b": 1\r\nX-Kept: 2\r\n\r\n",
            Relay(trailers=[(b"X-Kept", b"2")]),
            reuse=True,
        )
    yield Row(
        "chunks to 1.0",
        CHUNKED + b"5\r\nhello\r\n0\r\n\r\n",
        Relay(framing="close"),
        version=b"HTTP/1.0",
        reuse=True,
    )
    yield Row("bytes behind the last chunk", CHUNKED + b"5\r\nhello\r\n0\r\n\r\n" + EVIL, Relay())


def ends():
    """Ends of messages, and bytes after them."""
    yield Row("a length", GOOD, Relay(framing="length"), reuse=True)
    yield Row("a length of 0", OK + b"Content-Length: 0\r\n\r\n", Relay(body=b""), reuse=True)
    yield Row("bytes behind a length", GOOD + b"x", Relay())
    yield Row("an answer behind a length", GOOD + EVIL, Relay())
    yield Row("a line end behind a length", GOOD + b"\r\n", Relay())
    yield Row(
        "an answer behind a length of 0", OK + b"Content-Length: 0\r\n\r\n" + EVIL, Relay(body=b"")
    )
    yield Row("an answer a moment later", b"", Relay(), pieces=(GOOD, EVIL))
    yield Row("a byte a moment later", b"", Relay(), pieces=(GOOD, b"H"))
    yield Row("FIN behind a length", GOOD, Relay(), "close")
    yield Row("FIN and bytes behind a length", GOOD + EVIL, Relay(), "close")
    yield Row("until FIN", OK + b"\r\nhello", Relay(framing="chunked"), "close")
    yield Row("until FIN, empty", OK + b"\r\n", Relay(body=b""), "close")
    yield Row(
        "until FIN, to 1.0", OK + b"\r\nhello", Relay(framing="close"), "close", version=b"HTTP/1.0"
    )
    yield Row("until FIN, looks like an answer", OK + b"\r\n" + EVIL, Relay(body=EVIL), "close")
    yield cut("until a reset", OK + b"\r\nhello", "reset")
    yield cut("until a reset, to 1.0", OK + b"\r\nhello", "reset", version=b"HTTP/1.0")
    yield cut("short of the length", OK + b"Content-Length: 6\r\n\r\nhello")
    yield cut(
        "short of the length, to 1.0", OK + b"Content-Length: 6\r\n\r\nhello", version=b"HTTP/1.0"
    )
    yield cut("no byte of the length", OK + b"Content-Length: 6\r\n\r\n")
    yield cut("no last chunk", CHUNKED + b"5\r\nhello\r\n")
    yield cut("no last chunk, to 1.0", CHUNKED + b"5\r\nhello\r\n", version=b"HTTP/1.0")
    yield cut("no end of trailers", CHUNKED + b"5\r\nhello\r\n0\r\nX: y\r\n")
    yield Row(
        "Connection: close", OK + b"Connection: close\r\n" + BODY, Relay(absent=(b"connection",))
    )
    yield Row("close in a list", OK + b"Connection: x, Close\r\n" + BODY, Relay())
    yield Row(
        "keep-alive",
        OK + b"Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n" + BODY,
        Relay(absent=(b"connection", b"keep-alive")),
        reuse=True,
    )
    old = b"HTTP/1.0 200 OK\r\n"
    yield Row("1.0", old + BODY, Relay())
    yield Row("1.0 kept alive", old + b"Connection: keep-alive\r\n" + BODY, Relay(), reuse=True)
    yield Row(
        "1.0 kept alive, until FIN", old + b"Connection: keep-alive\r\n\r\nhello", Relay(), "close"
    )
    yield Row("1.0 until FIN", old + b"\r\nhello", Relay(), "close")
    yield cut("1.0 short of the length", old + b"Content-Length: 6\r\n\r\nhello", "close")
    yield cut("1.0 until a reset", old + b"\r\nhello", "reset")


def without_body():
    for status, reason in ((204, b"No Content"), (304, b"Not Modified")):
        line = b"HTTP/1.1 %d %s\r\n" % (status, reason)
        yield Row(f"{status}", line + b"ETag: x\r\n\r\n", Relay(status, b""), reuse=True)
        yield Row(
            f"{status} with a body", line + b"Content-Length: 5\r\n\r\nhello", Relay(status, b"")
        )
        yield Row(f"{status} and an answer", line + b"\r\n" + EVIL, Relay(status, b""))
        yield Row(
            f"{status} with a coding",
            line + b"Transfer-Encoding: chunked\r\n\r\n",
            Relay(status, b""),
            reuse=True,
        )
        yield Row(
            f"{status} with chunks",
            line + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            Relay(status, b""),
        )
        yield Row(f"{status} and FIN", line + b"\r\n", Relay(status, b""), "close")
    yield Row(
        "304 with a length",
        b"HTTP/1.1 304 N\r\nContent-Length: 5\r\n\r\n",
        Relay(304, b"", fields=[(b"Content-Length", b"5")]),
        reuse=True,
    )
    yield Row(
        "204 with a length of 0",
        b"HTTP/1.1 204 N\r\nContent-Length: 0\r\n\r\n",
        Relay(204, b"", absent=(b"content-length",)),
        reuse=True,
    )
    yield Row(
        "HEAD",
        OK + b"Content-Length: 5\r\n\r\n",
        Relay(body=b"", fields=[(b"Content-Length", b"5")]),
        method=b"HEAD",
        reuse=True,
    )
    yield Row("HEAD without a length", OK + b"\r\n", Relay(body=b""), method=b"HEAD", reuse=True)
    yield Row(
        "HEAD with a coding",
        OK + b"Transfer-Encoding: chunked\r\n\r\n",
        Relay(body=b""),
        method=b"HEAD",
        reuse=True,
    )
    yield Row("HEAD with a body", GOOD, Relay(body=b""), method=b"HEAD")
    yield Row(
        "HEAD with chunks", CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", Relay(body=b""), method=b"HEAD"
    )
    yield Row(
        "HEAD with a body a moment later",
        b"",
        Relay(body=b""),
        method=b"HEAD",
        pieces=(OK + b"Content-Length: 5\r\n\r\n", b"hello"),
    )
    yield Row(
        "HEAD and FIN", OK + b"Content-Length: 5\r\n\r\n", Relay(body=b""), "close", method=b"HEAD"
    )


# Framing fields that are invalid in an answer with a body, and the length that they still name.
ODD_FRAMING = (
    ("two lengths", b"Content-Length: 5\r\nContent-Length: 5\r\n", b"5"),
    ("a list of lengths", b"Content-Length: 5, 5\r\n", b"5"),
    ("lists of lengths", b"Content-Length: 5,5\r\nX: y\r\ncontent-length: 5 ,\t5\r\n", b"5"),
    ("two lengths of 0", b"Content-Length: 0\r\nContent-Length: 0\r\n", b"0"),
    ("different lengths", b"Content-Length: 5\r\nContent-Length: 6\r\n", None),
    ("a list of different lengths", b"Content-Length: 5, 6\r\n", None),
    ("a length and an empty one", b"Content-Length: 5\r\nContent-Length:\r\n", None),
    ("an empty length", b"Content-Length:\r\n", None),
    ("commas as length", b"Content-Length: ,,\r\n", None),
    ("abc as length", b"Content-Length: abc\r\n", None),
    ("-1 as length", b"Content-Length: -1\r\n", None),
    ("+5 as length", b"Content-Length: +5\r\n", None),
    ("05 as length", b"Content-Length: 05\r\n", None),
    ("0x5 as length", b"Content-Length: 0x5\r\n", None),
    ("2^63 as length", b"Content-Length: 9223372036854775808\r\n", None),
    ("a length with a control", b"Content-Length: 5\x0b\r\n", None),
    ("a coding with a control", b"Transfer-Encoding: \x01chunked\x0b\r\n", None),
    ("length and coding", b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", None),
    ("coding and length", b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", None),
    ("coding and odd length", b"Transfer-Encoding: chunked\r\nContent-Length: abc\r\n", None),
    ("two codings", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", None),
    ("coding gzip", b"Transfer-Encoding: gzip\r\n", None),
    ("coding identity", b"Transfer-Encoding: identity\r\n", None),
    ("coding gzip, chunked", b"Transfer-Encoding: gzip, chunked\r\n", None),
    ("no coding", b"Transfer-Encoding:\r\n", None),
    ("coding gzip and length", b"Content-Length: 5\r\nTransfer-Encoding: gzip\r\n", None),
    ("a name like length", b"Content_Length: 5\r\n", None),
    ("a name like coding", b"Transfer.Encoding: chunked\r\n", None),
    ("a name like length and length", b"Content_Length: 6\r\nContent-Length: 5\r\n", b"5"),
)


def odd_without_body():
    """No framing field frames an answer without a body (RFC 9112 §6.3 rule 1): it is relayed
    without misleading fields, and its connection is not reused."""
    absent = (b"transfer-encoding", b"transfer.encoding", b"content_length")
    answers = (
        ("HEAD", b"HEAD", 200),
        ("HEAD, 404", b"HEAD", 404),
        ("HEAD, 204", b"HEAD", 204),
        ("HEAD, 304", b"HEAD", 304),
        ("304", b"GET", 304),
        ("204", b"GET", 204),
        ("DELETE, 204", b"DELETE", 204),
    )
    for what, method, status in answers:
        line = b"HTTP/1.1 %d Said So\r\nETag: x\r\n" % status
        for name, fields, length in ODD_FRAMING:
            data = line + fields + b"\r\n"
            kept = [(b"ETag", b"x")]
            if b"X: y" in fields:
                kept.append((b"X", b"y"))
            if length and status != 204:
                kept.append((b"Content-Length", length))
            want = Relay(status, b"", b"Said So", kept, absent)
            yield Row(f"{what}: {name}", data, want, method=method)
            if name in ("two lengths", "length and coding", "abc as length"):
                yield Row(f"{what}: {name}, to 1.0", data, want, method=method, version=b"HTTP/1.0")
                yield Row(f"{what}: {name}, and an answer", data + EVIL, want, method=method)
                late = (data, EVIL)
                yield Row(f"{what}: {name}, later an answer", b"", want, method=method, pieces=late)
                yield Row(f"{what}: {name}, and FIN", data, want, "close", method=method)
        old = b"HTTP/1.0 %d Said So\r\nConnection: keep-alive\r\n" % status
        yield Row(
            f"{what}: coding on 1.0",
            old + b"Transfer-Encoding: chunked\r\n\r\n",
            Relay(status, b"", fields=[], absent=absent),
            method=method,
        )
        # Other faults make such a head malformed too.
        lines = b"Content-Length: 5\r\nContent-Length: 5\r\n"
        for name, more in (
            ("folded", b"X: a\r\n b\r\n"),
            ("folded length", b"Content-Length:\r\n 5\r\n"),
            ("a space before the colon", b"Content-Length : 5\r\n"),
            ("NUL in the length", b"Content-Length: 5\x00\r\n"),
            ("CR in the length", b"Content-Length: 5\r,5\r\n"),
            ("LF behind the length", b"Content-Length: 5\n"),
        ):
            yield bad(f"{what}: two lengths, {name}", line + lines + more + b"\r\n", method=method)


def odd_interims():
    """The same for interim answers."""
    for name, fields, _ in ODD_FRAMING:
        want = Relay(interim=(103,))
        yield Row(f"103: {name}", b"HTTP/1.1 103 H\r\n" + fields + b"\r\n" + GOOD, want)
    lines = b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    yield Row("100 nobody asked for, oddly framed", b"HTTP/1.1 100 C\r\n" + lines + GOOD, Relay())
    yield bad("101 nobody asked for, oddly framed", b"HTTP/1.1 101 S\r\n" + lines + GOOD)
    yield cut("103 with odd framing and a body", b"HTTP/1.1 103 H\r\n" + lines + b"hello" + GOOD)


def controls():
    """A control byte in a value becomes a space. Bytes that other readers take for an end, and
    controls in names, are refused."""

    def value(name, sent, got, data=BODY, **more):
        fields = [(b"X", got), (b"Content-Length", b"5")]
        head = OK + b"X: " + sent + b"\r\n"
        return Row(name, head + data, Relay(fields=fields), reuse=True, **more)

    for byte in (*range(0x01, 0x09), 0x0B, 0x0C, *range(0x0E, 0x20), 0x7F):
        c = bytes([byte])
        yield value(f"{c!r} in a value", b"a" + c + b"b", b"a b")
        yield value(f"{c!r} around a value", c + b"a b" + c, b"a b")
        yield bad(f"{c!r} in a name", OK + b"X" + c + b"Y: a\r\n" + BODY)
        yield bad(f"{c!r} before a name", OK + b"Y: a" + c + b"\r\n" + c + b"X: a\r\n" + BODY)
        yield bad(f"{c!r} before the colon", OK + b"X" + c + b": a\r\n" + BODY)
        yield bad(f"{c!r} in a reason", b"HTTP/1.1 200 O" + c + b"K\r\n" + BODY)
        yield bad(f"{c!r} in a length", OK + b"Content-Length: 5" + c + b"\r\n\r\nhello")
        yield bad(f"{c!r} before a length", OK + b"Content-Length:" + c + b"5\r\n\r\nhello")
        coding = b"Transfer-Encoding:" + c + b"chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        yield bad(f"{c!r} before a coding", OK + coding)
        yield cut(f"{c!r} in an extension", CHUNKED + b"5;a" + c + b"\r\nhello\r\n0\r\n\r\n")
        chunks_and = CHUNKED + b"5\r\nhello\r\n0\r\n"
        yield Row(
            f"{c!r} in a trailer",
            chunks_and + b"X-Sum: a" + c + b"b\r\n\r\n",
            Relay(trailers=[(b"X-Sum", b"a b")]),
            reuse=True,
        )
        yield cut(f"{c!r} in a trailer's name", chunks_and + b"X" + c + b": a\r\n\r\n")
        yield Row(
            f"{c!r} in a 103",
            b"HTTP/1.1 103 H\r\nLink: " + c + b"a\r\n\r\n" + GOOD,
            Relay(interim=(103,)),
            reuse=True,
        )
    yield value("a value of controls", b"\x08\x7f\x01", b"")
    many = 60000
    yield value("60,000 controls", b"a" + b"\x01" * many + b"b", b"a" + b" " * many + b"b")
    yield value("a control to 1.0", b"a\x01b", b"a b", version=b"HTTP/1.0")
    yield Row(
        "a control to HEAD",
        OK + b"x-amz-meta-a: b\x1b[31m\xc3\xa4\r\nContent-Length: 5\r\n\r\n",
        Relay(body=b"", fields=[(b"x-amz-meta-a", b"b [31m\xc3\xa4"), (b"Content-Length", b"5")]),
        method=b"HEAD",
        reuse=True,
    )
    yield Row(
        "controls in many fields",
        OK + b"".join(b"X-%d: a\x01\r\n" % n for n in range(900)) + BODY,
        Relay(),
        reuse=True,
    )
    yield Row(
        "a control behind close",
        OK + b"Connection: close\x01\r\n" + BODY,
        Relay(absent=(b"connection",)),
    )
    yield Row(
        "a control in a trailer to 1.0",
        CHUNKED + b"0\r\nX: \x01\r\n\r\n",
        Relay(body=b""),
        version=b"HTTP/1.0",
        reuse=True,
    )
    for name, lines in (
        ("NUL", b"X: a\x00\r\n"),
        ("CR", b"X: a\rb\r\n"),
        ("CR at the end", b"X: a\r\r\n"),
        ("LF", b"X: a\nb: c\r\n"),
        ("a fold", b"X: a\r\n b\r\n"),
        ("no colon", b"X\r\n"),
    ):
        yield bad(f"a control and then {name}", OK + b"Y: \x01\r\n" + lines + BODY)
        yield bad(f"{name} and then a control", OK + lines + b"Y: \x01\r\n" + BODY)
    yield bad("a control and NUL in one value", OK + b"X: \x01\x00\r\n" + BODY)
    yield bad("a control and CR in one value", OK + b"X: \x01\ra\r\n" + BODY)


def relayed():
    """Answers that must pass unchanged."""
    for status in (
        200,
        201,
        202,
        206,
        226,
        299,
        301,
        307,
        400,
        403,
        404,
        409,
        412,
        416,
        418,
        429,
        499,
        501,
        505,
        599,
    ):
        line = b"HTTP/1.1 %d Because of it\r\n" % status
        yield Row(
            f"status {status}", line + BODY, Relay(status, reason=b"Because of it"), reuse=True
        )
    for reason in (b"", b" ", b"  \t"):
        yield Row(
            f"reason {reason!r}",
            b"HTTP/1.1 403 " + reason + b"\r\n" + BODY,
            Relay(403, reason=b"Forbidden"),
            reuse=True,
        )
    yield Row(
        "no reason, no space",
        b"HTTP/1.1 403\r\n" + BODY,
        Relay(403, reason=b"Forbidden"),
        reuse=True,
    )
    yield Row(
        "an unknown status without a reason", b"HTTP/1.1 298 \r\n" + BODY, Relay(298), reuse=True
    )
    yield Row(
        "a reason of high bytes",
        b"HTTP/1.1 200 \xc3\xa4\xff ok\r\n" + BODY,
        Relay(reason=b"\xc3\xa4\xff ok"),
        reuse=True,
    )
    fields = [
        (b"x-Amz-Request-Id", b"A"),
        (b"ETag", b"\"x\""),
        (b"Set-Cookie", b"a=b"),
        (b"set-cookie", b"c=d"),
        (b"X-Empty", b""),
        (b"X-High", b"\xc3\xa4\xff"),
        (b"x_under.score", b"a  b\tc"),
        (b"Content-Length", b"5"),
        (b"Via", b"1.1 x"),
    ]
    head = b"".join(name + b": " + value + b"\r\n" for name, value in fields)
    yield Row("all fields in order", OK + head + b"\r\nhello", Relay(fields=fields), reuse=True)
    yield Row(
        "hop-by-hop fields",
        OK
        + b"Connection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: 1\r\nProxy-Connection: x\r\n"
        b"Upgrade: h2c\r\nTE: x\r\nProxy-Authenticate: Basic\r\n" + BODY,
        Relay(
            fields=[(b"Content-Length", b"5")],
            absent=(
                b"x-hop",
                b"keep-alive",
                b"proxy-connection",
                b"upgrade",
                b"te",
                b"proxy-authenticate",
            ),
        ),
        reuse=True,
    )
    yield Row(
        "nominated framing",
        OK + b"Connection: content-length, etag, set-cookie\r\nETag: x\r\nSet-Cookie: y\r\n" + BODY,
        Relay(fields=[(b"ETag", b"x"), (b"Set-Cookie", b"y"), (b"Content-Length", b"5")]),
        reuse=True,
    )
    yield Row("a head of 64 KiB", OK + b"X: " + b"y" * 65536 + b"\r\n" + BODY, Relay(), reuse=True)
    yield Row(
        "a head of 120 KiB", OK + b"X: " + b"y" * 122880 + b"\r\n" + BODY, Relay(), reuse=True
    )
    yield Row(
        "990 fields",
        OK + b"".join(b"X-%d: y\r\n" % n for n in range(990)) + BODY,
        Relay(),
        reuse=True,
    )
    yield Row(
        "white space around the length",
        OK + b"Content-Length:\t5 \t\r\n\r\nhello",
        Relay(),
        reuse=True,
    )
    yield Row(
        "coding in capitals",
        OK + b"TRANSFER-ENCODING: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        Relay(),
        reuse=True,
    )
    long = b"0123456789abcdef" * 65536
    yield Row(
        "1 MiB", OK + b"Content-Length: %d\r\n\r\n" % len(long) + long, Relay(body=long), reuse=True
    )
    yield Row(
        "1 MiB and a byte",
        OK + b"Content-Length: %d\r\n\r\n" % len(long) + long + b"x",
        Relay(body=long),
    )
    yield cut("1 MiB short of a byte", OK + b"Content-Length: %d\r\n\r\n" % len(long) + long[1:])


GROUPS = (
    lengths,
    heads,
    interims,
    chunks,
    ends,
    without_body,
    odd_without_body,
    odd_interims,
    controls,
    relayed,
)

# Whole messages for every split and every early end.
SAMPLES = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\nX-A: b\r\n\r\nhello world",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"6;x\r\nhello \r\n5\r\nworld\r\n0\r\nX-T: y\r\n\r\n",
    "close": b"HTTP/1.1 200 OK\r\nX-A: b\r\n\r\nhello world",
    "controls": b"HTTP/1.1 200 OK\r\nX-A: b\x01\x7f\r\nContent-Length: 11\r\n\r\nhello world",
}
