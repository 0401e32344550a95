"""The test follows the advice of `s3gate check` about the shipped unit; then the unit starts and
writes its log.

A line that ends the start with 226/NAMESPACE, or a command with a user that does not exist, is
worse than no advice. Only systemd can tell which lines work.
"""

import json
import pathlib
import re

import pytest

from container import installed_files, require_systemd, run_in_systemd

HERE = pathlib.Path(__file__).resolve().parent
STATIC = "useradd --system s3gate"


def case(target="/var/log/s3gate/a.log", prepare=(), port=9000, user="", choose=False):
    return {
        "target": target,
        "prepare": list(prepare),
        "port": port,
        "user": user,
        "choose": choose,
    }


# With a user that systemd makes up, and with a user of the host.
CASES = {
    "nothing to say": case(),
    "own folder instead": case("/srv/zero/a.log", choose=True),
    "missing folder": case("/srv/one/a.log"),
    "missing folder, static user": case("/srv/two/a.log", [STATIC]),
    "missing folder below /var/log": case("/var/log/three/a.log"),
    "missing folders below /var/lib": case("/var/lib/four/deeper/a.log", [STATIC]),
    "directly in /var/log": case("/var/log/five.log", choose=True),
    "folder of root's": case("/srv/six/a.log", ["install -d -m 755 /srv/six"]),
    "folder of root's below /var/log": case("/var/log/seven/a.log", ["mkdir /var/log/seven"]),
    "folder of the user's": case(
        "/srv/eight/a.log", [STATIC, "install -d -o s3gate -g s3gate /srv/eight"]
    ),
    "closed above": case("/srv/closed/nine/a.log", [STATIC, "install -d -m 700 /srv/closed"]),
    "system folder": case("/usr/local/ten/a.log"),
    "in /tmp": case("/tmp/a.log"),
    "in /tmp, static user": case("/var/tmp/a.log", [STATIC]),
    "missing folder in /tmp": case("/tmp/eleven/a.log"),
    "home": case("/home/admin/logs/a.log", ["install -d -m 700 /home/admin"]),
    "home of root's": case("/root/logs/a.log", [STATIC], choose=True),
    "/run/user": case("/run/user/5/a.log", [STATIC]),
    "blanks and signs": case("/srv/it's 100%s/a.log", [STATIC]),
    "low port": case(port=443),
    "another user": case(user="nobody"),
}


@pytest.fixture(name="seen", scope="module")
def seen_fixture(tmp_path_factory):
    require_systemd()
    files = {
        **installed_files(),
        "advice.py": HERE / "advice_probe.py",
        "cases.json": json.dumps(CASES),
        "etc/s3gate/s3gate.yaml": "",
    }
    probe = "/usr/bin/python3 -B /advice.py >/probe.out 2>/probe.err\n"
    upper = run_in_systemd(tmp_path_factory.mktemp("unit"), files, probe, seconds=240)
    print((upper / "probe.err").read_text())
    return json.loads((upper / "seen.json").read_text())


@pytest.mark.parametrize("name", CASES)
def test_what_the_check_says_works(seen, name):
    found = seen[name]
    print(json.dumps(found, indent=1))
    if name != "nothing to say":
        assert found["messages"], "there is nothing to follow"
    assert [command for command in found["commands"] if command[1] != 0] == []
    assert found["start"] == 0, found["status"]
    assert found["left"] is None and found["logged"]


def test_the_lines_are_the_plain_ones(seen):
    assert seen["missing folder below /var/log"]["lines"] == ["LogsDirectory=three"]
    assert seen["missing folder, static user"]["lines"] == ["ReadWritePaths=/srv/two"]
    assert seen["in /tmp"]["lines"] == [
        "DynamicUser=no",  # which implies a private /tmp
        "PrivateTmp=no",
        "ReadWritePaths=/tmp",
    ]
    assert seen["another user"]["runs as"] == "nobody"
    (message,) = seen["missing folder"]["messages"]
    assert re.search(
        "while the service is stopped, run: useradd --system s3gate && "
        "install -d -m 0750 -o s3gate -g s3gate /srv/one, and with systemctl edit s3gate add",
        message,
    )
