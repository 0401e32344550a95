"""Expect with Content-Length: 0 (every empty put of botocore): our own 100, or Connection: close.

A Go backend never sends a 100 here. Without either measure botocore stalls on the next request of
the connection and writes that object twice.
"""

import pytest

FIELDS = [("Expect", "100-continue"), ("Content-Length", "0")]


def test_synth100(one):
    daemon, backend = one(expect_empty_body="synth100")
    with daemon.client() as client:
        for number in range(3):
            client.send(client.head("PUT", f"/b/{number}", FIELDS))
            response = client.read_response()
            heads = [interim.raw_head for interim in response.interim]
            assert heads == [b"HTTP/1.1 100 Continue\r\n\r\n"]
            assert response.status == 200
            assert not response.closes
    assert [request.target for request in backend.requests] == ["/b/0", "/b/1", "/b/2"]


def test_synth100_is_not_added_to_the_backends_own(one):
    def handler(exchange):
        exchange.continue_100()
        exchange.respond(200)

    daemon, _ = one(handler, expect_empty_body="synth100")
    with daemon.client() as client:
        client.send(client.head("PUT", "/b/k", FIELDS))
        response = client.read_response()
        assert [interim.status for interim in response.interim] == [100]


def test_synth100_is_the_default(one):
    daemon, _ = one()
    with daemon.client() as client:
        client.send(client.head("PUT", "/b/k", FIELDS))
        assert [interim.status for interim in client.read_response().interim] == [100]


def test_close(one):
    daemon, _ = one(expect_empty_body="close")
    with daemon.client() as client:
        client.send(client.head("PUT", "/b/k", FIELDS))
        response = client.read_response()
        assert (response.status, response.interim) == (200, [])
        assert response.closes
        assert client.expect_close() == "eof"


@pytest.mark.parametrize("mode", ["synth100", "close"])
def test_http_10_never_gets_a_100(one, mode):
    daemon, _ = one(expect_empty_body=mode)
    with daemon.client() as client:
        client.send(client.head("PUT", "/b/k", FIELDS, version="1.0"))
        response = client.read_response()
        assert (response.status, response.interim) == (200, [])
