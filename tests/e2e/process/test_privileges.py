"""A daemon started as root with `user` gives up root in every thread, permanently.

A hole in the request path is then a hole of an account that owns nothing; one thread with root's
rights would make it a hole of the whole machine.
"""

import os
import pathlib
import pwd

import pytest

from support.config import FAST_HEALTH

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the user")


@pytest.mark.parametrize("log", ["stderr", "{dir}/own/daemon.log"])
def test_every_thread_gives_up_root(make_backend, gate, tmp_path, log):
    """Log writers start before the change of user, workers after it."""
    wanted = pwd.getpwnam("nobody")
    tmp_path.chmod(0o755)
    folder = tmp_path / "own"
    folder.mkdir()
    os.chown(folder, wanted.pw_uid, wanted.pw_gid)
    daemon = gate(
        [make_backend()],
        health=FAST_HEALTH,
        top={
            "user": "nobody",
            "workers": 3,
            "log": {"target": log.replace("{dir}", str(tmp_path))},
            "access_log": {"target": str(folder / "access.log")},
        },
    )
    groups = sorted(set(os.getgrouplist("nobody", wanted.pw_gid)))
    threads = list(pathlib.Path(f"/proc/{daemon.process.pid}/task").iterdir())
    assert len(threads) >= 5, "control thread, workers, a log writer"
    for thread in threads:
        lines = (thread / "status").read_text(encoding="ascii").splitlines()
        fields = {name: value.split() for name, _, value in (x.partition(":") for x in lines)}
        who = fields["Name"]
        # Real, effective, saved, file system.
        assert fields["Uid"] == [str(wanted.pw_uid)] * 4, who
        assert fields["Gid"] == [str(wanted.pw_gid)] * 4, who
        assert sorted(map(int, fields["Groups"])) == groups, who
        for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(fields[kind][0], 16) == 0, (who, kind)
        # No set-user-ID program gives rights back.
        assert fields["NoNewPrivs"] == ["1"], who
    with daemon.client() as client:
        assert client.request().status == 200


def test_unknown_user_does_not_serve_as_root(make_backend, gate):
    daemon = gate(
        [make_backend()],
        top={"user": "nobody-of-this-name"},
        daemon={"wait_ready": False},
    )
    daemon.expected_exit = daemon.wait_exit()
    assert daemon.expected_exit == 1
    assert "nobody-of-this-name" in daemon.stderr
