"""`s3gate check` as operators and their tools call it: common forms, exit codes, JSON, the dump and
the ring digest.

Roll-outs that compare hosts or refuse warnings rely on these.
"""

import json
import pathlib
import re

import pytest

from support.config import dead_address, make_config, make_site, to_yaml
from support.daemon import run_command

DEFAULT = "/etc/s3gate/s3gate.yaml"
SITE = """name: a
listen: ["127.0.0.1:0"]
balance: {salt: pepper}
backends: {servers: ["127.0.0.1:1", "127.0.0.1:2"]}
"""


def write(folder, text, name="s3gate.yaml"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text if isinstance(text, str) else to_yaml(text))
    return str(path)


@pytest.fixture
def good(tmp_path):
    """A file without problems and without warnings."""
    servers = [dead_address(), dead_address()]
    return write(tmp_path, make_config([make_site(servers)]))


def check_json(*arguments):
    done = run_command("check", "--json", *arguments)
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize(
    "form",
    [
        ["check", "FILE"],
        ["check", "--config", "FILE"],
        ["check", "-c", "FILE"],
        ["check", "-f", "FILE"],
        ["--config", "FILE", "check"],
        ["check", "FILE", "-c", "FILE"],
        ["-t", "-c", "FILE"],
        ["-c", "FILE", "-t"],
        ["-t", "FILE"],
        ["--test", "--config", "FILE"],
        ["-t", "-f", "FILE", "--strict"],
        ["-c", "-f", "FILE"],
        ["-tc", "FILE"],
        ["-tf", "FILE"],
        ["-t", "-t", "-c", "FILE"],
    ],
)
def test_every_habitual_form_checks(good, form):
    done = run_command(*[good if word == "FILE" else word for word in form])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 site" in done.stdout and "ring digest " in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("form", [["--version"], ["-v"], ["-V"], ["version"]])
def test_every_habitual_form_prints_the_version(form):
    done = run_command(*form)
    assert done.returncode == 0
    assert re.fullmatch(r"s3gate [0-9]+\.[0-9]+\.[0-9]+\n", done.stdout)


def test_help():
    for form in (["help"], ["--help"], ["-h"]):
        done = run_command(*form)
        assert done.returncode == 0
        for word in ("check", "route", "--config", DEFAULT):
            assert word in done.stdout, form
    done = run_command("help", "check")
    assert done.returncode == 0 and "--strict" in done.stdout and "s3gate check" in done.stdout
    assert "--strict" in run_command("check", "--help").stdout
    done = run_command("help", "frobnicate")
    assert done.returncode == 1 and "frobnicate" in done.stderr


@pytest.mark.parametrize(
    "form, word",
    [
        (["frobnicate"], '"frobnicate"'),
        (["--frobnicate"], '"--frobnicate"'),
        (["check", "--frobnicate"], '"--frobnicate"'),
        (["check", "FILE", "other.yaml"], "one FILE"),
        (["check", "FILE", "-c", "other.yaml"], "one FILE"),
        (["check", "FILE", "--json", "--dump"], "--json and --dump each want the output"),
        (["-T", "-c", "FILE", "--json"], "--json and --dump each want the output"),
        (["check", "FILE", "--unit"], "--unit needs a value"),
        (["check", "FILE", "--json=no"], "--json takes no value"),
        (["check", ""], "empty name"),
        (["-c", "", "-t"], "empty name"),
        (["-c", "FILE", "-c", "FILE"], "--config is given more than once"),
        (["--config"], "--config needs a value"),
        (["route", "-c", "FILE"], "route needs a key, a query string or a URL"),
        (
            ["route", "-c", "FILE", "--ip", "::1", "--ip", "::2", "x"],
            "--ip is given more than once",
        ),
        (["version", "more"], "more"),
        (["check", "FILE", "--unit", "/nonexistent/x.service"], "/nonexistent/x.service"),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong(good, form, word):
    done = run_command(*[good if part == "FILE" else part for part in form])
    assert done.returncode == 1
    assert word in done.stderr and done.stdout == ""
    assert re.fullmatch(r"s3gate: [^\n]+\n", done.stderr), "one sentence of our own"


@pytest.mark.skipif(pathlib.Path(DEFAULT).exists(), reason="this host has a configuration")
@pytest.mark.parametrize("form", [["check"], ["-t"], ["route", "key"], []])
def test_the_default_file_is_named_when_it_is_missing(form):
    done = run_command(*form)
    assert done.returncode == 2
    assert DEFAULT in done.stderr and "--config" in done.stderr
    assert f"{DEFAULT}: cannot be read" in done.stdout + done.stderr


def test_strict_makes_warnings_failures(tmp_path, good):
    assert run_command("check", good, "--strict").returncode == 0
    path = write(tmp_path, f"sites:\n  - {SITE.replace(chr(10), chr(10) + '    ')}\n", "w.yaml")
    done = run_command("check", path)
    assert done.returncode == 0 and "warning: " in done.stdout  # port 0
    done = run_command("check", path, "--strict")
    assert done.returncode == 2 and "warning: " in done.stdout
    assert "--strict" in done.stderr


def test_json_has_all_of_it(tmp_path):
    sites = [
        make_site([dead_address(), dead_address()], name="one"),
        make_site([{"address": dead_address(), "weight": 3}], name="two", type="http"),
    ]
    path = write(tmp_path, make_config(sites))
    code, report = check_json(path)
    assert code == 0 and report["ok"] is True and report["exit_code"] == 0
    assert report["file"] == path and report["problems"] == []
    (warning,) = report["warnings"]
    assert warning["file"] == path and warning["line"] > 0
    assert warning["key"] == "sites[1].backends.servers" and "only one server" in warning["message"]
    assert re.fullmatch("[0-9a-f]{32}", report["ring_digest"])
    one, two = report["summary"]["sites"]
    assert one["name"] == "one" and one["type"] == "s3"
    assert [server["weight"] for server in two["servers"]] == [3]
    assert two["listen"] == sites[1]["listen"]
    code, report = check_json(path, "--strict")
    assert code == 2 and report["ok"] is False and report["exit_code"] == 2
    assert report["problems"] == [] and report["summary"] is not None


def test_json_is_valid_on_failure(tmp_path):
    path = write(tmp_path, 'sites:\n  - name: a\n    colour: "gr\\teen"\n')
    code, report = check_json(path)
    assert code == 2 and report["ok"] is False
    assert report["summary"] is None and report["ring_digest"] is None
    assert {"colour"} <= {problem["key"].rpartition(".")[2] for problem in report["problems"]}
    assert 3 in [problem["line"] for problem in report["problems"]]
    code, report = check_json(str(tmp_path / "missing.yaml"))
    assert code == 2 and report["problems"][0]["line"] is None
    code, report = check_json(b"/nonexistent/\xff\x01\".yaml")
    assert code == 2 and "cannot be read" in report["problems"][0]["message"]


def test_dump_loads_to_the_same(tmp_path):
    (tmp_path / "sites").mkdir()
    write(tmp_path, SITE.replace("pepper", '"${S3GATE_TEST_SALT}"'), "sites/a.yaml")
    path = write(tmp_path, "log: {target: ./x.log}\n")
    env = {"S3GATE_TEST_SALT": "se${x}: cret"}
    first = run_command("check", path, "--dump", env=env)
    assert first.returncode == 0
    assert "warning: " in first.stderr and "warning" not in first.stdout
    for line in (
        f'  target: "{tmp_path}/x.log"',
        '      salt: "se$${x}: cret"',
        "      client_head: 30s",
        "      unanswered_writes: false",
    ):
        assert line in first.stdout.splitlines()
    again = write(tmp_path, first.stdout, "again.yaml")
    second = run_command("check", again, "--dump")
    assert second.returncode == 0 and second.stdout == first.stdout
    assert run_command("-T", "-c", again).stdout == first.stdout


def test_dump_of_a_file_with_problems_prints_no_dump(tmp_path):
    done = run_command("check", write(tmp_path, "sites: []\n"), "--dump")
    assert done.returncode == 2 and done.stdout == "" and "s3gate.yaml" in done.stderr


def digest_of(path):
    done = run_command("check", path)
    assert done.returncode == 0, done.stdout
    (text,) = re.findall(r"^ring digest ([0-9a-f]{32})$", done.stdout, re.MULTILINE)
    assert check_json(path)[1]["ring_digest"] == text
    return text


def test_ring_digest_is_equal_on_hosts_that_route_alike(tmp_path):
    def site(name, listen, servers, more=""):
        return (
            f'name: {name}\nlisten: ["{listen}"]\nbalance: {{salt: pepper}}\n'
            f"backends: {{servers: [{servers}]}}\n{more}"
        )

    names = [f'"127.0.9.{number}:9000"' for number in range(1, 5)]
    for host, text in (("x", "127.0.0.1:0"), ("y", "127.0.0.2:0")):
        write(tmp_path / host, "include: [sites/*.yaml]\n")
    write(tmp_path / "x", site("one", "127.0.0.1:0", '"127.0.9.{1...4}:9000"'), "sites/1.yaml")
    write(tmp_path / "x", site("two", "127.0.0.1:0", ", ".join(names[:2])), "sites/2.yaml")
    more = "# a comment\nsession_header: X-S\nretry: {max_tries: 3}\nhealth: {interval: 9s}\n"
    write(tmp_path / "y", site("one", "127.0.0.2:0", ", ".join(names[::-1]), more), "sites/9.yaml")
    write(tmp_path / "y", site("two", "127.0.0.2:0", ", ".join(names[:2])), "sites/0.yaml")
    same = digest_of(str(tmp_path / "x" / "s3gate.yaml"))
    other_host = str(tmp_path / "y" / "s3gate.yaml")
    assert digest_of(other_host) == same
    (tmp_path / "y" / "sites" / "0.yaml").write_text(
        site("two", "127.0.0.2:0", '"127.0.9.1:9000", "127.0.9.3:9000"')
    )
    assert digest_of(other_host) != same


def test_an_admin_address_is_no_reason_to_warn(tmp_path):
    """And it is in the dump, as every key with an effect."""
    admin = {"listen": [dead_address()]}
    config = make_config([make_site([dead_address(), dead_address()])], admin=admin)
    path = write(tmp_path, config)
    done = run_command("check", path)
    assert done.returncode == 0 and "admin.listen" not in done.stdout, done.stdout
    dumped = run_command("check", "--dump", path).stdout
    assert f'listen: ["{admin["listen"][0]}"]' in dumped, dumped


def test_the_dump_of_a_file_without_warnings_has_none(tmp_path):
    """The dump leaves out keys that have no effect."""
    balances = ({"method": "least_conn"}, {"salt": "pepper"})
    sites = [make_site([dead_address(), dead_address()], name=f"site-{i}") for i in range(2)]
    for site, balance in zip(sites, balances):
        site["balance"] = balance
    path = write(tmp_path, make_config(sites))
    dumped = run_command("check", path, "--dump", "--strict")
    assert dumped.returncode == 0, dumped.stderr
    again = write(tmp_path, dumped.stdout, "again.yaml")
    done = run_command("check", again, "--strict")
    assert done.returncode == 0, done.stdout
    assert "queue" not in dumped.stdout


def test_route_needs_the_address_of_a_fingerprint(tmp_path):
    """An answer without the address would be wrong, and a script must not use it."""
    path = write(tmp_path, make_config([make_site(["10.0.0.1:9000", "10.0.0.2:9000"])]))
    done = run_command("route", "-c", path, "/bucket/key", "?uploadId=abc")
    assert done.returncode == 1
    assert "/bucket/key" in done.stderr and "--ip" in done.stderr
    assert "argument   ?uploadId=abc\n" in done.stdout  # parts that are known are printed
    assert "/bucket/key" not in done.stdout
    done = run_command("route", "-c", path, "--ip", "192.0.2.7", "/bucket/key")
    assert done.returncode == 0 and "source     fingerprint\n" in done.stdout
    assert done.stderr == ""


def test_route_of_a_request_without_any_key_is_an_answer(tmp_path):
    site = make_site(["10.0.0.1:9000", "10.0.0.2:9000"], balance={"key": ["uploadid"]})
    path = write(tmp_path, make_config([site]))
    done = run_command("route", "-c", path, "/bucket/key")
    assert done.returncode == 0 and "round robin" in done.stdout
