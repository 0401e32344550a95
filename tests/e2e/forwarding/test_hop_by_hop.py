"""Hop-by-hop fields end at the proxy in both directions, and a nomination cannot remove important
fields.

Without removal the backend acts on the client's connection options; without the guard a client
removes fields for authentication, its own or ours, with `Connection: x-amz-date`.
"""

import pytest



@pytest.fixture(name="stage")
def stage_fixture(one):
    return one()


def test_request_fields_removed(stage):
    daemon, backend = stage
    fields = [
        ("Connection", "x-private, keep-alive , TE"),
        ("X-Private", "1"),
        ("x-PRIVATE", "2"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
        ("Proxy-Authenticate", "Basic"),
        ("Proxy-Authorization", "Basic Zm9v"),
        ("TE", "trailers"),
        ("Upgrade", "h2c"),
        ("X-Kept", "1"),
    ]
    with daemon.client() as client:
        assert client.request(fields=fields).status == 200
    request = backend.requests[-1]
    for name in (
        "x-private",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "upgrade",
    ):
        assert request.values(name) == [], name
    assert request.values("x-kept") == ["1"]


@pytest.mark.parametrize(
    "name,value",
    [
        ("Host", None),
        ("Authorization", "AWS4-HMAC-SHA256 x"),
        ("x-amz-date", "20260101T000000Z"),
        ("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD"),
        ("x-amz-security-token", "t"),
        ("X-Forwarded-For", "1.2.3.4"),
        ("X-Real-IP", "1.2.3.4"),
        ("X-Forwarded-Proto", "https"),
        ("Content-Length", "0"),
    ],
)
@pytest.mark.parametrize("separate", [False, True])
def test_nomination_cannot_remove(stage, name, value, separate):
    daemon, backend = stage
    fields = (
        [("Connection", "close"), ("Connection", name)]
        if separate
        else [("Connection", f"keep-alive, {name.upper()}")]
    )
    if value is not None:
        fields.append((name, value))
    with daemon.client() as client:
        response = client.request("PUT" if name == "Content-Length" else "GET", fields=fields)
    if response.status == 400:
        assert not backend.requests
        return
    assert response.status == 200
    request = backend.requests[-1]
    expected = {
        "Host": "bucket.example:9000",
        "X-Forwarded-For": "127.0.0.1",
        "X-Real-IP": "127.0.0.1",
        "X-Forwarded-Proto": "http",
    }.get(name, value)
    assert request.values(name) == [expected]


def test_nominated_transfer_encoding_does_not_change_framing(stage):
    daemon, backend = stage
    with daemon.client() as client:
        client.send(
            client.head(
                "PUT",
                "/b/te",
                [("Connection", "transfer-encoding"), ("Transfer-Encoding", "chunked")],
            )
            + b"5\r\nhello\r\n0\r\n\r\n"
        )
        response = client.read_response()
    if response.status == 200:
        assert backend.requests[-1].framing == "chunked"
        assert backend.requests[-1].body.data == b"hello"
    else:
        assert response.status == 400 and not backend.requests


def test_response_fields_removed(one):
    def handler(exchange):
        exchange.read_body()
        exchange.respond(
            200,
            [
                ("Connection", "x-hop, keep-alive"),
                ("X-Hop", "1"),
                ("Keep-Alive", "timeout=30"),
                ("Proxy-Connection", "keep-alive"),
                ("Upgrade", "h2c"),
                ("X-End", "1"),
            ],
            b"ok",
        )

    daemon, _ = one(handler)
    with daemon.client() as client:
        response = client.request()
        assert response.status == 200
        for name in ("x-hop", "keep-alive", "proxy-connection", "upgrade"):
            assert response.values(name) == [], name
        assert response.values("x-end") == ["1"]
        assert not response.closes
        assert client.request().status == 200


def test_response_nomination_cannot_remove_framing_or_entity(one):
    def handler(exchange):
        exchange.read_body()
        exchange.respond(
            200,
            [
                ("Connection", "etag, content-length, x-amz-request-id"),
                ("ETag", '"e"'),
                ("x-amz-request-id", "R"),
            ],
            b"four",
        )

    daemon, _ = one(handler)
    with daemon.client() as client:
        response = client.request()
    if response.status == 200:
        assert response.data == b"four"
        assert response.values("content-length") == ["4"]
