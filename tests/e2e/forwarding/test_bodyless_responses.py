"""HEAD, 204 and 304 have no body whatever their fields say, and keep the fields that describe the
object.

A proxy that waits for a body here hangs; one that drops the Content-Length of a HEAD breaks every
stat of an SDK; one that refuses unused framing fields reports an executed DELETE as failed.
test_response_table.py has the combinations (`odd_without_body`).
"""

import pytest

from support import wire

ODD = {
    "two lengths": b"Content-Length: 0\r\nContent-Length: 0\r\n",
    "a list": b"Content-Length: 0, 0\r\n",
    "abc": b"Content-Length: abc\r\n",
    "both": b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
    "a coding": b"Transfer-Encoding: gzip\r\n",
}


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
    """RFC 9110 §8.6: a 204 with a Content-Length is wrong; strict clients refuse it."""

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
    """RFC 9110 §8.6: a 304 may state the length of the 200."""

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
    """A backend sends a body with its HEAD answer: the surplus must not become another client's
    answer."""

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


@pytest.mark.parametrize("site", ["s3", "http"])
@pytest.mark.parametrize("odd", ODD)
def test_odd_framing_of_an_executed_delete(make_backend, gate, site, odd):
    """One server is asked once, the client learns of the success, no server is marked."""

    def handler(exchange):
        exchange.read_body()
        exchange.send(b"HTTP/1.1 204 No Content\r\nX-A: b\r\n" + ODD[odd] + b"\r\n")

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
            response = client.request("DELETE")
            assert (response.status, response.header("x-a")) == (204, "b")
            assert response.values("content-length") == response.values("transfer-encoding") == []
            assert sum(len(backend.requests) for backend in backends) == count
    assert [len(backend.requests) for backend in backends] == [2, 2]
    assert [len(backend.data_connections) for backend in backends] == [2, 2], "used again"
    assert daemon.wait_log("/b/k")["error"] == "-"
    assert not any("malformed" in what for what in daemon.totals())
    assert "marked" not in daemon.stderr


@pytest.mark.parametrize("odd", ODD)
def test_odd_framing_of_a_head(make_backend, gate, odd):
    def handler(exchange):
        exchange.read_body()
        exchange.send(b"HTTP/1.1 200 OK\r\nETag: \"e\"\r\n" + ODD[odd] + b"\r\n")

    backends = [make_backend(handler) for _ in range(2)]
    daemon = gate(backends, type="http", passive={"max_fails": 1, "fail_timeout": "60s"})
    with daemon.client() as client:
        for _ in range(4):
            response = client.request("HEAD")
            assert (response.status, response.header("etag")) == (200, '"e"')
            equal = odd in ("two lengths", "a list")
            assert response.values("content-length") == (["0"] if equal else [])
            assert response.values("transfer-encoding") == []
    assert sum(len(backend.requests) for backend in backends) == 4
    assert "marked" not in daemon.stderr


@pytest.mark.parametrize("odd", ODD)
def test_odd_framing_of_a_switch(make_backend, gate, odd):
    """RFC 9110 §15.2.2 is a 1xx too: after its empty line the new protocol begins."""

    def handler(exchange):
        exchange.send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
            + ODD[odd]
            + b"\r\nhello"
        )
        exchange.wait_closed()

    daemon = gate([make_backend(handler)], type="http", upgrade=True)
    with daemon.client() as client:
        client.send(client.head(fields=[("Connection", "upgrade"), ("Upgrade", "websocket")]))
        answer = client.read_head()
        assert answer.status == 101
        raw = answer.raw_head.lower()
        assert b"content-length" not in raw and b"transfer-encoding" not in raw
        assert client.reader.exactly(5, "tunnel") == b"hello"
