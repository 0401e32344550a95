"""accept_proxy: a balancer's PROXY protocol header names the client; nobody else can name one.

Without it all clients behind a balancer share one address: one node gets them all, one limit holds
for them, the log shows the balancer. If a header were believed from anybody, or a connection served
without one, a client could pass for any other.
"""

import pytest

from support import proxy_protocol as pp
from support.client import RawClient
from support.config import free_port, make_config, make_site
from support.ctl import ADMIN, status_of
from support.strict import pause
from support.waiting import wait_until

BALANCER, OTHER = "127.0.11.1", "127.0.12.1"
SOURCE, SOURCE6, VIP, VIP6 = "192.0.2.7", "2001:db8::7", "198.51.100.9", "2001:db8::9"
GET = b"GET /b/k HTTP/1.1\r\nHost: a\r\n\r\n"

# Each header, and the source that it names; None: the balancer itself counts.
GOOD = {
    "v1 TCP4": (pp.line(SOURCE, VIP), SOURCE),
    "v1 TCP6": (pp.line(SOURCE6, VIP6), SOURCE6),
    "v1 TCP6 mapped": (pp.line(f"::ffff:{SOURCE}", f"::ffff:{VIP}"), SOURCE),
    "v1 UNKNOWN": (b"PROXY UNKNOWN\r\n", None),
    "v1 UNKNOWN with addresses": (b"PROXY UNKNOWN 192.0.2.7 198.51.100.9 1 2\r\n", None),
    "v2 TCP4": (pp.binary(SOURCE, VIP), SOURCE),
    "v2 TCP6": (pp.binary(SOURCE6, VIP6), SOURCE6),
    "v2 TCP6 mapped": (pp.binary(f"::ffff:{SOURCE}", f"::ffff:{VIP}"), SOURCE),
    "v2 vectors": (
        pp.binary(SOURCE, VIP, vectors=pp.vector(1, b"h2") + pp.vector(0xEA, b"\x01vpce-0a1b")),
        SOURCE,
    ),
    "v2 vectors like a request": (pp.binary(SOURCE, VIP, vectors=pp.vector(4, GET * 30)), SOURCE),
    "v2 64 KiB": (pp.binary(SOURCE, VIP, vectors=bytes(65535 - 12)), SOURCE),
    "v2 LOCAL": (pp.block(pp.LOCAL, pp.UNSPEC), None),
    "v2 LOCAL with addresses": (pp.block(pp.LOCAL, pp.TCP4, pp.addresses(SOURCE, VIP)), None),
    "v2 UNSPEC": (pp.block(pp.PROXY, pp.UNSPEC, b"junk"), None),
    "v2 UNIX": (pp.block(pp.PROXY, pp.UNIX, bytes(216)), None),
    "v2 UDP": (pp.block(pp.PROXY, pp.UDP4, pp.addresses(SOURCE, VIP)), None),
}

BAD = {
    "v1 family": (b"PROXY TCP5 192.0.2.7 198.51.100.9 1 2\r\n", "neither TCP4, TCP6 nor UNKNOWN"),
    "v1 source": (b"PROXY TCP4 192.0.02.7 198.51.100.9 1 2\r\n", "bad source address"),
    "v1 destination": (b"PROXY TCP6 ::1 198.51.100.9 1 2\r\n", "bad destination address"),
    "v1 port": (b"PROXY TCP4 192.0.2.7 198.51.100.9 65536 2\r\n", "bad source port"),
    "v1 more": (b"PROXY TCP4 192.0.2.7 198.51.100.9 1 2 3\r\n", "bad destination port"),
    "v1 LF": (b"PROXY TCP4 192.0.2.7 198.51.100.9 1 2\n", "bad line end"),
    "v1 long": (b"PROXY UNKNOWN " + b"x" * 100, "line too long"),
    "v2 version": (pp.block(0x31, pp.TCP4, pp.addresses(SOURCE, VIP)), "unknown version"),
    "v2 command": (pp.block(0x22, pp.TCP4, pp.addresses(SOURCE, VIP)), "unknown command"),
    "v2 family": (pp.block(pp.PROXY, 0x41, bytes(36)), "unknown address family"),
    "v2 transport": (pp.block(pp.PROXY, 0x13, bytes(12)), "unknown transport protocol"),
    "v2 short": (pp.block(pp.PROXY, pp.TCP6, bytes(35)), "too short for its addresses"),
    "v2 short UNIX": (pp.block(pp.PROXY, pp.UNIX, bytes(108)), "too short for its addresses"),
    "TLS": (bytes.fromhex("16030100c8010000c40303") + bytes(64), None),
    "junk": (b"\xff" * 20, None),
}


def listening(*peers, host="127.0.0.1"):
    return {"address": f"{host}:{free_port()}", "accept_proxy": list(peers or [BALANCER])}


@pytest.fixture(name="stage")
def stage_fixture(make_backend, gate):
    """A daemon that expects headers from BALANCER, and its backend."""
    backend = make_backend()
    return gate([backend], listen=listening(), top={"workers": 1}), backend


def through(daemon, data=b"", source=BALANCER):
    client = daemon.client(source=source)
    client.send(data)
    return client


def forwarded(backend, number):
    return backend.wait_request(number=number).header("x-forwarded-for")


def test_each_form_names_its_source(stage):
    """Whole, with the request behind it in one piece; split before the request; byte by byte."""
    daemon, backend = stage
    number = 0
    for name, (header, source) in GOOD.items():
        for way in ("at once", "before the request", "byte by byte"):
            if way == "byte by byte" and len(header) > 300:
                continue
            client = through(daemon)
            pieces = {
                "at once": [header + GET],
                "before the request": [header, GET],
                "byte by byte": [bytes([byte]) for byte in header + GET],
            }[way]
            for piece in pieces:
                client.send(piece)
            assert client.read_response().status == 200, (name, way)
            # The header is of the connection, not of its first request.
            assert client.request().status == 200
            client.close()
            number += 2
            for nth in (number - 1, number):
                assert forwarded(backend, nth) == (source or BALANCER), (name, way)
    wait_until(lambda: len(daemon.log_lines()) == number)
    assert {line["peer"] for line in daemon.log_lines()} == {BALANCER}
    named = {(line["client"], line["@source"]) for line in daemon.log_lines()}
    assert named == {(SOURCE, VIP), (SOURCE6, VIP6), (BALANCER, "127.0.0.1")}


def test_a_header_that_names_nobody_opens_nothing(make_backend, gate):
    """The balancer is in the list, and its fields are trusted at another address: whoever connected
    to it could be anybody."""
    backend = make_backend()
    daemon = gate(
        [backend],
        listen=listening(),
        status={"path": "/st/", "allow": [BALANCER, SOURCE]},
        forwarded={"mode": "append", "trusted": [BALANCER]},
        top={"workers": 1},
    )
    page = b"GET /st/ HTTP/1.1\r\nHost: a\r\n"
    for name, (header, source) in GOOD.items():
        for claim in (b"", f"X-Forwarded-For: {SOURCE}\r\n".encode()):
            with through(daemon, header + page + claim + b"\r\n") as client:
                wanted = 200 if source == SOURCE else 403
                assert client.read_response().status == wanted, (name, claim)
    claim = GET[:-2] + b"X-Forwarded-For: 192.0.2.9\r\n\r\n"
    with through(daemon, b"PROXY UNKNOWN\r\n" + claim) as client:
        assert client.read_response().status == 200
    assert backend.requests[-1].values("x-real-ip") == [BALANCER]
    assert backend.requests[-1].values("x-forwarded-for") == [BALANCER]


def test_a_bad_header_ends_the_connection(stage):
    """At once and without an answer, with its reason in the log; nothing behind it is a request."""
    daemon, backend = stage
    for name, (header, _) in BAD.items():
        with through(daemon) as client:
            client.send_quietly(header + GET)
            assert client.expect_close() in ("eof", "reset"), name
            assert not client.reader.buffer, name
    lines = wait_until(
        lambda: daemon.log_lines() if len(daemon.log_lines()) == len(BAD) else None
    )
    reasons = ["PROXY protocol header: " + why if why else None for _, why in BAD.values()]
    assert [line["error"] for line in lines] == [
        reason or "no PROXY protocol header" for reason in reasons
    ]
    assert {(line["status"], line["client"], line["size"]) for line in lines} == {
        (400, BALANCER, 0)
    }
    assert not backend.requests
    assert daemon.totals()["connections without a good PROXY protocol header refused"] == len(BAD)


@pytest.mark.parametrize("pieces", [[GET], [b"P", b"UT /b/k HTTP/1.1\r\nHost: a\r\n\r\n"]])
def test_a_request_without_a_header_is_told_what_is_missing(stage, pieces):
    daemon, backend = stage
    client = through(daemon)
    for piece in pieces:
        client.send(piece)
        pause()
    response = client.read_response()
    assert response.status == 400
    assert b"only behind a PROXY protocol header" in response.data
    assert response.closes and client.expect_close() == "eof"
    line = daemon.wait_log("-")
    assert (line["status"], line["error"]) == (400, "no PROXY protocol header")
    assert not backend.requests


def test_others_are_served_and_can_name_nobody(stage):
    daemon, backend = stage
    assert daemon.client(source=OTHER).request().status == 200
    assert forwarded(backend, 1) == OTHER
    for header in (pp.line(SOURCE, VIP), pp.binary(SOURCE, VIP)):
        client = through(daemon, header + GET, source=OTHER)
        assert client.read_response().status == 400
        assert client.expect_close() == "eof"
    wait_until(lambda: len(daemon.log_lines()) == 3)
    errors = [line["error"] for line in daemon.log_lines()]
    assert errors[1:] == ["unexpected PROXY protocol header"] * 2
    assert len(backend.requests) == 1


def test_a_second_header_is_refused(stage):
    daemon, backend = stage
    client = through(daemon, pp.line(SOURCE, VIP) + pp.line("127.0.0.1", VIP) + GET)
    assert client.read_response().status == 400
    assert daemon.wait_log("-")["error"] == "unexpected PROXY protocol header"
    assert not backend.requests


def test_a_check_that_says_nothing_leaves_no_line(stage):
    """As keepalived's TCP_CHECK and HAProxy's plain checks: connect and close."""
    daemon, _ = stage
    for _ in range(3):
        through(daemon).close()
    client = through(daemon, b"PROXY TCP4 192.0")
    client.close()
    assert daemon.wait_log("-")["error"] == "client closed in PROXY protocol header"
    assert len(daemon.log_lines()) == 1
    assert daemon.totals()["client gone before its answer's end"] == 1


def test_half_sent_headers_have_5_s_and_hold_nobody_up(make_backend, gate):
    """Single bytes do not extend the time, and silence is no way round it."""
    daemon = gate([make_backend()], listen=listening(), top={"workers": 1})
    half = [through(daemon, b"PROXY TCP4 192.0.2.7 198.5") for _ in range(500)]
    silent = through(daemon)
    slow = through(daemon, b"PROXY UNKNOWN ")
    assert through(daemon, pp.line(SOURCE, VIP) + GET).read_response().status == 200
    assert daemon.client(source=OTHER).request().status == 200

    def has_ended():
        slow.send_quietly(b"x")
        return slow.has_input(0.2)

    wait_until(has_ended, what="the end of a header that trickles")
    for client in (*half, silent):
        assert client.expect_close() in ("eof", "reset")
        client.close()
    totals = daemon.totals()
    assert totals["PROXY protocol header timeouts"] == 501
    assert totals["idle client connection closed"] == 1
    lines = [line for line in daemon.log_lines() if line["status"] == 408]
    assert len(lines) == 501, "one that sent nothing leaves no line"
    assert {line["error"] for line in lines} == {"PROXY protocol header timeout"}
    assert min(line["responsetime"] for line in lines) >= 5
    assert max(line["responsetime"] for line in lines) < 5 + 15


def test_limits_count_the_source(make_backend, gate):
    """Not the balancer: it brings everybody."""
    daemon = gate([make_backend()], listen=listening(), limits={"per_client": 2})

    def statuses(source, number):
        clients = [through(daemon, pp.line(source, VIP) + GET) for _ in range(number)]
        return [client.read_response().status for client in clients], clients

    first, kept = statuses(SOURCE, 3)
    assert sorted(first) == [200, 200, 503]
    second, also_kept = statuses("192.0.2.8", 2)
    assert second == [200, 200]
    for client in (*kept, *also_kept):
        client.close()

    def has_room():
        found, [client] = statuses(SOURCE, 1)
        client.close()
        return found == [200]

    wait_until(has_room, what="the places of those that left")


def test_connections_without_a_header_yet_are_counted(make_backend, gate):
    top = {"limits": {"connections": 3}, "admin": ADMIN}
    daemon = gate([make_backend()], listen=listening(), top=top)
    half = [through(daemon, b"PROXY ") for _ in range(3)]
    wait_until(lambda: status_of(daemon)["connections"] == 3)

    def status():
        with through(daemon, pp.line(SOURCE, VIP) + GET) as client:
            return client.read_response().status

    assert status() == 503
    half.pop().close()
    wait_until(lambda: status() == 200, what="the place of a header that was given up")


@pytest.mark.parametrize("limit", ["site", "process"])
def test_whoever_has_a_place_keeps_it_among_those_that_wait(make_backend, gate, limit):
    """Twelve come at once and say who they are afterwards; five have a place."""
    limits = {"limits": {"connections": 5}}
    top = {"workers": 1, "admin": ADMIN, **(limits if limit == "process" else {})}
    site = limits if limit == "site" else {}
    daemon = gate([make_backend()], listen=listening(), top=top, **site)
    wait_until(lambda: status_of(daemon)["connections"] == 0)  # the fixture connects at the start
    clients = [through(daemon) for _ in range(12)]
    for client in clients:
        client.send(pp.line(SOURCE, VIP) + GET)
    statuses = [client.read_response().status for client in clients]
    for client in clients:
        client.close()
    assert (statuses.count(200), statuses.count(503)) == (5, 7)


def test_silent_balancers_take_no_place_at_the_site(make_backend, gate):
    daemon = gate([make_backend()], listen=listening(), limits={"connections": 2})
    waiting = [through(daemon) for _ in range(4)]
    with RawClient(daemon.address, source=OTHER) as client:
        assert client.request().status == 200
    for client in waiting:
        client.close()


def test_a_reload_holds_for_new_connections(make_backend, start):
    backend = make_backend()
    address = f"127.0.0.1:{free_port()}"

    def config(accepts):
        listen = {"address": address, "accept_proxy": accepts}
        return make_config([make_site([backend], listen=listen)])

    daemon = start(config([BALANCER]))
    named = through(daemon, pp.line(SOURCE, VIP) + GET)
    assert named.read_response().status == 200
    daemon.reload(config([]))
    assert named.request().status == 200
    plain = through(daemon, GET)
    assert plain.read_response().status == 200
    daemon.reload(config([f"{BALANCER}/32"]))
    assert named.request().status == 200
    assert plain.request().status == 200
    assert through(daemon, GET).read_response().status == 400
    assert [forwarded(backend, nth) for nth in (1, 2, 3, 4, 5)] == [
        SOURCE, SOURCE, BALANCER, SOURCE, BALANCER
    ]  # fmt: skip


def test_a_stop_ends_those_that_wait(stage):
    daemon, _ = stage
    waiting = [through(daemon), through(daemon, b"PROXY TCP4 ")]
    assert daemon.client(source=OTHER).request().status == 200
    daemon.stop()
    for client in waiting:
        assert client.expect_close() in ("eof", "reset")


def test_http_10_gets_the_address_that_the_client_connected_to(stage):
    daemon, backend = stage
    for header in (pp.line(SOURCE, VIP, (1, 443)), pp.binary(SOURCE6, VIP6, (1, 8443))):
        client = through(daemon, header + b"GET /b/k HTTP/1.0\r\n\r\n")
        assert client.read_response().status == 200
    assert backend.wait_request(number=1).header("host") == f"{VIP}:443"
    assert backend.wait_request(number=2).header("host") == f"[{VIP6}]:8443"


def test_clients_spread_as_if_they_were_direct(make_backend, gate):
    """The same node for each of 120 addresses, named or its own, and a line with it in the log."""
    backends = [make_backend() for _ in range(6)]
    daemon = gate(backends, listen=listening(f"{BALANCER}/32"))
    nodes = {}
    for last in range(1, 121):
        address = f"127.0.13.{last}"
        with daemon.client(source=address) as client:
            direct = client.request(target=f"/b/direct-{last}").header("x-backend")
        with through(daemon, pp.line(address, VIP)) as client:
            named = client.request(target=f"/b/named-{last}").header("x-backend")
        assert named == direct, address
        nodes[address] = named
    assert len(set(nodes.values())) == 6
    line = daemon.wait_log("named-77")
    assert (line["client"], line["peer"]) == ("127.0.13.77", BALANCER)


def test_over_ipv6_too(make_backend, gate):
    backend = make_backend()
    daemon = gate([backend], listen=listening("::1", host="[::1]"))
    client = RawClient(daemon.address)
    client.send(pp.binary(SOURCE, VIP) + GET)
    assert client.read_response().status == 200
    assert forwarded(backend, 1) == SOURCE
