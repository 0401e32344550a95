"""Fields that say who asked, or where. The proxy is in mode `set`: what clients say is removed in
every spelling, nominated or not, and never changes what servers are told."""

from support.request_table.rows import forward

NAMES = (
    b"X-Forwarded-For",
    b"X-Real-IP",
    b"X-Forwarded-Proto",
    b"X-Forwarded-Host",
    b"X-Forwarded-Port",
    b"X-Forwarded-Prefix",
    b"X-Forwarded-Server",
)
VALUES = (
    b"192.0.2.1:4711",
    b"::ffff:192.0.2.1, [2001:db8::1]:443",
    b"fe80::1%eth0",
    b"unknown, _hidden",
    b"127.0.0.1, ,,",
    b"",
    b"<img src=x onerror=alert(1)>",
    b'for="[2001:db8::1]:443"',
    b"\xc3\xa9, 192.0.2.1",
    b"127.0.0.1, " * 1000,  # 10 KiB
)


def spelling(name, sign):
    return name.replace(b"-", sign)


def forwarding_fields():
    kept = (b"X-Forwarded: a", b"X-Forwarded-By: b", b"X-Forwarded-Hosts: c", b"Y-Real-IP: d")
    for name in NAMES:
        lookalikes = (spelling(name, b"_"), spelling(name, b".").lower(), name.upper())
        yield forward(
            f"forged {name.decode()}",
            b"GET /t HTTP/1.1",
            name + b": 192.0.2.1",
            *(other + b": 192.0.2.2" for other in lookalikes),
            *kept,
            name.lower() + b": 192.0.2.3",
            gone=[name.lower(), *(other.lower() for other in lookalikes)],
        )
        yield forward(
            f"forged and nominated {name.decode()}",
            b"GET /t HTTP/1.1",
            b"Connection: close, " + name + b", " + lookalikes[0],
            name + b": 192.0.2.1",
            lookalikes[0] + b": 192.0.2.2",
            *kept,
            closes=True,
            gone=[name.lower(), lookalikes[0].lower()],
        )
    for value in VALUES:
        yield forward(
            f"X-Forwarded-For of {value[:30]!r}",
            b"GET /t HTTP/1.1",
            b"X-Forwarded-For: " + value,
            b"X-Kept: 1",
            b"X-Forwarded-For: 127.0.0.1",
        )
