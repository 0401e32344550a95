"""forwarded.mode set: a client's claims about its own address are replaced.

MinIO trusts the first element of X-Forwarded-For for aws:SourceIp policies; a forged one would pass
them.
"""

FORGED = [
    ("X-Forwarded-For", "10.9.8.7, 1.2.3.4"),
    ("x-real-ip", "10.9.8.7"),
    ("X-FORWARDED-PROTO", "https"),
    ("Forwarded", "for=10.9.8.7;proto=https"),
    ("X-Forwarded-For", "6.6.6.6"),
    ("forwarded", "for=6.6.6.6"),
    ("X-Forwarded-Host", "other.example"),
    ("X-Forwarded-Port", "443"),
    ("X-Forwarded-Prefix", "/a"),
    ("X-Forwarded-Server", "other.example"),
    ("X_Forwarded_Host", "other.example"),
    ("X-Forwarded-By", "kept.example"),
]


def test_forged_fields_are_replaced(one):
    daemon, backend = one()
    with daemon.client(source="127.0.7.1") as client:
        assert client.request(fields=FORGED).status == 200
    request = backend.requests[-1]
    assert request.values("x-forwarded-for") == ["127.0.7.1"]
    assert request.values("x-real-ip") == ["127.0.7.1"]
    assert request.values("x-forwarded-proto") == ["http"]
    assert request.values("forwarded") == []
    for name in ("host", "port", "prefix", "server"):
        assert request.values(f"x-forwarded-{name}") == []
    assert request.values("x_forwarded_host") == []
    assert request.values("x-forwarded-by") == ["kept.example"]


def test_trusted_peers_mean_nothing_in_set_mode(one):
    daemon, backend = one(forwarded={"mode": "set", "trusted": ["127.0.0.0/8"]})
    with daemon.client() as client:
        client.request(fields=FORGED)
    assert backend.requests[-1].values("x-forwarded-for") == ["127.0.0.1"]
