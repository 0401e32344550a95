"""Bodies by length and by chunks, with each method."""

from support.request_table.rows import CRLF, chunked, forward


def bodies():
    for method in (b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"POST", b"PUT", b"PATCH", b"TRACE"):
        line = method + b" /t HTTP/1.1"
        yield forward(f"{method.decode()} with a length", line, b"Content-Length: 3", body=b"abc")
        yield forward(
            f"{method.decode()} with chunks",
            line,
            b"Transfer-Encoding: chunked",
            body=b"abc",
            sent=b"3\r\nabc\r\n0\r\n\r\n",
        )
    yield forward("a length of 0", b"PUT /t HTTP/1.1", b"Content-Length: 0")
    yield forward("POST without a body", b"POST /t HTTP/1.1")
    hidden = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
    yield forward(
        "a request as body",
        b"PUT /t HTTP/1.1",
        b"Content-Length: %d" % len(hidden),
        body=hidden,
    )
    yield forward(
        "a request as chunk",
        b"PUT /t HTTP/1.1",
        b"Transfer-Encoding: chunked",
        body=hidden,
        sent=b"%X\r\n%s\r\n0\r\n\r\n" % (len(hidden), hidden),
    )
    yield forward("a body of line ends", b"PUT /t HTTP/1.1", b"Content-Length: 8", body=CRLF * 4)
    yield forward("a body of zeros", b"PUT /t HTTP/1.1", b"Content-Length: 9", body=bytes(9))
    yield forward(
        "a last chunk as body", b"PUT /t HTTP/1.1", b"Content-Length: 5", body=b"0\r\n\r\n"
    )
    yield forward(
        "aws-chunked",
        b"PUT /t HTTP/1.1",
        b"Content-Encoding: aws-chunked",
        b"x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        b"x-amz-decoded-content-length: 3",
        b"x-amz-trailer: x-amz-checksum-crc32",
        b"Content-Length: 42",
        body=b"3\r\nabc\r\n0\r\nx-amz-checksum-crc32:NSRBwg==\r\n",
    )
    for coding in (b"Chunked", b"CHUNKED", b" chunked ", b"\tchunked\t"):
        yield forward(
            f"coding {coding!r}",
            b"PUT /t HTTP/1.1",
            b"Transfer-Encoding:" + coding,
            body=b"abc",
            sent=b"3\r\nabc\r\n0\r\n\r\n",
        )
    yield forward(
        "coding in capitals", b"PUT /t HTTP/1.1", b"TRANSFER-ENCODING: chunked", sent=b"0\r\n\r\n"
    )
    yield forward("length in capitals", b"PUT /t HTTP/1.1", b"CONTENT-LENGTH:3", body=b"abc")
