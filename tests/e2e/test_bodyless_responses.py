"""HEAD, 204 and 304 have no body whatever their fields say, and keep the fields that describe the
object.

A proxy that waits for a body here hangs; one that drops Content-Length of a HEAD breaks every stat
of an SDK.
"""

import pytest

from support import wire


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 5368709120\r\n",
        b"Content-Length: 0\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"",
    ],
)
def test_head(one, fields):
    def handler(exchange):
        exchange.read_body()
        exchange.send(b"HTTP/1.1 200 OK\r\nETag: \"e\"\r\n" + fields + b"\r\n")

    daemon, backend = one(handler)
    with daemon.client() as client:
        for _ in range(2):
            client.send(client.head("HEAD"))
            raw = client.read_response("HEAD").raw_head
            assert fields in raw
            assert b"ETag: \"e\"\r\n" in raw
    assert len(backend.requests) == 2
    assert len(backend.data_connections) == 1


def test_head_of_a_missing_object(one):
    def handler(exchange):
        exchange.send(
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 300\r\n"
            b"x-minio-error-code: NoSuchKey\r\n\r\n"
        )

    daemon, _ = one(handler)
    with daemon.client() as client:
        for _ in range(2):
            response = client.request("HEAD")
            assert (response.status, response.header("content-length")) == (404, "300")
            assert response.header("x-minio-error-code") == "NoSuchKey"


@pytest.mark.parametrize("field", [b"", b"Content-Length: 0\r\n", b"Content-Length: 5\r\n"])
@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
def test_204(one, method, field):
    """RFC 9110 §8.6: a 204 with a Content-Length is wrong; strict clients would refuse it."""

    def handler(exchange):
        exchange.read_body()
        exchange.send(b"HTTP/1.1 204 No Content\r\nX-A: b\r\n" + field + b"\r\n")

    daemon, backend = one(handler)
    with daemon.client() as client:
        for _ in range(2):
            response = client.request(method, body=b"" if method == "PUT" else None)
            assert response.status == 204
            assert response.values("content-length") == []
            assert response.values("transfer-encoding") == []
    assert len(backend.data_connections) == 1


def test_304_keeps_its_length_field(one):
    """RFC 9110 §8.6: a 304 may say how long the 200 would have been."""

    def handler(exchange):
        exchange.read_body()
        exchange.send(b"HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\nContent-Length: 1000\r\n\r\n")

    daemon, backend = one(handler)
    with daemon.client() as client:
        for _ in range(2):
            client.send(client.head("GET", fields=[("If-None-Match", '"e"')]))
            response = client.read_response()
            assert response.status == 304
            assert response.header("etag") == '"e"'
    assert len(backend.data_connections) == 1


def test_bytes_after_a_bodyless_response_never_reach_anybody(one):
    """A backend that sends a body with its HEAD answer: the surplus must not become the next
    client's answer."""

    def handler(exchange):
        exchange.read_body()
        if exchange.request.method == "HEAD":
            exchange.send(
                b"HTTP/1.1 200 OK\r\nContent-Length: 58\r\n\r\nHTTP/1.1 200 OK\r\nX-Evil: 1\r\n"
                b"Content-Length: 4\r\n\r\nevil"
            )
            exchange.wait_closed()
        else:
            exchange.respond(200, [], b"good")

    daemon, _ = one(handler)
    with daemon.client() as client:
        for _ in range(3):
            client.send(client.head("HEAD"))
            client.read_response("HEAD")
            try:
                response = client.request()
                assert response.data == b"good"
            except (wire.Truncated, OSError):
                break
    with daemon.client() as client:
        assert client.request().data == b"good"
