"""Shared by the tests against real software: addresses, processes, the s3gate daemon.

Everything stays on loopback (or in a network namespace that the test makes), every wait has a
deadline, and every process is ended by its own pid.
"""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest

# Clients must ignore proxies and certificate bundles of the environment.
for _name in list(os.environ):
    if _name.lower() in (
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "no_proxy",
        "aws_ca_bundle",
        "aws_profile",
        "aws_endpoint_url",
    ):
        del os.environ[_name]

NO_SKIP = os.environ.get("S3GATE_NO_SKIP") == "1"


def require(condition, reason):
    """Skips the test with `reason` unless `condition` holds; under S3GATE_NO_SKIP=1 it fails
    instead."""
    if condition:
        return
    if NO_SKIP:
        pytest.fail(f"needed here, but: {reason}", pytrace=False)
    pytest.skip(reason)


def require_program(*names):
    """Paths of the named programs; a missing one skips. Debian keeps daemons in sbin, which is not
    on every PATH."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    found = [shutil.which(name, path=path) for name in names]
    missing = [name for name, where in zip(names, found) if where is None]
    require(not missing, f"not installed: {' '.join(missing)}")
    return found if len(found) > 1 else found[0]


def s3gate_binary():
    binary = os.environ.get("S3GATE_BIN", "")
    require(binary, "S3GATE_BIN does not name the daemon")
    require(os.access(binary, os.X_OK), f"S3GATE_BIN={binary} is not an executable")
    return binary


def wait_until(condition, timeout, what, interval=0.02):
    """Polls `condition` until it returns something true, and returns that; fails after `timeout`
    seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"not within {timeout} s: {what}")
        time.sleep(interval)


class Addresses:
    """Loopback addresses of this process alone: 127.A.B.x with A and B from the pid, so parallel
    runs never collide."""

    def __init__(self):
        pid = os.getpid()
        self._net = f"127.{64 + (pid >> 8) % 128}.{pid % 256}"
        self._next = 0

    def take(self):
        self._next += 1
        assert self._next < 255, "out of addresses"
        return f"{self._net}.{self._next}"


ADDRESSES = Addresses()


def end_process(process, timeout=10):
    """SIGTERM, then SIGKILL after `timeout`; a stopped process is continued first. Returns the exit
    status."""
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout)
    return process.returncode


def tail(path, lines=40):
    try:
        return "\n".join(pathlib.Path(path).read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return "(no log)"


def s3_site(name, listen, servers, **extra):
    """A site of type s3 in the terms of docs/config.md; `extra` adds or replaces keys."""
    return {
        "name": name,
        "type": "s3",
        "listen": [listen],
        "backends": {"servers": list(servers)},
        **extra,
    }


class S3gate:
    """The real daemon on a configuration of its own, ready (READY=1 was seen) when the constructor
    returns.

    JSON is YAML, so the configuration needs no YAML library. The access log goes to a file beside
    the configuration."""

    def __init__(self, sites, main=None, ready_timeout=20):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="s3gate-real-"))
        self.access_log = self.dir / "access.log"
        self.stderr = self.dir / "stderr.log"
        (self.dir / "sites").mkdir()
        config = {
            "workers": 1,
            "include": ["sites/*.yaml"],
            "shutdown_timeout": "2s",  # a stop waits for the idle connections of SDKs
            "access_log": {"target": str(self.access_log)},
        }
        config.update(main or {})
        self.config = self.dir / "s3gate.yaml"
        self.config.write_text(json.dumps(config))
        for number, site in enumerate(sites):
            (self.dir / "sites" / f"{number:02}-{site['name']}.yaml").write_text(json.dumps(site))
        self.address = sites[0]["listen"][0]
        self.url = f"http://{self.address}"
        self.process = None
        self._start(ready_timeout)

    def _start(self, ready_timeout):
        binary = s3gate_binary()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            path = str(self.dir / "notify")
            notify.bind(path)
            notify.settimeout(0.2)
            with open(self.stderr, "ab") as log:
                self.process = subprocess.Popen(
                    [binary, "--config", str(self.config)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, "NOTIFY_SOCKET": path},
                )
            deadline = time.monotonic() + ready_timeout
            while True:
                try:
                    if b"READY=1" in notify.recv(4096).split(b"\n"):
                        return
                except socket.timeout:
                    pass
                if self.process.poll() is not None or time.monotonic() > deadline:
                    end_process(self.process)
                    pytest.fail(f"no READY=1, exit {self.process.returncode}:\n{tail(self.stderr)}")

    def entries(self):
        """The complete lines of the access log so far, parsed. A line that is not JSON fails the
        test."""
        try:
            text = self.access_log.read_bytes()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]

    def wait_entries(self, wanted, count, timeout=5):
        """Waits until `count` entries satisfy `wanted` (the log is written once per tick) and
        returns them."""

        def matching():
            entries = [entry for entry in self.entries() if wanted(entry)]
            return entries if len(entries) >= count else None

        return wait_until(matching, timeout, f"{count} matching access log lines")

    def stop(self):
        status = end_process(self.process, timeout=40)
        log = tail(self.stderr)
        shutil.rmtree(self.dir, ignore_errors=True)
        if status not in (0, -signal.SIGTERM):
            pytest.fail(f"s3gate ended with {status}:\n{log}")

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None:
            print(f"--- s3gate's log:\n{tail(self.stderr)}")
        self.stop()


def report(name, figures):
    """Prints figures for `pytest -s`, and writes them as JSON below $S3GATE_REPORT_DIR when that is
    set."""
    width = max(len(key) for key in figures)
    print(f"\n{name}")
    for key, value in figures.items():
        print(f"  {key:<{width}}  {value}")
    directory = os.environ.get("S3GATE_REPORT_DIR")
    if directory:
        target = pathlib.Path(directory)
        target.mkdir(parents=True, exist_ok=True)
        (target / f"{name}.json").write_text(json.dumps(figures, indent=1) + "\n")
