"""Answers that wait for events (bucket notifications, traces, speed tests) have their own limit,
and a stop does not wait for their end.

The limits of ordinary answers would cut every quiet listener, and with one listener every restart
would take all of shutdown_timeout.
"""

import contextlib
import signal
import threading

import pytest

from support import wire

STREAMS = [
    ("GET", "/b?events=s3%3AObjectCreated%3A%2A&ping=10"),
    ("GET", "/?ping=10&events=s3:BucketCreated:*"),
    ("GET", "/minio/admin/v3/trace?all=true"),
    ("GET", "/minio/admin/v3/log?node=&limit=10"),
    ("POST", "/minio/admin/v3/speedtest?size=1"),
    ("POST", "/minio/admin/v3/speedtest/drive"),
]
SHORT = {"backend_head": "400ms", "backend_body": "400ms", "backend_stream": "10m"}
EVENT = b'{"Records":[]}\n'


class Stream:
    """A stream whose head and events the test sends. Other requests get no answer."""

    def __init__(self, content_type="application/json"):
        self.content_type = content_type.encode()
        self.head = threading.Event()
        self.event = threading.Event()

    def __call__(self, exchange):
        exchange.read_body()
        if "/slow" in exchange.request.target:
            exchange.wait_closed()
            exchange.close()
            return
        exchange.wait(self.head)
        exchange.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: " + self.content_type +
            b"\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        exchange.wait(self.event)
        exchange.send(b"%x\r\n%s\r\n" % (len(EVENT), EVENT))
        exchange.wait_closed()
        exchange.close()


def outlast_the_limit(daemon):
    """When this returns, an ordinary request that begins now has reached its limit."""
    with daemon.client() as client:
        assert client.request(target="/b/slow").status == 504


@pytest.mark.parametrize("method,target", STREAMS)
def test_neither_head_nor_body_is_cut(one, method, target):
    stream = Stream()
    daemon, backend = one(stream, timeouts=SHORT)
    with daemon.client() as client:
        fields = [("Content-Length", 0)] if method == "POST" else []
        client.send(client.head(method, target, fields))
        backend.wait_request(target)
        outlast_the_limit(daemon)
        stream.head.set()
        assert client.begin_response().status == 200
        outlast_the_limit(daemon)
        stream.event.set()
        assert client.reader.exactly(3 + len(EVENT), "an event").endswith(EVENT)


def test_an_event_stream_of_a_plain_site(one):
    stream = Stream("text/event-stream; charset=utf-8")
    daemon, backend = one(stream, type="http", timeouts=SHORT)
    with daemon.client() as client:
        client.send(client.head("GET", "/api/events"))
        backend.wait_request("/api/events")
        stream.head.set()
        assert client.begin_response().status == 200
        outlast_the_limit(daemon)
        stream.event.set()
        assert client.reader.exactly(3 + len(EVENT), "an event").endswith(EVENT)


def test_backend_stream_is_a_limit(one):
    daemon, _ = one(Stream(), timeouts={**SHORT, "backend_stream": "300ms"})
    with daemon.client() as client:
        assert client.request(target="/b?events=x").status == 504


def test_a_stop_does_not_wait_for_a_listener_that_does_not_read(one):
    """`mc admin trace | less`"""

    def handler(exchange):
        exchange.read_body()
        exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(OSError):
            exchange.send((b"10000\r\n" + bytes(0x10000) + b"\r\n") * 1024)
            exchange.wait_closed()
        exchange.close()

    daemon, _ = one(handler, timeouts={"client_write": "10m"}, top={"shutdown_timeout": "10m"})
    with daemon.client(rcvbuf=4096) as client:
        client.send(client.head("GET", "/minio/admin/v3/trace"))
        client.begin_response()
        sent = -1
        while sent != (sent := client.unread()):
            wire.sleep_briefly()
        daemon.signal(signal.SIGTERM)
        assert daemon.wait_exit() == 0


def test_a_short_stop_calls_it_no_cut_request(one):
    stream = Stream()
    daemon, _ = one(stream, top={"shutdown_timeout": "300ms"})
    with daemon.client() as client:
        stream.head.set()
        client.send(client.head("GET", "/b?events=x"))
        client.begin_response()
        daemon.signal(signal.SIGTERM)
        assert daemon.wait_exit() == 0
    stream.event.set()


def test_a_report_that_ends_has_its_time(one):
    """MinIO's heal and health reports are event streams with an end."""
    stream = Stream("text/event-stream")
    daemon, _ = one(stream, top={"shutdown_timeout": "10m"})
    with daemon.client() as client, daemon.client() as listener:
        stream.head.set()
        client.send(client.head("POST", "/minio/admin/v3/heal/", [("Content-Length", 0)]))
        client.begin_response()
        listener.send(listener.head("GET", "/b?events=x"))
        listener.begin_response()
        daemon.signal(signal.SIGTERM)
        assert listener.read_until_close()[0] == b""
        stream.event.set()
        assert client.reader.exactly(3 + len(EVENT), "an event").endswith(EVENT)
        client.close()
    assert daemon.wait_exit() == 0


@pytest.mark.parametrize("begun", [True, False], ids=["begun", "no head yet"])
def test_a_stop_does_not_wait_for_their_end(one, begun):
    stream = Stream()
    daemon, backend = one(
        stream, timeouts={"backend_stream": "10m"}, top={"shutdown_timeout": "10m"}
    )
    with daemon.client() as client:
        client.send(client.head("GET", "/b?events=x"))
        backend.wait_request("/b?events=x")
        if begun:
            stream.head.set()
            assert client.begin_response().status == 200
        daemon.signal(signal.SIGTERM)
        assert daemon.wait_exit() == 0, "ending a listener is no failure of the stop"
        if begun:
            # A chunked body without its last chunk is visibly incomplete.
            assert client.read_until_close()[0] == b""
        else:
            assert client.read_response().status == 503
    line = daemon.wait_log("/b")
    assert line["error"] == "cut at shutdown"
    assert line["status"] == (200 if begun else 503)
    stream.head.set()


def test_an_ordinary_answer_has_its_time(one):
    """Beside an ended listener a download continues to its end."""
    stream, go = Stream(), threading.Event()
    data = wire.payload(1 << 20)

    def handler(exchange):
        if "events" in exchange.request.target:
            stream(exchange)
            return
        exchange.read_body()
        exchange.wait(go)
        exchange.respond(200, [], data)

    daemon, backend = one(handler, top={"shutdown_timeout": "10m"})
    with daemon.client() as listener, daemon.client() as reader:
        stream.head.set()
        listener.send(listener.head("GET", "/b?events=x"))
        assert listener.begin_response().status == 200
        reader.send(reader.head("GET", "/b/k"))
        backend.wait_request("/b/k")
        daemon.signal(signal.SIGTERM)
        assert listener.read_until_close()[0] == b""
        go.set()
        assert reader.read_response().data == data
        assert daemon.wait_exit() == 0
    stream.event.set()
