"""systemd/s3gate.service under a real systemd, booted in a container on a copy of this machine's
files.

Only systemd can tell whether it refuses an unsupported reload, whether it restarts forever after a
typo or blocks the repaired start, and what the journal takes for a warning.
"""

import json
import re

import pytest

from container import installed_files, require_systemd, run_in_systemd

CONFIG = """
log: {level: debug, target: stderr}
sites:
  - name: cluster
    listen: ["127.0.0.1:9000"]
    balance: {salt: pepper}
    backends: {servers: ["127.0.0.1:9", "127.0.0.2:9"], queue: 100}
"""
PROBE = r"""
exec >/probe.out 2>/probe.err
say() { echo "$1 $2"; }
config=/etc/s3gate/s3gate.yaml
systemctl start s3gate;                 say started $?
s3gate ctl health;                      say health $?
s3gate ctl status >/status.out;         say status_of_root $?
socket="$(stat -c '%a %U %G' /run/s3gate/ctl.sock)"
say socket "$socket"
setpriv --reuid nobody --regid nogroup --clear-groups s3gate ctl health; say health_of_nobody $?
s3gate ctl standby >/dev/null;          say standby $?
s3gate ctl health;                      say health_on_standby $?
s3gate ctl active >/dev/null;           say active $?
systemctl reload s3gate;                say reloaded $?
cp $config /good.yaml
echo 'sties: []' >>$config
systemctl reload s3gate;                say reloaded_a_typo $?
cp /good.yaml $config
for signal in WINCH PWR ALRM; do systemctl kill --signal=$signal --kill-whom=main s3gate; done
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


@pytest.fixture(name="seen", scope="module")
def seen_fixture(tmp_path_factory):
    """(the probe's output, the whole journal, its warnings)"""
    require_systemd()
    files = {**installed_files(), "etc/s3gate/s3gate.yaml": CONFIG}
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


def test_ctl_finds_the_socket_without_configuration(seen):
    """The unit's folder, and the rights of its user, whom systemd may have made up."""
    said, everything, _ = seen
    assert (said["health"], said["status_of_root"]) == (["0"], ["0"])
    assert said["socket"] == ["660 s3gate s3gate"]
    assert said["health_of_nobody"] == ["4"]
    assert (said["standby"], said["health_on_standby"], said["active"]) == (["0"], ["1"], ["0"])
    texts = [entry["MESSAGE"] for entry in everything]
    assert any(
        re.fullmatch(r"standby: /healthz answers 503 \(asked by root, pid \d+\)", text)
        for text in texts
    )


def test_reload_says_what_came_of_it(seen):
    """`systemctl reload` runs `s3gate ctl reload` in the unit's sandbox, as its user."""
    said, everything, _ = seen
    assert said["reloaded"] == ["0"]
    asked = r"reload \(asked by s3gate \(uid \d+\), pid \d+\)"
    assert any(re.fullmatch(asked, entry["MESSAGE"]) for entry in everything)
    assert said["reloaded_a_typo"] == ["1"] and said["alive"] == ["0"]
    for told in (r"/etc/s3gate/s3gate\.yaml:\d+: sties: ", "s3gate: reload refused: "):
        found = [entry for entry in everything if re.match(told, entry["MESSAGE"])]
        assert found and all(int(entry["PRIORITY"]) == 3 for entry in found)


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
        assert not entry["MESSAGE"].startswith("warning"), "the priority says it"
    assert sorted(texts) == [3, 4, 6, 7]
    for priority, wanted in (
        (3, r"No server of cluster is usable: trying all"),
        (3, r"s3gate\.yaml:\d+: sties: "),
        (4, r"cluster: 127\.0\.0\.1:9 is down after 1 failed check: connect refused"),
        (4, r"ready: .* 0 of 2 servers up"),
        (4, r"SIGWINCH: "),
        (4, r"^/etc/s3gate/s3gate\.yaml:\d+: sites\[0\]\.backends\.queue: "),
        (6, r"draining: "),
        (6, r"stopped$"),
        (7, r"cluster: 127\.0\.0\.2:9 failed a check: "),
    ):
        assert any(re.search(wanted, text) for text in texts[priority]), (wanted, texts)
    shown = [entry["MESSAGE"] for entry in warnings if entry.get("_COMM") == "s3gate"]
    assert sorted(shown) == sorted(texts[3] + texts[4])
