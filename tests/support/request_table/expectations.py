"""Expect in each of its spellings."""

from support.request_table.rows import chunked, forward, get, put, refuse


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
