"""Request lines: methods, spaces, versions."""

from support.request_table.rows import forward, get, raw, refuse


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
    # From a peer that no accept_proxy names, a header that names a source is no request.
    for header in (
        b"PROXY TCP4 192.0.2.1 198.51.100.2 56224 9000\r\n",
        b"PROXY TCP6 2001:db8::1 2001:db8::2 56224 9000\r\n",
        b"PROXY UNKNOWN\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x02\xdb\xa0\x23\x28",
    ):
        yield refuse(f"PROXY protocol header {header!r}", header + get())
