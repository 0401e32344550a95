"""Ambiguous heads are refused, and no byte of them reaches a backend.

Each row is a known way to smuggle a request past a proxy, to confuse its logs or to reach another
host. A refusal is one 4xx with the XML error, Connection: close, the end of the connection, and no
service for the next request.
"""

import pytest

from support import wire

H = b"Host: a\r\n"
# A complete request after each bad one: if it is served, the refusal has failed.
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


def request(line=b"GET /bad HTTP/1.1", fields=b"", host=H, end=b"\r\n"):
    return line + b"\r\n" + host + fields + end


def field(line):
    return request(fields=line + b"\r\n")


def put(fields, body=b"abc"):
    return request(b"PUT /bad HTTP/1.1", fields) + body


def content_length_rows():
    values = [
        b"",
        b" ",
        b"-1",
        b"+3",
        b"3 3",
        b"3,3",
        b"3, 3",
        b"3,4",
        b"0x3",
        b"3.0",
        b"3e0",
        b"three",
        b"3;",
        b"'3'",
        b"\"3\"",
        b"3a",
        b"a3",
        b"18446744073709551615",
        b"18446744073709551616",
        b"18446744073709551619",
        b"9223372036854775808",
        b"99999999999999999999999999",
        b"3\t3",
        b"3,",
        b",3",
        b"-0",
        b"+0",
        b"0b11",
        b"3_0",
        b"\xef\xbc\x93",
        b"3\x0b",
        b"3 ;",
        b"1 000",
        b"NaN",
        b"inf",
        b"3-",
        b"--3",
        b"0,0",
        b"00x0",
    ]
    for value in values:
        yield f"content-length {value!r}", put(b"Content-Length: " + value + b"\r\n")
    for first, second in [
        (b"3", b"3"),
        (b"3", b"4"),
        (b"0", b"3"),
        (b"3", b"0"),
        (b"3", b""),
        (b"", b"3"),
    ]:
        yield (
            f"two lengths {first!r} {second!r}",
            put(b"Content-Length: " + first + b"\r\nContent-Length: " + second + b"\r\n"),
        )
    yield "two lengths in other case", put(b"content-length: 3\r\nCONTENT-LENGTH: 3\r\n")
    yield "two lengths far apart", put(
        b"Content-Length: 3\r\nX-A: b\r\nX-C: d\r\nContent-Length: 3\r\n"
    )
    yield "three lengths", put(b"Content-Length: 3\r\n" * 3)


def transfer_encoding_rows():
    body = b"3\r\nabc\r\n0\r\n\r\n"
    values = [
        b"identity",
        b"gzip",
        b"deflate",
        b"compress",
        b"x-gzip",
        b"chunked, identity",
        b"identity, chunked",
        b"gzip, chunked",
        b"chunked, gzip",
        b"chunked, chunked",
        b"chunked,chunked",
        b"xchunked",
        b"chunkedx",
        b"x-chunked",
        b"chunked;q=1",
        b"chunked; a=b",
        b"\"chunked\"",
        b"'chunked'",
        b"chunk",
        b"chun ked",
        b"chunked\x0b",
        b"\x0bchunked",
        b"chunked\x0c",
        b"chunked\xa0",
        b"\xef\xbb\xbfchunked",
        b"cow",
        b"",
        b" ",
        b"chunked,",
        b",chunked",
        b", chunked",
        b"chunked, ",
        b"chunked ,",
        b"chunked, cow",
        b"0",
        b"true",
        b"chunked\0",
        b"\x00chunked",
        b"chunked\x08",
        b"chunked\x7f",
        b"trailers, chunked",
        b"CHUNKED, chunked",
    ]
    for value in values:
        yield f"transfer-encoding {value!r}", put(b"Transfer-Encoding: " + value + b"\r\n", body)
    for first, second in [
        (b"chunked", b"chunked"),
        (b"chunked", b"identity"),
        (b"identity", b"chunked"),
        (b"gzip", b"chunked"),
        (b"chunked", b"x"),
        (b"", b"chunked"),
        (b"chunked", b""),
    ]:
        yield (
            f"two codings {first!r} {second!r}",
            put(
                b"Transfer-Encoding: " + first + b"\r\nTransfer-Encoding: " + second + b"\r\n", body
            ),
        )
    both = b"Content-Length: 13\r\n"
    coding = b"Transfer-Encoding: chunked\r\n"
    yield "length then coding", put(both + coding, body)
    yield "coding then length", put(coding + both, body)
    yield "length 0 and coding", put(b"Content-Length: 0\r\n" + coding, body)
    yield "coding in other case and length", put(b"tRANSFER-eNCODING: CHUNKED\r\n" + both, body)
    yield "length, unknown coding", put(both + b"Transfer-Encoding: foo\r\n", body)
    yield "length, empty coding", put(both + b"Transfer-Encoding:\r\n", body)
    yield "two lengths and coding", put(both + both + coding, body)
    yield "coding on 1.0", request(b"PUT /bad HTTP/1.0", coding) + body
    yield "coding and length on 1.0", request(b"PUT /bad HTTP/1.0", coding + both) + body
    yield "coding on 1.0 with keep-alive", request(
        b"PUT /bad HTTP/1.0", b"Connection: keep-alive\r\n" + coding
    ) + body
    yield "identity on 1.0", request(
        b"PUT /bad HTTP/1.0", b"Transfer-Encoding: identity\r\n"
    ) + body
    yield "coding on GET 1.0", request(b"GET /bad HTTP/1.0", coding) + body


def lookalike_rows():
    for name in [
        b"Transfer_Encoding",
        b"transfer_encoding",
        b"TRANSFER_ENCODING",
        b"Content_Length",
        b"content_length",
    ]:
        value = b"chunked" if b"ransfer" in name.lower() else b"3"
        yield f"look-alike {name!r}", put(name + b": " + value + b"\r\nContent-Length: 3\r\n")
        yield f"look-alike {name!r} alone", put(name + b": " + value + b"\r\n", b"")
    # A space or control inside or after the name of a framing field.
    for name in [
        b"Transfer-Encoding ",
        b"Transfer-Encoding\t",
        b" Transfer-Encoding",
        b"\tTransfer-Encoding",
        b"Transfer Encoding",
        b"Transfer-\0Encoding",
        b"Transfer-Encoding\x0b",
        b"\x0bTransfer-Encoding",
        b"Transfer-Encoding\xa0",
        b"Transfer-Encoding\0",
        b"Transfer\xe2\x80\x90Encoding",
        b"\xef\xbb\xbfTransfer-Encoding",
        b"Transfer-Encoding\r",
    ]:
        yield f"framing name {name!r}", put(name + b": chunked\r\nContent-Length: 3\r\n")
    for name in [
        b"Content-Length ",
        b"Content-Length\t",
        b"Content Length",
        b"Content-Length\0",
        b"Content-Length\x7f",
        b"\0Content-Length",
        b"Content-Length\x0c",
    ]:
        yield f"framing name {name!r}", put(name + b": 3\r\n")


def line_end_rows():
    yield "LF only", b"GET /bad HTTP/1.1\nHost: a\n\n"
    yield "LF behind request line", b"GET /bad HTTP/1.1\nHost: a\r\n\r\n"
    yield "LF behind field", b"GET /bad HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"
    yield "LF as last line", b"GET /bad HTTP/1.1\r\nHost: a\r\n\n"
    yield "CR only", b"GET /bad HTTP/1.1\rHost: a\r\r" + b"\n"
    yield "CR in request line", b"GET /b\rad HTTP/1.1\r\nHost: a\r\n\r\n"
    yield "CR in value", field(b"X-A: b\rc")
    yield "CR before value", field(b"X-A:\rb")
    yield "CR CR LF", b"GET /bad HTTP/1.1\r\r\nHost: a\r\n\r\n"
    yield "CR CR LF behind field", b"GET /bad HTTP/1.1\r\nHost: a\r\r\n\r\n"
    yield "CR CR LF at the end", b"GET /bad HTTP/1.1\r\nHost: a\r\n\r\r\n\r\n"
    yield "field smuggled by CR", field(b"X-A: b\rContent-Length: 5")
    yield "field smuggled by LF", field(b"X-A: b\nTransfer-Encoding: chunked")
    yield "LF LF in the middle", b"GET /bad HTTP/1.1\r\nHost: a\n\n" + SMUGGLED
    yield "obs-fold with space", field(b"X-A: b\r\n c")
    yield "obs-fold with tab", field(b"X-A: b\r\n\tc")
    yield "obs-fold of a length", put(b"Content-Length:\r\n 3\r\n")
    yield "obs-fold of a coding", put(b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n")
    yield "obs-fold of Host", b"GET /bad HTTP/1.1\r\nHost:\r\n a\r\n\r\n"
    yield "first field folded", b"GET /bad HTTP/1.1\r\n X-A: b\r\nHost: a\r\n\r\n"
    yield "first field folded by tab", b"GET /bad HTTP/1.1\r\n\tHost: a\r\n\r\n"
    yield "blank line of spaces", b"GET /bad HTTP/1.1\r\nHost: a\r\n \r\n\r\n"
    yield "blank line of a tab", b"GET /bad HTTP/1.1\r\nHost: a\r\n\t\r\n\r\n"


def field_rows():
    for code in (
        list(range(0x00, 0x09)) + list(range(0x0B, 0x0D)) + list(range(0x0E, 0x20)) + [0x7F]
    ):
        yield f"control {code:02x} in value", field(b"X-A: b" + bytes([code]) + b"c")
    for code in b"\0\x01\t \"(),/;<=>?@[\\]{}\x7f\x80\xff":
        yield f"{bytes([code])!r} in name", field(b"X" + bytes([code]) + b"A: b")
    yield "empty name", field(b": b")
    yield "space before colon", field(b"X-A : b")
    yield "tab before colon", field(b"X-A\t: b")
    yield "no colon", field(b"X-A")
    yield "no colon, two words", field(b"X-A b")
    yield "only spaces", field(b"   ")
    yield "space before Host's colon", b"GET /bad HTTP/1.1\r\nHost : a\r\n\r\n"
    yield "start line repeated as field", field(b"GET /x HTTP/1.1")


def host_rows():
    def hosts(*lines, line=b"GET /bad HTTP/1.1"):
        return line + b"\r\n" + b"".join(b"Host:" + text + b"\r\n" for text in lines) + b"\r\n"

    yield "no Host", hosts()
    yield "no Host on PUT", b"PUT /bad HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"
    yield "Host twice, same", hosts(b" a", b" a")
    yield "Host twice, different", hosts(b" a", b" b")
    yield "Host twice, other case", b"GET /bad HTTP/1.1\r\nHost: a\r\nhOST: b\r\n\r\n"
    yield "Host twice on 1.0", hosts(b" a", b" b", line=b"GET /bad HTTP/1.0")
    yield "Host twice, second empty", hosts(b" a", b"")
    for value in [
        b"",
        b" ",
        b"a b",
        b"a, b",
        b"a,b",
        b"a/b",
        b"a?b",
        b"a#b",
        b"u@a",
        b"u:p@a",
        b"http://a",
        b"a\\b",
        b"a\"b",
        b"a<b",
        b"a>b",
        b"a^b",
        b"a`b",
        b"a{b",
        b"a|b",
        b"[::1",
        b"::1]",
        b"[::1]x",
        b"[x]",
        b"a:b",
        b"a:80:80",
        b"a:99999x",
        b"a:-1",
        b"a:+80",
        b"a: 80",
        b":80",
        b"a\x00b",
        b"a\xc3\xa4",
        b"[::1]:x",
        b"a%zz",
        b"[]",
        b"[]:80",
        b"a\tb",
        b"a%",
        b"/",
        b"@",
        b"a;b@c",
    ]:
        yield f"Host {value!r}", hosts(b" " + value)


def start_line_rows():
    lines = [
        b"GET  /bad HTTP/1.1",
        b"GET /bad  HTTP/1.1",
        b"GET\t/bad HTTP/1.1",
        b"GET /bad\tHTTP/1.1",
        b" GET /bad HTTP/1.1",
        b"\tGET /bad HTTP/1.1",
        b"GET /bad HTTP/1.1 ",
        b"GET /bad HTTP/1.1\t",
        b"GET /bad HTTP/1.1 x",
        b"GET /bad",
        b"GET",
        b"/bad",
        b"GET /bad ",
        b"GET HTTP/1.1",
        b"GET  HTTP/1.1",
        b"/bad HTTP/1.1",
        b"GET /b ad HTTP/1.1",
        b"GET /bad http/1.1",
        b"GET /bad Http/1.1",
        b"GET /bad HTTP/1,1",
        b"GET /bad HTTP/1",
        b"GET /bad HTTP/11",
        b"GET /bad HTTP/1.10",
        b"GET /bad HTTP/01.1",
        b"GET /bad HTTP/1.1.1",
        b"GET /bad HTTP/ 1.1",
        b"GET /bad HTTP /1.1",
        b"GET /bad HTTP/-1.1",
        b"GET /bad HTTP/+1.1",
        b"GET /bad HTTP/0.9",
        b"GET /bad HTTP/2.0",
        b"GET /bad HTTP/3.0",
        b"GET /bad HTTP/9.9",
        b"GET /bad HTTP/1.",
        b"GET /bad HTTP/.1",
        b"GET /bad HTTP/1.x",
        b"GET /bad HTTP/x.1",
        b"GET /bad HTTPS/1.1",
        b"GET /bad HTTQ/1.1",
        b"GET /bad XHTTP/1.1",
        b"GET /bad RTSP/1.0",
        b"GET /bad SIP/2.0",
        b"GET /bad HTTP/1.1\0",
        b"GET /bad\0 HTTP/1.1",
        b"GET /b\x01ad HTTP/1.1",
        b"GET /b\x7fad HTTP/1.1",
        b"GET /b\x0bad HTTP/1.1",
        b"GET /bad#fragment HTTP/1.1",
        b"GET /bad?a#b HTTP/1.1",
        b"GET # HTTP/1.1",
        b"G\0ET /bad HTTP/1.1",
        b"G\"T /bad HTTP/1.1",
        b"GET, /bad HTTP/1.1",
        b"GET: /bad HTTP/1.1",
        b"(GET) /bad HTTP/1.1",
        b"G@T /bad HTTP/1.1",
        b"G\x80T /bad HTTP/1.1",
        b"[GET] /bad HTTP/1.1",
        b"GET/ /bad HTTP/1.1",
        b"PRI * HTTP/2.0",
        b"HTTP/1.1 200 OK",
        b"GET\xa0/bad HTTP/1.1",
        b"GET /bad\xa0HTTP/1.1",
        b"GET /bad HTTP/1\xb71",
    ]
    for line in lines:
        yield f"request line {line!r}", request(line)


def target_rows():
    for line in [
        b"CONNECT a:443 HTTP/1.1",
        b"CONNECT /bad HTTP/1.1",
        b"CONNECT * HTTP/1.1",
        b"GET a:443 HTTP/1.1",
        b"GET a HTTP/1.1",
        b"GET * HTTP/1.1",
        b"PUT * HTTP/1.1",
        b"HEAD * HTTP/1.1",
        b"DELETE *?x HTTP/1.1",
        b"OPTIONS *x HTTP/1.1",
        b"OPTIONS ** HTTP/1.1",
        b"GET bad HTTP/1.1",
        b"GET ?x HTTP/1.1",
        b"GET bad/k HTTP/1.1",
        b"GET \\bad HTTP/1.1",
        b"GET @a/ HTTP/1.1",
        b"GET ../bad HTTP/1.1",
        b"GET http://b/bad HTTP/1.1",
        b"GET http://a:81/bad HTTP/1.1",
        b"GET http://a.b/bad HTTP/1.1",
        b"GET http://u@a/bad HTTP/1.1",
        b"GET http://a@b/bad HTTP/1.1",
        b"GET http:///bad HTTP/1.1",
        b"GET http:/bad HTTP/1.1",
        b"GET http:bad HTTP/1.1",
        b"GET http://a,b/bad HTTP/1.1",
        b"GET ftp://a/bad HTTP/1.1",
        b"GET gopher://a/bad HTTP/1.1",
        b"GET file:///etc/passwd HTTP/1.1",
        b"GET javascript:x HTTP/1.1",
        b"GET http://[::1]/bad HTTP/1.1",
        b"GET http://a\\@b/bad HTTP/1.1",
        b"GET http://a#x/bad HTTP/1.1",
        b"GET http:// HTTP/1.1",
        b"GET ://a/bad HTTP/1.1",
        b"GET http://b?/bad HTTP/1.1",
    ]:
        yield f"target {line!r}", request(line)


def other_rows():
    yield "HTTP/0.9", b"GET /bad\r\n\r\n"
    yield "HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"
    yield "empty lines without end", b"\r\n" * 40
    yield "NUL bytes", b"\0" * 64
    yield "a response", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    yield "SSH", b"SSH-2.0-OpenSSH_9.2\r\n\r\n"
    yield "SMTP", b"EHLO a\r\n\r\n"
    yield "PROXY v1 on a plain listener", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + request()
    yield "PROXY v2 on a plain listener", b"\r\n\r\n\0\r\nQUIT\n!\x11\0\x0c" + b"\1\2\3\4" * 3


ROWS = [
    row
    for rows in (
        content_length_rows,
        transfer_encoding_rows,
        lookalike_rows,
        line_end_rows,
        field_rows,
        host_rows,
        start_line_rows,
        target_rows,
        other_rows,
    )
    for row in rows()
]
assert len(ROWS) >= 250
assert len({name for name, _ in ROWS}) == len(ROWS)


def check_refused(daemon, name, data):
    with daemon.client() as client:
        client.send_quietly(data + SMUGGLED)
        try:
            head = data.startswith(b"HEAD ")
            response = client.read_response("HEAD" if head else "GET")
        except wire.Truncated as cut:
            pytest.fail(f"{name}: connection ended without an answer: {cut}")
        assert response.status == 400, name
        assert response.closes, name
        assert response.header("content-type") == "application/xml", name
        assert head or b"<Code>InvalidRequest</Code>" in response.data, name
        assert client.expect_close() == "eof", name


@pytest.mark.parametrize(
    "group",
    [
        content_length_rows,
        transfer_encoding_rows,
        lookalike_rows,
        line_end_rows,
        field_rows,
        host_rows,
        start_line_rows,
        target_rows,
        other_rows,
    ],
)
def test_refused(one, group):
    daemon, backend = one()
    for name, data in group():
        check_refused(daemon, name, data)
    assert backend.requests == []
    assert backend.connections == []
    with daemon.client() as client:
        assert client.request().status == 200


def test_refused_whatever_came_before(one):
    """A good request on the connection does not make the daemon lenient towards the next one."""
    daemon, backend = one()
    for name, data in ROWS[::17]:
        with daemon.client() as client:
            client.send(client.head("GET", "/good") + data + SMUGGLED)
            assert client.read_response().status == 200
            assert client.read_response().status == 400, name
            assert client.expect_close() == "eof", name
    assert {request.target for request in backend.requests} == {"/good"}


def test_refused_byte_at_a_time(one):
    daemon, backend = one()
    for name, data in ROWS[::29]:
        with daemon.client() as client:
            for byte in data + SMUGGLED:
                if not client.send_quietly(bytes([byte])):
                    break
            assert client.read_response().status == 400, name
    assert backend.requests == []


def test_tls_hello_is_refused_at_once(one):
    """An HTTPS client on a plain port gets an answer or the end, without a timeout."""
    daemon, backend = one()
    hello = bytes.fromhex("16030100c8010000c40303") + bytes(32) + b"\x20" + bytes(32) + bytes(125)
    with daemon.client() as client:
        client.send(hello)
        data, _ = client.read_until_close()
        assert not data or data.startswith(b"HTTP/1.1 400 ")
    assert backend.connections == []


@pytest.mark.parametrize(
    "name,data",
    [
        ("HTTP/1.2", request(b"GET /either HTTP/1.2")),
        ("HTTP/1.9", request(b"GET /either HTTP/1.9")),
        (
            "leading zeros in a length",
            request(b"PUT /either HTTP/1.1", b"Content-Length: 0003\r\n") + b"abc",
        ),
        (
            "coding in capitals",
            request(b"PUT /either HTTP/1.1", b"Transfer-Encoding: CHUNKED\r\n")
            + b"3\r\nabc\r\n0\r\n\r\n",
        ),
        (
            "space around a length",
            request(b"PUT /either HTTP/1.1", b"Content-Length: \t3 \t\r\n") + b"abc",
        ),
        (
            "space behind a coding",
            request(b"PUT /either HTTP/1.1", b"Transfer-Encoding: chunked \r\n")
            + b"3\r\nabc\r\n0\r\n\r\n",
        ),
        (
            "two names alike but for a dash",
            request(b"GET /either HTTP/1.1", b"ContentLength: 3\r\n"),
        ),
        ("one empty line first", b"\r\n" + request(b"GET /either HTTP/1.1")),
        ("Host with port 0", b"GET /either HTTP/1.1\r\nHost: a:0\r\n\r\n"),
        ("Host with an empty port", b"GET /either HTTP/1.1\r\nHost: a:\r\n\r\n"),
        ("Host of an address", b"GET /either HTTP/1.1\r\nHost: [::1]:9000\r\n\r\n"),
        ("Host with underscore", b"GET /either HTTP/1.1\r\nHost: a_b.c\r\n\r\n"),
        ("Host with escape", b"GET /either HTTP/1.1\r\nHost: a%2fb\r\n\r\n"),
        ("port above 65535", b"GET /either HTTP/1.1\r\nHost: a:99999\r\n\r\n"),
    ],
)
def test_refused_or_unambiguous(one, name, data):
    """Where the standard leaves a choice: a 400, or a request that the strict backend reads as
    intended."""
    daemon, backend = one()
    with daemon.client() as client:
        client.send(data + client.head("GET", "/next", [("Connection", "close")]))
        response = client.read_response()
        if response.status == 400:
            assert client.expect_close() == "eof"
            assert not backend.requests, name
            return
        assert response.status == 200, name
        assert client.read_response().status == 200
    assert [request.target for request in backend.requests] == ["/either", "/next"]
    if b"PUT" in data:
        assert backend.requests[0].body.data == b"abc"


@pytest.mark.parametrize(
    "line,target",
    [
        (b"GET http://a/x/y?z HTTP/1.1", "/x/y?z"),
        (b"GET HTTP://a/x HTTP/1.1", "/x"),
        (b"GET http://A/x HTTP/1.1", "/x"),
        (b"GET http://a HTTP/1.1", "/"),
        (b"GET http://a?q=1 HTTP/1.1", "/?q=1"),
    ],
)
def test_absolute_form_becomes_origin_form(one, line, target):
    """RFC 9112 §3.2.2, if its authority equals the Host. (In another case of letters it may be
    refused.)"""
    daemon, backend = one()
    with daemon.client() as client:
        client.send(request(line))
        response = client.read_response()
    if response.status == 400:
        assert b"//A" in line and not backend.requests
        return
    assert [(found.target, found.header("host")) for found in backend.requests] == [(target, "a")]


def test_asterisk_of_options(one):
    daemon, backend = one()
    with daemon.client() as client:
        client.send(request(b"OPTIONS * HTTP/1.1"))
        assert client.read_response().status == 200
    assert [(found.method, found.target) for found in backend.requests] == [("OPTIONS", "*")]
