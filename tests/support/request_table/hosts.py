"""The Host field, and the authority of an absolute target beside it."""

from support.request_table.rows import forward, get, put, raw, refuse


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
