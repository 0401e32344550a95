"""systemd/s3gate.service under a real systemd, booted in a container on a copy of this machine's
files.

Whether a reload that does not exist is refused, whether a typo in the configuration is restarted
for ever or keeps its repair from starting, and what the journal takes for a warning: only systemd
can tell.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import uuid

import pytest

from support_real import require, require_program, s3gate_binary

UNIT = pathlib.Path(__file__).resolve().parents[2] / "systemd" / "s3gate.service"
CONFIG = """
log: {level: debug, target: stderr}
sites:
  - name: cluster
    listen: ["127.0.0.1:9000"]
    balance: {salt: pepper}
    backends: {servers: ["127.0.0.1:9", "127.0.0.2:9"]}
"""
PROBE_UNIT = """
[Unit]
DefaultDependencies=no
After=systemd-journald.socket
Requires=systemd-journald.socket
[Service]
Type=oneshot
TimeoutStartSec=90
ExecStart=-/bin/bash /probe.sh
ExecStart=-/bin/systemctl --force --force poweroff
"""
PROBE = r"""
exec >/probe.out 2>/probe.err
say() { echo "$1 $2"; }
config=/etc/s3gate/s3gate.yaml
systemctl start s3gate;                 say started $?
systemctl reload s3gate;                say reloaded $?
for signal in USR2 PWR ALRM; do systemctl kill --signal=$signal --kill-whom=main s3gate; done
systemctl is-active s3gate >/dev/null;  say alive $?
# A second start, which says so: all that the signals brought is in the journal by then.
systemctl kill --signal=QUIT --kill-whom=main s3gate
systemctl stop s3gate;                  say stopped $?
say result "$(systemctl show -p Result --value s3gate)"

cp $config /good.yaml
echo 'sties: []' >>$config
# As often as the limit of starts that a unit has by default, and more.
for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
    systemctl start s3gate;             say typo $?
done
say status "$(systemctl show -p ExecMainStatus --value s3gate)"
say state "$(systemctl show -p SubState --value s3gate)"
say restarts "$(systemctl show -p NRestarts --value s3gate)"
cp /good.yaml $config
systemctl start s3gate;                 say repaired $?
systemctl stop s3gate
journalctl --sync
journalctl -q -o json SYSLOG_IDENTIFIER=s3gate >/journal.all
journalctl -q -o json -p warning SYSLOG_IDENTIFIER=s3gate >/journal.warning
"""


def run_in_systemd(folder, files, probe):
    """Boots systemd on an overlay of / with `files` ({path: text or Path}) and runs `probe` as root
    in it; returns the overlay's upper folder. Nothing of this machine changes."""
    upper, work, root = (folder / name for name in ("upper", "work", "root"))
    for path in (upper, work, root):
        path.mkdir()
    layers = f"lowerdir=/,upperdir={upper},workdir={work}"
    mount = ["mount", "-t", "overlay", "overlay", "-o", layers, str(root)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    require(mounted.returncode == 0, f"no overlay of / here: {mounted.stderr.strip()}")
    try:
        # What this machine starts at boot is none of the test's business.
        for wants in (root / "etc/systemd/system").glob("*.wants"):
            shutil.rmtree(wants)
        for path, content in {
            **files,
            "etc/machine-id": uuid.uuid4().hex + "\n",
            "etc/systemd/system/probe.service": PROBE_UNIT,
            "probe.sh": probe,
        }.items():
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, pathlib.Path):
                shutil.copy(content, target)
            else:
                target.write_text(content)
        boot = ["systemd-nspawn", "-q", "-D", str(root), "--private-network", "--register=no"]
        boot += ["--keep-unit", "--console=pipe", "-b", "systemd.unit=probe.service"]
        done = subprocess.run(
            ["timeout", "-k", "5", "120", *boot],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        require(
            (upper / "probe.out").exists(),
            f"systemd does not boot in a container here: {done.stderr or done.stdout[-500:]}",
        )
    finally:
        subprocess.run(["umount", str(root)], check=False)
    return upper


@pytest.fixture(name="seen", scope="module")
def seen_fixture(tmp_path_factory):
    """(what the probe said, all of the journal, its warnings)"""
    require(os.geteuid() == 0, "a container needs root")
    require_program("systemd-nspawn")
    files = {
        "usr/bin/s3gate": pathlib.Path(s3gate_binary()),
        "etc/systemd/system/s3gate.service": UNIT,
        "etc/s3gate/s3gate.yaml": CONFIG,
    }
    upper = run_in_systemd(tmp_path_factory.mktemp("unit"), files, PROBE)
    said = {}
    for line in (upper / "probe.out").read_text().splitlines():
        name, _, value = line.partition(" ")
        said.setdefault(name, []).append(value)
    print(said, (upper / "probe.err").read_text())
    journals = [
        [json.loads(line) for line in (upper / name).read_text().splitlines()]
        for name in ("journal.all", "journal.warning")
    ]
    return said, *journals


def test_life(seen):
    said = seen[0]
    assert said["started"] == ["0"]
    assert said["alive"] == ["0"], "a signal ended it"
    assert (said["stopped"], said["result"]) == (["0"], ["success"])


def test_a_reload_that_does_not_exist_is_refused(seen):
    assert seen[0]["reloaded"] != ["0"]


def test_a_typo_is_not_restarted_and_its_repair_starts_at_once(seen):
    said = seen[0]
    assert len(said["typo"]) == 12 and "0" not in said["typo"]
    assert (said["status"], said["state"], said["restarts"]) == (["2"], ["failed"], ["0"])
    assert said["repaired"] == ["0"]


def test_the_journal_shows_warnings_and_worse(seen):
    _, everything, warnings = seen
    daemon = [entry for entry in everything if entry.get("_COMM") == "s3gate"]
    texts = {int(entry["PRIORITY"]): [] for entry in daemon}
    for entry in daemon:
        texts[int(entry["PRIORITY"])].append(entry["MESSAGE"])
        assert not re.search(r"^<|\d\d:\d\d:\d\d\.\d|\[warning\]|\[info\]", entry["MESSAGE"]), entry
    assert sorted(texts) == [3, 4, 6, 7]
    for priority, wanted in (
        (3, r"No server of cluster is usable: trying all"),
        (3, r"s3gate\.yaml:\d+: sties: "),
        (4, r"cluster: 127\.0\.0\.1:9 is down after 1 failed check: connect refused"),
        (4, r"ready: .* 0 of 2 servers up"),
        (4, r"SIGUSR2: "),
        (6, r"draining: "),
        (6, r"stopped$"),
        (7, r"cluster: 127\.0\.0\.2:9 failed a check: "),
    ):
        assert any(re.search(wanted, text) for text in texts[priority]), (wanted, texts)
    shown = [entry["MESSAGE"] for entry in warnings if entry.get("_COMM") == "s3gate"]
    assert sorted(shown) == sorted(texts[3] + texts[4])
