"""A backend that dies causes a 502 before its head and a cut connection after it, never a clean
end.

A truncated download that looks complete is silent data loss.
"""

import pytest

from support import wire
from support.backend import script

SMALL = b"HTTP/1.1 200 OK\r\nX-A: b\r\n"
FRAMINGS = {
    "length": SMALL + b"Content-Length: 12\r\n\r\nhello world!",
    "chunked": SMALL + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n7\r\n world!\r\n0\r\n\r\n",
}


def outcome(client, method="GET"):
    """The client's result: ('complete', response) or ('cut', None)."""
    client.send(client.head(method, "/b/k", [("Content-Length", "0")] if method == "PUT" else []))
    try:
        return "complete", client.read_response(method)
    except wire.Truncated:
        return "cut", None


@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize("then", ["close", "reset"])
@pytest.mark.parametrize(
    "data", [b"", b"H", b"HTTP/1.1 200", SMALL, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n"]
)
def test_before_the_head_is_complete(one, data, then, method):
    daemon, backend = one(script(data, then))
    with daemon.client() as client:
        what, response = outcome(client, method)
    assert what == "complete" and response.status == 502
    assert response.header("content-type") == "application/xml"
    assert b"<Code>InternalError</Code>" in response.data
    # There is no second backend, and the only one must not get the request again.
    assert len(backend.requests) == 1


@pytest.mark.parametrize("framing", list(FRAMINGS))
def test_closed_at_every_offset(make_backend, gate, framing):
    """The backend closes after each number of bytes of a sample response: only the whole one may
    succeed."""
    whole = FRAMINGS[framing]

    def handler(exchange):
        exchange.read_body()
        exchange.send(whole[: int(exchange.request.target.rpartition("-")[2])])
        exchange.close()

    daemon = gate([make_backend(handler)], passive="off")
    head_length = whole.index(b"\r\n\r\n") + 4
    for at in range(len(whole) + 1):
        with daemon.client() as client:
            client.send(client.head("GET", f"/b/cut-{at}"))
            try:
                response = client.read_response()
            except wire.Truncated:
                assert head_length <= at < len(whole), at
                continue
            if at < len(whole):
                # A body that came with the head can be judged before any byte is relayed.
                assert response.status == 502, at
            else:
                assert (response.status, response.data) == (200, b"hello world!")


@pytest.mark.parametrize("then", ["close", "reset"])
@pytest.mark.parametrize("size", [1, 1000, 300000, 3000000])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_mid_body(one, framing, size, then):
    data = wire.payload(size)
    if framing == "length":
        sent = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (size + 1) + data
    else:
        sent = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + wire.chunked(data)[:-5]
    daemon, _ = one(script(sent, then))
    with daemon.client() as client:
        client.send(client.head())
        try:
            response = client.read_response()
            # A reset may overtake all sent bytes: then there was no answer.
            assert response.status == 502 and then == "reset"
        except wire.Truncated:
            pass
    line = daemon.wait_log("/b/k")
    assert line["error"] != "-"


def test_close_delimited_reset_is_not_an_end(one):
    """Without framing only a FIN ends the body; for a reset the client must miss the last chunk."""
    import threading  # pylint: disable=import-outside-toplevel

    go = threading.Event()

    def handler(exchange):
        exchange.read_body()
        exchange.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
        exchange.wait(go)
        exchange.reset()

    daemon, _ = one(handler)
    with daemon.client() as client:
        client.send(client.head())
        response = client.begin_response()
        assert response.framing == "chunked"
        assert client.reader.exactly(10, "chunk") == b"5\r\nhello\r\n"
        go.set()
        with pytest.raises(wire.Truncated):
            client.finish_response(response)


def test_next_request_of_the_client_is_served_by_a_fresh_connection(one):
    answers = iter(["die", "live"])

    def handler(exchange):
        exchange.read_body()
        if next(answers) == "die":
            exchange.close()
        else:
            exchange.respond(200, [], b"alive")

    daemon, _ = one(handler)
    with daemon.client() as client:
        assert client.request("POST", body=b"x").status == 502
        assert client.request("POST", body=b"x").data == b"alive"


def test_mid_upload(one):
    """The backend dies while the client sends: the client can still read a 502, and nothing is
    repeated."""

    def handler(exchange):
        exchange.read_some(100000)
        exchange.reset()

    daemon, backend = one(handler)
    with daemon.client() as client:
        client.send(client.head("PUT", "/b/k", [("Content-Length", 20 * 1024 * 1024)]))
        sender = client.send_in_background(wire.payload(20 * 1024 * 1024))
        response = client.read_response()
        assert response.status == 502
        assert response.closes
        client.close()
        sender.join()
    assert len(backend.requests) == 1
