"""A console whose sessions belong to one node: the session cookie or a header is the key.

If only the first Cookie field were searched, the requests of one page would go to two nodes behind
a gateway that splits the field; a logged cookie would give sessions away.
"""

import re
import zlib

import pytest

from support.config import make_config, make_site
from support.daemon import run_command

TOKEN = "sealed-7f3a=="
CONSOLE = {
    "name": "console",
    "type": "http",
    "balance": {"key": ["cookie:token", "fingerprint"]},
    "session_header": "X-Session-ID",
    "upgrade": True,
}
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


def answer(exchange):
    """Names its node, also in a tunnel."""
    exchange.read_body()
    if exchange.request.header("upgrade"):
        exchange.send(SWITCH + exchange.backend.name.encode())
        exchange.wait_closed()
        exchange.close()
    else:
        exchange.respond(200, [], exchange.backend.name.encode())


@pytest.fixture(name="stage")
def stage_fixture(make_backend, gate):
    backends = [make_backend(answer) for _ in range(6)]
    return gate(backends, **CONSOLE), backends


def ask(daemon, fields=(), target="/", source=None):
    with daemon.client(source=source) as client:
        return client.request(target=target, fields=fields)


def node(daemon, *cookies, **more):
    return ask(daemon, [("Cookie", cookie) for cookie in cookies], **more).data.decode()


def crc(text):
    return f"{zlib.crc32(text.encode()):08x}"


@pytest.mark.parametrize(
    "cookies",
    [
        [f"token={TOKEN}"],
        [f"theme=dark; token={TOKEN}; lang=de"],
        ["theme=dark", "lang=de", f"token={TOKEN}"],
        ["theme=dark; token=", f"lang=de;token={TOKEN}"],
        [f"token={TOKEN}; token=other", "token=third"],
        [f'token="{TOKEN}"'],
        [f"  token = {TOKEN} ; a=b"],
        [f"xtoken=1; Token=2; tokenx=3; token={TOKEN}"],
    ],
)
def test_one_session_one_node(stage, cookies):
    """In any form and from any client, the cookie's value alone decides the node and the key."""
    daemon, backends = stage
    home = node(daemon, f"token={TOKEN}", target="/plain")
    for number in range(4):
        assert node(daemon, *cookies, target=f"/c/{number}", source=f"127.0.9.{number + 1}") == home
    line = daemon.wait_log("/c/3")
    assert (line["key_source"], line["session"]) == ("cookie:token", crc(TOKEN))
    backend = next(backend for backend in backends if backend.name == home)
    # The fields are forwarded as received, with the same number.
    assert backend.find("/c/3")[0].values("cookie") == [cookie.strip() for cookie in cookies]


def test_sessions_use_all_nodes(stage):
    daemon, _ = stage
    assert len({node(daemon, f"token=t{number}") for number in range(60)}) == 6


def test_websocket_goes_where_the_session_is(stage):
    daemon, _ = stage
    home = node(daemon, f"token={TOKEN}")
    fields = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Cookie", f"token={TOKEN}")]
    with daemon.client() as client:
        client.send(client.head("GET", "/ws/objectManager", fields))
        assert client.read_head().status == 101
        assert client.reader.exactly(len(home), "tunnel").decode() == home


def test_the_ring_is_asked_for_the_bare_value(stage):
    """`s3gate route` with the value names the same server, so every other proxy of the site agrees.
    """
    daemon, backends = stage
    for number in range(8):
        result = run_command("route", "--config", str(daemon.file), f"tok-{number}")
        server = re.search(r"^server +(\S+)", result.stdout, re.MULTILINE).group(1)
        assert re.search(r"^crc32 +(\S+)", result.stdout, re.MULTILINE).group(1) == crc(
            f"tok-{number}"
        )
        home = node(daemon, "a=b", f"token=tok-{number}")
        assert server == next(b.address for b in backends if b.name == home)


def test_the_cookie_is_never_shown(stage):
    daemon, _ = stage
    response = ask(daemon, [("Cookie", f"token={TOKEN}")], "/shown")
    assert response.values("x-session-id") == [crc(TOKEN)]
    daemon.wait_log("/shown")
    assert TOKEN not in daemon.access_log.read_text()
    assert TOKEN not in daemon.stderr


@pytest.mark.parametrize(
    "cookies", [[], ["token="], ["token"], ['token=""; a=b', "token= "], ["TOKEN=x; a=token"]]
)
def test_without_a_value_the_fingerprint_decides(stage, cookies):
    daemon, _ = stage
    homes = {node(daemon, *cookies, target="/f", source="127.0.9.9") for _ in range(4)}
    assert homes == {node(daemon, source="127.0.9.9")}
    line = daemon.wait_log("/f")
    assert line["key_source"] == "fingerprint"
    assert re.fullmatch(r"[0-9a-f]{32}", line["session"])


def test_a_node_that_is_gone_and_back(stage):
    daemon, backends = stage
    home = node(daemon, f"token={TOKEN}")
    backend = next(backend for backend in backends if backend.name == home)
    backend.refuse()
    # One connect fails each time and no byte was sent, so the client does not notice.
    others = {node(daemon, f"token={TOKEN}") for _ in range(2)}
    assert len(others) == 1 and home not in others
    backend.listen()
    assert node(daemon, f"token={TOKEN}") == home


def test_header_key(make_backend, start):
    backends = [make_backend(answer) for _ in range(6)]
    site = make_site(backends, **{**CONSOLE, "balance": {"key": ["header:X-Tenant", "sessionid"]}})
    daemon = start(make_config([site]))
    for tenant in ("red", "green", "blue"):
        homes = set()
        for fields in (
            [("X-Tenant", tenant)],
            [("x-tenant", tenant), ("X-TENANT", "later")],
            [("X-Tenant", ""), ("X-Tenant", tenant)],
        ):
            homes.add(ask(daemon, fields, f"/h/{tenant}?sessionid=s").data)
        assert len(homes) == 1
        line = daemon.wait_log(f"/h/{tenant}", 3)
        assert (line["key_source"], line["session"]) == ("header:X-Tenant", crc(tenant))
    ask(daemon, [("X-Tenant", "")], "/h/none?sessionid=s9")
    line = daemon.wait_log("/h/none")
    assert (line["key_source"], line["session"]) == ("sessionid", "s9")
    names = {ask(daemon, [("X-Tenant", f"t{number}")]).data for number in range(60)}
    assert len(names) == 6
