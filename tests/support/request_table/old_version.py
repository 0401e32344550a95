"""HTTP/1.0."""

from support.request_table.rows import forward


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
