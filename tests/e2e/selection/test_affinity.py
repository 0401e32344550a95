"""The backend of a request: the same key always leads to the same one, on every worker and every
daemon with the same configuration.

Two proxies that disagree split a client's session; a key that never reaches the ring makes affinity
useless.
"""

import hashlib
import re

import pytest

from support.config import make_config, make_site
from support.daemon import run_command
from support.waiting import wait_until


def name_for(daemon, target="/b/k", fields=(), source=None):
    with daemon.client(source=source) as client:
        return client.request(target=target, fields=fields).data.decode()


@pytest.fixture(name="stage")
def stage_fixture(make_backend, gate):
    backends = [make_backend() for _ in range(5)]
    return gate(backends), backends


def test_same_key_same_backend_on_all_workers(stage):
    daemon, _ = stage
    for key in ("a", "b", "c", "d"):
        assert len({name_for(daemon, f"/b/{number}?sessionid={key}") for number in range(12)}) == 1
    assert len({name_for(daemon, f"/b/k?sessionid={number}") for number in range(60)}) == 5


@pytest.mark.parametrize(
    "first,second",
    [
        ("/b/k?sessionid=s7", "/other/path?x=1&SessionID=s7&y"),
        ("/b/k?sessionid=s7", "/b/k?sessionid=s7&sessionid=zz"),
        ("/b/k?sessionid=s7", "/b/k?uploadId=zz&sessionid=s7"),
        ("/b/k?uploadId=2~x", "/b/k?partNumber=3&uploadId=2%7Ex"),
        ("/b/k?uploadId=abc", "/b/k?uploadid=abc&partNumber=9"),
        ("/b/k?uploadId=s7", "/b/k?sessionid=s7"),
        ("/b/k?sessionid=&uploadId=s7", "/b/k?uploadId=s7"),
        ("/b/k?sessionid&uploadId=s7", "/b/k?uploadId=s7"),
        ("/b/k?xsessionid=a&sessionid=s7", "/b/k?sessionid=s7"),
    ],
)
def test_equal_keys(make_backend, gate, first, second):
    """Also checks that the key in the log is the right one."""
    daemon = gate([make_backend() for _ in range(7)])
    assert name_for(daemon, first) == name_for(daemon, second)
    lines = wait_until(lambda: len(daemon.log_lines()) >= 2 and daemon.log_lines())
    assert lines[0]["session"] == lines[1]["session"] != "-"


def test_fingerprint(stage):
    """md5hex(md5hex(client IP + User-Agent + Accept-Language + salt)), as nginx with Lua
    (docs/migration.md)."""
    daemon, _ = stage
    fields = [("User-Agent", "ua/1"), ("Accept-Language", "de")]
    assert len({name_for(daemon, f"/b/{number}", fields, "127.0.5.1") for number in range(10)}) == 1
    inner = hashlib.md5(b"127.0.5.1ua/1depepper").hexdigest()
    line = daemon.wait_log("/b/9")
    assert line["session"] == hashlib.md5(inner.encode()).hexdigest()
    assert line["key_source"] == "fingerprint"
    # A request with its fingerprint as the session goes to the fingerprint's server.
    assert name_for(daemon, f"/b/k?sessionid={line['session']}") == name_for(
        daemon, "/b/9", fields, "127.0.5.1"
    )
    spread = {name_for(daemon, "/b/k", [("User-Agent", f"ua/{number}")]) for number in range(60)}
    assert len(spread) == 5


def test_fingerprint_of_one_connection_follows_its_user_agent(stage):
    """The cached fingerprint of a connection is reused, but not for another client on it."""
    daemon, _ = stage
    agents = [f"agent-{number}" for number in range(12)]
    expected = {agent: name_for(daemon, fields=[("User-Agent", agent)]) for agent in agents}
    assert len(set(expected.values())) > 1
    with daemon.client() as client:
        for agent in agents + agents[::-1]:
            for _ in range(3):
                answer = client.request(target="/b/k", fields=[("User-Agent", agent)])
                assert answer.data.decode() == expected[agent]


def test_key_source_is_logged(stage):
    daemon, _ = stage
    name_for(daemon, "/b/one?sessionid=s")
    name_for(daemon, "/b/two?uploadId=u")
    assert daemon.wait_log("/b/one")["key_source"] == "sessionid"
    assert daemon.wait_log("/b/two")["key_source"] == "uploadid"
    assert daemon.wait_log("/b/two")["session"] == "u"


def test_route_names_the_daemons_server(make_backend, start):
    """`s3gate route` and the daemon use the same ring and rules, also for servers that the
    configuration takes out."""
    backends = [make_backend() for _ in range(6)]
    servers = [backend.address for backend in backends]
    servers[1] = {"address": servers[1], "down": True}
    servers[4] = {"address": servers[4], "drained": True}
    daemon = start(make_config([make_site(servers)]))
    names = {backend.address: backend.name for backend in backends}
    keys = [f"route-{number}" for number in range(1000)]
    done = run_command("route", "--config", str(daemon.file), *keys)
    assert done.returncode == 0, done.stderr
    printed = re.findall(r"^server +(.+)$", done.stdout, re.MULTILINE)
    with daemon.client() as client:
        served = [
            client.request(target=f"/b/k?sessionid={key}").data.decode() for key in keys
        ]
    assert [names[server] for server in printed] == served
    assert len(set(served)) == 4


def test_two_daemons_agree(make_backend, start):
    """The ring depends on the configured texts alone; the tests of `s3gate route` compare it with
    nginx's."""
    backends = [make_backend() for _ in range(4)]
    first = start(make_config([make_site(backends)]))
    second = start(make_config([make_site(backends)], workers=1))
    for number in range(40):
        target = f"/b/k?sessionid=agree-{number}"
        assert name_for(first, target) == name_for(second, target)


def test_no_key_is_round_robin(make_backend, gate):
    backends = [make_backend() for _ in range(3)]
    daemon = gate(backends, balance={"key": ["sessionid", "uploadid"]}, top={"workers": 1})
    with daemon.client() as client:
        names = [client.request().data.decode() for _ in range(9)]
    assert sorted(names) == ["b1"] * 3 + ["b2"] * 3 + ["b3"] * 3
    assert len({tuple(names[at : at + 3]) for at in (0, 3, 6)}) == 1
    assert daemon.wait_log("/b/k")["key_source"] == "-"


def test_round_robin_method_with_weights(make_backend, gate):
    backends = [make_backend() for _ in range(2)]
    servers = [{"address": backends[0].address, "weight": 3}, backends[1].address]
    daemon = gate(servers, balance={"method": "round_robin"}, top={"workers": 1})
    with daemon.client() as client:
        names = [client.request(target="/b/k?sessionid=same").data.decode() for _ in range(12)]
    assert (names.count("b1"), names.count("b2")) == (9, 3)


@pytest.mark.parametrize(
    "source,field",
    [("cookie:token", ("Cookie", "a=b; token=%s; c=d")), ("header:X-Shard", ("x-shard", "%s"))],
)
def test_cookie_and_header_keys(make_backend, gate, source, field):
    daemon = gate([make_backend() for _ in range(5)], balance={"key": [source]})
    for value in ("v1", "v2", "v3"):
        sent = [(field[0], field[1] % value)]
        assert len({name_for(daemon, f"/b/{number}", sent) for number in range(6)}) == 1
    assert (
        len({name_for(daemon, "/b/k", [(field[0], field[1] % number)]) for number in range(60)})
        == 5
    )


def test_session_header_echoes_the_key(make_backend, gate):
    daemon = gate([make_backend()], session_header="X-Session-ID")
    with daemon.client() as client:
        assert client.request(target="/b/k?sessionid=abc").values("x-session-id") == ["abc"]
        assert client.request(target="/b/k?uploadId=u-1").values("x-session-id") == ["u-1"]
        assert len(client.request().header("x-session-id")) == 32


def test_session_header_cannot_split_the_response(make_backend, gate):
    """The key is percent-decoded: a CRLF in it must not begin a header line."""
    daemon = gate([make_backend()], session_header="X-Session-ID")
    with daemon.client() as client:
        response = client.request(target="/b/k?sessionid=a%0d%0aX-Evil:%201%0d%0a%0d%0aevil")
        assert response.status == 200
        assert response.values("x-evil") == []
        assert response.data == b"b1"
        assert client.request(target="/b/k?sessionid=%00%7f").status == 200


def test_session_header_is_off_by_default(stage):
    daemon, _ = stage
    with daemon.client() as client:
        assert client.request(target="/b/k?sessionid=abc").values("x-session-id") == []


def test_backup_servers_only_when_all_others_fail(make_backend, gate):
    backends = [make_backend() for _ in range(2)]
    servers = [backends[0].address, {"address": backends[1].address, "backup": True}]
    daemon = gate(servers, balance={"method": "round_robin"}, passive="off")
    with daemon.client() as client:
        assert {client.request().data for _ in range(6)} == {b"b1"}
        backends[0].refuse()
        assert {client.request().data for _ in range(3)} == {b"b2"}
