"""The README's commands, as printed.

A page with outdated commands costs every operator the same hour.

The results of long builds are copied from this build (support.checkout); S3GATE_README_BUILD=1
builds for real. The commands see the machine's /etc, /usr and /var/log, with writes redirected to
the test's folder; the ports are those of a network namespace.
"""

import os
import re
import signal
import subprocess

import pytest

from support.checkout import LONG, PROXIES, ROOT, may_overlay, overlaid
from support.waiting import SCALE, wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can have mounts of its own")

BUILD = os.environ.get("S3GATE_README_BUILD") == "1"

# systemd's actions for the unit, as far as the page promises them: the log's folder, another user,
# a start that ends when the daemon listens.
SYSTEMCTL = """#!/bin/bash
unit=/usr/lib/systemd/system/s3gate.service
case "$*" in
    daemon-reload) [ -e "$unit" ] ;;
    "enable --now s3gate")
        install -d -o nobody -m 755 /var/log/s3gate
        command="$(sed -n 's/^ExecStart=//p' "$unit")"
        setpriv --reuid nobody --regid nogroup --clear-groups $command >{notes}/daemon 2>&1 &
        for _ in {1..300}; do
            if (exec 3<>/dev/tcp/127.0.0.1/9000) 2>/dev/null; then exit 0; fi
            sleep 0.1
        done
        cat {notes}/daemon >&2
        exit 1
        ;;
    *) exit 2 ;;
esac
"""


def commands(section):
    """The text of all command blocks of a section: indented, or fenced as sh."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    body = re.search(rf"^## {section}\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)[1]
    blocks = re.findall(r"^```sh\n(.*?)^```|((?:^ {4}[^\n]*\n)+)", body, re.MULTILINE | re.DOTALL)
    return [fenced or re.sub(r"^ {4}", "", plain, flags=re.MULTILINE) for fenced, plain in blocks]


@pytest.fixture(name="checkout")
def checkout_fixture(make_checkout, tmp_path):
    if not may_overlay(tmp_path / "overlay"):
        pytest.skip("mounts are not permitted here")
    checkout = make_checkout()
    checkout.fake("sudo", '#!/bin/sh\nexec "$@"\n')
    checkout.fake("systemctl", SYSTEMCTL)
    if BUILD:
        (checkout.bin / "cmake").unlink()
    return checkout


@pytest.mark.parametrize("umask", ["022", "077"])
def test_install_it(checkout, tmp_path, umask):
    script = checkout.base / "readme"
    script.write_text("\n".join(["set -e", f"umask {umask}", *commands("Install it")]))
    # Names fail at first, as on a machine before its network is up.
    prepare = [
        "ip link set lo up",
        "rm -f /etc/resolv.conf",
        "echo nameserver 127.0.0.1 >/etc/resolv.conf",
        'exec "$@"',
    ]
    prefix = overlaid(tmp_path / "overlay", ["/etc", "/usr", "/var/log"], "\n".join(prepare))
    namespaces = ["--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    done = subprocess.run(
        [prefix[0], *namespaces, *prefix[1:], "bash", str(script)],
        cwd=checkout.root,
        env=checkout.environment(PROXIES),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=1500 if BUILD else LONG,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # The last command's answer: the page with the names in the files.
    answer = done.stdout[done.stdout.index("Upstream storage") :]
    servers = re.findall(r"^ +(\S+) (?:UP|DOWN)", answer, re.MULTILINE)
    assert servers == [f"minio-{number}.example.net:9000" for number in range(1, 5)]
    # The daemon's log exists: the promise about its folder.
    assert "ready" in (checkout.notes / "daemon").read_text(encoding="utf-8")


def test_try_it(checkout):
    """The first command, as printed: its ports, its lines pasted one by one, Ctrl-C at the end."""
    demo, tests = commands("Try it")
    assert (demo.strip(), tests.strip()) == ("scripts/demo", "scripts/test")
    output = checkout.base / "output"
    with open(output, "wb") as file:
        process = subprocess.Popen(
            ["unshare", "--net", "bash", "-c", f"ip link set lo up; exec {demo.strip()}"],
            cwd=checkout.root,
            env=checkout.environment({}),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    try:

        def said():
            assert process.poll() is None, output.read_text(encoding="utf-8")
            text = output.read_text(encoding="utf-8")
            return text if "Ctrl-C stops everything" in text else None

        text = wait_until(said, 1500 if BUILD else 60 * SCALE, "the demo tells what to try")
        lines = re.findall(r"^ {4}((?:curl|tail) .*)$", text, re.MULTILINE)
        assert len(lines) == 11

        def answer(line):
            done = subprocess.run(
                ["nsenter", f"--net=/proc/{process.pid}/ns/net", "bash", "-c", line],
                capture_output=True,
                text=True,
                timeout=LONG,
                check=False,
            )
            assert done.returncode == 0, (line, done.stderr)
            return done.stdout

        answers = [answer(line) for line in lines[:-1]]
        home = re.search(r"^X-Demo-Node: (\d)", answers[2], re.MULTILINE)[1]
        elsewhere = re.search(r"^X-Demo-Node: (\d)", answers[5], re.MULTILINE)[1]
        assert home != elsewhere and "hello from s3gate" in answers[5]
        # The log is written every quarter of a second: sooner than a person can paste the line.
        wait_until(lambda: '"session":"alice"' in answer(lines[-1]), what="alice's log lines")
        process.send_signal(signal.SIGINT)
        assert process.wait(LONG) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_what_else_the_page_names(checkout):
    """Scripts, options and labels in running text exist."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in set(re.findall(r"`?scripts/([a-z-]+)", text)):
        assert (ROOT / "scripts" / name).exists(), name
    for script, option in set(re.findall(r"scripts/([a-z-]+) (--[a-z]+)", text)):
        assert option in (ROOT / "scripts" / script).read_text(encoding="utf-8"), (script, option)
    assert checkout.root.exists()


def test_what_the_tests_are():
    """Each kind by its label, and the list of scripts/test's runs."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (listed,) = re.findall(r"installs what the tests need.*?One kind at a time", text, re.DOTALL)
    words = {
        "unit": "unit tests",
        "sim": "scenarios",
        "e2e": "end-to-end",
        "parity": "parity",
        "real": "real clients",
        "soak": "soak",
        "scripts": "scripts",
        "fuzz-replay": "fuzz",
    }
    labels = set()
    for file in (ROOT / "tests").glob("*/CMakeLists.txt"):
        labels.update(re.findall(r"LABELS ([a-z0-9-]+)", file.read_text(encoding="utf-8")))
    assert labels == set(words)
    for label, word in words.items():
        assert f"`{label}`" in text or f"-L {label}`" in text
        assert word in listed, label
