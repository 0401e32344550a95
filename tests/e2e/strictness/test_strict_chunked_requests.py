"""Chunked uploads with faulty coding never reach the backend as a complete request.

A size that two readers parse differently is a smuggled request; a repaired one is a silently
changed object.
"""

import pytest

from support import wire

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
HEAD = b"PUT /bad-%d HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

BAD = [
    b"+3\r\nabc\r\n0\r\n\r\n",
    b"-3\r\nabc\r\n0\r\n\r\n",
    b"0x3\r\nabc\r\n0\r\n\r\n",
    b"0X3\r\nabc\r\n0\r\n\r\n",
    b"3h\r\nabc\r\n0\r\n\r\n",
    b"g\r\nabc\r\n0\r\n\r\n",
    b"\r\nabc\r\n0\r\n\r\n",
    b" 3\r\nabc\r\n0\r\n\r\n",
    b"\t3\r\nabc\r\n0\r\n\r\n",
    b"3 \r\nabc\r\n0\r\n\r\n",
    b"3\t\r\nabc\r\n0\r\n\r\n",
    b"3 3\r\nabc\r\n0\r\n\r\n",
    b"3_\r\nabc\r\n0\r\n\r\n",
    b"3,\r\nabc\r\n0\r\n\r\n",
    b"3\0\r\nabc\r\n0\r\n\r\n",
    b"\0003\r\nabc\r\n0\r\n\r\n",
    b"ffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    b"10000000000000003\r\nabc\r\n0\r\n\r\n",
    b"100000000000000000000000000000003\r\nabc\r\n0\r\n\r\n",
    b"fffffffffffffffffffffff3\r\nabc\r\n0\r\n\r\n",
    b"8000000000000000\r\nabc\r\n0\r\n\r\n",
    b"-0\r\n\r\n",
    b"+0\r\n\r\n",
    b"0x0\r\n\r\n",
    b"3\nabc\r\n0\r\n\r\n",
    b"3\rabc\r\n0\r\n\r\n",
    b"3\r\r\nabc\r\n0\r\n\r\n",
    b"3\n\nabc\r\n0\r\n\r\n",
    b"3\r\nabc0\r\n\r\n",
    b"3\r\nabc\n0\r\n\r\n",
    b"3\r\nabc\r0\r\n\r\n",
    b"3\r\nabcd\r\n0\r\n\r\n",
    b"3\r\nab\r\n0\r\n\r\n",
    b"3\r\nabc\r\r\n0\r\n\r\n",
    b"3\r\nabc\r\n\r\n0\r\n\r\n",
    b"3\r\nabcXX0\r\n\r\n",
    b"3\r\nabc\r\n0\n\r\n",
    b"3\r\nabc\r\n0\r\n\n",
    b"3\r\nabc\r\n0\n\n",
    b"3\r\nabc\r\n0\r\n\r\r\n",
    b"3\r\nabc\r\n0\r\nX: y\n\r\n",
    b"3\r\nabc\r\n0\r\nX y\r\n\r\n",
    b"3\r\nabc\r\n0\r\nX : y\r\n\r\n",
    b"3\r\nabc\r\n0\r\n: y\r\n\r\n",
    b"3\r\nabc\r\n0\r\nX: \0y\r\n\r\n",
    b"3\r\nabc\r\n0\r\nX: a\r\n b\r\n\r\n",
    b"3\r\nabc\r\n0\r\n X: a\r\n\r\n",
    b"3\r\nabc\r\n0\r\nX: a\rb\r\n\r\n",
    b"3;a\nb\r\nabc\r\n0\r\n\r\n",
    b"3;\0\r\nabc\r\n0\r\n\r\n",
    b"3;a=\rb\r\nabc\r\n0\r\n\r\n",
    b"3;a=\"\n\"\r\nabc\r\n0\r\n\r\n",
    b"\xef\xbc\x93\r\nabc\r\n0\r\n\r\n",
    b"3.0\r\nabc\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"3" * 5000 + b"\r\n",
    b"3;" + b"x" * 200000 + b"\r\nabc\r\n0\r\n\r\n",
    b"0\r\n" + b"X-T: y\r\n" * 40000 + b"\r\n",
    b"0\r\nX-T: " + b"y" * 300000 + b"\r\n\r\n",
]


@pytest.mark.parametrize("glued", [True, False])
def test_never_complete(one, glued):
    """With the body beside the head or after it; the client gets a 400 or the end, the backend an
    incomplete request."""
    daemon, backend = one(passive="off")
    for number, coded in enumerate(BAD):
        with daemon.client() as client:
            if glued:
                client.send_quietly(HEAD % number + coded + SMUGGLED)
            else:
                client.send(HEAD % number)
                backend.wait_request(f"/bad-{number}")
                client.send_quietly(coded + SMUGGLED)
            try:
                response = client.read_response()
                assert response.status in (400, 413, 431), coded
                assert response.closes, coded
                client.read_until_close()
            except wire.Truncated as cut:
                assert not cut.got or not glued, coded
    with daemon.client() as client:
        assert client.request(target="/after").status == 200
    complete = [
        found for found in backend.requests if found.body.complete and found.target != "/after"
    ]
    assert complete == []
    assert backend.count("/smuggled") == 0


GOOD = [
    b"3\r\nabc\r\n0\r\n\r\n",
    b"03\r\nabc\r\n0\r\n\r\n",
    b"0000000003\r\nabc\r\n000\r\n\r\n",
    b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n",
    b"3;ext\r\nabc\r\n0\r\n\r\n",
    b"3;a=b;c=\"d;\\\"e\"\r\nabc\r\n0;last\r\n\r\n",
]


def test_legal_codings(one):
    daemon, backend = one()
    with daemon.client() as client:
        for number, coded in enumerate(GOOD):
            client.send(HEAD % number + coded)
            assert client.read_response().status == 200, coded
    assert [found.body.data for found in backend.requests] == [b"abc"] * len(GOOD)


def test_capital_hex_digits(one):
    daemon, backend = one()
    with daemon.client() as client:
        client.send(HEAD % 0 + b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n")
        assert client.read_response().status == 200
    assert backend.requests[0].body.data == b"0123456789" * 2


def test_end_of_stream_at_every_offset(one):
    """The client's FIN inside a chunked body is an abort, at any offset."""
    daemon, backend = one()
    coded = b"3\r\nabc\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n"
    for at in range(len(coded)):
        with daemon.client() as client:
            client.send(HEAD % at + coded[:at])
            client.half_close()
            data, _ = client.read_until_close()
            assert not data or data.startswith(b"HTTP/1.1 400 "), at
    with daemon.client() as client:
        assert client.request(target="/after").status == 200
    assert [
        found for found in backend.requests if found.body.complete and found.target != "/after"
    ] == []
