"""Who the client is: on one connection of a trusted proxy each request has its own client, in every
form that X-Forwarded-For takes.

The fingerprint, the rate of requests, the status page, the log and X-Real-IP follow the client. An
element that is no address makes nobody the client: junk must not open the page.
"""

import hashlib

import pytest

from support.config import make_config, make_site

PROXY, HOP, STRANGER = "127.0.8.1", "10.8.0.1", "127.0.9.1"
PAGE = "/upstream/health/"
TRUSTED = [f"{PROXY}/32", "10.8.0.0/16", "2001:db8:aa::/48"]
LONG = f"{HOP}, " * 1000  # 10 KiB

# Lines of X-Forwarded-For, the client, and whether an allow list may contain it.
FORMS = {
    "one": (["192.0.2.1"], "192.0.2.1", True),
    "hops": ([f"198.51.100.1, 192.0.2.1, {HOP}"], "192.0.2.1", True),
    "lines": (["198.51.100.1", "192.0.2.1", HOP], "192.0.2.1", True),
    "port": (["192.0.2.1:4711"], "192.0.2.1", True),
    "mapped": (["::ffff:192.0.2.1"], "192.0.2.1", True),
    "v6": (["2001:db8::1"], "2001:db8::1", True),
    "v6 long": (["2001:0DB8:0::0001"], "2001:db8::1", True),
    "v6 brackets": (["[2001:db8::1]"], "2001:db8::1", True),
    "v6 port": (["[2001:db8::1]:443, [2001:db8:aa::7]:9"], "2001:db8::1", True),
    "spaces": (["  192.0.2.1\t ,\t10.8.0.1  "], "192.0.2.1", True),
    "claims": (["127.0.0.1, junk, 192.0.2.1"], "192.0.2.1", True),
    "long": ([LONG + "192.0.2.1"], "192.0.2.1", True),
    "long hops": (["192.0.2.1, " + LONG + HOP], "192.0.2.1", True),
    "no field": ([], PROXY, False),
    "empty": ([""], PROXY, False),
    "empty last": (["192.0.2.1,"], PROXY, False),
    "empty between": ([f"192.0.2.1,,{HOP}"], HOP, False),
    "empty line": (["192.0.2.1", ""], PROXY, False),
    "unknown": (["192.0.2.1, unknown"], PROXY, False),
    "obfuscated": (["192.0.2.1, _hidden"], PROXY, False),
    "zone": (["192.0.2.1, fe80::1%eth0"], PROXY, False),
    "brackets of v4": (["[192.0.2.1]"], PROXY, False),
    "bad port": (["192.0.2.1:65536"], PROXY, False),
    "leading zero": (["192.0.02.1"], PROXY, False),
    "quoted": (['"192.0.2.1"'], PROXY, False),
    "spaces within": (["192.0.2.1 192.0.2.2"], PROXY, False),
    "semicolon": (["192.0.2.1;192.0.2.2"], PROXY, False),
    "junk before a hop": ([f"192.0.2.1, junk, {HOP}"], HOP, False),
    "markup": (["<img onerror=x>"], PROXY, False),
    "long junk": (["," * 10_000], PROXY, False),
    "all trusted": ([f"10.8.0.9, {HOP}"], "10.8.0.9", False),
    "itself": ([PROXY], PROXY, False),
}


def fingerprint(client, salt="pepper"):
    inner = hashlib.md5(f"{client}{salt}".encode()).hexdigest()
    return hashlib.md5(inner.encode()).hexdigest()


def claims(lines):
    return [("X-Forwarded-For", line) for line in lines]


def reload(daemon, proxy, site):
    """Reloads. The connection's event loop may hear of it in the same round as of a request, so one
    request comes first."""
    assert daemon.reload(make_config([site])).startswith("reloaded")
    assert proxy.request(target="/first").status in (200, 503)


def site_of(backend, **changes):
    site = {
        "forwarded": {"mode": "append", "trusted": TRUSTED},
        "status": {"path": PAGE, "allow": ["0.0.0.0/0", "::/0"]},
        **changes,
    }
    return make_site([backend], **site)


@pytest.fixture(name="stage")
def stage_fixture(make_backend, start):
    backend = make_backend()
    return start(make_config([site_of(backend)])), backend


def test_every_request_of_a_connection_has_its_client(stage):
    daemon, backend = stage
    with daemon.client(source=PROXY) as proxy:
        for number, (name, (lines, client, is_known)) in enumerate(FORMS.items()):
            assert proxy.request(target=f"/form/{number}/", fields=claims(lines)).status == 200
            request = backend.requests[-1]
            assert request.values("x-real-ip") == [client], name
            [hops] = request.values("x-forwarded-for")
            # Byte for byte, lines joined, an empty one left out.
            assert hops == ", ".join([line.strip(" \t") for line in lines if line] + [PROXY]), name
            page = proxy.request(target=PAGE, fields=claims(lines))
            assert page.status == (200 if is_known else 403), name
    for number, (name, (lines, client, _)) in enumerate(FORMS.items()):
        line = daemon.wait_log(f"/form/{number}/")
        assert (line["client"], line["peer"]) == (client, PROXY), name
        assert line["session"] == fingerprint(client), name


def test_an_untrusted_source_is_its_own_client(stage):
    daemon, backend = stage
    with daemon.client(source=STRANGER) as stranger:
        for number, (lines, _, _) in enumerate(FORMS.values()):
            target = f"/stranger/{number}/"
            assert stranger.request(target=target, fields=claims(lines)).status == 200
            assert backend.requests[-1].values("x-forwarded-for") == [STRANGER]
            assert backend.requests[-1].values("x-real-ip") == [STRANGER]
    line = daemon.wait_log("/stranger/0/")
    assert (line["client"], line["peer"]) == (STRANGER, STRANGER)
    assert line["session"] == fingerprint(STRANGER)


def test_the_order_of_clients_on_a_connection_does_not_matter(stage):
    """What the connection remembers of one client is not used for the next."""
    daemon, _ = stage
    clients = [f"192.0.2.{n}" for n in (1, 2, 1, 1, 3, 2, 2, 1)]
    with daemon.client(source=PROXY) as proxy:
        data = b"".join(
            proxy.head(target=f"/order/{n}/", fields=claims([client]))
            for n, client in enumerate(clients)
        )
        proxy.send(data)
        assert [proxy.read_response().status for _ in clients] == [200] * len(clients)
        assert proxy.request(target="/order/self/").status == 200
    for number, client in enumerate(clients):
        line = daemon.wait_log(f"/order/{number}/")
        assert (line["client"], line["session"]) == (client, fingerprint(client))
    assert daemon.wait_log("/order/self/")["session"] == fingerprint(PROXY)


def test_reloads_hold_from_the_next_request(make_backend, start):
    """A changed salt, list or mode, on a connection that is there."""
    backend = make_backend()
    listen = site_of(backend)["listen"][0]
    daemon = start(make_config([site_of(backend, listen=listen)]))
    steps = {
        "first": ({}, "192.0.2.1", "pepper"),
        "salt": ({"balance": {"salt": "salt"}}, "192.0.2.1", "salt"),
        "other list": ({"forwarded": {"mode": "append", "trusted": [HOP]}}, PROXY, "pepper"),
        "again": ({}, "192.0.2.1", "pepper"),
        "set": ({"forwarded": {"mode": "set", "trusted": TRUSTED}}, PROXY, "pepper"),
        "more hops": (
            {"forwarded": {"mode": "append", "trusted": [*TRUSTED, "192.0.2.1"]}},
            "198.51.100.1",
            "pepper",
        ),
        "last": ({}, "192.0.2.1", "pepper"),
    }
    with daemon.client(source=PROXY) as proxy:
        for number, (name, (changes, client, salt)) in enumerate(steps.items()):
            if number > 0:
                reload(daemon, proxy, site_of(backend, listen=listen, **changes))
            fields = claims(["198.51.100.1, 192.0.2.1"])
            assert proxy.request(target=f"/step/{number}/", fields=fields).status == 200
            line = daemon.wait_log(f"/step/{number}/")
            assert (line["client"], line["session"]) == (client, fingerprint(client, salt)), name


def test_rates_are_of_the_client(make_backend, start):
    """Whatever connection the requests come through; the proxy's own requests count for itself."""
    limits = {"requests_per_client": {"rate": "1/m", "burst": 2}}
    daemon = start(make_config([site_of(make_backend(), limits=limits)]))
    clients = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", None]
    found = {client: [] for client in clients}
    for _ in range(2):
        with daemon.client(source=PROXY) as one, daemon.client(source=PROXY) as two:
            for proxy in (one, two):
                for client in clients:
                    fields = claims([client] if client else [])
                    response = proxy.request(fields=fields)
                    assert not response.closes
                    found[client].append(response.status)
    # The two of one IPv6 network of 64 bits are one client.
    assert found.pop("2001:db8::1") == [200, 503, 503, 503]
    assert found.pop("2001:db8::2") == [200, 503, 503, 503]
    assert set(map(tuple, found.values())) == {(200, 200, 503, 503)}
    with daemon.client(source=STRANGER) as stranger:
        fields = claims(["192.0.2.1"])
        assert [stranger.request(fields=fields).status for _ in range(3)] == [200, 200, 503]


def test_rates_that_a_reload_brings_hold_on_the_proxys_connection(make_backend, start):
    backend = make_backend()
    listen = site_of(backend)["listen"][0]
    daemon = start(make_config([site_of(backend, listen=listen)]))
    limits = {"requests_per_client": {"rate": "1/m", "burst": 2}}

    def ask(proxy, times):
        return [proxy.request(fields=claims(["192.0.2.1"])).status for _ in range(times)]

    with daemon.client(source=PROXY) as proxy:
        assert ask(proxy, 3) == [200] * 3
        reload(daemon, proxy, site_of(backend, listen=listen, limits=limits))
        assert ask(proxy, 3) == [200, 200, 503]
        reload(daemon, proxy, site_of(backend, listen=listen))
        assert ask(proxy, 3) == [200] * 3
        reload(daemon, proxy, site_of(backend, listen=listen, limits=limits))
        assert ask(proxy, 1)[0] == 503, "its bucket is as empty as before"


def test_limits_on_connections_do_not_keep_a_trusted_proxy_out(make_backend, start):
    """They count sources. A client that the proxy names has its own connections all the same."""
    limits = {"per_client": 2, "connections": 6, "requests_per_client": "1000/s"}
    daemon = start(make_config([site_of(make_backend(), limits=limits)]))
    clients = [daemon.client(source=PROXY) for _ in range(5)]
    for client in clients:
        assert client.request(fields=claims([STRANGER])).status == 200
    # What the proxy asks for the stranger holds no place of the stranger's.
    direct = daemon.client(source=STRANGER)
    assert direct.request().status == 200
    # Six are there: the site is full, but for the proxy.
    late = daemon.client(source=STRANGER)
    refused = late.request()
    assert (refused.status, refused.closes) == (503, True)
    more = [daemon.client(source=PROXY) for _ in range(3)]
    for client in more:
        assert client.request(fields=claims(["192.0.2.7"])).status == 200
    for client in [*clients, direct, late, *more]:
        client.close()


@pytest.mark.parametrize("forwarded", [{"mode": "set", "trusted": TRUSTED}, {"mode": "append"}])
def test_limits_on_connections_hold_where_nobody_is_believed(make_backend, start, forwarded):
    site = site_of(make_backend(), limits={"per_client": 2}, forwarded=forwarded)
    daemon = start(make_config([site], workers=1))
    clients = [daemon.client(source=PROXY) for _ in range(3)]
    statuses = [client.request(fields=claims([STRANGER])).status for client in clients]
    assert statuses == [200, 200, 503]
    for client in clients:
        client.close()
