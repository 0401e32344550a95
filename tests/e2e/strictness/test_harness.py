"""The tests' own tools: if a strict reader accepted a faulty message, every other test would be
worthless.
"""

import pytest

from support import wire
from support.client import RawClient


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\n a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost\r\n\r\n",
        b"GET / HTTP/1.1\r\n: a\r\n\r\n",
    ],
)
def test_heads(raw):
    with pytest.raises(wire.WireError):
        wire.parse_head(raw, "test")


@pytest.mark.parametrize(
    "fields",
    [
        [(b"Content-Length", b"1"), (b"content-length", b"1")],
        [(b"Content-Length", b"1"), (b"Transfer-Encoding", b"chunked")],
        [(b"Content-Length", b"+1")],
        [(b"Content-Length", b"")],
        [(b"Transfer-Encoding", b"gzip, chunked")],
        [(b"Transfer-Encoding", b"chunked"), (b"Transfer-Encoding", b"chunked")],
    ],
)
def test_framing(fields):
    with pytest.raises(wire.WireError):
        wire.framing_of(fields, "test")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\n\r\n",
    ],
)
def test_client_refuses(make_backend, answer):
    backend = make_backend(
        lambda exchange: (exchange.read_body(), exchange.send(answer), exchange.close())
    )
    with RawClient(backend.address) as client:
        client.send(client.head())
        with pytest.raises(wire.WireError):
            client.read_response()


@pytest.mark.parametrize(
    "answer,then,how",
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", "close", "eof"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "close", "eof"),
        (b"HTTP/1.1 200 OK\r\n\r\nabc", "reset", "reset"),
        (b"HTTP/1.1 200", "close", "eof"),
    ],
)
def test_client_sees_a_cut(make_backend, answer, then, how):
    def handler(exchange):
        exchange.read_body()
        exchange.send(answer)
        wire.sleep_briefly()
        getattr(exchange, then)()

    backend = make_backend(handler)
    with RawClient(backend.address) as client:
        client.send(client.head())
        with pytest.raises(wire.Truncated) as cut:
            client.read_response()
    assert cut.value.how == how


def test_backend_records_and_counts(make_backend):
    backend = make_backend()
    with RawClient(backend.address) as client:
        assert client.request("PUT", "/b/one", body=b"abc").data == b"b1"
        assert client.request("GET", "/b/two").data == b"b1"
        assert client.request("GET", "/minio/health/ready").status == 200
    assert [request.target for request in backend.requests] == ["/b/one", "/b/two"]
    assert backend.count("/b/one") == 1
    assert len(backend.data_connections) == 1
    assert len(backend.health.seen) == 1


def test_backend_refuses_and_listens_again(make_backend):
    backend = make_backend()
    backend.refuse()
    with pytest.raises(ConnectionRefusedError):
        RawClient(backend.address)
    backend.listen()
    with RawClient(backend.address) as client:
        assert client.request().status == 200
