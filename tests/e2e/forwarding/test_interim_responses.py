"""1xx responses are relayed to HTTP/1.1 clients that may get them, never to HTTP/1.0 clients, and
never taken for the answer.
"""

from support import wire


def test_102_and_103_are_relayed(one):
    def handler(exchange):
        exchange.read_body()
        exchange.send(b"HTTP/1.1 102 Processing\r\n\r\n")
        exchange.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")
        exchange.respond(200, [], b"done")

    daemon, backend = one(handler)
    with daemon.client() as client:
        for _ in range(2):
            response = client.request()
            assert [interim.status for interim in response.interim] == [102, 103]
            assert b"Link: </a.css>; rel=preload\r\n" in response.interim[1].raw_head
            assert (response.status, response.data) == (200, b"done")
    assert len(backend.data_connections) == 1


def test_interim_glued_to_the_final_response(one):
    def handler(exchange):
        exchange.read_body()
        exchange.send(
            b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        )

    daemon, _ = one(handler)
    with daemon.client() as client:
        response = client.request()
        assert [interim.status for interim in response.interim] == [102]
        assert response.data == b"ok"


def test_http_10_client_gets_none(one):
    def handler(exchange):
        exchange.read_body()
        exchange.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n")
        exchange.respond(200, [], b"ok")

    daemon, _ = one(handler)
    with daemon.client() as client:
        client.send(
            client.head(version="1.0", fields=[("Expect", "100-continue"), ("Content-Length", "0")])
        )
        response = client.read_response()
        assert response.interim == []
        assert response.data == b"ok"


def test_unasked_100_is_swallowed(one):
    """A client without Expect would take a 100 for the answer to its next request."""

    def handler(exchange):
        exchange.read_body()
        exchange.continue_100()
        exchange.respond(200, [], b"ok")

    daemon, _ = one(handler)
    with daemon.client() as client:
        response = client.request("PUT", "/b/k", body=b"x")
        assert response.interim == []
        assert response.status == 200


def test_endless_interims_do_not_grow_or_hang(one):
    """A backend that sends only 1xx is cut at a bound or when the client leaves; it must not harm
    the daemon."""

    def handler(exchange):
        exchange.read_body()
        for _ in range(2000):
            exchange.send(b"HTTP/1.1 102 Processing\r\n\r\n")
        exchange.respond(200, [], b"ok")

    daemon, _ = one(handler)
    with daemon.client() as client:
        client.send(client.head())
        try:
            response = client.read_response()
            assert response.status in (200, 502)
        except wire.Truncated:
            pass
    with daemon.client() as client:
        client.send(client.head())
        client.read_head()


def test_several_large_ones_at_once(one):
    """Each is below limits.response_head; together they exceed one buffer."""
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: " + b"x" * 100_000 + b"\r\n\r\n"

    def handler(exchange):
        exchange.read_body()
        exchange.send(interim * 5 + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    daemon, _ = one(handler)
    with daemon.client() as client:
        response = client.request()
        assert [interim.status for interim in response.interim] == [103] * 5
        assert (response.status, response.data) == (200, b"ok")
