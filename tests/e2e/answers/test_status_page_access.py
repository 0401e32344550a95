"""Only clients in status.allow see the status page.

The page names every storage server. A client that reaches it by another spelling of the path, by a
Host, or by a forged address has a map of the cluster.
"""

import socket

import pytest

from support.client import RawClient, split_address
from support.config import free_port, make_config, make_site
from support.waiting import wait_until

PATH = "/upstream/health/"
OUTSIDER = "127.0.7.9"
CLAIMS = [
    ("X-Forwarded-For", "127.0.0.1"),
    ("X-Real-IP", "127.0.0.1"),
    ("Forwarded", "for=127.0.0.1;by=127.0.0.1"),
    ("X-Client-IP", "127.0.0.1"),
    ("True-Client-IP", "127.0.0.1"),
    ("X-Original-URL", PATH),
    ("X-Rewrite-URL", PATH),
    ("X-HTTP-Method-Override", "GET"),
]
# Spellings of the path that a normalising reader takes for the page.
SPELLINGS = [
    PATH,
    PATH + "x",
    "/" + PATH,
    "//" + PATH.lstrip("/"),
    "/x/.." + PATH,
    "/.%2f.." + PATH,
    "/%2e%2e" + PATH,
    "/." + PATH,
    "/upstream/./health/",
    "/upstream//health/",
    "/upstream%2fhealth/",
    "/upstream%2Fhealth%2F",
    "/%75pstream/health/",
    "/upstream/healt%68/",
    "/UPSTREAM/HEALTH/",
    "/upstream\\health\\",
    "/upstream/health;a=b/",
    "/upstream/health%00/",
    "/upstream/health/%2e%2e/health/",
    "/b/k?" + PATH,
    "/b/k?x=" + PATH,
]


FORWARDED = {
    "set": {},
    "append": {"mode": "append", "trusted": ["127.0.8.0/24"]},
    # Also whoever is allowed and whoever is not: then nobody is a client that a list may contain.
    "all trusted": {"mode": "append", "trusted": ["127.0.0.0/8"]},
}


@pytest.fixture(name="forwarded", params=FORWARDED)
def forwarded_fixture(request):
    return request.param


@pytest.fixture(name="stage")
def stage_fixture(forwarded, make_backend, start):
    backend = make_backend()
    site = make_site(
        [backend],
        status={"path": PATH, "allow": ["127.0.0.0/24"]},
        forwarded=FORWARDED[forwarded],
    )
    return start(make_config([site])), backend


def test_no_spelling_shows_it_to_an_outsider(stage):
    daemon, backend = stage
    served = 0
    for target in SPELLINGS:
        for method in ("GET", "HEAD", "POST", "OPTIONS", "PROPFIND"):
            for fields in ([], CLAIMS):
                with daemon.client(source=OUTSIDER) as client:
                    response = client.request(method, target, fields)
                denied = target.startswith(PATH) and method in ("GET", "HEAD")
                assert response.status == (403 if denied else 200), (method, target)
                assert b"Peers" not in response.data
                served += not denied
    # Every other path went to the server as an object, byte for byte.
    assert len(backend.requests) == served
    assert {request.target for request in backend.requests} == set(SPELLINGS)


def test_no_host_and_no_absolute_form_shows_it(stage):
    daemon, backend = stage
    host, port = split_address(daemon.address)
    for name in ("localhost", "127.0.0.1", f"127.0.0.1:{port}", f"{host}:9180", "upstream"):
        with daemon.client(source=OUTSIDER) as client:
            assert client.request(target=PATH, host=name).status == 403
        with daemon.client(source=OUTSIDER) as client:
            target = f"http://{name}{PATH}"
            response = client.request(target=target, host=name)
            assert (response.status, b"Peers" in response.data) == (403, False)
        # Two authorities: neither is accepted.
        with daemon.client(source=OUTSIDER) as client:
            client.send(client.head("GET", f"http://{name}{PATH}", host="bucket"))
            answer, _ = client.read_until_close()
            assert answer.startswith(b"HTTP/1.1 400 ")
    assert not backend.requests


def test_who_is_allowed_sees_it_whatever_he_claims(stage, forwarded):
    """Forwarded fields do not take the access away either, except from a trusted proxy: it asks for
    others."""
    daemon, _ = stage
    if forwarded == "all trusted":
        with daemon.client(source="127.0.0.77") as client:
            assert client.request(target=PATH, fields=[("X-Forwarded-For", OUTSIDER)]).status == 403
            assert client.request(target=PATH).status == 403
        return
    with daemon.client(source="127.0.0.77") as client:
        response = client.request(target=PATH, fields=[("X-Forwarded-For", OUTSIDER)])
        assert (response.status, b"Primary Peers" in response.data) == (200, True)
        response = client.request(target=f"http://h{PATH}", host="h")
        assert (response.status, b"Primary Peers" in response.data) == (200, True)


def test_on_a_connection_that_was_used_for_objects(stage):
    """Every request is judged on its own, pipelined ones too."""
    daemon, _ = stage
    with daemon.client(source=OUTSIDER) as client:
        client.send(client.head("GET", "/b/1") + client.head("GET", PATH))
        assert client.read_response().status == 200
        response = client.read_response()
        assert (response.status, b"Peers" in response.data) == (403, False)
    wait_until(lambda: [line for line in daemon.log_lines() if line["error"] != "-"])


def test_ipv6_peers_are_judged_as_ipv6(make_backend, start):
    """::1 is not 127.0.0.1, and an IPv4 client never arrives at [::] as ::ffff:a.b.c.d."""
    if not socket.has_ipv6 or not _has_loopback6():
        pytest.skip("this host has no IPv6 loopback")
    port = free_port("::1")
    allow = ["127.0.0.0/8"]
    site = make_site(
        [make_backend()], listen=f"[::]:{port}", status={"path": PATH, "allow": allow}
    )
    daemon = start(make_config([site]), wait_ready=False)
    wait_until(lambda: daemon.notify.has("READY=1"))
    with RawClient(f"[::1]:{port}") as client:
        assert client.request(target=PATH).status == 403
    with socket.socket(socket.AF_INET6) as mapped:
        mapped.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        with pytest.raises(ConnectionRefusedError):
            mapped.connect(("::ffff:127.0.0.1", port))


def test_mapped_addresses_of_ipv4_clients(make_backend, start):
    """A client that uses an IPv6 socket to an IPv4 address is an IPv4 client."""
    if not socket.has_ipv6 or not _has_loopback6():
        pytest.skip("this host has no IPv6 loopback")
    daemon = start(
        make_config(
            [make_site([make_backend()], status={"path": PATH, "allow": ["127.0.0.0/24"]})],
        )
    )
    _, port = split_address(daemon.address)
    for source, status in (("127.0.0.5", 200), (OUTSIDER, 403)):
        with socket.socket(socket.AF_INET6) as mapped:
            mapped.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            mapped.settimeout(20)
            mapped.bind((f"::ffff:{source}", 0))
            mapped.connect(("::ffff:127.0.0.1", port))
            mapped.sendall(f"GET {PATH} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
            answer = b""
            while piece := mapped.recv(65536):
                answer += piece
            assert int(answer[9:12]) == status


def _has_loopback6():
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
        return True
    except OSError:
        return False
