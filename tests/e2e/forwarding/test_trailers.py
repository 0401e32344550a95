"""Trailers travel with chunked bodies, except those that name framing, routing or authentication
fields.

A trailer that is merged into the head or relayed blindly is a smuggling vector; a dropped checksum
trailer breaks verification.
"""

import pytest

from support import wire

FORBIDDEN = [
    b"Content-Length: 3",
    b"Transfer-Encoding: chunked",
    b"Host: evil",
    b"Authorization: x",
    b"Trailer: x",
    b"Connection: close",
    b"X-Forwarded-For: 1.2.3.4",
    b"Cookie: a=b",
    b"Set-Cookie: a=b",
    b"TE: trailers",
    b"Content-Encoding: gzip",
    b"Content-Type: a/b",
    b"Content-Range: bytes 0-1/2",
    b"X-Real-IP: 1.2.3.4",
]


def test_request_trailers(one):
    daemon, backend = one()
    coded = wire.chunked(b"data", trailers=b"x-amz-checksum-crc32: AAAA\r\nX-Other:  two\r\n")
    with daemon.client() as client:
        client.send(
            client.head(
                "PUT",
                "/b/k",
                [("Transfer-Encoding", "chunked"), ("Trailer", "x-amz-checksum-crc32")],
            )
            + coded
        )
        assert client.read_response().status == 200
        assert client.request().status == 200
    request = backend.requests[0]
    assert request.body.data == b"data"
    assert request.body.trailers == [(b"x-amz-checksum-crc32", b"AAAA"), (b"X-Other", b"two")]
    assert request.header("x-amz-checksum-crc32") is None
    assert request.header("trailer") == "x-amz-checksum-crc32"


def test_response_trailers(one):
    def handler(exchange):
        exchange.read_body()
        exchange.respond(
            200, [("Trailer", "x-sum")], b"data", chunked=True, trailers=b"x-sum: 1\r\nX-B: 2\r\n"
        )

    daemon, _ = one(handler)
    with daemon.client() as client:
        response = client.request(fields=[("TE", "trailers"), ("Connection", "TE")])
        assert response.data == b"data"
        assert response.body.trailers == [(b"x-sum", b"1"), (b"X-B", b"2")]
        assert client.request().status == 200


@pytest.mark.parametrize("line", FORBIDDEN)
def test_dangerous_request_trailers_never_arrive(one, line):
    daemon, backend = one()
    with daemon.client() as client:
        client.send(
            client.head("PUT", "/b/k", [("Transfer-Encoding", "chunked")])
            + wire.chunked(b"data", trailers=b"x-kept: 1\r\n" + line + b"\r\n")
        )
        response = client.read_response()
    requests = [request for request in backend.requests if request.body.complete]
    if response.status == 200:
        names = [name for name, _ in requests[0].body.trailers]
        assert names == [b"x-kept"]
    else:
        assert response.status == 400 and not requests


@pytest.mark.parametrize("line", FORBIDDEN)
def test_dangerous_response_trailers_never_arrive(one, line):
    def handler(exchange):
        exchange.read_body()
        exchange.respond(200, [], b"data", chunked=True, trailers=b"x-kept: 1\r\n" + line + b"\r\n")

    daemon, _ = one(handler)
    with daemon.client() as client:
        client.send(client.head())
        try:
            response = client.read_response()
            assert [name for name, _ in response.body.trailers] == [b"x-kept"]
        except wire.Truncated:
            pass


def test_http_10_client_gets_no_trailers(one):
    def handler(exchange):
        exchange.read_body()
        exchange.respond(200, [], b"data", chunked=True, trailers=b"x-sum: 1\r\n")

    daemon, _ = one(handler)
    with daemon.client() as client:
        client.send(client.head(version="1.0"))
        response = client.read_response()
        assert response.framing == "close"
        assert response.data == b"data"


@pytest.mark.parametrize("trailer", [b"X y", b"\x00", b" fold", b"Content-Length : 4"])
def test_malformed_response_trailer_behind_what_is_not_chunked(one, trailer):
    """A 1.0 client gets no chunks and no trailers. A malformed one still spoils the message and its
    connection."""

    def handler(exchange):
        exchange.read_body()
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        exchange.send(head + b"5\r\nhello\r\n0\r\n" + trailer + b"\r\n\r\n")

    daemon, backend = one(handler)
    for number in range(2):
        with daemon.client() as client:
            client.send(b"GET /b/%d HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" % number)
            data, how = client.read_until_close()
            assert how == "reset" or data.startswith(b"HTTP/1.1 502 "), (data, how)
    assert len(backend.data_connections) == 2
