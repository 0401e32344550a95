"""Responses arrive as the backend sent them: status, fields, order, case and body.

Compression, a weak ETag, a lost Content-Length or an empty reason phrase each break an SDK.
"""

import gzip

import pytest


def test_fields_byte_for_byte(one):
    lines = [
        b"Server: MinIO",
        b"ETag: \"d41d8cd98f00b204e9800998ecf8427e\"",
        b"x-amz-request-id: 17A",
        b"X-Amz-Id-2: abc",
        b"x-amz-meta-a_b:  two  spaces ",
        b"Set-Cookie: a=1",
        b"set-cookie: b=2",
        b"Vary: Origin",
        b"Vary: Accept-Encoding",
        b"Strict-Transport-Security: max-age=1",
        b"X-RateLimit-Limit: 5",
        b"Retry-After: 60",
        b"X-Accel-Buffering: no",
        b"x-utf8: \xe4\xb8\xad",
        b"x-empty:",
        b"Content-Type: text/plain",
        b"Content-Encoding: gzip",
        b"Cache-Control: no-transform",
        b"Accept-Ranges: bytes",
        b"Date: Thu, 01 Jan 2026 00:00:00 GMT",
    ]
    body = gzip.compress(b"text " * 1000)

    def handler(exchange):
        exchange.read_body()
        exchange.respond(200, lines, body)

    daemon, _ = one(handler)
    with daemon.client() as client:
        response = client.request(fields=[("Accept-Encoding", "gzip")])
    assert response.data == body
    got = response.raw_head.split(b"\r\n")[1:-2]
    assert [
        line
        for line in got
        if line.partition(b":")[0].lower() not in (b"connection", b"content-length")
    ] == lines
    assert response.values("content-length") == [str(len(body))]


@pytest.mark.parametrize(
    "status,reason",
    [
        (200, "OK"),
        (201, "Created"),
        (202, "Accepted"),
        (206, "Partial Content"),
        (301, "Moved Permanently"),
        (307, "Temporary Redirect"),
        (400, "Bad Request"),
        (403, "Forbidden by policy"),
        (404, "Not Found"),
        (409, "Conflict"),
        (411, "Length Required"),
        (412, "Precondition Failed"),
        (416, "Range"),
        (418, "I'm a teapot"),
        (499, "Client Closed Request"),
        (500, "Internal"),
        (501, "Not Implemented"),
        (503, "Slow Down"),
        (520, "Odd"),
        (599, "Odd"),
    ],
)
def test_status_and_reason(one, status, reason):
    def handler(exchange):
        exchange.read_body()
        exchange.respond(status, [("Content-Range", "bytes 0-3/10")], b"<Error>x</Error>", reason)

    daemon, backend = one(handler, retry={"on": []} if status in (500, 502, 503, 504) else {})
    with daemon.client() as client:
        response = client.request("PUT", "/b/k", body=b"")
        assert (response.status, response.reason) == (status, reason.encode())
        assert response.data == b"<Error>x</Error>"
        assert response.values("content-range") == ["bytes 0-3/10"]
        assert client.request("PUT", "/b/k", body=b"").status == status
    assert len(backend.requests) == 2


@pytest.mark.parametrize(
    "line", [b"HTTP/1.1 403 ", b"HTTP/1.1 403", b"HTTP/1.1 520 ", b"HTTP/1.1 499 "]
)
def test_empty_reason_becomes_a_real_one(one, line):
    """botocore needs three words in the status line and otherwise loses the error. RawClient
    refuses an empty reason."""

    def handler(exchange):
        exchange.read_body()
        exchange.send(line + b"\r\nContent-Length: 3\r\n\r\nerr")

    daemon, _ = one(handler)
    with daemon.client() as client:
        response = client.request()
        assert response.reason.strip()
        if response.status == int(line.split()[1]):
            assert response.data == b"err"
        else:
            # "HTTP/1.1 403" without the space is not a status line (RFC 9112 §4): a 502 is as good.
            assert response.status == 502 and line == b"HTTP/1.1 403"


def test_200_with_an_error_body_passes(one):
    error = b"<?xml version=\"1.0\"?>\n<Error><Code>InternalError</Code></Error>"

    def handler(exchange):
        exchange.read_body()
        exchange.respond(200, [("Content-Type", "application/xml")], error)

    daemon, _ = one(handler)
    with daemon.client() as client:
        assert client.request("POST", "/b/k?uploadId=x", body=b"<x/>").data == error


@pytest.mark.parametrize("site", ["s3", "http"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_object_with_a_control_in_its_metadata_can_be_read(make_backend, gate, site, method):
    """One server is asked, none is marked, the byte becomes a space; nginx and HAProxy relay it."""

    def handler(exchange):
        exchange.read_body()
        exchange.respond(200, [b"x-amz-meta-a: b\x01c\x1b[31m\x7f", b"ETag: \"e\""], b"data")

    backends = [make_backend(handler) for _ in range(2)]
    daemon = gate(
        backends,
        type=site,
        balance={"method": "round_robin"},
        passive={"max_fails": 1, "fail_timeout": "60s"},
        top={"workers": 1},
    )
    with daemon.client() as client:
        for count in range(1, 5):
            response = client.request(method)
            assert (response.status, response.header("etag")) == (200, '"e"')
            assert b"x-amz-meta-a: b c [31m \r\n" in response.raw_head
            assert response.data == (b"data" if method == "GET" else b"")
            assert sum(len(backend.requests) for backend in backends) == count
    assert [len(backend.data_connections) for backend in backends] == [1, 1]
    assert daemon.wait_log("/b/k")["error"] == "-"
    assert not any("malformed" in what for what in daemon.totals())
    assert "marked" not in daemon.stderr
