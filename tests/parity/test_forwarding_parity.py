"""A backend receives the same through s3gate as through nginx: same target, same end-to-end fields,
same order.

Otherwise a signature that verified behind nginx could fail behind s3gate. The nodes answer with the
request head as received. The few intended differences are listed here.
"""

import pytest

from front_proxies import Nginx
from nodes import Node, stop_all
from support.client import exchange
from support_real import ADDRESSES, S3gate, s3_site

HOST = "Bucket.S3.example.test:9000"

TARGETS = [
    "/",
    "/bucket",
    "/bucket/",
    "/bucket//double///slash",
    "/bucket/a%2Fb%2fc",
    "/bucket/./dot/../dots",
    "/bucket/%2e%2e/x",
    "/bucket/plus+plus%20space%2B",
    "/bucket/~tilde%7Etilde",
    "/bucket/%D0%BA%D0%BB%D1%8E%D1%87",
    "/bucket/a;b,c@d$e!f*(g)'h",
    "/bucket/o?b=2&a=1&a=&c",
    "/bucket/o?a=%20+~&&b==1&=x",
    "/bucket/o?sessionid=client%2Fowned&x=1",
    "/bucket/o?SessionID=a&sessionid=b",
    "/bucket/o?uploadId=2~abc&partNumber=1",
    "/bucket/o?uploadId=2%7Eabc&partNumber=1",
    "/bucket/o?",
    "/bucket/o?prefix=a/b&delimiter=%2F&list-type=2",
    "/bucket/" + "k" * 1024,
    "/bucket/o?X-Amz-Security-Token=" + "t" * 6000,
]

FIELDS = [
    "Authorization: AWS4-HMAC-SHA256 Credential=A/b/c, SignedHeaders=host;x-amz-date, Signature=0f",
    "x-amz-date: 20260101T000000Z",
    "X-AMZ-Content-SHA256: UNSIGNED-PAYLOAD",
    "x-amz-meta-under_score: 1",
    "x-amz-meta-dot.name: 2",
    "X-Amz-Meta-MiXeD: Value  with   inner    spaces",
    "x-amz-meta-utf8: grün ключ",
    "x-amz-meta-twice: one",
    "x-amz-meta-twice: two",
    "Accept-Encoding: identity",
    "Range: bytes=0-9",
    'If-None-Match: "etag"',
    "Content-MD5: 1B2M2Y8AsgTpgAmY7PhCfg==",
    "amz-sdk-invocation-id: 1-2-3",
    "User-Agent: Boto3/1.26 (x; y) Resource",
    "Cookie: a=b; c=d",
    "x-amz-meta-empty:",
    "!#$%&'*+-.^_`|~09: every kind of token",
]

# The fields that s3gate sets, and the hop-by-hop fields that each of the two removes.
FORWARDED = ("x-real-ip", "x-forwarded-for", "x-forwarded-proto")


@pytest.fixture(scope="module")
def ways():
    """(nginx's address, s3gate's address) in front of one echoing node."""
    node = Node("echo", f"{ADDRESSES.take()}:9000", "--echo")
    nginx_address, gate_address = (f"{ADDRESSES.take()}:9000" for _ in range(2))
    running = Nginx(
        f"""
    upstream six {{ server {node.address}; keepalive 4; }}
    server {{
        listen {nginx_address};
        ignore_invalid_headers off;
        client_max_body_size 0;
        proxy_request_buffering off;
        location / {{
            proxy_pass http://six$request_uri;
            proxy_set_header Host $http_host;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}""",
        [nginx_address],
    )
    site = s3_site("echo", gate_address, [node.address], balance={"salt": "x"})
    try:
        with S3gate([site]):
            yield nginx_address, gate_address
    finally:
        running.stop()
        stop_all([node])


def received(address, request):
    """Request line and fields as the backend saw them."""
    # Makes X-Forwarded-For the same on both ways.
    source = address.rsplit(":", 1)[0].rsplit(".", 1)[0] + ".250"
    response = exchange(address, request, source=source)
    assert response.status == 200, response
    line, *fields = response.data.decode("utf-8").removesuffix("\r\n\r\n").split("\r\n")
    return line, fields


def names(fields):
    return [field.split(":", 1)[0].lower() for field in fields]


def request_of(target, fields=(), method="GET", host=HOST, version="1.1"):
    lines = [f"{method} {target} HTTP/{version}", f"Host: {host}", *fields, "", ""]
    return "\r\n".join(lines).encode("utf-8")


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target[:40])
def test_target(ways, target):
    request = request_of(target)
    lines = [received(address, request)[0] for address in ways]
    assert lines[0] == lines[1] == f"GET {target} HTTP/1.1"


def test_absolute_target_is_reduced_to_its_path(ways):
    """RFC 9112 §3.2.2; the authority has to equal Host, which nginx does not ask for."""
    request = request_of(f"http://{HOST}/bucket/a%2Fb//c?x=1")
    assert {received(address, request)[0] for address in ways} == {
        "GET /bucket/a%2Fb//c?x=1 HTTP/1.1"
    }


def test_fields(ways):
    """The client's fields arrive unchanged and in order. nginx writes an empty value as 'name: ',
    s3gate as it was sent."""
    request = request_of("/bucket/object", FIELDS)
    results = [received(address, request)[1] for address in ways]
    own = [
        [field.rstrip() for field in fields if names([field])[0] not in ("host", *FORWARDED)]
        for fields in results
    ]
    assert own[0] == own[1] == FIELDS


@pytest.mark.parametrize("host", [HOST, "127.0.0.1:9000", "UPPER.example", "[::1]:9000"])
def test_host(ways, host):
    request = request_of("/bucket/object", host=host)
    for address in ways:
        fields = received(address, request)[1]
        assert [field for field in fields if names([field]) == ["host"]] == [f"Host: {host}"]


def test_forwarded_fields(ways):
    """Same values of the same three fields if the client sent none."""
    request = request_of("/bucket/object")
    results = [
        sorted(
            field.lower()
            for field in received(address, request)[1]
            if names([field])[0] in FORWARDED
        )
        for address in ways
    ]
    assert len(results[0]) == 3
    assert results[0] == results[1]


def test_forwarded_fields_of_a_client_are_replaced(ways):
    """An intended difference: nginx appends to any client's claims, s3gate trusts no client by
    default."""
    claimed = ["X-Forwarded-For: 1.2.3.4", "X-Real-IP: 1.2.3.4", "Forwarded: for=1.2.3.4"]
    request = request_of("/bucket/object", claimed)
    theirs, ours = (received(address, request)[1] for address in ways)
    assert any("1.2.3.4, 127." in field for field in theirs)
    assert not any("1.2.3.4" in field for field in ours)
    assert "forwarded" not in names(ours)


def test_hop_by_hop_fields_end_here(ways):
    hop = ["Connection: keep-alive, x-hop", "x-hop: 1", "Keep-Alive: timeout=5", "TE: trailers"]
    request = request_of("/bucket/object", [*hop, "Upgrade: h2c", "x-kept: 2"])
    theirs, ours = (names(received(address, request)[1]) for address in ways)
    for name in ("connection", "keep-alive", "te", "upgrade"):
        assert name not in theirs
        assert name not in ours
    # An intended difference: nginx ignores the Connection field (RFC 9110 §7.6.1 requires it).
    assert "x-hop" in theirs and "x-hop" not in ours
    assert "x-kept" in theirs and "x-kept" in ours


def test_body_framing_is_kept(ways):
    """A length stays a length; chunked stays chunked.

    Chunked is required of s3gate only: nginx sends a length if the whole body came with the head.
    """
    with_length = request_of("/b/o", ["Content-Length: 5"], method="PUT") + b"12345"
    empty = request_of("/b/o", ["Content-Length: 0"], method="PUT")
    chunked = request_of("/b/o", ["Transfer-Encoding: chunked"], method="PUT")
    chunked += b"5\r\n12345\r\n0\r\n\r\n"
    for addresses, request, expected in (
        (ways, with_length, ["content-length: 5"]),
        (ways, empty, ["content-length: 0"]),
        (ways[1:], chunked, ["transfer-encoding: chunked"]),
    ):
        for address in addresses:
            framing = [
                field.lower()
                for field in received(address, request)[1]
                if names([field])[0] in ("content-length", "transfer-encoding")
            ]
            assert framing == expected, address
