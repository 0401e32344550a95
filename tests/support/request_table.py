"""Requests as attackers, odd clients and broken software send them, and what must become of each.

Two verdicts only. Refuse: an answer of the 4xx class and the end of the connection; no byte
upstream. Forward: the backend sees exactly the messages named here, and a request sent behind them
is the next message. Each row says which; nothing depends on the order of rows.

Sources: RFC 9110 and 9112, published work on request smuggling (differing lengths, hidden codings,
chunk extensions and line ends, absolute targets, expectations), and what S3 clients really send.
"""

import dataclasses

CRLF = b"\r\n"


@dataclasses.dataclass
class Expected:
    """A message as the backend must see it; `fields` without the three that s3gate adds."""

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
    closes: bool = False  # the connection ends behind them: a following request is not served


@dataclasses.dataclass
class Case:
    name: str
    data: bytes
    want: object
    # False: too long for one read, so that a faulty body may be found only when its head is gone.
    at_once: bool = True
    cuts: tuple = ()  # offsets worth splitting at, beside the obvious ones
    # Where the bytes begin that nobody may send: those behind a request that ends its connection.
    served: int | None = None


# Never crosses s3gate; Transfer-Encoding is written anew, at the end.
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
    """What must arrive of a request made of these lines."""
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
    """`body` is the payload; `sent` its bytes on the wire where they differ."""
    data = before + raw(line, *fields, host=host, body=body if sent is None else sent)
    want = Forward([expected_of(line, fields, host, body, **more)], closes)
    return Case(name, data, want, cuts=(len(before) + 1,) if before else ())


def ambiguities():
    """Every row of docs/security.md, "Requests that are refused"."""
    length, coding = b"Content-Length: 3", b"Transfer-Encoding: chunked"
    yield refuse("CL.TE", put(b"Content-Length: 5", coding, body=b"0\r\n\r\n"))
    yield refuse("TE.CL", put(coding, b"Content-Length: 4", body=b"1\r\nZ\r\n0\r\n\r\n"))
    yield refuse("CL.0", put(b"Content-Length: 0", coding, body=b""))
    yield refuse("TE.TE with identity", put(coding, b"Transfer-Encoding: identity"))
    yield refuse("TE.TE with x", put(coding, b"Transfer-encoding: x"))
    yield refuse("equal lengths", put(length, length))
    yield refuse("different lengths", put(length, b"Content-Length: 0"))
    yield refuse("length list", put(b"Content-Length: 3, 3"))
    yield refuse("length list without spaces", put(b"Content-Length: 3,3"))
    yield refuse("length list of one", put(b"Content-Length: 3,"))
    yield refuse("length list with empty head", put(b"Content-Length: ,3"))
    for value in (
        b"",
        b"-1",
        b"-0",
        b"+3",
        b"0x3",
        b"0X3",
        b"0o3",
        b"0b11",
        b"3.0",
        b"3e0",
        b"3_0",
        b"1_0",
        b"3 3",
        b"3\x0b",
        b"\x0b3",
        b"3\x0c",
        b"3\xa0",
        b"\xc2\xa03",
        b"3;",
        b"\"3\"",
        b"'3'",
        b"(3)",
        b"3h",
        b"h3",
        b"03",
        b"00",
        b"9223372036854775808",
        b"18446744073709551616",
        b"18446744073709551619",
        b"340282366920938463463374607431768211459",
        b"\xd9\xa3",
        b"\xef\xbc\x93",
        b"NaN",
        b"Infinity",
        b"3\x00",
        b"3\t4",
    ):
        yield refuse(f"length {value!r}", put(b"Content-Length: " + value))
    for value in (
        b"",
        b"identity",
        b"gzip",
        b"gzip, chunked",
        b"chunked, gzip",
        b"chunked, chunked",
        b"chunked,",
        b",chunked",
        b"chunked, identity",
        b"identity, chunked",
        b"xchunked",
        b"chunkedx",
        b"chunked;q=1",
        b"chunked ;",
        b"\"chunked\"",
        b"'chunked'",
        b"chun\tked",
        b"chunked\x0b",
        b"\x0bchunked",
        b"chunked\x0c",
        b"chunked\x00",
        b"chunked\x7f",
        b"chunked\xa0",
        b"\xe2\x80\x8bchunked",
        b"c\xc4\xb1hunked",
        b"chun\xc4\xb1ked",
        b"chunKed\xe2\x84\xaa",
        b"chu\xe2\x84\xaaed",
        b"chunked\\",
        b"\\chunked",
        b"chunked#",
        b"chunked:",
        b": chunked",
        b"trailers",
        b"null",
        b"1",
    ):
        data = put(b"Transfer-Encoding: " + value, body=b"3\r\nabc\r\n0\r\n\r\n")
        yield refuse(f"coding {value!r}", data)
    yield refuse("coding on 1.0", raw(b"PUT /t HTTP/1.0", coding, body=b"0\r\n\r\n"))
    yield refuse(
        "coding on 1.0 kept alive",
        raw(b"PUT /t HTTP/1.0", coding, b"Connection: keep-alive", body=b"0\r\n\r\n"),
    )
    yield refuse("coding on GET 1.0", raw(b"GET /t HTTP/1.0", coding, body=b"0\r\n\r\n"))
    yield refuse("both on 1.0", raw(b"PUT /t HTTP/1.0", coding, length, body=b"abc"))
    yield refuse("folded length", put(b"Content-Length:\r\n 3"))
    yield refuse("folded coding", put(b"Transfer-Encoding:\r\n chunked", body=b"0\r\n\r\n"))
    yield refuse("coding behind a fold", put(b"X: y\r\n Transfer-Encoding: chunked", length))
    yield refuse("folded first line", b"GET /t HTTP/1.1\r\n Host: a\r\n\r\n")
    yield refuse("folded by a tab", get(b"X: y\r\n\tz"))
    yield refuse("folded empty line", get(b"X: y\r\n "))


def lookalikes():
    for name in (
        b"Content_Length",
        b"content_length",
        b"Content.Length",
        b"Content-Length-",
        b"-Content-Length",
        b"Content--Length",
        b"ContentLength",
        b"Content~Length",
        b"Content-Length'",
        b"Content-Length ",
        b"Content-Length\t",
        b" Content-Length",
        b"Content-Length\x0b",
        b"Content-Length\x00",
        b"\x00Content-Length",
        b"Content Length",
        b"Content\x00Length",
        b"Content-Length\xa0",
        b"\xef\xbb\xbfContent-Length",
        b"C\xd0\xbentent-Length",
        b"Content\xe2\x80\x90Length",
        b"\"Content-Length\"",
        b"Content-Length\\",
    ):
        yield refuse(f"name {name!r}", put(name + b": 3"))
    for name in (
        b"Transfer_Encoding",
        b"TRANSFER_ENCODING",
        b"Transfer.Encoding",
        b"Transfer-Encoding_",
        b"Transfer--Encoding",
        b"TransferEncoding",
        b"*Transfer-Encoding",
        b"Transfer-Encoding ",
        b"Transfer-Encoding\t",
        b"\tTransfer-Encoding",
        b"Transfer-Encoding\x0b",
        b"Transfer-Encoding\x1f",
        b"Transfer Encoding",
        b"Transfer-\x00Encoding",
        b"Transfer-Encoding\xc2\xa0",
        b"Tran\xc5\xbffer-Encoding",
        b"Transfer-Encoding;",
        b"[Transfer-Encoding]",
    ):
        yield refuse(f"name {name!r}", put(name + b": chunked", b"Content-Length: 3"))
    yield refuse("Host with a space", b"GET /t HTTP/1.1\r\nHost : a\r\n\r\n")
    yield refuse("second Host with a space", get(b"Host : b"))
    yield refuse("second Host folded in", get(b" Host: b"))
    yield refuse("Host in other case", get(b"hOST: b"))
    # Names that a CGI-like server cannot tell from the fields s3gate adds are removed like these.
    for name in (b"X_Forwarded_For", b"X_REAL_IP", b"x-forwarded_proto", b"X.Forwarded.For"):
        yield forward(
            f"forged {name!r}",
            b"GET /t HTTP/1.1",
            name + b": 10.0.0.1",
            b"X-Kept_As-Is: 1",
            gone=(name.lower(),),
        )


def line_ends():
    yield refuse("LF only", b"GET /t HTTP/1.1\nHost: a\n\n")
    yield refuse("LF behind the request line", b"GET /t HTTP/1.1\nHost: a\r\n\r\n")
    yield refuse("LF behind a field", b"GET /t HTTP/1.1\r\nHost: a\nX: y\r\n\r\n")
    yield refuse("LF as empty line", b"GET /t HTTP/1.1\r\nHost: a\r\n\n")
    yield refuse("LF LF CR", b"GET /t HTTP/1.1\r\nHost: a\n\n\r")
    yield refuse("LF CR", b"GET /t HTTP/1.1\n\rHost: a\n\r\n\r")
    yield refuse("CR only", b"GET /t HTTP/1.1\rHost: a\r\r\n")
    yield refuse("CR CR LF", b"GET /t HTTP/1.1\r\r\nHost: a\r\n\r\n")
    yield refuse("CR CR LF behind a field", b"GET /t HTTP/1.1\r\nHost: a\r\r\n\r\n")
    yield refuse("CR CR LF as empty line", b"GET /t HTTP/1.1\r\nHost: a\r\n\r\r\n")
    yield refuse("CR in a value", get(b"X: a\rb"))
    yield refuse("CR begins a value", get(b"X:\ra"))
    yield refuse("CR hides a length", put(b"X: a\rContent-Length: 3"))
    yield refuse(
        "LF hides a coding", put(b"X: a\nTransfer-Encoding: chunked", b"Content-Length: 3")
    )
    yield refuse("CR in a name", get(b"X\rY: a"))
    yield refuse("CR before the colon", put(b"Content-Length\r: 3"))
    yield refuse("CR in the target", b"GET /t\rx HTTP/1.1\r\nHost: a\r\n\r\n")
    yield refuse("CR in the method", b"G\rET /t HTTP/1.1\r\nHost: a\r\n\r\n")
    yield refuse("CR first", b"\rGET /t HTTP/1.1\r\nHost: a\r\n\r\n")
    yield refuse("LF first", b"\nGET /t HTTP/1.1\r\nHost: a\r\n\r\n")
    yield refuse("NEL as line end", get(b"X: a\x85\r\n\x85Y: b"))
    yield refuse("vertical tab as line end", get(b"X: a\x0bContent-Length: 3"))
    yield refuse("form feed as line end", get(b"X: a\x0cContent-Length: 3"))
    yield refuse("line of spaces", get(b"  "))
    yield refuse("many empty lines", CRLF * 20 + get())
    yield refuse("empty line with a space", b" \r\n" + get())
    yield forward("one empty line first", before=CRLF)
    yield forward("two empty lines first", before=CRLF * 2)


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


def start_lines():
    for line in (
        b"GET  /t HTTP/1.1",
        b"GET /t  HTTP/1.1",
        b"GET\t/t HTTP/1.1",
        b"GET /t\tHTTP/1.1",
        b" GET /t HTTP/1.1",
        b"GET /t HTTP/1.1 ",
        b"GET /t HTTP/1.1\t",
        b"GET /t",
        b"GET",
        b"GET /t HTTP/1.1 HTTP/1.1",
        b"GET /t /u HTTP/1.1",
        b"GET /t http/1.1",
        b"GET /t HTTP/1.2",
        b"GET /t HTTP/1.10",
        b"GET /t HTTP/1.01",
        b"GET /t HTTP/01.1",
        b"GET /t HTTP/1,1",
        b"GET /t HTTP/1",
        b"GET /t HTTP/11",
        b"GET /t HTTP/0.9",
        b"GET /t HTTP/2",
        b"GET /t HTTP/2.0",
        b"GET /t HTTP/3.0",
        b"GET /t HTTP/1.1;x",
        b"GET /t HTTP/1.\xb2",
        b"GET /t HTTP\\1.1",
        b"GET /t RTSP/1.0",
        b"GET /t ICAP/1.0",
        b"GET /t HTTP/1.1\x00",
        b"G\x00T /t HTTP/1.1",
        b"G(T /t HTTP/1.1",
        b"G\xc3\x8bT /t HTTP/1.1",
        b"G:T /t HTTP/1.1",
        b"G=T /t HTTP/1.1",
        b"\"GET\" /t HTTP/1.1",
        b"GET, /t HTTP/1.1",
        b"{GET} /t HTTP/1.1",
        b"GET\xa0/t HTTP/1.1",
        b"GET /t\xa0HTTP/1.1",
        b"HTTP/1.1 200 OK",
        b"PRI * HTTP/2.0",
        b"CONNECT a:443 HTTP/1.1",
        b"CONNECT /t HTTP/1.1",
    ):
        yield refuse(f"request line {line!r}", raw(line))
    for method in (
        b"GET",
        b"DELETE",
        b"PATCH",
        b"REPORT",
        b"TRACE",
        b"get",
        b"M-SEARCH",
        b"A!#$%&'*+.^_`|~9",
    ):
        yield forward(f"method {method!r}", method + b" /t HTTP/1.1")
    yield forward("a method of 2,000 bytes", b"M" * 2000 + b" /t HTTP/1.1")
    yield refuse("HTTP/0.9", b"GET /t\r\n\r\n")
    yield refuse("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00")
    yield refuse(
        "TLS hello", bytes.fromhex("16030100c8010000c40303") + bytes(64) + b"\r\n\r\n" + bytes(64)
    )
    yield refuse("SSL 2 hello", bytes.fromhex("802e0103010015000000") + bytes(36))
    yield refuse("PROXY version 1", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + get())
    yield refuse("PROXY version 2", b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12) + get())
    yield refuse("zeros", bytes(64))
    yield refuse("junk", bytes(range(128, 256)) + b"\r\n\r\n")
    yield refuse("SSH", b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    yield refuse("SMTP", b"EHLO a\r\nMAIL FROM:<a@b>\r\n\r\n")
    yield refuse("Redis", b"*1\r\n$4\r\nPING\r\n\r\n")
    yield refuse("FastCGI", b"\x01\x01\x00\x01\x00\x08\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00")


def targets():
    for target in (
        b"/",
        b"//",
        b"//a//b//",
        b"/../x",
        b"/a/./b/../c",
        b"/%00",
        b"/%0d%0aX:%20y",
        b"/%2f%2F%2e%2E",
        b"/%",
        b"/%zz%1",
        b"/a|b{c}d\"e<f>g\\h^i`j",
        b"/a;b=c,d@e:f!$&'()*+~",
        b"/\xc3\xa4\xff\x80",
        b"/?",
        b"/??a=?b",
        b"/t?a=1&a=2&A=%20+&=&&b",
        b"/t?x=http://b/",
        b"//b/t",
        b"/http://b/",
        b"/@b",
        b"/t?[::1]",
        b"/b/k?X-Amz-Signature=0&uploadId=2~x&partNumber=1",
        b"/%E0%A4%A",
        b"/+%2B%20",
    ):
        yield forward(f"target {target!r}", b"GET " + target + b" HTTP/1.1")
    yield forward("a target of 32 KiB", b"GET /" + b"x" * 32767 + b" HTTP/1.1")
    yield forward("an argument of 32 KiB", b"GET /t?a=" + b"y" * 32768 + b" HTTP/1.1")
    for target in (
        b"t",
        b"t/u",
        b"?a=b",
        b"a:80",
        b"@a",
        b"\\t",
        b"%2ft",
        b"../t",
        b"*",
        b"*?x",
        b"**",
        b"/*\x00",
        b"/t#f",
        b"#",
        b"/t?a#b",
        b"/t\x01",
        b"/t\x7f",
        b"/t u",
        b"/t\x0bu",
        b"http:/a/t",
        b"http:a/t",
        b"http:///t",
        b"http://",
        b"http://?x",
        b"://a/t",
        b"//a:80:90/ HTTP/1.1 x",
        b"ftp://a/t",
        b"ws://a/t",
        b"file:///etc/passwd",
        b"http://b/t",
        b"http://a.b/t",
        b"http://a.:80/t",
        b"http://a:81/t",
        b"http://a:080/t",
        b"http://a:443/t",
        b"https://a:80/t",
        b"http://a:80:80/t",
        b"http://a:x/t",
        b"http://u@a/t",
        b"http://u:p@a/t",
        b"http://a@b/t",
        b"http://a\\b/t",
        b"http://a%2f/t",
        b"http://[::1]/t",
        b"http://a,a/t",
        b"http://a#/t",
        b"http://a;/t",
    ):
        yield refuse(f"target {target!r}", raw(b"GET " + target + b" HTTP/1.1"))
    yield refuse("asterisk for PUT", raw(b"PUT * HTTP/1.1", b"Content-Length: 3", body=b"abc"))
    yield refuse("asterisk with more", raw(b"OPTIONS *x HTTP/1.1"))
    yield refuse("OPTIONS without slash", raw(b"OPTIONS t HTTP/1.1"))
    yield refuse("absolute without Host", raw(b"GET http://a/t HTTP/1.1", host=None))
    yield refuse("absolute without Host on 1.0", raw(b"GET http://a/t HTTP/1.0", host=None))
    for target, host, sent in (
        (b"http://a/t", b"a", b"/t"),
        (b"http://a", b"a", b"/"),
        (b"http://a/", b"a", b"/"),
        (b"http://a?q", b"a", b"/?q"),
        (b"http://a/?q=/../", b"a", b"/?q=/../"),
        (b"http://a//t", b"a", b"//t"),
        (b"http://a/http://b/", b"a", b"/http://b/"),
        (b"HTTP://a/t", b"a", b"/t"),
        (b"hTtP://A/T", b"a", b"/T"),
        (b"http://a/t", b"A", b"/t"),
        (b"http://a:80/t", b"a", b"/t"),
        (b"http://a/t", b"a:80", b"/t"),
        (b"http://a:/t", b"a", b"/t"),
        (b"http://a/t", b"a:", b"/t"),
        (b"http://A:80", b"a:", b"/"),
        (b"https://a/t", b"a:443", b"/t"),
        (b"https://a:443/t", b"a", b"/t"),
        (b"http://a:9000/t", b"a:9000", b"/t"),
        (b"http://a:9000/t", b"A:9000", b"/t"),
        (b"http://[::1]:80/t", b"[::1]", b"/t"),
        (b"http://[::1]:9000/t", b"[::1]:9000", b"/t"),
        (b"http://127.0.0.1:9000/t", b"127.0.0.1:9000", b"/t"),
        (b"http://a_b.c-d/t", b"a_b.c-d", b"/t"),
    ):
        yield forward(
            f"absolute {target!r} to {host!r}",
            b"GET " + target + b" HTTP/1.1",
            host=host,
            target=sent,
        )
    yield forward("asterisk", b"OPTIONS * HTTP/1.1")
    yield forward("OPTIONS of an authority", b"OPTIONS http://a HTTP/1.1", target=b"*")
    yield forward("OPTIONS of a default port", b"OPTIONS http://a:80 HTTP/1.1", target=b"*")
    yield forward("OPTIONS of a root", b"OPTIONS http://a/ HTTP/1.1", target=b"/")
    yield forward("OPTIONS of a query", b"OPTIONS http://a?x HTTP/1.1", target=b"/?x")
    yield forward(
        "preflight",
        b"OPTIONS /b/k HTTP/1.1",
        b"Origin: https://c",
        b"Access-Control-Request-Method: PUT",
    )


def hosts():
    for host in (
        b"",
        b" ",
        b"u@a",
        b"u:p@a",
        b"a b",
        b"a\tb",
        b"a,b",
        b"a, a",
        b"a/",
        b"a/b",
        b"a?b",
        b"a#b",
        b"a\\b",
        b"http://a",
        b"a:b",
        b"a:80:80",
        b"a:-1",
        b"a:+80",
        b"a: 80",
        b"a :80",
        b"a:8 0",
        b"a:99999",
        b"a:65536",
        b"a:000080",
        b"a:0x50",
        b"a:80x",
        b":80",
        b":",
        b"[::1",
        b"::1",
        b"::1]",
        b"[::1]80",
        b"[::1]x",
        b"[::g]",
        b"[]",
        b"[a]",
        b"[1.2.3.4]",
        b"[::1%25eth0]",
        b"[::1]]",
        b"[[::1]]",
        b"a\x00",
        b"a\xc3\xa4",
        b"a\"",
        b"<a>",
        b"a^",
        b"a|b",
        b"{a}",
        b"a%",
        b"a%4",
        b"a%zz",
        b"*/",
        b"a;@b",
    ):
        yield refuse(f"Host {host!r}", get(host=host))
    yield refuse("no Host", get(host=None))
    yield refuse("no Host, with a body", put(b"Content-Length: 3", host=None))
    yield refuse("the same Host twice", get(b"Host: a"))
    yield refuse("two Hosts", get(b"Host: b"))
    yield refuse("a second Host at the end", get(b"X: y", b"host: b"))
    yield refuse("a second, empty Host", get(b"Host:"))
    yield refuse("two Hosts on 1.0", raw(b"GET /t HTTP/1.0", b"Host: b"))
    yield refuse("an empty Host on 1.0", raw(b"GET /t HTTP/1.0", host=b""))
    for host in (
        b"a:0",
        b"a:65535",
        b"a:",
        b"A.Example.COM",
        b"a.",
        b"a_b",
        b"bucket.s3.local:9000",
        b"1.2.3.4",
        b"1.2.3.4:80",
        b"[::1]",
        b"[::ffff:1.2.3.4]:9000",
        b"[2001:DB8::1]:80",
        b"a%20b",
        b"xn--bcher-kva.example",
        b"a!$&'()*+;=b",
        b"-",
        b"\ta \t",
    ):
        yield forward(f"Host {host!r}", host=host)


def bodies():
    for method in (b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"POST", b"PUT", b"PATCH", b"TRACE"):
        line = method + b" /t HTTP/1.1"
        yield forward(f"{method.decode()} with a length", line, b"Content-Length: 3", body=b"abc")
        yield forward(
            f"{method.decode()} with chunks",
            line,
            b"Transfer-Encoding: chunked",
            body=b"abc",
            sent=b"3\r\nabc\r\n0\r\n\r\n",
        )
    yield forward("a length of 0", b"PUT /t HTTP/1.1", b"Content-Length: 0")
    yield forward("POST without a body", b"POST /t HTTP/1.1")
    hidden = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
    yield forward(
        "a request as body",
        b"PUT /t HTTP/1.1",
        b"Content-Length: %d" % len(hidden),
        body=hidden,
    )
    yield forward(
        "a request as chunk",
        b"PUT /t HTTP/1.1",
        b"Transfer-Encoding: chunked",
        body=hidden,
        sent=b"%X\r\n%s\r\n0\r\n\r\n" % (len(hidden), hidden),
    )
    yield forward("a body of line ends", b"PUT /t HTTP/1.1", b"Content-Length: 8", body=CRLF * 4)
    yield forward("a body of zeros", b"PUT /t HTTP/1.1", b"Content-Length: 9", body=bytes(9))
    yield forward(
        "a last chunk as body", b"PUT /t HTTP/1.1", b"Content-Length: 5", body=b"0\r\n\r\n"
    )
    yield forward(
        "aws-chunked",
        b"PUT /t HTTP/1.1",
        b"Content-Encoding: aws-chunked",
        b"x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        b"x-amz-decoded-content-length: 3",
        b"x-amz-trailer: x-amz-checksum-crc32",
        b"Content-Length: 42",
        body=b"3\r\nabc\r\n0\r\nx-amz-checksum-crc32:NSRBwg==\r\n",
    )
    for coding in (b"Chunked", b"CHUNKED", b" chunked ", b"\tchunked\t"):
        yield forward(
            f"coding {coding!r}",
            b"PUT /t HTTP/1.1",
            b"Transfer-Encoding:" + coding,
            body=b"abc",
            sent=b"3\r\nabc\r\n0\r\n\r\n",
        )
    yield forward(
        "coding in capitals", b"PUT /t HTTP/1.1", b"TRANSFER-ENCODING: chunked", sent=b"0\r\n\r\n"
    )
    yield forward("length in capitals", b"PUT /t HTTP/1.1", b"CONTENT-LENGTH:3", body=b"abc")


def chunk_faults():
    hidden = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
    for body in (
        b"+3\r\nabc\r\n0\r\n\r\n",
        b"-3\r\nabc\r\n0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"0X3\r\nabc\r\n0\r\n\r\n",
        b"3_0\r\nabc\r\n0\r\n\r\n",
        b"\"3\"\r\nabc\r\n0\r\n\r\n",
        b"3h\r\nabc\r\n0\r\n\r\n",
        b"g\r\nabc\r\n0\r\n\r\n",
        b"3.0\r\nabc\r\n0\r\n\r\n",
        b"3,\r\nabc\r\n0\r\n\r\n",
        b" 3\r\nabc\r\n0\r\n\r\n",
        b"\t3\r\nabc\r\n0\r\n\r\n",
        b"3 \r\nabc\r\n0\r\n\r\n",
        b"3\t\r\nabc\r\n0\r\n\r\n",
        b"3 ;a\r\nabc\r\n0\r\n\r\n",
        b"3\x0b\r\nabc\r\n0\r\n\r\n",
        b"3\x00\r\nabc\r\n0\r\n\r\n",
        b"3\xa0\r\nabc\r\n0\r\n\r\n",
        b"\xef\xbc\x93\r\nabc\r\n0\r\n\r\n",
        b";a\r\nabc\r\n0\r\n\r\n",
        b"\r\nabc\r\n0\r\n\r\n",
        b"\r\n3\r\nabc\r\n0\r\n\r\n",
        b"10000000000000003\r\nabc\r\n0\r\n\r\n",
        b"ffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        b"fffffffffffffffd\r\nabc\r\n0\r\n\r\n",
        b"8000000000000003\r\nabc\r\n0\r\n\r\n",
        b"100000003100000003\r\nabc\r\n0\r\n\r\n",
        b"0000000000000000000003\r\nabc\r\n0\r\n\r\n",
        # Line ends: LF, CR, and bytes between or behind the two.
        b"3\nabc\r\n0\r\n\r\n",
        b"3\rabc\r\n0\r\n\r\n",
        b"3\r\r\nabc\r\n0\r\n\r\n",
        b"3\n\nabc\r\n0\r\n\r\n",
        b"3\rX\nabc\r\n0\r\n\r\n",
        b"3\r\nabc\n0\r\n\r\n",
        b"3\r\nabc\r0\r\n\r\n",
        b"3\r\nabc\n\r0\r\n\r\n",
        b"3\r\nabcXX0\r\n\r\n",
        b"3\r\nabc0\r\n\r\n",
        b"3\r\nabc\rX0\r\n\r\n",
        b"3\r\nabc\r\n0\n\r\n",
        b"3\r\nabc\r\n0\r\n\n",
        b"3\r\nabc\r\n0\n\n",
        b"3\r\nabc\r\n0\r\r\n",
        b"3\r\nabc\r\n0\r\n\r\r\n",
        b"3\r\nabc\r\n0\r\n\rX",
        # Data longer or shorter than the size.
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"3\r\nabcde\r\n0\r\n\r\n",
        b"5\r\nabc\r\n0\r\n\r\n",
        b"3\r\n\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabc\r\n\r\n0\r\n\r\n",
        # Extensions that end where another reader goes on: LF, CR, NUL, quotes.
        b"3;\nabc\r\n0\r\n\r\n",
        b"3;a\nabc\r\n0\r\n\r\n",
        b"3;a\n\r\nabc\r\n0\r\n\r\n",
        b"3;a\rb\r\nabc\r\n0\r\n\r\n",
        b"3;a\r\r\nabc\r\n0\r\n\r\n",
        b"3;a=\"\n\"\r\nabc\r\n0\r\n\r\n",
        b"3;a=\"\r\n\"\r\nabc\r\n0\r\n\r\n",
        b"3;a=\"\\\n\"\r\nabc\r\n0\r\n\r\n",
        b"3;\x00\r\nabc\r\n0\r\n\r\n",
        b"3;\x0b\r\nabc\r\n0\r\n\r\n",
        b"3;\x7f\r\nabc\r\n0\r\n\r\n",
        b"2;\nxx\r\n%x\r\n0\r\n\r\n%s" % (len(hidden), hidden),
        b"0;\n\r\n" + hidden,
        b"0\r\n;\n\r\n" + hidden,
        b"0;a\n" + hidden,
        # Last chunks that are none.
        b"-0\r\n\r\n",
        b"+0\r\n\r\n",
        b"0x0\r\n\r\n",
        b"0 \r\n\r\n",
        b"00000000000000000000\r\n\r\n",
        b"3\r\nabc\r\n\r\n",
        b"3\r\nabc\r\n0\r\n" + hidden[:-2] + b"\x00\r\n",
        # Trailers.
        b"0\r\nX y\r\n\r\n",
        b"0\r\nX : y\r\n\r\n",
        b"0\r\n: y\r\n\r\n",
        b"0\r\n X: y\r\n\r\n",
        b"0\r\nX: y\r\n z\r\n\r\n",
        b"0\r\nX: y\n\r\n",
        b"0\r\nX: y\n\n",
        b"0\r\nX: y\rz\r\n\r\n",
        b"0\r\nX: \x00\r\n\r\n",
        b"0\r\nX\x00: y\r\n\r\n",
        b"0\r\n\x0b: y\r\n\r\n",
        b"0\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /hidden HTTP/1.1\r\n\r\n",
    ):
        yield refuse(f"chunks {body[:60]!r}", chunked(body))
    long = b"3;" + b"x" * 100000 + b"\r\nabc\r\n0\r\n\r\n"
    yield refuse("an endless extension", chunked(long), at_once=False)
    yield refuse("an endless size", chunked(b"0" * 100000), at_once=False)
    long = b"0\r\n" + b"X: y\r\n" * 20000 + b"\r\n"
    yield refuse("an endless trailer section", chunked(long), at_once=False)
    long = b"0\r\nX: " + b"y" * 100000 + b"\r\n\r\n"
    yield refuse("an endless trailer", chunked(long), at_once=False)


def legal_chunks():
    def legal(name, sent, body=b"abc", trailers=(), fields=()):
        return forward(
            name,
            b"PUT /t HTTP/1.1",
            b"Transfer-Encoding: chunked",
            *fields,
            body=body,
            sent=sent,
            trailers=trailers,
        )

    yield legal("one chunk", b"3\r\nabc\r\n0\r\n\r\n")
    yield legal("three chunks", b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n")
    yield legal("zeros before the size", b"0003\r\nabc\r\n0000\r\n\r\n")
    yield legal(
        "hex in both cases", b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2
    )
    yield legal("an extension", b"3;a\r\nabc\r\n0\r\n\r\n")
    yield legal("an empty extension", b"3;\r\nabc\r\n0;\r\n\r\n")
    yield legal("extensions with values", b"3;a=b;c=\"d;\\\"e\" ; f\r\nabc\r\n0;g=h\r\n\r\n")
    yield legal("a signature", b"3;chunk-signature=" + b"0" * 64 + b"\r\nabc\r\n0\r\n\r\n")
    yield legal("an extension that looks like a size", b"3;5\r\nabc\r\n0;3\r\n\r\n")
    yield legal("a quote without end", b"3;a=\"\r\nabc\r\n0\r\n\r\n")
    yield legal("high bytes in an extension", b"3;\xc3\xa4\xff\r\nabc\r\n0\r\n\r\n")
    yield legal(
        "data that looks like framing", b"7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", b"\r\n0\r\n\r\n"
    )
    yield legal("600 chunks", b"1\r\nz\r\n" * 600 + b"0\r\n\r\n", b"z" * 600)
    yield legal(
        "checksum trailers",
        b"3\r\nabc\r\n0\r\nx-amz-checksum-crc32: NSRBwg==\r\nx-amz-trailer-signature:0\r\n\r\n",
        trailers=[(b"x-amz-checksum-crc32", b"NSRBwg=="), (b"x-amz-trailer-signature", b"0")],
        fields=(b"Trailer: x-amz-checksum-crc32",),
    )
    for name in (
        b"Content-Length",
        b"Content-Type",
        b"Content-Encoding",
        b"Content-MD5",
        b"Content_Length",
        b"Transfer-Encoding",
        b"transfer_encoding",
        b"Host",
        b"Connection",
        b"Keep-Alive",
        b"Proxy-Authorization",
        b"Proxy-Connection",
        b"TE",
        b"Trailer",
        b"Upgrade",
        b"Expect",
        b"Authorization",
        b"Cookie",
        b"Set-Cookie",
        b"WWW-Authenticate",
        b"Authentication-Info",
        b"Date",
        b"Range",
        b"If-Match",
        b"If-None-Match",
        b"Max-Forwards",
        b"Cache-Control",
        b"Pragma",
        b"Age",
        b"Expires",
        b"Location",
        b"Vary",
        b"Warning",
        b"Retry-After",
        b"Forwarded",
        b"X-Forwarded-For",
        b"X-Forwarded-Host",
        b"X_Forwarded_For",
        b"X-Real-IP",
        b"X-Amz-Date",
        b"X-Amz-Security-Token",
        b"X-Amz-Content-Sha256",
        b"X-Amz-Decoded-Content-Length",
        b"X-Amz-Copy-Source",
        b"X-Amz-Acl",
        b"X-Amz-Meta-A",
        b"X-Minio-Internal-A",
        b"X-Minio-Source-Mtime",
        b"X-HTTP-Method-Override",
        b"X-Original-URL",
        b"X-Rewrite-URL",
        b"Via",
        b"Referer",
        b"Origin",
        b"Sec-WebSocket-Key",
        b"Access-Control-Allow-Origin",
        b"User-Agent",
        b"Accept-Language",
        b"HTTP2-Settings",
    ):
        yield legal(
            f"trailer {name.decode()}",
            b"3\r\nabc\r\n0\r\n" + name + b": 1\r\nX-Kept: 2\r\n\r\n",
            trailers=[(b"X-Kept", b"2")],
        )


def hop_by_hop():
    yield forward(
        "hop-by-hop fields",
        b"GET /t HTTP/1.1",
        b"Connection: keep-alive",
        b"Keep-Alive: timeout=5",
        b"Proxy-Connection: keep-alive",
        b"Proxy-Authorization: Basic eDp5",
        b"Proxy-Authenticate: Basic",
        b"TE: trailers, deflate;q=0.5",
        b"X-Kept: 1",
    )
    yield forward("TE", b"GET /t HTTP/1.1", b"Connection: TE", b"TE: trailers")
    for option in (
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"x-amz-date",
        b"authorization",
        b"x-amz-content-sha256",
        b"x-amz-security-token",
        b"date",
        b"range",
        b"expect",
        b"cookie",
        b"if-none-match",
        b"content-type",
        b"x-forwarded-for",
        b"x-real-ip",
        b"x-forwarded-proto",
    ):
        fields = [b"Connection: " + option]
        if option not in (b"host", b"content-length", b"transfer-encoding", b"expect"):
            fields.append(option.title() + b": v")
        if option == b"expect":
            fields.append(b"Expect: 100-continue")
        if option == b"transfer-encoding":
            fields.append(b"Transfer-Encoding: chunked")
            yield forward(
                "nominated transfer-encoding",
                b"PUT /t HTTP/1.1",
                *fields,
                body=b"abc",
                sent=b"3\r\nabc\r\n0\r\n\r\n",
            )
            continue
        yield forward(
            f"nominated {option.decode()}",
            b"PUT /t HTTP/1.1",
            *fields,
            b"Content-Length: 3",
            body=b"abc",
        )
    for value in (
        b"x-hop",
        b"keep-alive, x-hop",
        b"x-hop,",
        b", ,x-hop",
        b"X-HOP ,\tte",
        b"upgrade, x-hop, host",
        b"x-hop, x-hop, x-hop",
        b"\x80, x-hop",
        b"a b, x-hop",
    ):
        yield forward(
            f"options {value!r}",
            b"GET /t HTTP/1.1",
            b"Connection: " + value,
            b"X-Hop: 1",
            b"X-Hopper: 2",
            b"x-hop: 3",
            gone=(b"x-hop",),
        )
    yield forward(
        "two Connection fields",
        b"GET /t HTTP/1.1",
        b"Connection: x-one",
        b"X-One: 1",
        b"X-Two: 2",
        b"connection: x-two",
        b"X-Three: 3",
        gone=(b"x-one", b"x-two"),
    )
    for value in (
        b"close",
        b"Close",
        b"close, x-hop",
        b"x-hop,close",
        b"keep-alive, close",
        b"close,host",
    ):
        yield forward(
            f"options {value!r}",
            b"GET /t HTTP/1.1",
            b"Connection: " + value,
            b"X-Hop: 1",
            gone=(b"x-hop",) if b"x-hop" in value else (),
            closes=True,
        )
    yield forward(
        "an option that only begins like close", b"GET /t HTTP/1.1", b"Connection: closed"
    )
    yield refuse(
        "too many options", get(b"Connection: " + b",".join([b"x-%d" % n for n in range(200)])), 431
    )
    yield forward(
        "Upgrade nobody relays", b"GET /t HTTP/1.1", b"Connection: Upgrade", b"Upgrade: websocket"
    )
    yield forward(
        "h2c",
        b"GET /t HTTP/1.1",
        b"Connection: Upgrade, HTTP2-Settings",
        b"Upgrade: h2c",
        b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
    )
    yield forward(
        "Upgrade with a body",
        b"PUT /t HTTP/1.1",
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Content-Length: 3",
        body=b"abc",
    )
    yield forward(
        "forged forwarding fields",
        b"GET /t HTTP/1.1",
        b"X-Forwarded-For: 1.2.3.4",
        b"X-Real-IP: 1.2.3.4",
        b"X-Forwarded-Proto: https",
        b"Forwarded: for=1.2.3.4",
        b"X-Forwarded-Host: kept",
    )


def old_version():
    own = (b"Host", b"{address}")
    yield forward("1.0", b"GET /t HTTP/1.0", closes=True)
    yield forward("1.0 without Host", b"GET /t HTTP/1.0", host=None, added=[own], closes=True)
    yield forward(
        "1.0 without Host, with a body",
        b"PUT /t HTTP/1.0",
        b"Content-Length: 3",
        host=None,
        body=b"abc",
        added=[own],
        closes=True,
    )
    yield forward("1.0 kept alive", b"GET /t HTTP/1.0", b"Connection: keep-alive")
    yield forward("1.0 kept alive in capitals", b"GET /t HTTP/1.0", b"Connection: Keep-Alive")
    yield forward(
        "1.0 with both options", b"GET /t HTTP/1.0", b"Connection: keep-alive, close", closes=True
    )
    yield forward(
        "1.0 with Proxy-Connection",
        b"GET /t HTTP/1.0",
        b"Proxy-Connection: keep-alive",
        closes=True,
    )
    yield forward(
        "1.0 with Expect",
        b"PUT /t HTTP/1.0",
        b"Expect: 100-continue",
        b"Content-Length: 3",
        body=b"abc",
        gone=(b"expect",),
        closes=True,
    )
    yield forward(
        "1.0 with Upgrade", b"GET /t HTTP/1.0", b"Connection: upgrade", b"Upgrade: x", closes=True
    )
    yield forward("1.0 absolute", b"GET http://a/t HTTP/1.0", target=b"/t", closes=True)


def expectations():
    for value in (
        b"y 100-continue",
        b"100-continue y",
        b"100-continue, y",
        b"y, 100-continue",
        b"100-continue, 100-continue",
        b"100-continue;q=1",
        b"\"100-continue\"",
        b"100",
        b"200-ok",
        b"continue",
        b"100-continued",
        b"100_continue",
        b"\xa0100-continue",
        b"x",
    ):
        data = put(b"Expect: " + value, b"Content-Length: 3")
        yield refuse(f"Expect {value!r}", data, 417)
    yield refuse(
        "Expect twice",
        put(b"Expect: 100-continue", b"Expect: 100-continue", b"Content-Length: 3"),
        417,
    )
    yield refuse(
        "Expect and another", put(b"Expect: 100-continue", b"Expect: x", b"Content-Length: 3"), 417
    )
    yield refuse("unknown Expect on GET", get(b"Expect: x"), 417)
    yield refuse("Expect folded", put(b"Expect:\r\n 100-continue", b"Content-Length: 3"))
    yield refuse("Expect with a space", put(b"Expect : 100-continue", b"Content-Length: 3"))
    for value in (b"100-continue", b"100-Continue", b"100-CONTINUE", b"\t100-continue "):
        yield forward(
            f"Expect {value!r}",
            b"PUT /t HTTP/1.1",
            b"Expect:" + value,
            b"Content-Length: 3",
            body=b"abc",
        )
    yield forward(
        "Expect with chunks",
        b"PUT /t HTTP/1.1",
        b"Expect: 100-continue",
        b"Transfer-Encoding: chunked",
        body=b"abc",
        sent=b"3\r\nabc\r\n0\r\n\r\n",
    )
    yield forward(
        "Expect with a length of 0",
        b"PUT /t HTTP/1.1",
        b"Expect: 100-continue",
        b"Content-Length: 0",
    )


def sizes():
    """`limits.head` is 128 KiB: the whole head counts."""
    limit = 128 * 1024
    for extra, fits in ((0, True), (-1, True), (1, False), (40000, False)):
        empty = len(get(b"X: "))
        value = b"v" * (limit - empty + extra)
        if fits:
            yield forward(f"a head of the limit {extra:+}", b"GET /t HTTP/1.1", b"X: " + value)
        else:
            yield refuse(f"a head of the limit {extra:+}", get(b"X: " + value), 431)
    yield refuse(
        "a target above the limit", b"GET /" + b"x" * (limit + 100) + b" HTTP/1.1\r\n", 414
    )
    yield refuse("a method above the limit", b"M" * (limit + 100), 414)
    yield refuse("a name above the limit", b"GET /t HTTP/1.1\r\nHost: a\r\n" + b"N" * limit, 431)
    yield forward("a name of 60 KiB", b"GET /t HTTP/1.1", b"N" * 61440 + b": v")


def pipelines():
    """Several requests in one piece: each is its own message, whatever stands between them."""

    def several(name, *cases, closes=False, tail=b"", want=None):
        messages = [message for case in cases for message in case.want.messages]
        data = b"".join(case.data for case in cases) + tail
        cuts = []
        for case in cases:
            cuts.append((cuts[-1] if cuts else 0) + len(case.data))
        want = want or Forward(messages, closes)
        return Case(name, data, want, cuts=tuple(cuts), served=cuts[-1])

    def simple(number):
        return forward("", b"GET /p%d HTTP/1.1" % number)

    mixed = []
    for number in range(20):
        line = b"%s /p%d HTTP/1.1" % ((b"PUT", b"GET", b"POST", b"DELETE")[number % 4], number)
        body = b"body %d\r\n" % number * (number % 5)
        if number % 3 == 0:
            mixed.append(forward("", line, b"Content-Length: %d" % len(body), body=body))
        elif number % 3 == 1:
            sent = (
                b"%x;n=%d\r\n%s\r\n" % (len(body), number, body) if body else b""
            ) + b"0\r\n\r\n"
            mixed.append(forward("", line, b"Transfer-Encoding: chunked", body=body, sent=sent))
        else:
            mixed.append(forward("", line))
    yield several("20 requests with bodies of all kinds", *mixed)
    yield several("100 requests", *[simple(number) for number in range(100)])
    yield several(
        "bytes behind a length of 0",
        forward("", b"PUT /p0 HTTP/1.1", b"Content-Length: 0"),
        simple(1),
    )
    yield several("bytes behind a GET", simple(0), simple(1))
    yield several("an empty line between", simple(0), forward("", b"GET /p1 HTTP/1.1", before=CRLF))
    yield several(
        "bytes behind Connection: close",
        simple(0),
        forward("", b"GET /p1 HTTP/1.1", b"Connection: close"),
        tail=get(),
        closes=True,
    )
    yield several("bytes behind 1.0", forward("", b"GET /p0 HTTP/1.0"), tail=get(), closes=True)
    for name, fault in (
        ("two lengths", put(b"Content-Length: 3", b"Content-Length: 3")),
        ("a bare LF", b"GET /t HTTP/1.1\nHost: a\n\n"),
        ("a bad target", raw(b"GET t HTTP/1.1")),
        ("a space before the colon", get(b"X : y")),
        ("bytes that are no request", b"\x00\x01"),
        ("a chunk fault", chunked(b"x\r\n")),
        ("bytes behind the body", b"abc\r\n\r\n"),
    ):
        good = [simple(0), forward("", b"PUT /p1 HTTP/1.1", b"Content-Length: 3", body=b"abc")]
        messages = [message for case in good for message in case.want.messages]
        data = b"".join(case.data for case in good)
        yield Case(
            f"two requests, then {name}", data + fault, ThenRefuse(messages), cuts=(len(data),)
        )


@dataclasses.dataclass
class ThenRefuse:
    """The messages are served, what follows is refused."""

    messages: list
    statuses: tuple = (400,)


GROUPS = (
    ambiguities,
    lookalikes,
    line_ends,
    names_and_values,
    start_lines,
    targets,
    hosts,
    bodies,
    chunk_faults,
    legal_chunks,
    hop_by_hop,
    old_version,
    expectations,
    sizes,
    pipelines,
)
