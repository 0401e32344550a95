"""The backend gets the received request: target and end-to-end field lines byte for byte.

Otherwise every SigV4 signature breaks: the backend computes it from the target, Host and the signed
fields as it receives them.
"""

import pytest

OURS = {b"x-real-ip", b"x-forwarded-for", b"x-forwarded-proto", b"connection"}

TARGETS = [
    "/",
    "/b//a%2Fb%2b/./x/../y?b=2&a=%20+~&a=",
    "//",
    "///b",
    "/b/%zz%",
    "/b/k?",
    "/b/k??x=?",
    "/b/k?&&a&=&",
    "/b/%E4%B8%AD%e4%b8%ad",
    "/b/k?sessionid=client-sent&x=1",
    "/b/k?uploadId=2~AbC.d-_e&partNumber=1",
    "/b/k?uploadId=2%7EAbC",
    "/b/a:b@c!$&'()*+,;=[]|{}\"<>^`\\",
    "/b/k?X-Amz-Signature=abc&X-Amz-Credential=a%2Fb%2Fc",
    "/minio/health/readyness",
    "/upstream/health/",
    "/b/../../etc/passwd",
    "/%2e%2e/%2f",
    "/b/k?list-type=2&prefix=a%2Fb&delimiter=%2F&encoding-type=url",
]


@pytest.fixture(name="stage")
def stage_fixture(one):
    return one()


def seen_lines(request):
    """The field lines from the client."""
    return [line for line in request.lines if line.partition(b":")[0].lower() not in OURS]


def test_targets_byte_for_byte(stage):
    daemon, backend = stage
    with daemon.client() as client:
        for target in TARGETS:
            client.send(client.head("GET", target))
            assert client.read_response().status == 200, target
            start = backend.requests[-1].raw_head.split(b"\r\n", 1)[0]
            assert start == b"GET " + target.encode() + b" HTTP/1.1"
    assert len(backend.requests) == len(TARGETS)


def test_target_with_bytes_above_ascii(stage):
    """Some clients send raw UTF-8 keys; they arrive unchanged or are refused, never altered."""
    daemon, backend = stage
    with daemon.client() as client:
        client.send(b"GET /b/\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n")
        response = client.read_response()
    if response.status == 200:
        assert backend.requests[-1].raw_head.startswith(b"GET /b/\xc3\xa4 HTTP/1.1\r\n")
    else:
        assert response.status == 400 and not backend.requests


def test_long_target(stage):
    """Presigned URLs with session tokens are long, and MinIO itself accepts query values up to 32
    KiB."""
    daemon, backend = stage
    target = "/b/k?token=" + "x" * (33 * 1024)
    with daemon.client() as client:
        assert client.request(target=target).status == 200
    assert backend.requests[-1].target == target


def test_methods_pass(stage):
    daemon, backend = stage
    methods = [
        "GET",
        "PUT",
        "POST",
        "DELETE",
        "OPTIONS",
        "PATCH",
        "TRACE",
        "PROPFIND",
        "LIST",
        "M-SEARCH",
        "FOO",
    ]
    with daemon.client() as client:
        for method in methods:
            assert client.request(method).status == 200, method
    assert [request.method for request in backend.requests] == methods


def test_fields_byte_for_byte(stage):
    """Names keep case, `_` and `.`; values keep inner spaces, repeats keep their order, obs-text
    stays."""
    daemon, backend = stage
    lines = [
        b"hOsT: Bucket.S3.Local:9000",
        b"x-amz-meta-original_file_name: a  b   c",
        b"X-Amz-Meta-a.b: v",
        b"Accept-Encoding: identity",
        b"accept: */*",
        b"x-repeat: 1",
        b"X-Other: between",
        b"x-repeat: 2",
        b"X-REPEAT: 3",
        b"Range: bytes=0-1,5-",
        b"User-Agent: aws-cli/2 Python",
        b"x-amz-meta-utf8: \xe4\xb8\xad\xe6\x96\x87",
        b"x-empty:",
        b"x-tight:value",
        b"x-tab:\tvalue",
        b"x-wide:    value",
        b"!#$%&'*+-.^_`|~: odd but legal name",
        b"Authorization: AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=f0",
        b"If-None-Match: \"abc\", W/\"d\"",
        b"Cookie: a=b; c=\"d\"",
        b"Content-MD5: 1B2M2Y8AsgTpgAmY7PhCfg==",
        b"amz-sdk-invocation-id: 1",
        b"Via: 1.1 somebody",
        b"X-Accel-Redirect: /x",
    ]
    with daemon.client() as client:
        client.send(b"GET /b/k HTTP/1.1\r\n" + b"\r\n".join(lines) + b"\r\n\r\n")
        assert client.read_response().status == 200
    assert seen_lines(backend.requests[-1]) == lines


def test_what_is_added(stage):
    """Exactly three fields are ours, less than 512 bytes of MinIO's budget of 8 KiB, and none of
    them is x-amz-*."""
    daemon, backend = stage
    with daemon.client() as client:
        client.request()
    request = backend.requests[-1]
    names = [name.lower() for name, _ in request.fields]
    assert sorted(set(names) - {b"connection"}) == [
        b"host",
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-real-ip",
    ]
    assert len(request.raw_head) < 512
    assert request.header("x-real-ip") == "127.0.0.1"
    assert request.header("x-forwarded-for") == "127.0.0.1"
    assert request.header("x-forwarded-proto") == "http"
    assert request.header("connection") in (None, "keep-alive")


def test_large_head_below_the_limit(stage):
    daemon, backend = stage
    fields = [(f"x-amz-meta-{number}", "v" * 1000) for number in range(100)]
    with daemon.client() as client:
        assert client.request(fields=fields).status == 200
    assert (
        len([1 for name, _ in backend.requests[-1].fields if name.startswith(b"x-amz-meta-")])
        == 100
    )


def test_head_byte_at_a_time(stage):
    daemon, backend = stage
    with daemon.client() as client:
        head = client.head("PUT", "/b/slow", [("Content-Length", "3"), ("x-a", "1")])
        for byte in head + b"abc":
            client.send(bytes([byte]))
        assert client.read_response().status == 200
    assert backend.requests[-1].body.data == b"abc"
