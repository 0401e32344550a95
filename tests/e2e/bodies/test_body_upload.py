"""Request bodies arrive complete, unchanged and in the client's kind of framing, at every size.

Off-by-one errors occur at buffer sizes and at the splice threshold (32 KiB left); a length that
becomes chunked is 411 at MinIO.
"""

import pytest

from support import wire

SIZES = [
    0,
    1,
    2,
    4095,
    4096,
    16383,
    16384,
    16385,
    32767,
    32768,
    32769,
    49151,
    49152,
    49153,
    65535,
    65536,
    65537,
    70000,
    131072,
    262143,
    262144,
    262145,
    1048577,
    5 * 1024 * 1024,
]


def put_all(daemon, backend, sizes, framing, pieces=None):
    with daemon.client() as client:
        for number, size in enumerate(sizes):
            data = wire.payload(size, number)
            target = f"/b/put-{framing}-{size}"
            if framing == "length":
                head = client.head("PUT", target, [("Content-Length", size)])
                wire_bytes = data
            else:
                head = client.head("PUT", target, [("Transfer-Encoding", "chunked")])
                wire_bytes = wire.chunked(data, pieces or 65536)
            client.send(head)
            sender = client.send_in_background(wire_bytes)
            response = client.read_response()
            sender.join()
            assert response.status == 200
            assert not response.closes
            request = backend.requests[-1]
            assert request.target == target
            assert request.framing == framing
            assert request.body.length == size
            assert request.body.sha256 == wire.sha256(data)
    assert len(backend.requests) == len(sizes)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_sizes(one, framing):
    daemon, backend = one()
    put_all(daemon, backend, SIZES, framing)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_64_mib(one, framing):
    daemon, backend = one()
    put_all(daemon, backend, [64 * 1024 * 1024], framing, 1000003)


def test_without_pipes(make_backend, gate):
    """With no pipe or too few, uploads are copied with the same bytes. One pipe, four uploads at
    once."""
    backend = make_backend()
    daemon = gate([backend], top={"limits": {"pipes": 1}})
    data = wire.payload(3 * 1024 * 1024 + 1)
    clients = [daemon.client() for _ in range(4)]
    senders = []
    for number, client in enumerate(clients):
        client.send(client.head("PUT", f"/b/{number}", [("Content-Length", len(data))]))
        senders.append(client.send_in_background(data))
    for client, sender in zip(clients, senders):
        assert client.read_response().status == 200
        sender.join()
    assert {request.body.sha256 for request in backend.requests} == {wire.sha256(data)}
    assert len(backend.requests) == 4


def test_tiny_chunks(one):
    daemon, backend = one()
    put_all(daemon, backend, [1, 2, 3, 100, 5000], "chunked", 1)
    assert backend.requests[-1].body.data == wire.payload(5000, 4)


def test_chunk_boundaries_at_every_split(one):
    """A chunked body cut into two segments at every offset: no parser state may leak a byte of the
    coding."""
    daemon, backend = one()
    coded = b"3\r\nabc\r\nA;name=\"v\"\r\n0123456789\r\n00000001\r\n!\r\n0\r\n\r\n"
    with daemon.client() as client:
        for at in range(1, len(coded)):
            client.send(
                client.head("PUT", f"/b/split-{at}", [("Transfer-Encoding", "chunked")])
                + coded[:at]
            )
            wire.sleep_briefly()
            client.send(coded[at:])
            assert client.read_response().status == 200
    assert {request.body.data for request in backend.requests} == {b"abc0123456789!"}
    assert len(backend.requests) == len(coded) - 1


def test_aws_chunked_is_body_content(one):
    """aws-chunked framing and trailers are body bytes, also inside Transfer-Encoding."""
    body = (
        b"5;chunk-signature=0000\r\nhello\r\n0;chunk-signature=1111\r\n"
        b"x-amz-checksum-crc32:AAAAAA==\r\nx-amz-trailer-signature:22\r\n\r\n"
    )
    fields = [
        ("Content-Encoding", "aws-chunked"),
        ("x-amz-decoded-content-length", "5"),
        ("x-amz-trailer", "x-amz-checksum-crc32"),
        ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"),
    ]
    daemon, backend = one()
    with daemon.client() as client:
        assert client.request("PUT", "/b/cl", fields, body).status == 200
        client.send(
            client.head("PUT", "/b/te", fields + [("Transfer-Encoding", "chunked")])
            + wire.chunked(body, 7)
        )
        assert client.read_response().status == 200
    for request in backend.requests:
        assert request.body.data == body
        assert request.header("content-encoding") == "aws-chunked"
        assert request.header("x-amz-trailer") == "x-amz-checksum-crc32"


def test_empty_put_keeps_its_length_of_zero(one):
    """Directory markers: a POST or PUT without Content-Length is 411 at the backend."""
    daemon, backend = one()
    with daemon.client() as client:
        for method in ("PUT", "POST", "DELETE"):
            assert client.request(method, "/b/dir/", body=b"").status == 200
            assert backend.requests[-1].values("content-length") == ["0"]
        assert client.request("DELETE", "/b/dir/").status == 200
        assert backend.requests[-1].values("content-length") == []
        assert backend.requests[-1].framing is None


def test_get_with_a_body(one):
    daemon, backend = one()
    with daemon.client() as client:
        assert client.request("GET", "/b/k", body=b"query").status == 200
        assert client.request("GET", "/b/k2").status == 200
    assert backend.requests[0].body.data == b"query"
    assert backend.requests[1].framing is None
