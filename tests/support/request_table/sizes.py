"""Heads at the limit and beyond it."""

from support.request_table.rows import forward, get, refuse


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
