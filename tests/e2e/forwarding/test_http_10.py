"""HTTP/1.0 on either side: close by default, no chunked coding, no 1xx, Host filled in.

Old load test tools and monitoring scripts still speak it.
"""

import pytest

from support import wire


def test_client_closes_by_default(one):
    daemon, backend = one()
    with daemon.client() as client:
        client.send(client.head(version="1.0"))
        response = client.read_response()
        assert response.status == 200
        assert response.data == b"b1"
        assert client.expect_close() == "eof"
    assert backend.requests[0].version == b"1.1"


def test_client_keep_alive(one):
    """A 1.0 client may ask for keep-alive; the daemon grants it with the field or closes, and never
    keeps the connection silently."""
    daemon, _ = one()
    with daemon.client() as client:
        client.send(client.head(version="1.0", fields=[("Connection", "keep-alive")]))
        response = client.read_response()
        assert response.data == b"b1"
        options = ",".join(response.values("connection")).lower()
        if "keep-alive" in options:
            client.send(client.head(version="1.0"))
            assert client.read_response().status == 200
        assert client.expect_close() == "eof"


def test_client_without_host(one):
    """The daemon fills in the address that the client connected to: the backend demands a Host."""
    daemon, backend = one()
    with daemon.client() as client:
        client.send(b"GET /b/k HTTP/1.0\r\n\r\n")
        assert client.read_response().status == 200
    assert backend.requests[0].header("host") == daemon.address


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_responses_to_a_10_client(one, framing):
    data = wire.payload(300000)

    def handler(exchange):
        exchange.read_body()
        if framing == "close":
            exchange.send(b"HTTP/1.1 200 OK\r\n\r\n" + data)
            exchange.close()
        else:
            exchange.respond(200, [], data, chunked=framing == "chunked")

    daemon, _ = one(handler)
    with daemon.client() as client:
        client.send(client.head(version="1.0"))
        response = client.read_response()
        assert response.framing == ("length" if framing == "length" else "close")
        assert response.body.sha256 == wire.sha256(data)
        assert client.expect_close() == "eof"


def test_cut_response_to_a_10_client_is_a_reset(one):
    """Without a length a clean FIN would look like success."""

    def handler(exchange):
        exchange.read_body()
        exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel")
        exchange.close()

    daemon, _ = one(handler)
    with daemon.client() as client:
        client.send(client.head(version="1.0"))
        _, how = client.read_until_close()
        assert how == "reset"


def test_upload_of_a_10_client(one):
    daemon, backend = one()
    with daemon.client() as client:
        client.send(client.head("PUT", version="1.0", fields=[("Content-Length", "5")]) + b"hello")
        assert client.read_response().status == 200
    assert backend.requests[0].body.data == b"hello"


def test_backend_speaks_10(one):
    """Its connection is reused only if it said keep-alive; the client gets HTTP/1.1."""

    def handler(exchange):
        exchange.read_body()
        exchange.send(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")
        exchange.wait_closed()

    daemon, backend = one(handler)
    with daemon.client() as client:
        for _ in range(3):
            response = client.request()
            assert (response.version, response.data) == (b"1.1", b"ok")
    assert len(backend.data_connections) == 3


def test_backend_speaks_10_close_delimited(one):
    def handler(exchange):
        exchange.read_body()
        exchange.send(b"HTTP/1.0 200 OK\r\n\r\nto the end")
        exchange.close()

    daemon, _ = one(handler)
    with daemon.client() as client:
        for _ in range(2):
            response = client.request()
            assert (response.framing, response.data) == ("chunked", b"to the end")


def test_backend_speaks_10_with_chunked_is_refused(one):
    """RFC 9112 §6.1: Transfer-Encoding on HTTP/1.0 is faulty framing."""

    def handler(exchange):
        exchange.read_body()
        exchange.send(b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
        exchange.close()

    daemon, _ = one(handler)
    with daemon.client() as client:
        assert client.request().status == 502


def test_head_of_a_10_client_has_no_transfer_encoding(one):
    """RFC 9112 §6.1: a server must not send Transfer-Encoding to an HTTP/1.0 client; a HEAD answer
    is no exception."""

    def handler(exchange):
        exchange.read_body()
        exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-End: 1\r\n\r\n")

    daemon, _ = one(handler)
    with daemon.client() as client:
        client.send(client.head("HEAD", version="1.0"))
        response = client.read_response("HEAD")
        assert response.status == 200
        assert response.values("transfer-encoding") == []
        assert response.values("x-end") == ["1"]
        assert client.expect_close() == "eof"
