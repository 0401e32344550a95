"""`s3gate check`, `route` and `version`: operators and packaging scripts rely on them before a
start.

A check that accepts what a start refuses, or names no line, makes every roll-out a gamble.
"""

import csv
import re

import pytest

from support.backend import answer_ok
from support.checkout import ROOT
from support.config import dead_address, make_config, make_site, to_yaml
from support.daemon import run_command

VECTORS = ROOT / "tests" / "data" / "ketama-nginx.tsv"
SIX = [f"cluster01-{number}.minio.xunku.in:9000" for number in range(1, 7)]
RINGS = {
    "six": SIX,
    "six-third-down": [*SIX[:2], {"address": SIX[2], "down": True}, *SIX[3:]],
    "weighted": [
        {"address": "cluster01-1.minio.xunku.in:9000", "weight": 3},
        {"address": "cluster01-2.minio.xunku.in:9000", "weight": 1},
        {"address": "127.0.9.3:9000", "weight": 2},
        {"address": "127.0.9.4", "weight": 1},
    ],
}


def write(folder, config, name="s3gate.yaml"):
    path = folder / name
    path.write_text(config if isinstance(config, str) else to_yaml(config))
    return str(path)


def test_version():
    done = run_command("version")
    assert done.returncode == 0
    assert re.search(r"[0-9]+\.[0-9]+\.[0-9]+", done.stdout)


def test_unknown_command_and_option():
    for arguments in (
        ["frobnicate"],
        ["--frobnicate"],
        ["check"],
        ["check", "--config", "/nonexistent/file"],
    ):
        done = run_command(*arguments)
        assert done.returncode not in (0, None) and done.returncode > 0, arguments
        assert done.stderr or done.stdout


def test_check_of_a_good_file(tmp_path):
    path = write(tmp_path, make_config([make_site([dead_address()])]))
    done = run_command("check", "--config", path)
    assert done.returncode == 0, done.stderr


def test_check_names_file_line_and_key_of_every_problem(tmp_path):
    path = write(
        tmp_path,
        """workers: 2
sites:
  - name: one
    listen: ["127.0.0.1:1"]
    backends:
      servers: ["127.0.0.1:2"]
      keepalive: many
    retry: {max_tries: 0}
    colour: green
  - name: one
    listen: ["127.0.0.1:1"]
    backends: {servers: []}
    timeouts: {connect: fast}
""",
    )
    done = run_command("check", "--config", path)
    assert done.returncode == 2
    text = done.stdout + done.stderr
    problems = re.findall(rf"^{re.escape(path)}:([0-9]+): ([^ ]+): (.+)$", text, re.MULTILINE)
    lines = {int(line) for line, _, _ in problems}
    assert {7, 9, 12, 13} <= lines, text
    assert any("keepalive" in key for _, key, _ in problems)
    assert any("colour" in key for _, key, _ in problems)
    assert any("timeouts.connect" in key for _, key, _ in problems)
    assert any("servers" in key for _, key, _ in problems)


@pytest.mark.parametrize(
    "text",
    [
        "workers: 2\nworkers: 3\nsites: []\n",
        "sites: [",
        "sites:\n  - name: a\n",
        "- just\n- a list\n",
        "sites:\n  - {name: a, listen: [nowhere], backends: {servers: [\"a:1\"]}}\n",
        "sites:\n  - {name: a, listen: [\"127.0.0.1:1\"], backends: {servers: [\"a:99999\"]}}\n",
        "sites:\n  - {name: a, listen: [\"127.0.0.1:1\"], backends: {servers: [\"a:1\"]},\n"
        "     balance: {method: fastest}}\n",
        "include: [missing/*.yaml\n",
        "log: {level: loud}\nsites: []\n",
        "workers: ${S3GATE_TEST_UNSET}\n",
    ],
)
def test_problems_stop_check_and_start_alike(tmp_path, text):
    path = write(tmp_path, text)
    check = run_command("check", "--config", path)
    assert check.returncode == 2, check.stdout + check.stderr
    assert path in check.stdout + check.stderr
    start = run_command("--config", path)
    assert start.returncode not in (0, None) and start.returncode > 0
    assert path in start.stderr


def test_environment_and_includes(tmp_path):
    (tmp_path / "sites").mkdir()
    write(
        tmp_path / "sites",
        to_yaml(make_site([dead_address()])).replace("name: test", "name: ${S3GATE_TEST_NAME}"),
        "a.yaml",
    )
    path = write(tmp_path, "workers: 1\ninclude: [sites/*.yaml]\n")
    done = run_command("check", "--config", path, env={"S3GATE_TEST_NAME": "from-env"})
    assert done.returncode == 0, done.stderr
    assert "from-env" in done.stdout + done.stderr
    (tmp_path / "sites" / "b.yaml").write_text(
        "name: b\nlisten: [\"127.0.0.1:9\"]\nbackends: {servers: [x y]}\n"
    )
    done = run_command("check", "--config", path, env={"S3GATE_TEST_NAME": "from-env"})
    assert done.returncode == 2
    assert "b.yaml:3:" in done.stdout + done.stderr


def test_check_never_listens_but_warns_of_an_address_in_use(one):
    daemon, _ = one(answer_ok)
    done = run_command("check", "--config", str(daemon.file))
    assert done.returncode == 0
    assert daemon.address in done.stdout + done.stderr
    with daemon.client() as client:
        assert client.request().status == 200


@pytest.mark.parametrize("ring", list(RINGS))
def test_route_chooses_as_nginx(tmp_path, ring):
    """Vectors recorded from a running nginx: key → server number."""
    path = write(tmp_path, make_config([make_site(RINGS[ring])]))
    with open(VECTORS, encoding="utf-8", newline="") as table:
        rows = [
            row
            for row in csv.reader(table, delimiter="\t", quoting=csv.QUOTE_NONE)
            if row and row[0] == ring
        ]
    assert len(rows) == 300
    texts = [server if isinstance(server, str) else server["address"] for server in RINGS[ring]]
    # Keys that begin with / or - would be read as a URL or an option; the unit test covers them.
    rows = [row for row in rows if re.fullmatch(r"[A-Za-z0-9._~][A-Za-z0-9._~-]*", row[1])][:60]
    assert len(rows) >= 20
    done = run_command("route", "--config", path, *[row[1] for row in rows])
    assert done.returncode == 0, done.stderr
    chosen = re.findall(r"^server +(.+)$", done.stdout, re.MULTILINE)
    assert len(chosen) == len(rows), done.stdout
    for (_, key, number), server in zip(rows, chosen):
        assert server == texts[int(number) - 1], key


def test_route_of_a_url(tmp_path):
    path = write(tmp_path, make_config([make_site(SIX)]))
    done = run_command(
        "route",
        "--config",
        path,
        "/b/k?uploadId=x&sessionid=abc",
        "http://host:9000/b/k?uploadId=sess-1",
    )
    assert done.returncode == 0, done.stderr
    assert "sessionid" in done.stdout and "uploadid" in done.stdout.lower()
    # `abc` and `sess-1` both belong to the second server.
    assert done.stdout.count(SIX[1]) >= 2


def test_route_puts_a_line_between_answers_only(tmp_path):
    """An argument without an answer leaves no line in the output."""
    path = write(tmp_path, make_config([make_site(SIX)]))
    done = run_command("route", "--config", path, "/b/needs-an-address", "abc", "sess-1")
    assert done.returncode == 1 and "--ip" in done.stderr
    assert done.stdout.startswith("argument")
    answers = done.stdout.split("\n\n")
    assert [answer.split(None, 2)[:2] for answer in answers] == [
        ["argument", "abc"],
        ["argument", "sess-1"],
    ]


def test_route_of_a_named_site(tmp_path):
    path = write(
        tmp_path, make_config([make_site(SIX, name="a"), make_site(["10.0.0.1:9000"], name="b")])
    )
    done = run_command("route", "--config", path, "--site", "b", "abc")
    assert done.returncode == 0 and "10.0.0.1:9000" in done.stdout and SIX[1] not in done.stdout
    assert run_command("route", "--config", path, "--site", "missing", "abc").returncode != 0


def test_check_knows_users(tmp_path):
    """A start fails on an unknown user, so `check` must report it with file and line."""
    site = 'name: a\nlisten: ["127.0.0.1:0"]\nbalance: {salt: q}\n'
    (tmp_path / "site.yaml").write_text(site + 'backends: {servers: ["127.0.0.1:1"]}\n')
    main = "workers: 1\nuser: no-such-user-here\ninclude: [site.yaml]\n"
    (tmp_path / "main.yaml").write_text(main)
    done = run_command("check", "--config", str(tmp_path / "main.yaml"))
    assert done.returncode == 2
    assert f"{tmp_path / 'main.yaml'}:2: user: " in done.stdout


def test_route_prints_no_control_bytes(tmp_path):
    """Keys are decoded: a newline in one would forge a line of the answer."""
    site = 'name: a, listen: ["127.0.0.1:0"], balance: {salt: q}'
    servers = 'backends: {servers: ["127.0.0.1:1"]}'
    (tmp_path / "main.yaml").write_text(f"sites: [{{{site}, {servers}}}]\n")
    done = run_command(
        "route", "--config", str(tmp_path / "main.yaml"), "?sessionid=a%0aserver%20x%1b[31m"
    )
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert "\nserver x" not in done.stdout
