"""Ambiguous responses are never relayed: 502, or a cut connection, never a clean end.

A backend (or a program in between) that smuggles a second response could answer another client's
request.
"""

import pytest

from support import wire
from support.backend import script

OK = b"HTTP/1.1 200 OK\r\n"
GOOD_BODY = b"Content-Length: 2\r\n\r\nok"

BAD_HEADS = [
    OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    OK + b"Content-Length: 2, 2\r\n\r\nok",
    OK + b"Content-Length: +2\r\n\r\nok",
    OK + b"Content-Length: -2\r\n\r\nok",
    OK + b"Content-Length: 2 2\r\n\r\nok",
    OK + b"Content-Length: 0x2\r\n\r\nok",
    OK + b"Content-Length: two\r\n\r\nok",
    OK + b"Content-Length:\r\n\r\nok",
    OK + b"Content-Length: 18446744073709551618\r\n\r\nok",
    OK + b"Content-Length : 2\r\n\r\nok",
    OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    OK + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    OK + b"Transfer-Encoding: identity\r\n\r\nok",
    OK + b"Transfer-Encoding: xchunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    OK + b"Transfer-Encoding:\r\n\r\nok",
    OK + b"Transfer-Encoding : chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    OK + b"Transfer_Encoding: chunked\r\n" + GOOD_BODY,
    OK + b"Content_Length: 7\r\n" + GOOD_BODY,
    OK + b"X-A: b\r\n c\r\n" + GOOD_BODY,
    OK + b" X-A: b\r\n" + GOOD_BODY,
    OK + b"X-A\r\n" + GOOD_BODY,
    OK + b"X A: b\r\n" + GOOD_BODY,
    OK + b"X-A : b\r\n" + GOOD_BODY,
    OK + b": b\r\n" + GOOD_BODY,
    OK + b"X-A: b\0c\r\n" + GOOD_BODY,
    OK + b"X-A: b\rc\r\n" + GOOD_BODY,
    OK + b"X-A: b\nX-C: d\r\n" + GOOD_BODY,
    OK + b"X\0A: b\r\n" + GOOD_BODY,
    OK + b"X\x08A: b\r\n" + GOOD_BODY,
    OK + b"X-A: \x08\0\r\n" + GOOD_BODY,
    b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    b"HTTP/1.1 200 O\0K\r\n" + GOOD_BODY,
    b"HTTP/1.1 200 O\rK\r\n" + GOOD_BODY,
    b"HTTP/1.1  200 OK\r\n" + GOOD_BODY,
    b"HTTP/1.1 20 OK\r\n" + GOOD_BODY,
    b"HTTP/1.1 2000 OK\r\n" + GOOD_BODY,
    b"HTTP/1.1 099 OK\r\n" + GOOD_BODY,
    b"HTTP/1.1 000 OK\r\n" + GOOD_BODY,
    b"HTTP/1.1 -20 OK\r\n" + GOOD_BODY,
    b"HTTP/1.1 2x0 OK\r\n" + GOOD_BODY,
    b"HTTP/1.1 OK\r\n" + GOOD_BODY,
    b"HTTP/1.1\r\n" + GOOD_BODY,
    b"HTTP/2.0 200 OK\r\n" + GOOD_BODY,
    b"HTTP/0.9 200 OK\r\n" + GOOD_BODY,
    b"HTTP/11 200 OK\r\n" + GOOD_BODY,
    b"http/1.1 200 OK\r\n" + GOOD_BODY,
    b"ICY 200 OK\r\n" + GOOD_BODY,
    b"XHTTP/1.1 200 OK\r\n" + GOOD_BODY,
    b" HTTP/1.1 200 OK\r\n" + GOOD_BODY,
    b"\r\nHTTP/1.1 200 OK\r\n" + GOOD_BODY,
    b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    b"\x15\x03\x01\x00\x02\x02\x16",
    b"<html>404</html>\r\n\r\n",
    b"\0" * 100,
    b"ok",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nbytes",
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\nhello" + OK + GOOD_BODY,
    b"HTTP/1.1 103 Hints\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + OK + GOOD_BODY,
]


def test_bad_heads_are_502(make_backend, gate):
    """In turn on one daemon; none may be relayed, retried forever or crash it."""

    def handler(exchange):
        exchange.read_body()
        number = int(exchange.request.target.rpartition("-")[2])
        exchange.send(BAD_HEADS[number])
        exchange.half_close()
        exchange.wait_closed()

    backend = make_backend(handler)
    daemon = gate([backend], passive="off")
    for number, data in enumerate(BAD_HEADS):
        with daemon.client() as client:
            client.send(client.head("POST", f"/b/bad-{number}", [("Content-Length", "0")]))
            try:
                response = client.read_response()
            except wire.Truncated as cut:
                pytest.fail(f"{data!r}: cut instead of a 502: {cut}")
            # A 1xx with framing fields may also be dropped, if the next message is refused or is
            # the real answer.
            interim = data.startswith((b"HTTP/1.1 100", b"HTTP/1.1 103"))
            assert response.status == 502 or (interim and response.data == b"ok"), data
            if response.status == 502:
                assert b"<Code>InternalError</Code>" in response.data
        assert backend.count(f"/b/bad-{number}") == 1, "a POST must not be sent twice"
    # A connection with a faulty answer is not used again.
    assert all(connection.requests == 1 for connection in backend.data_connections)


CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
BAD_BODIES = [
    b"2\r\nokX\r\n0\r\n\r\n",
    b"2\r\nok0\r\n\r\n",
    b"2\nok\r\n0\r\n\r\n",
    b"2\r\nok\n0\r\n\r\n",
    b"+2\r\nok\r\n0\r\n\r\n",
    b"-2\r\nok\r\n0\r\n\r\n",
    b"0x2\r\nok\r\n0\r\n\r\n",
    b" 2\r\nok\r\n0\r\n\r\n",
    b"zz\r\nok\r\n0\r\n\r\n",
    b"ffffffffffffffffff\r\nok\r\n0\r\n\r\n",
    b"2\r\nok\r\n0\r\nbad trailer\r\n\r\n",
    b"2\r\nok\r\n0\r\nX: \0\r\n\r\n",
    b"2\r\nok\r\n0\r\nX: y\n\r\n",
    b"2\r\nok\r\n0\n\r\n",
    b"2\r\nok\r\n0\r\n\n",
    b"\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"2;" + b"x" * 200000 + b"\r\nok\r\n0\r\n\r\n",
    b"2\r\nok\r\n",
    b"2\r\nok\r\n0\r\n",
    b"2\r\no",
    b"2\r\nok\r\n0\r\nX: y\r\n",
    b"",
    b"2",
    b"2\r",
    b"2\r\nok\r",
    b"2\r\nok\r\n0",
    b"2\r\nok\r\n0\r",
]


def test_bad_chunked_bodies_are_cut(make_backend, gate):
    def handler(exchange):
        exchange.read_body()
        exchange.send(CHUNKED + BAD_BODIES[int(exchange.request.target.rpartition("-")[2])])
        exchange.half_close()
        exchange.wait_closed()

    backend = make_backend(handler)
    daemon = gate([backend], passive="off")
    for number, data in enumerate(BAD_BODIES):
        with daemon.client() as client:
            client.send(client.head("GET", f"/b/bad-{number}"))
            try:
                response = client.read_response()
                assert response.status == 502, data
            except wire.Truncated:
                pass
    assert all(connection.requests == 1 for connection in backend.data_connections)


def test_oversized_head(one):
    def handler(exchange):
        exchange.read_body()
        size = int(exchange.request.target.rpartition("-")[2])
        exchange.respond(200, [("X-Long", "x" * size)], b"ok")

    daemon, _ = one(handler, limits={"response_head": "64KiB"}, passive="off")
    with daemon.client() as client:
        assert client.request("POST", "/b/size-60000", body=b"").data == b"ok"
        assert client.request("POST", "/b/size-70000", body=b"").status == 502
        assert client.request("POST", "/b/size-60001", body=b"").data == b"ok"


def test_head_that_came_whole_at_its_limit(one):
    """The limit may be smaller than one read."""
    limit = 4096

    def handler(exchange):
        exchange.read_body()
        size = int(exchange.request.target.rpartition("-")[2])
        fixed = OK + b"Content-Length: 2\r\nX: \r\n\r\n"
        exchange.send(fixed.replace(b"X: ", b"X: " + b"x" * (size - len(fixed))) + b"ok")

    daemon, _ = one(handler, limits={"response_head": "4KiB"}, passive="off")
    with daemon.client() as client:
        for size, status in [(limit - 1, 200), (limit, 200), (limit + 1, 502), (limit + 99, 502)]:
            response = client.request("POST", f"/b/size-{size}", body=b"")
            assert (size, response.status) == (size, status)


def test_endless_head(one):
    def handler(exchange):
        exchange.read_body()
        exchange.send(OK)
        try:
            for number in range(100000):
                exchange.send(b"X-%d: y\r\n" % number * 10)
        except OSError:
            pass
        exchange.close()

    daemon, _ = one(handler, passive="off")
    with daemon.client() as client:
        assert client.request("POST", body=b"").status == 502


@pytest.mark.parametrize("surplus", [b"x", OK + b"Content-Length: 4\r\n\r\nevil"])
def test_surplus_behind_a_response_is_dropped(one, surplus):
    daemon, _ = one(script(OK + GOOD_BODY + surplus))
    with daemon.client() as client:
        assert client.request("POST", body=b"").data == b"ok"
        assert client.request("POST", body=b"").data == b"ok"


def test_101_nobody_asked_for(one):
    """An S3 site without upgrade: the 101 is not relayed and opens no tunnel."""

    def handler(exchange):
        exchange.send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        exchange.wait_closed()

    daemon, backend = one(handler, passive="off")
    with daemon.client() as client:
        client.send(
            client.head("GET", "/ws", [("Connection", "Upgrade"), ("Upgrade", "websocket")])
        )
        response = client.read_response()
        assert response.status == 502
    assert backend.requests[0].values("upgrade") == []
