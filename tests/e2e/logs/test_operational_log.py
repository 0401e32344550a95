"""The daemon's messages: real priorities and one timestamp in the journal, the number of servers at
the start, and a message when a group loses its last server.

An operator who asks the journal for warnings must get exactly those. A proxy that says "ready"
before a dead cluster misleads all who search for the fault.
"""

import re
import subprocess

import pytest

from support.backend import ScriptedBackend
from support.config import FAST_HEALTH, dead_address, make_config, make_site, to_yaml
from support.daemon import binary, run_command

# Connects a program's standard error as systemd does.
AS_JOURNAL = (
    "sh",
    "-c",
    'JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec "$@"',
    "sh",
)
STAMPED = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d \[(debug|info|warning|error)\] \S.*"


def test_priorities_and_no_timestamp_in_the_journal(make_backend, gate):
    daemon = gate(
        [make_backend(), dead_address()],
        health=FAST_HEALTH,
        top={"log": {"level": "debug"}},
        daemon={"prefix": AS_JOURNAL},
    )
    daemon.wait_stderr("failed a check")
    daemon.stop()
    lines = daemon.stderr.splitlines()
    assert all(re.match(r"<[3467]>[^<\s]", line) for line in lines), daemon.stderr
    assert not re.search(r"\d\d:\d\d:\d\d\.\d|\[(debug|info|warning|error)\]", daemon.stderr)
    for priority, text in (
        (7, "failed a check: connect refused"),
        (4, "is down after 1 failed check: connect refused"),
        (4, "ready: "),
        (6, "draining: "),
        (6, "stopped"),
    ):
        assert any(line.startswith(f"<{priority}>") and text in line for line in lines), text


def test_one_timestamp_elsewhere(make_backend, gate):
    """The variable alone is no proof: all children of a service inherit it."""
    daemon = gate(
        [make_backend(), make_backend()], daemon={"env": {"JOURNAL_STREAM": "8:12345"}}
    )
    daemon.stop()
    for line in daemon.stderr.splitlines():
        assert re.fullmatch(STAMPED, line), line
        assert len(re.findall(r"\d\d:\d\d:\d\d\.\d", line)) == 1


def test_a_file_gets_timestamps_in_a_service_too(make_backend, gate):
    daemon = gate(
        [make_backend()],
        top={"log": {"level": "info", "target": "{dir}/s3gate.log"}},
        daemon={"prefix": AS_JOURNAL},
    )
    daemon.stop()
    lines = (daemon.dir / "s3gate.log").read_text().splitlines()
    assert lines and all(re.fullmatch(STAMPED, line) for line in lines)


def test_the_level_is_said_once(make_backend, gate):
    """A warning before the logger exists: a word in a terminal, a priority in the journal."""
    daemon = gate([make_backend()], daemon={"prefix": AS_JOURNAL})
    daemon.stop()
    assert re.search("^<4>/.*: there is only one server", daemon.stderr, re.MULTILINE)
    assert "warning: " not in daemon.stderr
    daemon = gate([make_backend()])
    daemon.stop()
    assert re.search("^warning: /.*: there is only one server", daemon.stderr, re.MULTILINE)


@pytest.mark.parametrize("words", [["--frobnicate"], ["--config"], ["check", "--unit", "/none"]])
def test_a_wrong_command_line_is_an_error_in_the_journal(words):
    """For instance of a drop-in with another ExecStart."""
    done = subprocess.run(
        [*AS_JOURNAL, binary(), *words], capture_output=True, text=True, check=False, timeout=20
    )
    assert done.returncode == 1
    assert re.fullmatch(r"(<3>s3gate: [^\n]+\n)+", done.stderr), done.stderr


@pytest.mark.parametrize(
    "change,priority,text",
    [
        ({"nonsense": 1}, 3, "nonsense"),
        ({"log": {"level": "info", "target": "/proc/nowhere/log"}}, 3, "s3gate: cannot start: log"),
    ],
)
def test_a_start_that_fails_is_an_error_in_the_journal(tmp_path, change, priority, text):
    file = tmp_path / "s3gate.yaml"
    file.write_text(to_yaml(make_config([make_site([dead_address()])], **change)))
    done = subprocess.run(
        [*AS_JOURNAL, binary(), "--config", str(file)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert done.returncode != 0
    assert re.search(rf"^<{priority}>.*{text}", done.stderr, re.MULTILINE), done.stderr
    assert all(re.match("<[34]>", line) for line in done.stderr.splitlines()), done.stderr
    # In a terminal the text has no prefix.
    assert not re.search("<[0-7]>", run_command("--config", str(file)).stderr)


def test_ready_counts_the_servers(make_backend, gate):
    daemon = gate([make_backend() for _ in range(3)], health=FAST_HEALTH)
    daemon.wait_stderr(r"\[info\] ready: .*, 3 of 3 servers up, listening on ")


def test_ready_below_all_is_a_warning(make_backend, gate):
    dead = dead_address()
    daemon = gate(
        [make_backend(), dead, {"address": dead_address(), "down": True}], health=FAST_HEALTH
    )
    daemon.wait_stderr(r"\[warning\] ready: .*, 1 of 2 servers up, listening on ")
    daemon.wait_stderr(rf"\[warning\] test: {dead} is down after 1 failed check: connect refused\n")
    assert "No server of" not in daemon.stderr


@pytest.mark.parametrize("way,words", [("try", "trying all"), ("refuse", "refusing")])
def test_a_group_without_a_server_is_one_error(make_backend, start, way, words):
    """From the start on; the end of the outage is logged too."""
    address = dead_address()
    site = make_site([address], health=FAST_HEALTH, when_all_down=way)
    site["backends"]["name"] = "cluster"
    daemon = start(make_config([site]))
    outage = rf"\[error\] No server of cluster is usable: {words}\n"
    daemon.wait_stderr(outage)
    daemon.wait_stderr(r"\[warning\] ready: .*, 0 of 1 server up, ")
    with daemon.client() as client:
        assert client.request().status == 503
    host, port = address.split(":")
    backend = ScriptedBackend(name="late", host=host, port=int(port))
    try:
        daemon.wait_stderr(rf"\[info\] cluster: {address} is up after 2 passed checks\n")
        daemon.wait_stderr(r"\[info\] A server of cluster is usable again, after \d+ s\n")
        with daemon.client() as client:
            assert client.request().status == 200
    finally:
        backend.stop()
    assert len(re.findall(outage, daemon.stderr)) == 1


def test_marks_alone_can_be_an_outage(gate):
    """Without checks, requests find the outage."""
    daemon = gate([dead_address()], passive={"max_fails": 1, "fail_timeout": "1h"})
    with daemon.client() as client:
        assert client.request().status == 503
    daemon.wait_stderr(r"\[warning\] test: \S+ is passively marked after 1 failure\n")
    daemon.wait_stderr(r"\[error\] No server of test is usable: trying all\n")
