"""forwarded.mode append: the fields of a trusted peer are kept and extended, all others are
replaced.

Without it a load balancer in front hides all client addresses, or any client can forge them.
"""

import pytest

SENT = [
    ("X-Forwarded-For", "10.9.8.7, 1.2.3.4"),
    ("X-Real-IP", "10.9.8.7"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "kept.example"),
    ("X-Test", "1"),
]


@pytest.fixture(name="stage")
def stage_fixture(one):
    return one(forwarded={"mode": "append", "trusted": ["127.0.8.0/24", "127.0.9.1"]})


@pytest.mark.parametrize("source", ["127.0.8.1", "127.0.9.1"])
def test_trusted_peer_is_extended(stage, source):
    daemon, backend = stage
    with daemon.client(source=source) as client:
        assert client.request(fields=SENT).status == 200
    request = backend.requests[-1]
    joined = ", ".join(request.values("x-forwarded-for"))
    assert joined == f"10.9.8.7, 1.2.3.4, {source}"
    # The last address that is not trusted; what stands before it is that client's own claim.
    assert request.values("x-real-ip") == ["1.2.3.4"]
    assert request.values("x-forwarded-proto") == ["https"]
    assert request.values("x-forwarded-host") == ["kept.example"]


def test_trusted_peer_that_says_nothing(stage):
    daemon, backend = stage
    with daemon.client(source="127.0.8.2") as client:
        assert client.request().status == 200
    request = backend.requests[-1]
    assert request.values("x-forwarded-for") == ["127.0.8.2"]
    assert request.values("x-real-ip") == ["127.0.8.2"]
    assert request.values("x-forwarded-proto") == ["http"]


@pytest.mark.parametrize("source", ["127.0.7.1", "127.0.9.2"])
def test_untrusted_peer_is_replaced(stage, source):
    daemon, backend = stage
    with daemon.client(source=source) as client:
        assert client.request(fields=SENT + [("Forwarded", "for=1.1.1.1")]).status == 200
    request = backend.requests[-1]
    assert request.values("x-forwarded-for") == [source]
    assert request.values("x-real-ip") == [source]
    assert request.values("x-forwarded-proto") == ["http"]
    assert request.values("forwarded") == []
    assert request.values("x-forwarded-host") == []
