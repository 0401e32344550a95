"""The jq lines of docs/operations.md answer an operator's questions about a log that a real daemon
wrote while nodes and clients misbehaved."""

import re
import shutil
import subprocess
import threading

import pytest

from support.backend import answer_ok, die, hang
from support.checkout import ROOT
from support.config import dead_address, make_config, make_site
from support.waiting import DEADLINE, wait_until

KEY = "AKIAIOSFODNN7EXAMPLE"
SLOW = 0.3  # seconds


def read_questions():
    """{question: command} in the order of the page."""
    manual = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    section = manual.split("## Questions to the access log\n")[1].split("\n## ")[0]
    form = r"^\*\*(.+?)\*\*[^\n]*\n(?:[^\n]+\n)*\n    (jq .+)$"
    return dict(re.findall(form, section, re.MULTILINE))


def answer_slowly(exchange):
    threading.Event().wait(SLOW)
    answer_ok(exchange)


def answer_500(exchange):
    exchange.read_body()
    exchange.respond(500)


class Trouble:
    """A daemon with a site for each kind of trouble, and its log."""

    def __init__(self, make_backend, start, log):
        self.fast, self.slow = make_backend(), make_backend(answer_slowly)
        self.good, self.dead = make_backend(), dead_address()
        self.resetting = make_backend(die)
        self.failing = make_backend(answer_500)
        self.silent = make_backend(hang)
        self.all_down = dead_address()
        groups = {
            "mixed": [self.fast, self.slow],
            "refusing": [self.dead, self.good],
            "resetting": [self.resetting],
            "failing": [self.failing],
            "silent": [self.silent],
            "down": [self.all_down],
        }
        self.sites = list(groups)
        sites = [
            make_site(
                backends,
                name=name,
                balance={"method": "round_robin"},
                passive="off",
                timeouts={"client_body": "300ms"},
            )
            for name, backends in groups.items()
        ]
        self.log = log
        access_log = {"target": str(log), "access_key": True}
        self.daemon = start(make_config(sites, workers=1, access_log=access_log))
        self.make()

    def client(self, site):
        return self.daemon.client(self.sites.index(site))

    def lines(self):
        return self.daemon.log_lines(self.log)

    def ask(self, site, target, method="GET", fields=(), body=None):
        with self.client(site) as client:
            return client.request(method, target, fields, body).status

    def make(self):
        for number in range(20):
            assert self.ask("mixed", f"/b/mixed-{number}") == 200
        for number in range(4):
            assert self.ask("refusing", f"/b/refusing-{number}") == 200
        assert self.ask("resetting", "/b/reset", "POST", body=b"") == 502
        assert self.ask("failing", "/b/failing", "PUT", body=b"x") == 500
        signed = [("Authorization", f"AWS {KEY}:TOPSECRET")]
        for number in range(2):
            assert self.ask("down", f"/bucket-7/{number}", fields=signed) == 503
        with self.client("silent") as client:
            client.send(client.head("GET", "/b/left"))
            self.silent.wait_request("/b/left")
        with self.client("silent") as client:
            client.send(client.head("PUT", "/b/stalls", [("Content-Length", "10")]) + b"123")
            client.read_until_close()
        with self.client("mixed") as client:
            client.send(b"GET /b/twice HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
            client.read_until_close()
        wait_until(lambda: len(self.lines()) >= 31)

    def answer(self, question):
        """The rows that the page's command prints, each a list of its columns."""
        command = QUESTIONS[question].replace("access.log", str(self.log))
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-ec", command],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        assert done.returncode == 0 and not done.stderr, done.stderr
        rows = [re.sub(r"^ *(\d+) ", r"\1\t", line) for line in done.stdout.splitlines()]
        return [row.split("\t") for row in rows]


QUESTIONS = read_questions()


def test_ten_questions(make_backend, start, tmp_path):
    if shutil.which("jq") is None:
        pytest.fail("jq is not installed: scripts/install-deps test")
    trouble = Trouble(make_backend, start, tmp_path / "access.log")
    asked = list(QUESTIONS)
    assert len(asked) == 10, asked
    slow, fails, fives, refused, since, retried, connects, left, stalled, own = map(
        trouble.answer, asked
    )

    figures = {name: (int(count), float(half), float(p99)) for name, count, half, p99 in slow}
    assert figures[trouble.slow.address][0] == figures[trouble.fast.address][0] == 10
    slowest = max(figures, key=lambda name: figures[name][1])
    assert slowest == trouble.slow.address and figures[slowest][1] >= SLOW * 0.9

    found = {(name, how): int(count) for count, name, how in fails}
    refusals = [line for line in trouble.lines() if trouble.dead in line["upstreamname"]]
    assert len(refusals) > 0
    assert found == {
        (trouble.dead, "refused"): len(refusals),
        (trouble.resetting.address, "reset"): 1,
        (trouble.failing.address, "status"): 1,
        (trouble.all_down, "refused"): 2,
        (trouble.silent.address, "client left"): 1,
        (trouble.silent.address, "client stalled"): 1,
    }

    assert {(blame, stage, how): int(count) for count, blame, stage, _, how in fives} == {
        ("backend", "connect", "refused"): 2,
        ("backend", "request", "reset"): 1,
        ("backend", "answer", "status"): 1,
    }
    assert refused == [["2", "127.0.0.1", "bucket-7", KEY]]

    assert sum(int(row[0]) for row in since) == 4
    assert {row[2] for row in since} == {
        trouble.resetting.address,
        trouble.failing.address,
        trouble.all_down,
    }
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d", row[1]) for row in since)

    assert len(retried) == len(refusals)
    for _, method, target, status, names, how in retried:
        assert (method, status, how) == ("GET", "200", "refused, -")
        assert target.startswith("/b/refusing-")
        assert names == f"{trouble.dead}, {trouble.good.address}"

    times = [float(seconds) for seconds, _ in connects]
    assert len(times) == 10 and times == sorted(times, reverse=True)

    assert [(client, stage, target) for client, _, stage, _, target in left] == [
        ("127.0.0.1", "request", "/b/left")
    ]
    assert stalled == [["127.0.0.1", trouble.silent.address, "client stalled", "3", "/b/stalls"]]

    assert {(int(status), blame, stage): int(count) for count, status, _, blame, stage in own} == {
        (503, "backend", "connect"): 2,
        (502, "backend", "request"): 1,
        (408, "client", "request"): 1,
        (400, "client", "head"): 1,
    }
