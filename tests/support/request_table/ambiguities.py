"""Ends of messages that are stated twice, or in words that readers understand differently."""

from support.request_table.rows import chunked, get, put, raw, refuse


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
