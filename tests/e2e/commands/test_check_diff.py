"""`s3gate check --diff`: what changes between two files, or from what serves to a file.

Before a reload an operator reads here what it will do; what is missing here is an outage later.
"""

import copy
import json
import os
import subprocess

import pytest

from support.config import dead_address, make_config, make_site, to_yaml
from support.ctl import ADMIN, exchange, socket_of
from support.daemon import binary, run_command
from support.waiting import DEADLINE

SERVERS = ["127.0.0.1:9001", "127.0.0.1:9002", "127.0.0.1:9003"]


def write(folder, name, config):
    path = folder / name
    path.write_text(config if isinstance(config, str) else to_yaml(config))
    return str(path)


@pytest.fixture
def files(tmp_path):
    """Writes two configurations with one site and returns their names."""

    def run(old, new, old_top=None, new_top=None):
        listen = dead_address()
        sites = [make_site(site.pop("servers", SERVERS), listen, **site) for site in (old, new)]
        return [
            write(tmp_path, name, make_config([site], **(top or {})))
            for name, site, top in zip(["old.yaml", "new.yaml"], sites, [old_top, new_top])
        ]

    return run


def diff(*words, **more):
    return run_command("check", "--diff", *words, **more)


def diff_json(*words):
    done = diff(*words, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_the_same(files):
    old, new = files({}, {})
    done = diff(old, new, "--exit-code")
    assert (done.returncode, done.stdout, done.stderr) == (0, "no differences\n", "")
    found = diff_json(old, new)
    assert not found["differs"] and not found["keys"] and not found["sites"]
    assert found["groups"][0]["moved_share"] == 0


def test_every_kind_of_change(files):
    old, new = files(
        {"retry": {"max_tries": 2}},
        {"servers": SERVERS[:2] + ["127.0.0.1:9004"], "health": {"interval": "7s"}},
        {"workers": 1},
        {"workers": 2, "log": {"level": "debug"}},
    )
    lines = [line.strip() for line in diff(old, new).stdout.splitlines()]
    for line in [
        "~ workers: 1 -> 2 (needs a restart)",
        "~ site test",
        "+ server 127.0.0.1:9004",
        "- server 127.0.0.1:9003",
        "~ health: off -> {interval: 7s}",
        "~ retry.max_tries: 2 -> 3",
    ]:
        assert line in lines, lines
    assert any(line.startswith("~ log.level: ") for line in lines)
    assert [line for line in lines if line.endswith("of the keys move to another server")]


def test_the_share_that_moves_is_that_of_the_ring(files):
    """`route` knows where each key goes."""
    old, new = files({}, {"servers": SERVERS[:2]})
    share = diff_json(old, new)["groups"][0]["moved_share"]
    keys = [f"key-{number}" for number in range(1000)]

    def servers_of(file):
        done = run_command("route", "--config", file, *keys)
        assert done.returncode == 0, done.stderr
        return [line for line in done.stdout.splitlines() if line.startswith("server ")]

    moved = sum(before != after for before, after in zip(servers_of(old), servers_of(new)))
    assert abs(moved / len(keys) - share) < 0.08


def test_salts_are_never_shown(files):
    secrets = {"balance": {"salt": "first-secret"}}, {"balance": {"salt": "second-secret"}}
    old, new = files(*secrets)
    for words in [[], ["--json"]]:
        done = diff(old, new, *words)
        assert done.returncode == 0
        assert "first-secret" not in done.stdout and "second-secret" not in done.stdout
    text = diff(old, new).stdout
    assert "~ balance.salt: changed (not shown)" in text
    assert "with the salt every fingerprint changes" in text
    assert diff_json(old, new)["groups"][0]["other_fingerprints"]


def test_exit_codes(files, tmp_path):
    old, new = files({}, {"upgrade": True})
    assert diff(old, new).returncode == 0
    assert diff(old, new, "--exit-code").returncode == 1
    broken = write(tmp_path, "broken.yaml", "workers: many\n")
    worse = write(tmp_path, "worse.yaml", "wokers: 1\n")
    done = diff(broken, worse)
    assert done.returncode == 2
    assert f"{broken}:1: workers: " in done.stdout and f"{worse}:1: wokers: " in done.stdout
    found = json.loads(diff(broken, worse, "--json").stdout)
    assert found["exit_code"] == 2 and len(found["problems"]) >= 2 and "keys" not in found


@pytest.mark.parametrize(
    "words",
    [
        ["check", "--exit-code", "FILE"],
        ["check", "--socket", "/x", "FILE"],
        ["check", "--diff", "FILE", "FILE", "--socket", "/x"],
        ["check", "--diff", "FILE", "FILE", "--dump"],
        ["check", "--diff", "FILE", "FILE", "--strict"],
        ["check", "--diff", "FILE", "FILE", "--unit", "x"],
        ["check", "--diff", "", "FILE"],
        ["check", "--diff"],
        ["check", "--diff", "FILE", "FILE", "FILE"],
    ],
)
def test_mistakes_on_the_command_line(files, words):
    old, _ = files({}, {})
    done = run_command(*[old if word == "FILE" else word for word in words])
    assert done.returncode == 1 and done.stderr.startswith("s3gate: "), done
    assert not done.stdout


def test_what_serves(one, tmp_path):
    """Of the daemon, not of the file that it read once; with the salt, which came from there."""
    daemon, _ = one(top={"admin": ADMIN})
    path = socket_of(daemon)
    file = str(daemon.dir / "s3gate.yaml")
    assert diff("running", file).stdout == "no differences\n"  # the socket is in the file

    config = copy.deepcopy(daemon.config)
    config["access_log"] = {"target": str(daemon.access_log)}
    config["sites"][0]["retry"] = {"max_tries": 7}
    draft = write(tmp_path, "draft.yaml", to_yaml(config).replace("{dir}", str(daemon.dir)))
    for words in (["running", draft], ["running", draft, "--socket", path]):
        done = diff(*words)
        assert "retry.max_tries: " in done.stdout and "-> 7" in done.stdout, done
        assert "no key moves" in done.stdout
    daemon.reload(config)
    assert diff("running", draft).stdout == "no differences\n"
    assert "the configuration that serves is shown (asked by " in daemon.stderr
    assert "pepper" not in daemon.stderr


def test_the_answer_is_a_dump(one):
    daemon, _ = one(top={"admin": ADMIN})
    answer = exchange(socket_of(daemon), b"GET /config HTTP/1.1\r\nHost: x\r\n\r\n").decode()
    head, _, body = answer.partition("\r\n\r\n")
    assert "200" in head.split("\r\n")[0] and "Content-Type: application/yaml" in head
    assert body == run_command("check", "--dump", str(daemon.dir / "s3gate.yaml")).stdout


def test_no_daemon(files):
    old, _ = files({}, {})
    done = diff("running", old, "--socket", "/nowhere/ctl.sock")
    assert done.returncode == 4 and "/nowhere/ctl.sock" in done.stderr and not done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_the_salts_are_for_operators(one):
    """Of the socket's group, but no operator: may look at the status only."""
    daemon, _ = one(top={"admin": ADMIN})
    daemon.dir.joinpath("s3gate.yaml").chmod(0o644)
    done = subprocess.run(
        [binary(), "check", "--diff", "running", str(daemon.dir / "s3gate.yaml")],
        user=61002,
        group=61002,
        extra_groups=[0],
        timeout=DEADLINE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4 and "admin.operators" in done.stderr and not done.stdout
    assert daemon.wait_stderr(r"/config is refused: asked by uid 61002, pid \d+")
