"""Fields that end at the proxy, and nominations of fields that must not."""

from support.request_table.rows import chunked, forward, get, refuse


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
        b"X-Forwarded-Host: other.example",
    )
