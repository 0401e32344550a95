"""Expect: 100-continue end to end. The backend decides; its 100 is relayed without fields; an early
final answer comes without a 100.

If the proxy sent the 100, clients would send bodies that were refused; if it swallowed the 100,
botocore would lose a second per PUT.
"""

import threading

import pytest

from support import wire

EXPECT = ("Expect", "100-continue")


def test_100_comes_from_the_backend(one):
    go = threading.Event()

    def handler(exchange):
        exchange.wait(go)
        exchange.continue_100()
        exchange.read_body()
        exchange.respond(200, [], b"stored")

    daemon, backend = one(handler)
    with daemon.client() as client:
        client.send(client.head("PUT", "/b/k", [EXPECT, ("Content-Length", "5")]))
        request = backend.wait_request("/b/k")
        assert request.header("expect") == "100-continue"
        assert not client.has_input(0.3), "a 100 that the backend never sent"
        go.set()
        assert client.reader.exactly(25, "100") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"hello")
        response = client.read_response()
        assert (response.status, response.interim) == (200, [])
        assert not response.closes
    assert request.body.data == b"hello"


def test_100_is_relayed_bare(one):
    """Any field in a 100 made aws-cli hang; the backend's fields are dropped."""

    def handler(exchange):
        exchange.send(b"HTTP/1.1 100 Continue\r\nConnection: keep-alive\r\nX-A: b\r\n\r\n")
        exchange.read_body()
        exchange.respond(200)

    daemon, _ = one(handler)
    with daemon.client() as client:
        client.send(client.head("PUT", "/b/k", [EXPECT, ("Content-Length", "1")]))
        assert client.reader.exactly(25, "100") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"x")
        assert client.read_response().status == 200


def test_100_only_once(one):
    def handler(exchange):
        exchange.continue_100()
        exchange.continue_100()
        exchange.read_body()
        exchange.continue_100()
        exchange.respond(200)

    daemon, _ = one(handler)
    with daemon.client() as client:
        client.send(client.head("PUT", "/b/k", [EXPECT, ("Content-Length", "1")]))
        assert client.read_head().status == 100
        client.send(b"x")
        response = client.read_response()
        assert response.status == 200
        assert response.interim == []


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_refusal_without_a_100(one, framing):
    """403 before the body: no 100, Connection: close, and the client is never asked for the body.
    """
    go = threading.Event()

    def handler(exchange):
        exchange._body_read = True
        exchange.wait(go)
        exchange.respond(403, [], b"<Error><Code>AccessDenied</Code></Error>", "Forbidden")
        exchange.wait_closed()

    daemon, backend = one(handler, top={"workers": 1})
    field = (
        ("Content-Length", "1000000") if framing == "length" else ("Transfer-Encoding", "chunked")
    )
    with daemon.client() as client:
        client.send(client.head("PUT", "/b/k", [EXPECT, field]))
        backend.wait_request("/b/k")
        assert not client.has_input(0.2)
        go.set()
        response = client.read_response()
        assert (response.status, response.interim) == (403, [])
        assert b"AccessDenied" in response.data
        assert response.closes
        assert client.expect_close() == "eof"
    # The unused backend connection cannot carry another request: the announced body never came.
    with daemon.client() as client:
        client.send(client.head("GET", "/b/next"))
        client.read_response()
    assert backend.find("/b/next")[0].connection is not backend.find("/b/k")[0].connection


def test_100_before_a_refusal(one):
    def handler(exchange):
        exchange._body_read = True
        exchange.continue_100()
        exchange.respond(403, [], b"no", "Forbidden")
        exchange.wait_closed()

    daemon, _ = one(handler)
    with daemon.client() as client:
        client.send(client.head("PUT", "/b/k", [EXPECT, ("Content-Length", "10")]))
        response = client.read_response()
        assert [interim.status for interim in response.interim] == [100]
        assert (response.status, response.data) == (403, b"no")


def test_client_that_does_not_wait(one):
    def handler(exchange):
        exchange.continue_100()
        exchange.read_body()
        exchange.respond(200)

    daemon, backend = one(handler)
    with daemon.client() as client:
        for number in range(3):
            client.send(
                client.head("PUT", f"/b/{number}", [EXPECT, ("Content-Length", "5")]) + b"hello"
            )
            assert client.read_response().status == 200
    assert [request.body.data for request in backend.requests] == [b"hello"] * 3


def test_backend_that_never_sends_100_but_reads(one):
    """A client that loses patience sends its body; the final answer then ends the exchange with
    Connection: close."""

    def handler(exchange):
        exchange.read_body()
        exchange.respond(200)

    daemon, backend = one(handler)
    with daemon.client() as client:
        client.send(client.head("PUT", "/b/k", [EXPECT, ("Content-Length", "5")]))
        backend.wait_request("/b/k")
        client.send(b"hello")
        response = client.read_response()
        assert response.status == 200
        assert response.interim == []
        assert response.closes
    assert backend.requests[0].body.data == b"hello"


def test_client_that_waits_forever_is_bounded(one):
    """A deadlock: the client waits for a 100, the backend for a body."""
    daemon, backend = one(
        lambda exchange: exchange.read_body(),
        timeouts={"client_body": "300ms", "backend_head": "600ms"},
    )
    with daemon.client() as client:
        client.send(client.head("PUT", "/b/k", [EXPECT, ("Content-Length", "5")]))
        data, _ = client.read_until_close()
        assert not data or data[9:12] in (b"408", b"504")
    assert backend.count("/b/k") == 1


def test_client_that_does_nothing_with_its_100(one):
    def handler(exchange):
        exchange.continue_100()
        exchange.read_body()

    daemon, backend = one(handler, timeouts={"client_body": "300ms"})
    with daemon.client() as client:
        client.send(client.head("PUT", "/b/k", [EXPECT, ("Content-Length", "5")]))
        assert client.read_head().status == 100
        data, _ = client.read_until_close()
        assert not data or data.startswith(b"HTTP/1.1 408 ")
    assert backend.count("/b/k") == 1


def test_other_expectations(one):
    """RFC 9110 §10.1.1 allows 417 for an unknown expectation. If it were relayed, the backend would
    decide whether the body after it is read."""
    daemon, backend = one()
    with daemon.client() as client:
        response = client.request("GET", "/b/k", [("Expect", "the-unexpected")])
        assert response.status == 417
        assert response.closes
        assert client.expect_close() == "eof"
    assert backend.requests == []


def test_expect_on_a_get_is_harmless(one):
    daemon, _ = one()
    with daemon.client() as client:
        for _ in range(2):
            client.send(client.head("GET", "/b/k", [EXPECT]))
            response = client.read_response()
            assert response.status == 200
            if response.closes:
                break


def test_large_upload_after_100(one):
    def handler(exchange):
        exchange.continue_100()
        exchange.read_body()
        exchange.respond(200)

    daemon, backend = one(handler)
    data = wire.payload(3 * 1024 * 1024)
    with daemon.client() as client:
        client.send(client.head("PUT", "/b/k", [EXPECT, ("Transfer-Encoding", "chunked")]))
        assert client.read_head().status == 100
        sender = client.send_in_background(wire.chunked(data))
        assert client.read_response().status == 200
        sender.join()
    assert backend.requests[0].body.sha256 == wire.sha256(data)


def test_waiting_for_a_late_100_is_no_stall(one):
    """A client rightly sends nothing until it gets the 100: client_body begins then."""
    pause = threading.Event()

    def handler(exchange):
        pause.wait(2)
        exchange.continue_100()
        exchange.read_body()
        exchange.respond(200)

    daemon, backend = one(handler, timeouts={"client_body": "300ms"})
    with daemon.client() as client:
        client.send(client.head("PUT", "/b/k", [EXPECT, ("Content-Length", "5")]))
        assert client.read_head().status == 100
        client.send(b"hello")
        assert client.read_response().status == 200
    assert backend.requests[0].body.data == b"hello"
