"""Each way in which an attempt or a request ends badly has its words in the log: which server, how,
at which stage, and whose fault it was.

`"status":200,"tries":2` read the same for a node that answered 503 and for one that hung.
"""

import re

import pytest

from support.backend import close, die, hang, script
from support.checkout import ROOT
from support.config import FAST_HEALTH, Blackhole, dead_address
from support.waiting import wait_until

SHORT = {"backend_head": "300ms", "backend_body": "300ms", "connect": "300ms"}
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"


def ends(line):
    """What a line says of its end."""
    return [line[name] for name in ("upstreamstatus", "upstreamerror", "blame", "stage")]


def half_and_hang(exchange):
    exchange.read_body()
    exchange.send(HEAD + b"x" * 10)
    exchange.wait_closed()
    exchange.close()


FAILURES = {
    "reset": (die, 502, ["-", "reset", "backend", "request"]),
    "closed": (close, 502, ["-", "closed", "backend", "request"]),
    "no answer": (hang, 504, ["-", "no answer", "backend", "request"]),
    "broken answer": (script(b"what\r\n\r\n"), 502, ["-", "broken answer", "backend", "answer"]),
    "status": (
        script(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", "keep"),
        500,
        ["500", "status", "backend", "answer"],
    ),
    "cut answer": (script(HEAD + b"x" * 10), 200, ["200", "cut answer", "backend", "body"]),
    "stalled answer": (half_and_hang, 200, ["200", "stalled answer", "backend", "body"]),
    "fine": (script(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"), 404, ["404", "-", "-", "-"]),
}


@pytest.mark.parametrize("case", FAILURES)
def test_backend_fails(make_backend, gate, case):
    handler, status, wanted = FAILURES[case]
    backend = make_backend(handler)
    daemon = gate([backend], timeouts=SHORT)
    with daemon.client() as client:
        client.send(client.head("POST", "/b/k", [("Content-Length", "0"), ("Connection", "close")]))
        client.read_until_close()
    line = daemon.wait_log("/b/k")
    assert (line["status"], ends(line)) == (status, wanted), line
    assert (line["upstreamname"], line["group"]) == (backend.address, "test")
    assert float(line["upstreamconnect"]) >= 0, "it connected"
    assert (line["upstreamheader"] == "-") == (line["upstreamstatus"] == "-")


def test_backend_is_not_reached(gate):
    hole = Blackhole()
    refusing = dead_address()
    wanted = {
        hole.address: ["-", "connect timeout", "network", "connect"],
        refusing: ["-", "refused", "backend", "connect"],
    }
    try:
        for address, words in wanted.items():
            daemon = gate([address], timeouts=SHORT)
            with daemon.client() as client:
                assert client.request(target="/b/k").status == 503
            line = daemon.wait_log("/b/k")
            assert ends(line) == words, line
            assert line["upstreamname"] == address
            assert (line["upstreamconnect"], line["upstreamheader"]) == ("-", "-")
    finally:
        hole.close()


def test_each_attempt_has_its_part(make_backend, gate):
    """The name is the server's as configured, not its address."""
    port = make_backend().port
    dead = f"localhost:{dead_address().split(':')[1]}"
    daemon = gate(
        [dead, f"localhost:{port}"],
        balance={"method": "round_robin"},
        passive="off",
        top={"workers": 1},
    )
    for number in range(2):
        with daemon.client() as client:
            assert client.request(target=f"/b/{number}").status == 200
    line = next(
        line
        for line in (daemon.wait_log(f"/b/{number}") for number in range(2))
        if line["tries"] > 1
    )
    names = line["upstreamname"].split(", ")
    assert names[0] == dead and names[-1] == f"localhost:{port}"
    assert set(line["upstreamerror"].split(", ")[:-1]) == {"refused"}
    assert line["upstreamstatus"].split(", ")[-1] == "200"
    assert line["upstreamerror"].split(", ")[-1] == "-"
    assert (line["blame"], line["stage"]) == ("-", "-"), "it ended well"


def test_stale_connection(one):
    """A parked connection that its server closes as it is used again is nobody's failure."""

    def handler(exchange):
        if exchange.connection.number == 1 and exchange.connection.requests > 1:
            exchange.reset()
        else:
            exchange.read_body()
            exchange.respond(200)

    daemon, backend = one(handler, top={"workers": 1})
    with daemon.client() as client:
        assert client.request(target="/b/1").status == 200
        assert client.request(target="/b/2").status == 200
    line = daemon.wait_log("/b/2")
    assert line["upstreamname"] == f"{backend.address}, {backend.address}"
    assert ends(line) == ["-, 200", "stale, -", "-", "-"]
    assert line["upstreamconnect"].startswith("0.000, "), "a parked connection was connected"


def test_server_is_taken_down(make_backend, gate):
    backends = [make_backend(hang), make_backend(hang)]
    daemon = gate(
        backends,
        health={**FAST_HEALTH, "timeout": "300ms", "interval": "300ms"},
        when_all_down="refuse",
    )
    with daemon.client() as client:
        client.send(client.head("PUT", "/b/k", [("Content-Length", 1)]) + b"x")
        victim = wait_until(lambda: next((b for b in backends if b.count("/b/k")), None))
        victim.health.mode = "hang"
        assert client.read_response("PUT").status == 504
    line = daemon.wait_log("/b/k")
    assert ends(line) == ["-", "went down", "backend", "request"]
    assert line["upstreamname"] == victim.address


def test_client_fails(make_backend, gate):
    backend = make_backend(hang)
    daemon = gate([backend], timeouts={"client_body": "300ms"})
    with daemon.client() as client:
        client.send(client.head("GET", "/b/left"))
        backend.wait_request("/b/left")
    wanted = {"/b/left": ["-", "client left", "client", "request"]}
    with daemon.client() as client:
        client.send(client.head("PUT", "/b/stalls", [("Content-Length", "10")]) + b"123")
        client.read_until_close()
    wanted["/b/stalls"] = ["-", "client stalled", "client", "request"]
    with daemon.client() as client:
        client.send(client.head("PUT", "/b/bad", [("Transfer-Encoding", "chunked")]) + b"zz\r\n")
        client.read_until_close()
    wanted["/b/bad"] = ["-", "broken request", "client", "request"]
    with daemon.client() as client:
        client.send(b"GET /b/twice HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        client.read_until_close()
    wanted["/b/twice"] = ["-", "-", "client", "head"]
    for target, words in wanted.items():
        line = daemon.wait_log(target)
        assert ends(line) == words, line
        assert line["group"] == ("-" if target == "/b/twice" else "test")


def test_the_proxy_refuses(make_backend, gate):
    backend = make_backend(hang)
    server = {"address": backend.address, "max_connections": 1}
    daemon = gate([], backends={"servers": [server], "queue_timeout": "300ms"})
    with daemon.client() as first, daemon.client() as second:
        first.send(first.head("GET", "/b/first"))
        backend.wait_request("/b/first")
        assert second.request(target="/b/second").status == 503
        line = daemon.wait_log("/b/second")
        assert ends(line) == ["-", "-", "proxy", "queue"]
    limited = gate([make_backend()], limits={"requests_per_client": {"rate": "1/m", "burst": 1}})
    with limited.client() as client:
        statuses = [client.request(target=f"/b/{number}").status for number in range(4)]
    assert statuses[-1] == 503
    assert ends(limited.wait_log("/b/3")) == ["-", "-", "client", "limits"]


KEY = "AKIAIOSFODNN7EXAMPLE"
SCOPE = f"{KEY}/20260131/us-east-1/s3/aws4_request"


@pytest.mark.parametrize("switch", [True, False])
def test_access_key(make_backend, gate, tmp_path, switch):
    log = tmp_path / "access.log"
    access_log = {"target": str(log), **({"access_key": True} if switch else {})}
    daemon = gate([make_backend()], top={"access_log": access_log})
    v4 = f"AWS4-HMAC-SHA256 Credential={SCOPE}, SignedHeaders=host, Signature=TOPSECRET"
    escaped = SCOPE.replace("/", "%2F")
    asked = {
        "/b/v4": [("Authorization", v4)],
        "/b/v2": [("Authorization", f"AWS {KEY}:TOPSECRET")],
        f"/b/pre?X-Amz-Credential={escaped}&X-Amz-Signature=TOPSECRET": [],
        f"/b/old?AWSAccessKeyId={KEY}&Signature=TOPSECRET": [],
        "/b/bearer": [("Authorization", "Bearer TOPSECRET")],
        "/b/odd": [("Authorization", "AWS a\"\\b:TOPSECRET")],
        "/b/long": [("Authorization", f"AWS {'k' * 500}:TOPSECRET")],
        "/b/none": [],
    }
    with daemon.client() as client:
        for target, fields in asked.items():
            assert client.request(target=target, fields=fields).status == 200
    daemon.wait_log("/b/none", path=log)
    lines = {line["request"].split("?")[0]: line for line in daemon.log_lines(log)}
    shown = {"v4": KEY, "v2": KEY, "pre": KEY, "old": KEY, "odd": "a\"\\b", "long": "k" * 128}
    for name in ("v4", "v2", "pre", "old", "bearer", "odd", "long", "none"):
        wanted = shown.get(name, "-") if switch else "-"
        assert lines[f"/b/{name}"]["access_key"] == wanted, name
    text = log.read_text()
    assert "TOPSECRET" not in text
    assert switch or KEY not in text


def test_the_manual_lists_the_words():
    """operations.md names every word that the daemon can write into `upstreamerror`."""
    manual = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    section = manual.split("## Whose fault it was\n")[1].split("\n## ")[0]
    words = set(re.findall(r"^\| `([a-z ]+)`", section, re.MULTILINE))
    source = (ROOT / "include/s3gate/policy/attempt_end.hpp").read_text(encoding="utf-8")
    body = source.split("constexpr std::string_view word_of(const Answer&")[1]
    written = set(re.findall(r"\"([a-z ]+)\"", body))
    response = (ROOT / "src/proxy/response.cpp").read_text(encoding="utf-8")
    written |= set(re.findall(r"word = \"([a-z ]+)\"", response))
    assert written <= words, written - words
