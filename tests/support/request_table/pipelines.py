"""Several requests on one connection."""

from support.request_table.rows import (
    CRLF,
    Case,
    Forward,
    ThenRefuse,
    chunked,
    forward,
    get,
    put,
    raw,
)


def pipelines():
    """Several requests in one piece: each is a separate message, whatever is between them."""

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
