"""The proxy's own answers are S3 XML with a request id: an SDK reads the code and an operator finds
the log line.

With HTML or an empty body SDKs report a parse error instead of the reason; a wrong Retry-After
makes minio-py sleep for a minute.
"""

import re
import xml.etree.ElementTree

import pytest

from support.backend import script
from support.config import dead_address

ORDER = ["Code", "Message", "Resource", "RequestId", "HostId"]


def parse(response):
    assert response.header("content-type") == "application/xml"
    assert response.header("date")
    assert response.framing == "length"
    root = xml.etree.ElementTree.fromstring(response.data)
    assert root.tag == "Error"
    assert [child.tag for child in root] == ORDER
    fields = {child.tag: child.text or "" for child in root}
    assert fields["Message"]
    assert fields["RequestId"] == response.header("x-amz-request-id")
    assert re.fullmatch(r"[0-9A-Fa-f]{8,64}", fields["RequestId"])
    return fields


def test_503_when_no_backend_can_be_reached(gate):
    daemon = gate([dead_address(), dead_address()])
    with daemon.client() as client:
        for method in ("GET", "POST"):
            response = client.request(method, "/bkt/key", body=b"x" if method == "POST" else None)
            assert response.status == 503
            assert response.header("retry-after") == "1"
            fields = parse(response)
            assert fields["Code"] == "ServiceUnavailable"
            assert fields["Resource"] == "/bkt/key"
            if response.closes:
                client = daemon.client()
    line = daemon.wait_log("/bkt/key")
    assert line["status"] == 503
    assert line["tries"] == 2


def test_502_when_the_backend_breaks(one):
    daemon, _ = one(script(b"", "close"))
    with daemon.client() as client:
        response = client.request("POST", "/bkt/key", body=b"x")
        assert response.status == 502
        assert parse(response)["Code"] == "InternalError"
        assert response.values("retry-after") == []


def test_504_when_the_backend_says_nothing(one):
    def handler(exchange):
        exchange.read_body()
        exchange.wait_closed()

    daemon, _ = one(handler, timeouts={"backend_head": "300ms"})
    with daemon.client() as client:
        response = client.request("POST", "/bkt/key", body=b"x")
        assert response.status == 504
        assert parse(response)["Code"] == "RequestTimeout"


def test_400(one):
    daemon, _ = one()
    with daemon.client() as client:
        client.send(b"GET /bkt/key HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        response = client.read_response()
        assert response.status == 400
        assert response.closes
        assert parse(response)["Code"] == "InvalidRequest"


def test_431(one):
    daemon, backend = one(limits={"head": "16KiB"})
    with daemon.client() as client:
        client.send_quietly(client.head("GET", "/bkt/key", [("X-Long", "x" * 20000)]))
        response = client.read_response()
        assert response.status == 431
        assert response.closes
        assert parse(response)["Code"] == "RequestHeaderSectionTooLarge"
        assert client.expect_close() == "eof"
    assert backend.requests == []


def test_414(one):
    daemon, backend = one(limits={"head": "16KiB"})
    with daemon.client() as client:
        client.send_quietly(client.head("GET", "/bkt/" + "x" * 20000))
        response = client.read_response()
        assert response.status == 414
        assert response.closes
        assert parse(response)["Code"] == "InvalidURI"
        assert client.expect_close() == "eof"
    assert backend.requests == []


def test_408_for_a_head_that_stalls(one):
    daemon, backend = one(timeouts={"client_head": "300ms"})
    with daemon.client() as client:
        client.send(b"GET /bkt/key HTTP/1.1\r\nHost: a")
        response = client.read_response()
        assert response.status == 408
        assert response.closes
        assert parse(response)["Code"] == "RequestTimeout"
        assert client.expect_close() == "eof"
    assert backend.requests == []


def test_408_for_a_body_that_stalls(one):
    daemon, _ = one(timeouts={"client_body": "300ms"})
    with daemon.client() as client:
        client.send(client.head("PUT", "/bkt/key", [("Content-Length", "10")]) + b"abc")
        response = client.read_response()
        assert response.status == 408
        assert response.closes
        assert parse(response)["Code"] == "RequestTimeout"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_head_has_no_body(gate, method):
    daemon = gate([dead_address()])
    with daemon.client() as client:
        client.send(client.head(method, "/bkt/key"))
        response = client.read_response(method)
        assert response.status == 503
        assert int(response.header("content-length")) > 100
        assert response.header("content-type") == "application/xml"
        assert (response.body.length > 0) == (method == "GET")
        if not response.closes:
            client.send(client.head("GET", "/bkt/other"))
            assert parse(client.read_response())["Resource"] == "/bkt/other"


@pytest.mark.parametrize(
    "target,resource",
    [
        ("/b/a&b<c>\"d'", "/b/a&b<c>\"d'"),
        ("/b/]]>", "/b/]]>"),
        ("/b/%3Cscript%3E", "/b/%3Cscript%3E"),
        ("/b/k?X-Amz-Signature=secret&x=1", "/b/k"),
    ],
)
def test_resource_is_escaped_and_has_no_query(gate, target, resource):
    daemon = gate([dead_address()])
    with daemon.client() as client:
        response = client.request(target=target)
        assert parse(response)["Resource"] == resource
        assert b"secret" not in response.data


def test_resource_with_invalid_utf8_is_still_xml(gate):
    daemon = gate([dead_address()])
    with daemon.client() as client:
        client.send(b"GET /b/\xff\xfe\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n")
        response = client.read_response()
        parse(response)


def test_request_id_is_the_logged_one(gate):
    """Support asks for the id that a client saw; it must lead to the log line. No two requests
    share an id."""
    daemon = gate([dead_address()])
    seen = []
    for number in range(5):
        with daemon.client() as client:
            seen.append(client.request(target=f"/b/id-{number}").header("x-amz-request-id"))
    assert len(set(seen)) == 5
    for number, request_id in enumerate(seen):
        assert daemon.wait_log(f"/b/id-{number}")["request_id"] == request_id


def test_connection_survives_a_harmless_own_answer(make_backend, gate):
    """A 503 for a bodyless request must not cost the connection, and the announcement must be true.
    """
    daemon = gate([dead_address()])
    with daemon.client() as client:
        response = client.request()
        assert response.status == 503
        if response.closes:
            assert client.expect_close() == "eof"
        else:
            assert client.request().status == 503


def test_refused_upload_gets_its_answer_while_it_sends(gate):
    """Without a backend, a large upload must still be able to read the 503."""
    daemon = gate([dead_address()])
    with daemon.client() as client:
        client.send(client.head("PUT", "/b/k", [("Content-Length", "700000")]))
        assert client.send_quietly(b"x" * 700000)
        response = client.read_response()
        assert response.status == 503
        assert parse(response)["Code"] == "ServiceUnavailable"
