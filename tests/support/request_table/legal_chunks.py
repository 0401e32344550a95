"""Chunked coding as odd as the grammar allows."""

from support.request_table.rows import chunked, forward


def legal_chunks():
    def legal(name, sent, body=b"abc", trailers=(), fields=()):
        return forward(
            name,
            b"PUT /t HTTP/1.1",
            b"Transfer-Encoding: chunked",
            *fields,
            body=body,
            sent=sent,
            trailers=trailers,
        )

    yield legal("one chunk", b"3\r\nabc\r\n0\r\n\r\n")
    yield legal("three chunks", b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n")
    yield legal("zeros before the size", b"0003\r\nabc\r\n0000\r\n\r\n")
    yield legal(
        "hex in both cases", b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2
    )
    yield legal("an extension", b"3;a\r\nabc\r\n0\r\n\r\n")
    yield legal("an empty extension", b"3;\r\nabc\r\n0;\r\n\r\n")
    yield legal("extensions with values", b"3;a=b;c=\"d;\\\"e\" ; f\r\nabc\r\n0;g=h\r\n\r\n")
    yield legal("a signature", b"3;chunk-signature=" + b"0" * 64 + b"\r\nabc\r\n0\r\n\r\n")
    yield legal("an extension that looks like a size", b"3;5\r\nabc\r\n0;3\r\n\r\n")
    yield legal("a quote without end", b"3;a=\"\r\nabc\r\n0\r\n\r\n")
    yield legal("high bytes in an extension", b"3;\xc3\xa4\xff\r\nabc\r\n0\r\n\r\n")
    yield legal(
        "data that looks like framing", b"7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", b"\r\n0\r\n\r\n"
    )
    yield legal("600 chunks", b"1\r\nz\r\n" * 600 + b"0\r\n\r\n", b"z" * 600)
    yield legal(
        "checksum trailers",
        b"3\r\nabc\r\n0\r\nx-amz-checksum-crc32: NSRBwg==\r\nx-amz-trailer-signature:0\r\n\r\n",
        trailers=[(b"x-amz-checksum-crc32", b"NSRBwg=="), (b"x-amz-trailer-signature", b"0")],
        fields=(b"Trailer: x-amz-checksum-crc32",),
    )
    for name in (
        b"Content-Length",
        b"Content-Type",
        b"Content-Encoding",
        b"Content-MD5",
        b"Content_Length",
        b"Transfer-Encoding",
        b"transfer_encoding",
        b"Host",
        b"Connection",
        b"Keep-Alive",
        b"Proxy-Authorization",
        b"Proxy-Connection",
        b"TE",
        b"Trailer",
        b"Upgrade",
        b"Expect",
        b"Authorization",
        b"Cookie",
        b"Set-Cookie",
        b"WWW-Authenticate",
        b"Authentication-Info",
        b"Date",
        b"Range",
        b"If-Match",
        b"If-None-Match",
        b"Max-Forwards",
        b"Cache-Control",
        b"Pragma",
        b"Age",
        b"Expires",
        b"Location",
        b"Vary",
        b"Warning",
        b"Retry-After",
        b"Forwarded",
        b"X-Forwarded-For",
        b"X-Forwarded-Host",
        b"X_Forwarded_For",
        b"X-Real-IP",
        b"X-Amz-Date",
        b"X-Amz-Security-Token",
        b"X-Amz-Content-Sha256",
        b"X-Amz-Decoded-Content-Length",
        b"X-Amz-Copy-Source",
        b"X-Amz-Acl",
        b"X-Amz-Meta-A",
        b"X-Minio-Internal-A",
        b"X-Minio-Source-Mtime",
        b"X-HTTP-Method-Override",
        b"X-Original-URL",
        b"X-Rewrite-URL",
        b"Via",
        b"Referer",
        b"Origin",
        b"Sec-WebSocket-Key",
        b"Access-Control-Allow-Origin",
        b"User-Agent",
        b"Accept-Language",
        b"HTTP2-Settings",
    ):
        yield legal(
            f"trailer {name.decode()}",
            b"3\r\nabc\r\n0\r\n" + name + b": 1\r\nX-Kept: 2\r\n\r\n",
            trailers=[(b"X-Kept", b"2")],
        )
