"""The access log: valid JSON for any client, the fields that pipelines read today, and no secrets.

A quote in a user agent broke the earlier log; a signature in it is a valid credential for a week.
"""

import socket

import pytest

from support.backend import script
from support.config import dead_address
from support.waiting import wait_until

TEXTS = [
    "@timestamp",
    "@msec",
    "@source",
    "hostname",
    "ip",
    "client",
    "request_method",
    "scheme",
    "domain",
    "referer",
    "request",
    "args",
    "upstreamtime",
    "upstreamaddr",
    "http_user_agent",
    "https",
    "site",
    "op",
    "bucket",
    "key_source",
    "session",
    "error",
    "request_id",
    "backend_request_id",
    "peer",
    "upstreamname",
    "upstreamstatus",
    "upstreamerror",
    "upstreamconnect",
    "upstreamheader",
    "blame",
    "stage",
    "group",
    "access_key",
]
NUMBERS = ["size", "status", "responsetime", "tries", "bytes_in", "ttfb", "log_version"]


def test_fields_of_an_ordinary_request(one):
    def handler(exchange):
        exchange.read_body()
        exchange.respond(200, [("x-amz-request-id", "BACKEND1")], b"x" * 1234)

    daemon, backend = one(handler)
    with daemon.client(source="127.0.5.5") as client:
        response = client.request(
            "PUT",
            "/bkt/dir/key?partNumber=2&uploadId=u1",
            [
                ("User-Agent", "test/1 \"quoted\\"),
                ("Referer", "http://a/b?c=d"),
                ("X-Forwarded-For", "9.9.9.9"),
            ],
            b"12345",
            host="S3.example:9000",
        )
        assert response.status == 200
    line = daemon.wait_log("/bkt/dir/key")
    assert sorted(line) == sorted(TEXTS + NUMBERS + ["queued"])
    assert line["queued"] is None, "it did not wait"
    assert all(isinstance(line[name], str) for name in TEXTS)
    assert all(isinstance(line[name], (int, float)) for name in NUMBERS)
    assert (line["client"], line["peer"]) == ("127.0.5.5", "127.0.5.5")
    assert line["ip"] == "9.9.9.9"
    assert line["@source"] == "127.0.0.1"
    assert line["hostname"] == socket.gethostname()
    assert (line["request_method"], line["scheme"], line["https"]) == ("PUT", "http", "-")
    assert line["domain"] == "S3.example"
    assert line["request"] == "/bkt/dir/key?partNumber=2&uploadId=u1"
    assert line["args"] == "partNumber=2&uploadId=u1"
    assert line["referer"] == "http://a/b?c=d"
    assert line["http_user_agent"] == "test/1 \"quoted\\"
    assert (line["size"], line["status"], line["bytes_in"], line["tries"]) == (1234, 200, 5, 1)
    assert line["upstreamaddr"] == backend.address
    assert (line["upstreamname"], line["group"]) == (backend.address, "test")
    assert (line["upstreamstatus"], line["upstreamerror"]) == ("200", "-")
    assert (line["blame"], line["stage"], line["access_key"]) == ("-", "-", "-")
    connect, header = float(line["upstreamconnect"]), float(line["upstreamheader"])
    assert 0 <= connect <= header <= float(line["upstreamtime"])
    assert line["responsetime"] >= 0 and float(line["upstreamtime"]) >= 0
    assert (line["site"], line["op"], line["bucket"]) == ("test", "UploadPart", "bkt")
    assert (line["key_source"], line["session"]) == ("uploadid", "u1")
    assert line["error"] == "-"
    assert line["backend_request_id"] == "BACKEND1"


def test_absent_fields_are_dashes(one):
    daemon, _ = one()
    with daemon.client() as client:
        client.send(b"GET /b/plain HTTP/1.0\r\n\r\n")
        client.read_response()
    line = daemon.wait_log("/b/plain")
    assert [
        line[name]
        for name in ("ip", "referer", "args", "http_user_agent", "backend_request_id", "error")
    ] == ["-"] * 6


@pytest.mark.parametrize(
    "agent",
    [
        b"\"",
        b"\\",
        b"\\\"",
        b"\t",
        b"\xff\xfe",
        b"\xc3\xa4\xe4\xb8\xad",
        b"\xed\xa0\x80",
        b"</script>",
        b"{\"a\":1}",
        b"\xf0\x9f\x98\x80",
        b"\xc0\xaf",
        b"a\xc3",
    ],
)
def test_always_valid_json(one, agent):
    daemon, _ = one()
    with daemon.client() as client:
        client.send(
            b"GET /b/\"\\%00"
            + agent.replace(b"\t", b"")
            + b"/mark HTTP/1.1\r\nHost: a\r\nUser-Agent: "
            + agent
            + b"\r\nReferer: "
            + agent
            + b"\r\n\r\n"
        )
        assert client.read_response().status == 200
    line = daemon.wait_log("/mark")
    assert line["http_user_agent"]


SECRETS = [
    "X-Amz-Signature",
    "X-Amz-Credential",
    "X-Amz-Security-Token",
    "Signature",
    "AWSAccessKeyId",
    "x-amz-signature",
    "SIGNATURE",
    "X-Amz-%53ignature",
    "%58-amz-credential",
    "X%2DAmz%2DSecurity%2DToken",
    "Sign%61ture",
    "AWSAccessKey%49d",
]


@pytest.mark.parametrize("name", SECRETS)
def test_secrets_are_never_shown(one, name):
    daemon, backend = one()
    target = f"/b/k?a=1&{name}=TOPSECRET&mark=2"
    with daemon.client() as client:
        assert (
            client.request(
                target=target, fields=[("Referer", f"http://a/?{name}=TOPSECRET")]
            ).status
            == 200
        )
        client.send(b"BAD " + target.encode() + b" HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        assert b"TOPSECRET" not in client.read_response().data
    line = daemon.wait_log("mark=2")
    assert "a=1" in line["args"]
    assert backend.requests[0].target == target
    daemon.wait_log("mark=2", 2)
    assert "TOPSECRET" not in daemon.access_log.read_text() + daemon.stderr


def test_secret_as_affinity_key(one):
    """A key from the client may be part of a signed URL, so the session field is redacted too."""
    daemon, _ = one()
    with daemon.client() as client:
        client.request(target="/b/k?sessionid=a%26X-Amz-Signature%3DTOPSECRET&mark=3")
    daemon.wait_log("mark=3")
    assert "\"session\":\"a&X-Amz-Signature=TOPSECRET" not in daemon.access_log.read_text()


@pytest.mark.parametrize(
    "case,status", [("refused", 503), ("broken", 502), ("bad", 400), ("stalled", 408)]
)
def test_failures_are_logged(make_backend, gate, case, status):
    target = f"/b/{case}"
    if case == "refused":
        daemon = gate([dead_address()])
    else:
        daemon = gate([make_backend(script(b"", "reset"))], timeouts={"client_body": "300ms"})
    with daemon.client() as client:
        if case == "bad":
            client.send(b"GET /b/bad HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        elif case == "stalled":
            client.send(client.head("PUT", target, [("Content-Length", "10")]))
        else:
            client.send(client.head("POST", target, [("Content-Length", "0")]))
        if case != "stalled":
            assert client.read_response().status == status
        else:
            client.read_until_close()
    if case == "stalled":
        wait_until(lambda: [line for line in daemon.log_lines() if line["request"] == target])
        return
    line = wait_until(lambda: [found for found in daemon.log_lines() if found["status"] == status])[
        0
    ]
    assert line["error"] != "-"


def test_each_request_is_one_line(one):
    daemon, _ = one()
    with daemon.client() as client:
        for number in range(200):
            client.request(target=f"/b/n{number}-")
    daemon.wait_log("/b/n199-")
    assert [line["request"] for line in daemon.log_lines()] == [
        f"/b/n{number}-" for number in range(200)
    ]


@pytest.mark.parametrize(
    "method,target,op",
    [
        ("GET", "/", "ListBuckets"),
        ("GET", "/b/k", "GetObject"),
        ("HEAD", "/b/k", "HeadObject"),
        ("PUT", "/b/k", "PutObject"),
        ("DELETE", "/b/k", "DeleteObject"),
        ("PUT", "/b/", "CreateBucket"),
        ("GET", "/b?list-type=2", "ListObjectsV2"),
        ("POST", "/b/k?uploads", "CreateMultipartUpload"),
        ("POST", "/b/k?uploadId=x", "CompleteMultipartUpload"),
    ],
)
def test_operation(one, method, target, op):
    daemon, _ = one()
    with daemon.client() as client:
        client.request(method, target, body=b"" if method in ("PUT", "POST") else None)
    line = wait_until(daemon.log_lines)[0]
    assert line["op"] == op
    assert line["bucket"] == ("-" if target == "/" else "b")


def test_stdout(make_backend, gate):
    daemon = gate([make_backend()], top={"access_log": {"target": "stdout"}})
    with daemon.client() as client:
        client.request(target="/b/to-stdout")
    assert daemon.wait_log("/b/to-stdout", path=daemon.stdout_file)["status"] == 200


def test_off(make_backend, gate):
    daemon = gate([make_backend()], top={"access_log": {"target": "off"}})
    with daemon.client() as client:
        assert client.request(target="/b/off").status == 200
    daemon.stop()
    assert not daemon.stdout_file.read_text() and "/b/off" not in daemon.stderr


def test_everything_is_written_at_the_end(one):
    daemon, _ = one()
    with daemon.client() as client:
        for number in range(20):
            client.request(target=f"/b/last-{number}")
    daemon.stop()
    assert len([line for line in daemon.log_lines() if "/b/last-" in line["request"]]) == 20


def test_aborted_download_shows_what_was_sent(one):
    daemon, _ = one(script(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 400))
    with daemon.client() as client:
        client.send(client.head("GET", "/b/short"))
        client.read_until_close()
    line = daemon.wait_log("/b/short")
    assert (line["status"], line["size"]) == (200, 400)
    assert line["error"] != "-"
