"""The control socket as a file: where it is, whose it is, when it comes and goes.

A socket that a second daemon takes over, or that an ended one leaves in the way, costs the operator
the commands at the moment they are needed.
"""

import os
import pwd
import socket
import stat
import subprocess
import tempfile

import pytest

from support.config import dead_address, make_config, make_site, to_yaml
from support.ctl import ADMIN, ask, connect, ctl, socket_of
from support.daemon import binary, run_command
from support.waiting import DEADLINE

TOP = {"admin": ADMIN}


def config_for(path):
    return make_config([make_site([dead_address()])], admin={"socket": str(path)})


def start_in_vain(tmp_path, config, env=None):
    """Runs a daemon that cannot start, to its end."""
    file = tmp_path / "in-vain.yaml"
    file.write_text(to_yaml(config))
    return run_command("--config", str(file), env=env)


def test_only_its_user_and_group_may_connect(one):
    daemon, _ = one(top=TOP)
    mode = os.stat(socket_of(daemon)).st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o660
    assert not [name for name in os.listdir(daemon.dir) if name.startswith(".")]


def test_the_mode_does_not_depend_on_the_umask(one):
    daemon, _ = one(top=TOP, daemon={"prefix": ("sh", "-c", 'umask 0077; exec "$@"', "sh")})
    assert stat.S_IMODE(os.stat(socket_of(daemon)).st_mode) == 0o660


def test_it_goes_with_the_daemon(one):
    daemon, _ = one(top=TOP)
    assert daemon.stop() == 0
    assert not os.path.exists(socket_of(daemon))


def test_what_a_crash_left_is_replaced(one, start, make_backend, tmp_path):
    path = tmp_path / "ctl.sock"
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(path))
    daemon = start(make_config([make_site([make_backend()])], admin={"socket": str(path)}))
    assert ask(str(path), "GET", "/healthz")[0] == 200
    daemon.process.kill()
    daemon.wait_exit()
    daemon.expected_exit = -9
    assert path.exists()
    start(make_config([make_site([make_backend()])], admin={"socket": str(path)}))
    assert ask(str(path), "GET", "/healthz")[0] == 200


@pytest.mark.parametrize("form", ["written", "by RUNTIME_DIRECTORY"])
def test_a_living_owner_refuses_a_second_daemon(start, make_backend, tmp_path, form):
    path = tmp_path / "ctl.sock"
    env = {"RUNTIME_DIRECTORY": str(tmp_path)} if form != "written" else None
    admin = {"admin": {"socket": str(path)}} if form == "written" else {}
    daemon = start(make_config([make_site([make_backend()])], **admin), env=env)
    done = start_in_vain(tmp_path, make_config([make_site([dead_address()])], **admin), env)
    assert done.returncode == 1
    owner = f"another process (pid {daemon.process.pid}) serves it"
    assert f"control socket {path}: {owner}" in done.stderr
    status, body = ask(str(path), "GET", "/status")
    assert status == 200 and body["pid"] == daemon.process.pid


def test_an_owner_that_does_not_accept_is_an_owner(tmp_path):
    path = tmp_path / "ctl.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(0)
        fillers = [socket.socket(socket.AF_UNIX) for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(str(path))
        done = start_in_vain(tmp_path, config_for(path))
        for filler in fillers:
            filler.close()
    assert done.returncode == 1 and "another process" in done.stderr


def test_nothing_else_is_replaced(tmp_path):
    path = tmp_path / "ctl.sock"
    path.write_text("precious")
    done = start_in_vain(tmp_path, config_for(path))
    assert done.returncode == 1 and "no socket" in done.stderr
    assert path.read_text() == "precious"
    path.unlink()
    target = tmp_path / "target"
    path.symlink_to(target)
    done = start_in_vain(tmp_path, config_for(path))
    assert done.returncode == 1 and path.is_symlink() and not target.exists()


def test_a_folder_that_is_missing_refuses_the_start(tmp_path):
    done = start_in_vain(tmp_path, config_for(tmp_path / "missing" / "ctl.sock"))
    assert done.returncode == 1
    assert "missing/ctl.sock: cannot be made: No such file or directory" in done.stderr


def test_a_reload_makes_a_removed_file_anew(one):
    """Cleaning up /run by hand must not cost the commands until a restart."""
    daemon, _ = one(top=TOP)
    path = socket_of(daemon)
    os.unlink(path)
    assert daemon.reload().startswith("reloaded")
    assert ask(path, "GET", "/healthz")[0] == 200
    kept = os.stat(path).st_ino
    assert daemon.reload().startswith("reloaded")
    assert os.stat(path).st_ino == kept, "it was in place"
    assert daemon.stop() == 0
    assert not os.path.exists(path)


def test_another_ones_file_stays(one):
    """Whoever took the place meanwhile keeps it."""
    daemon, _ = one(top=TOP)
    path = socket_of(daemon)
    os.unlink(path)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        other.listen()
        assert daemon.stop() == 0
        with connect(path):
            pass


def test_the_default_is_where_systemd_says(one, tmp_path):
    """Also with `admin: off`, which the packaged unit's reload must survive."""
    (tmp_path / "second").mkdir()
    for number, admin in enumerate([{}, {"admin": "off"}, {"admin": {"operators": ["root"]}}]):
        folder = tmp_path / str(number)
        folder.mkdir()
        env = {"RUNTIME_DIRECTORY": f"{folder}:{tmp_path / 'second'}"}
        daemon, _ = one(top=admin, daemon={"env": env})
        assert os.listdir(folder) == ["ctl.sock"]
        # As ExecReload is run: with the unit's variables and without options.
        done = run_command("ctl", "status", "--json", env=env)
        assert done.returncode == 0 and f'"pid":{daemon.process.pid}' in done.stdout
        done = run_command("ctl", "-c", str(daemon.file), "health", env=env)
        assert done.returncode == 0


def test_it_can_be_off(one, tmp_path):
    one(top={"admin": {"socket": "off"}}, daemon={"env": {"RUNTIME_DIRECTORY": str(tmp_path)}})
    one()
    assert not os.listdir(tmp_path)


def test_a_default_that_cannot_be_made_is_a_warning(one, tmp_path):
    daemon, _ = one(daemon={"env": {"RUNTIME_DIRECTORY": str(tmp_path / "missing")}})
    assert "[warning] control socket " in daemon.stderr
    assert daemon.client().request().status == 200


def test_unknown_operators_are_a_warning(one):
    daemon, _ = one(top={"admin": {**ADMIN, "operators": ["nobody-knows-him"]}})
    assert "admin.operators: there is no user nobody-knows-him on this host" in daemon.stderr
    assert ctl(daemon, "health").returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_another_users_daemon_has_another_users_socket(one):
    """Started as root with `user`: the socket is that user's, and it needs the folder for it."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        path = f"{folder}/ctl.sock"
        done = run_as_nobody(one, folder, path)
        assert done.returncode == 0, done.stderr
        assert not os.listdir(folder)


def run_as_nobody(one, folder, path):
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    daemon, _ = one(top={"user": "nobody", "admin": {"socket": path}})
    assert (os.stat(path).st_uid, os.stat(path).st_gid) == (nobody.pw_uid, nobody.pw_gid)
    done = subprocess.run(
        [binary(), "ctl", "--socket", path, "standby"],
        user=nobody.pw_uid,
        group=nobody.pw_gid,
        extra_groups=[],
        timeout=DEADLINE,
        capture_output=True,
        check=False,
    )
    daemon.wait_stderr(rf"asked by nobody \(uid {nobody.pw_uid}\), pid \d+\)")
    assert daemon.stop() == 0
    return done
