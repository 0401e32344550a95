"""A refusal reaches its client in any state: complete, at once, and readable for an SDK.

Otherwise a refused client sees a reset or a timeout and retries, or reads the body of an answer to
HEAD as its next answer.
"""

import re
import threading
import xml.etree.ElementTree

import pytest
from support.strict import Dialogue, RecordingBackend

# (status, request); the head is refused before, during or after parsing.
REFUSED = {
    "line end": (400, b"%s /b/k HTTP/1.1\nHost: a\n\n"),
    "version": (400, b"%s /b/k HTTP/2.0\r\n\r\n"),
    "Host": (400, b"%s /b/k HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    "length": (400, b"%s /b/k HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n"),
    "target": (400, b"%s b/k HTTP/1.1\r\nHost: a\r\n\r\n"),
    "expectation": (417, b"%s /b/k HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n"),
    "head": (431, b"%s /b/k HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 20000),
    "target length": (414, b"%s /b/" + b"k" * 20000),
    "fields": (431, b"%s /b/k HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 1001 + b"\r\n"),
}


@pytest.fixture(name="stage")
def stage_fixture(gate):
    backend = RecordingBackend()
    yield gate([backend], limits={"head": "16KiB"}, timeouts={"client_head": "60s"}), backend
    backend.stop()
    assert backend.received == 0 and backend.problems == []


def check(answer, status):
    assert answer.status == status
    assert answer.reason.strip()
    assert answer.closes
    assert answer.values(b"content-type") == [b"application/xml"]
    assert re.fullmatch(rb"[0-9A-F]{16}", answer.values(b"x-amz-request-id")[0])
    assert len(answer.values(b"date")) == 1


@pytest.mark.parametrize("name", REFUSED)
def test_get_and_head(stage, name):
    """HEAD gets the head of the answer to GET, and no further byte."""
    daemon, _ = stage
    status, request = REFUSED[name]
    if name == "fields":
        request = request.replace(b"X: y\r\n", b"X:\r\n")
    lengths = []
    for method in (b"GET", b"HEAD"):
        with Dialogue(daemon.address) as client:
            client.send(request % method)
            parser = client.responses([method], until_end=True)
            assert client.ended == "eof"
            check(parser.messages[0], status)
            assert not parser.is_inside, bytes(parser.buffer)
            lengths.append(parser.messages[0].values(b"content-length"))
            if method == b"GET":
                root = xml.etree.ElementTree.fromstring(parser.messages[0].data)
                assert [child.tag for child in root][:2] == ["Code", "Message"]
                found = root.find("RequestId").text.encode()
                assert [found] == parser.messages[0].values(b"x-amz-request-id")
    assert lengths[0] == lengths[1]


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY TCP4 192.0.2.1 198.51.100.2 56224 9000\r\n",
        b"PROXY UNKNOWN\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00",
    ],
)
def test_a_proxy_header_is_refused_by_its_name(stage, header):
    """The operator of a balancer that sends one reads what is wrong, not "first byte"."""
    daemon, _ = stage
    with Dialogue(daemon.address) as client:
        client.send(header + b"GET /b/k HTTP/1.1\r\nHost: a\r\n\r\n")
        (answer,) = client.responses([b"GET"], until_end=True).messages
    check(answer, 400)
    assert b"<Message>unexpected PROXY protocol header</Message>" in answer.data
    line = daemon.wait_log("-")
    assert line["error"] == "unexpected PROXY protocol header"


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_a_head_that_never_ends(gate, method):
    backend = RecordingBackend()
    daemon = gate([backend], timeouts={"client_head": "300ms"})
    with Dialogue(daemon.address) as client:
        client.send(method + b" /b/k HTTP/1.1\r\nHost: a\r\nX: y")
        parser = client.responses([method], until_end=True)
        check(parser.messages[0], 408)
        assert not parser.is_inside, bytes(parser.buffer)
    backend.stop()
    assert backend.received == 0


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /b/k HTTP/1.1\rHost: a\r\r",
        b"GET /b/k HTTP/1.1\r\nHost: a\r\r",
        b"GET /b/k HTTP/1.1\r\nHost: a\rX: y",
        b"GET /b/k HTTP/1.1\r\nHost: a\r\n\rG",
        b"GET /b/k HTTP/1.1\n",
        b"GET /b/k\r\n",
        b"\x16\x03\x01",
        b"\0",
        b"\rG",
    ],
)
@pytest.mark.parametrize("apart", [False, True])
def test_at_once(stage, request_bytes, apart):
    """Input that no further byte can repair is refused at once (`client_head` is a minute)."""
    daemon, _ = stage
    with Dialogue(daemon.address) as client:
        pieces = [b"%c" % byte for byte in request_bytes] if apart else [request_bytes]
        for piece in pieces:
            client.send(piece)
        parser = client.responses([b"GET"], until_end=True)
        check(parser.messages[0], 400)
        assert client.ended == "eof"


@pytest.mark.parametrize("name", ["line end", "length", "expectation", "head"])
def test_while_the_client_still_sends(stage, name):
    """10 MB are in transit after the refused head: all are taken, and the client reads the answer.
    """
    daemon, _ = stage
    status, request = REFUSED[name]
    with Dialogue(daemon.address) as client:
        sent = []
        sender = threading.Thread(
            target=lambda: sent.append(client.send(request % b"PUT" + b"z" * 10_000_000))
        )
        sender.start()
        parser = client.responses([b"PUT"], until_end=True)
        check(parser.messages[0], status)
        assert client.ended == "eof"
        sender.join()
        assert sent == [True]


@pytest.mark.parametrize(
    "target,resource",
    [
        (b"/b/<k>&\"'", "/b/<k>&\"'"),
        (b"/b/]]>k", "/b/]]>k"),
        (b"/b/\xc3\xa4", "/b/\xe4"),
        (b"/b/\xff\xfe", "/b/??"),
        (b"/b/k?secret=1", "/b/k"),
    ],
)
def test_resource(stage, target, resource):
    daemon, _ = stage
    with Dialogue(daemon.address) as client:
        client.send(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        parser = client.responses([b"GET"], until_end=True)
        check(parser.messages[0], 400)
        root = xml.etree.ElementTree.fromstring(parser.messages[0].data)
        assert root.find("Resource").text == resource
