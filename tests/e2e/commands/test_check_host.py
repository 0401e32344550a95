"""`s3gate check` examines the host and the unit that will run the file.

Faults that would otherwise show only in production (a loop, a read-only folder, a file that the
service's user cannot read) are found before the start, with the line that helps.
"""

import contextlib
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import tempfile

import pytest

from support.checkout import ROOT
from support.config import dead_address, free_port, make_config, make_site, to_yaml
from support.daemon import binary, run_command

SHIPPED = ROOT / "systemd" / "s3gate.service"


@pytest.fixture
def folder():
    """A folder that every user may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="s3gate-check-") as name:
        os.chmod(name, 0o755)
        yield pathlib.Path(name)


def write(folder, text, name="s3gate.yaml"):
    path = folder / name
    path.write_text(text if isinstance(text, str) else to_yaml(text))
    path.chmod(0o644)
    return str(path)


def warnings_of(*arguments, prefix=()):
    command = [*prefix, binary(), "check", "--json", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    report = json.loads(done.stdout)
    return report["warnings"], report["problems"]


def messages(findings, key):
    return [finding["message"] for finding in findings if finding["key"] == key]


def unit_text(config, *settings):
    start = f"ExecStart=/usr/bin/s3gate --config {config}"
    kept = "FileDescriptorStoreMax=4096"
    return "\n".join(["[Service]", start, kept, *settings, "[Install]", ""])


def main_file(**changes):
    return make_config([make_site([dead_address(), dead_address()])], **changes)


# ---- addresses


def test_an_ordinary_file_has_no_warning(folder):
    warnings, problems = warnings_of(write(folder, main_file()))
    assert warnings == [] and problems == []


def test_warns_of_an_address_of_another_host(folder):
    """TEST-NET-1: no host has this address."""
    site = make_site([dead_address(), dead_address()], listen="192.0.2.1:9000")
    site["listen"] += ["127.0.0.5:0", "0.0.0.0:%d" % free_port()]
    warnings, _ = warnings_of(write(folder, make_config([site])))
    (message,) = messages(warnings, "sites[0].listen")
    assert message.startswith("192.0.2.1:9000 is not an address of this host")
    assert "virtual IP" in message
    (where,) = [w["line"] for w in warnings if w["message"] == message]
    assert "192.0.2.1" in (folder / "s3gate.yaml").read_text().splitlines()[where - 1]


# ---- loops


@pytest.mark.parametrize(
    "listen, server",
    [
        ("127.0.0.1:9000", "127.0.0.1:9000"),
        ("0.0.0.0:9000", "127.0.0.1:9000"),
        ("0.0.0.0:9000", "localhost:9000"),
        ("[::]:9000", "[::1]:9000"),
        ("0.0.0.0:9000", "0.0.0.0:9000"),
        ("192.0.2.1:9000", "192.0.2.1:9000"),
    ],
)
def test_a_loop_stops_check_and_start(folder, listen, server):
    path = write(folder, make_config([make_site([server, dead_address()], listen=listen)]))
    warnings, problems = warnings_of(path)
    (message,) = messages(problems, "sites[0].backends.servers")
    assert message.startswith(f"{server} is our own listener {listen} of site test")
    assert messages(warnings, "sites[0].backends.servers") == []
    start = run_command("--config", path)
    assert start.returncode == 2 and "our own listener" in start.stderr


def test_a_loop_through_another_site_is_one(folder):
    one, two = dead_address(), dead_address()
    sites = [
        make_site([two, dead_address()], name="one", listen=one),
        make_site([one, dead_address()], name="two", listen=two),
    ]
    _, problems = warnings_of(write(folder, make_config(sites)))
    assert [problem["key"] for problem in problems] == [
        "sites[0].backends.servers",
        "sites[1].backends.servers",
    ]


def test_a_site_before_another_is_a_warning(folder):
    one, two = dead_address(), dead_address()
    sites = [
        make_site([two, dead_address()], name="one", listen=one),
        make_site([dead_address(), dead_address()], name="two", listen=two),
    ]
    warnings, problems = warnings_of(write(folder, make_config(sites)))
    assert problems == []
    (message,) = messages(warnings, "sites[0].backends.servers")
    assert message.endswith("requests pass through s3gate twice")


@pytest.mark.parametrize(
    "listen, server",
    [
        ("127.0.0.1:9000", "127.0.0.1:9001"),
        ("127.0.0.2:9000", "127.0.0.1:9000"),
        ("[::]:9000", "127.0.0.1:9000"),
        ("0.0.0.0:9000", "192.0.2.1:9000"),
        ("0.0.0.0:9000", {"address": "127.0.0.1:9000", "down": True}),
    ],
)
def test_what_is_no_loop(folder, listen, server):
    path = write(folder, make_config([make_site([server, dead_address()], listen=listen)]))
    warnings, problems = warnings_of(path)
    assert problems == []
    assert messages(warnings, "sites[0].backends.servers") == []


@pytest.mark.skipif(
    not shutil.which("unshare") or os.geteuid() != 0, reason="needs a network namespace"
)
def test_a_loop_over_an_address_of_the_host_is_a_warning(folder):
    """For a wildcard listener the host decides which servers are its own."""
    sites = [make_site(["192.0.2.7:9000", "192.0.2.8:9000"], listen="0.0.0.0:9000")]
    path = write(folder, make_config(sites))
    script = 'ip link set lo up && ip addr add 192.0.2.7/32 dev lo && exec "$@"'
    prefix = ["unshare", "--net", "sh", "-c", script, "sh"]
    warnings, problems = warnings_of(path, prefix=prefix)
    assert problems == []
    (message,) = messages(warnings, "sites[0].backends.servers")
    assert message.startswith("192.0.2.7:9000 is our own listener 0.0.0.0:9000")
    assert "again and again" in message


# ---- the unit


def test_the_shipped_unit_refuses_paths_and_ports(folder):
    site = make_site([dead_address(), dead_address()], listen="0.0.0.0:443")
    config = make_config(
        [site],
        user="root",
        log={"target": "/srv/logs/s3gate.log"},
        access_log={"target": "/home/admin/access.log"},
        admin={"socket": "/tmp/ctl.sock"},
    )
    warnings, problems = warnings_of(write(folder, config), "--unit", SHIPPED)
    assert problems == []
    (message,) = [m for m in messages(warnings, "sites[0].listen") if "443" in m]
    assert "CAP_NET_BIND_SERVICE" in message
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE" in message
    assert "CapabilityBoundingSet=CAP_NET_BIND_SERVICE" in message
    assert "systemctl edit s3gate" in message
    (message,) = messages(warnings, "log.target")
    assert "ProtectSystem=strict" in message and "ReadWritePaths=/srv/logs" in message
    (message,) = messages(warnings, "access_log.target")
    assert "ProtectHome=yes" in message and "BindPaths=/home/admin" in message
    (message,) = messages(warnings, "admin.socket")
    assert "PrivateTmp=yes" in message
    (message,) = messages(warnings, "user")
    assert "starts s3gate as s3gate" in message


def test_the_shipped_unit_takes_what_it_is_made_for(folder):
    config = main_file(
        access_log={"target": "/var/log/s3gate/no-such-file.log"},
        log={"target": "stderr"},
    )
    warnings, _ = warnings_of(write(folder, config), "--unit", SHIPPED)
    assert warnings == []


@pytest.mark.skipif(
    not shutil.which("unshare") or os.geteuid() != 0, reason="needs a mount namespace"
)
def test_root_looks_with_the_eyes_of_the_installed_unit(folder):
    """By default; the administrator's drop-ins count."""
    path = write(folder, main_file(access_log={"target": "/srv/logs/access.log"}))
    (folder / "units").mkdir()
    (folder / "units" / "s3gate.service").write_text(unit_text(path, "ProtectSystem=strict"))
    script = 'mount -t tmpfs none /run && mkdir -p /run/systemd && ' + (
        'cp -r "$0"/units /run/systemd/system && exec "$@"'
    )
    prefix = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, str(folder)]
    (message,) = messages(warnings_of(path, prefix=prefix)[0], "access_log.target")
    assert "systemctl edit s3gate" in message and "ReadWritePaths=/srv/logs" in message
    drop_ins = folder / "units" / "s3gate.service.d"
    drop_ins.mkdir()
    (drop_ins / "own.conf").write_text("[Service]\nProtectSystem=no\nUser=nobody\n")
    (message,) = messages(warnings_of(path, prefix=prefix)[0], "access_log.target")
    assert "ProtectSystem" not in message and "install -d -m 0750 -o nobody" in message
    assert "the user who runs this check" in messages(warnings_of(path)[0], "access_log.target")[0]


def test_a_unit_that_does_not_keep_all_sockets(folder):
    site = make_site([dead_address(), dead_address()])
    site["listen"] += [f"127.0.0.1:{free_port()}"]
    path = write(folder, make_config([site], workers=3))
    unit = folder / "s3gate.service"
    for kept, advised in (("6", ""), ("5", "4096"), ("0", "4096"), ("none", "")):
        unit.write_text(unit_text("/etc/x.yaml", f"FileDescriptorStoreMax={kept}"))
        found = messages(warnings_of(path, "--unit", unit)[0], "FileDescriptorStoreMax")
        assert bool(found) == bool(advised), (kept, found)
        if found:
            assert found[0].startswith(f"is {kept} for 6 listening sockets: ")
            assert found[0].endswith(f"the line FileDescriptorStoreMax={advised}")
    unit.write_text("[Service]\nExecStart=/usr/bin/s3gate\n")
    (message,) = messages(warnings_of(path, "--unit", unit)[0], "FileDescriptorStoreMax")
    assert message.startswith("is 0 for 6 listening sockets: ")
    admin = {"listen": [dead_address(), dead_address()]}
    path = write(folder, make_config([site], workers=3, admin=admin))
    (message,) = messages(warnings_of(path, "--unit", unit)[0], "FileDescriptorStoreMax")
    assert message.startswith("is 0 for 8 listening sockets: ")
    assert messages(warnings_of(path, "--unit", SHIPPED)[0], "FileDescriptorStoreMax") == []


def test_drop_ins_count(folder):
    """The line that a warning names ends the warning."""
    logs = folder / "logs"
    logs.mkdir()
    logs.chmod(0o777)
    site = make_site([dead_address(), dead_address()], listen="0.0.0.0:443")
    config = make_config([site], access_log={"target": str(logs / "access.log")})
    path = write(folder, config)
    unit = folder / "s3gate.service"
    unit.write_text(unit_text("/etc/s3gate/s3gate.yaml", "User=nobody", "ProtectSystem=strict",
                              "AmbientCapabilities=", "CapabilityBoundingSet="))
    warnings, _ = warnings_of(path, "--unit", unit)
    assert f"ReadWritePaths={logs}" in messages(warnings, "access_log.target")[0]
    assert any("443" in message for message in messages(warnings, "sites[0].listen"))
    drop_ins = folder / "s3gate.service.d"
    drop_ins.mkdir()
    (drop_ins / "paths.conf").write_text(f"[Service]\nReadWritePaths=-{logs}\n")
    (drop_ins / "ports.conf").write_text(
        "[Service]\nAmbientCapabilities=CAP_NET_BIND_SERVICE\n"
        "CapabilityBoundingSet=CAP_CHOWN \\\n  CAP_NET_BIND_SERVICE\n"
    )
    (drop_ins / "ignored.txt").write_text("[Service]\nReadWritePaths=\n")
    warnings, _ = warnings_of(path, "--unit", unit)
    assert messages(warnings, "access_log.target") == []
    assert not any("refused" in message for message in messages(warnings, "sites[0].listen"))


def test_looks_with_the_eyes_of_the_units_user(folder):
    """Root can read the file, but the service cannot."""
    sites, logs = folder / "sites", folder / "logs"
    sites.mkdir()
    logs.mkdir()
    site = make_site([dead_address(), dead_address()])
    write(sites, site, "a.yaml")
    path = write(folder, f"include: [sites/*.yaml]\naccess_log: {{target: {logs}/access.log}}\n")
    unit = folder / "s3gate.service"
    unit.write_text(unit_text(path, "User=nobody"))
    for changed, mode in ((sites, 0o700), (sites / "a.yaml", 0o600), (folder, 0o700)):
        with contextlib.ExitStack() as stack:
            stack.callback(changed.chmod, changed.stat().st_mode & 0o777)
            changed.chmod(mode)
            warnings, _ = warnings_of(path, "--unit", unit)
        texts = [w["message"] for w in warnings if not w["key"]]
        assert any(
            "nobody, as whom the unit runs" in text
            and f"{changed} belongs to" in text
            and f"{mode:04o}" in text
            and f"chgrp nogroup {changed}" in text
            for text in texts
        ), (changed, warnings)
    (message,) = messages(warnings_of(path, "--unit", unit)[0], "access_log.target")
    assert f"{logs} belongs to" in message
    assert f"install -d -m 0750 -o nobody -g nogroup {logs}/s3gate" in message
    logs.chmod(0o777)
    assert warnings_of(path, "--unit", unit)[0] == []
    (logs / "access.log").touch()
    (logs / "access.log").chmod(0o600)
    (message,) = messages(warnings_of(path, "--unit", unit)[0], "access_log.target")
    assert f"{logs}/access.log belongs to" in message


def test_a_user_who_is_made_up_reads_what_everybody_may(folder):
    path = write(folder, main_file())
    unit = folder / "x.service"
    text = unit_text(path, "User=no-such-user-here", "ProtectSystem=strict")
    unit.write_text(text)
    assert warnings_of(path, "--unit", unit)[0] == []
    os.chmod(path, 0o640)
    ((message,),) = [[w["message"] for w in warnings_of(path, "--unit", unit)[0]]]
    assert "useradd --system no-such-user-here" in message
    assert f"chgrp no-such-user-here {path} && chmod g+r {path}" in message
    assert f"chmod o+r {path}" in message


def test_a_number_of_now_is_no_user(folder):
    """A running service gives a user of DynamicUser= a number; the next start may use another one.
    """
    passwd = folder / "passwd"
    passwd.write_text(
        pathlib.Path("/etc/passwd").read_text(encoding="utf-8")
        + "made-up:x:63164:63164:Dynamic User:/:/usr/sbin/nologin\n"
    )
    script = f'mount --bind {passwd} /etc/passwd && exec "$@"'
    prefix = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh"]
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("mounts are not permitted here")
    path = write(folder, main_file(access_log={"target": "/srv/no-such/a.log"}))
    unit = folder / "s3gate.service"
    unit.write_text(unit_text(path, "User=made-up", "DynamicUser=yes"))
    (message,) = messages(warnings_of(path, "--unit", unit, prefix=prefix)[0], "access_log.target")
    assert "useradd --system made-up && install -d -m 0750 -o made-up" in message


@pytest.mark.parametrize(
    "settings, lines",
    [
        (["PrivateTmp=yes"], "line PrivateTmp=no"),
        (["PrivateTmp=yes", "ProtectSystem=strict"], "lines PrivateTmp=no and ReadWritePaths=/tmp"),
        (
            ["DynamicUser=yes"],
            "lines DynamicUser=no and PrivateTmp=no and ReadWritePaths=/tmp",
        ),
    ],
)
def test_a_path_in_a_private_tmp(folder, settings, lines):
    """DynamicUser=yes overrides PrivateTmp=no; tests/real/test_unit_advice.py shows that."""
    path = write(folder, main_file(access_log={"target": "/tmp/no-such-file.log"}))
    unit = folder / "s3gate.service"
    unit.write_text(unit_text("/etc/x.yaml", "User=nobody", *settings))
    (message,) = messages(warnings_of(path, "--unit", unit)[0], "access_log.target")
    assert message.endswith(f"add below [Service] the {lines}")
    assert "add below [Service] the line LogsDirectory=s3gate and choose a file below" in message
    drop_ins = folder / "s3gate.service.d"
    drop_ins.mkdir()
    shown = lines.partition(" ")[2].replace(" and ", "\n")
    (drop_ins / "own.conf").write_text(f"[Service]\n{shown}\n")
    assert messages(warnings_of(path, "--unit", unit)[0], "access_log.target") == []


def test_paths_are_quoted_for_shell_and_unit(folder):
    """The unit line follows systemd's syntax, so it ends the warning."""
    logs = folder / "it's 100% \"b\""
    path = write(folder, main_file(access_log={"target": f"{logs}/a.log"}))
    unit = folder / "s3gate.service"
    unit.write_text(unit_text("/etc/x.yaml", "User=nobody", "ProtectSystem=strict"))
    (message,) = messages(warnings_of(path, "--unit", unit)[0], "access_log.target")
    assert f"-g nogroup {shlex.quote(str(logs))}".replace("'\"'\"'", "'\\''") in message
    line = message.rpartition("the line ")[2]
    assert line.startswith('ReadWritePaths="') and '100%% \\"b\\"' in line
    logs.mkdir()
    logs.chmod(0o777)
    unit.write_text(unit_text("/etc/x.yaml", "User=nobody", "ProtectSystem=strict", line))
    assert messages(warnings_of(path, "--unit", unit)[0], "access_log.target") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has a home that is closed")
def test_a_folder_bound_into_an_empty_home_is_reached(folder):
    """The modes of the folders above it do not matter: in the unit they are not the host's."""
    with tempfile.TemporaryDirectory(dir="/home") as name:
        logs = pathlib.Path(name) / "logs"
        logs.mkdir()
        logs.chmod(0o777)
        path = write(folder, main_file(access_log={"target": f"{logs}/a.log"}))
        unit = folder / "s3gate.service"
        settings = ["User=nobody", "ProtectHome=tmpfs"]
        unit.write_text(unit_text("/etc/x.yaml", *settings))
        (message,) = messages(warnings_of(path, "--unit", unit)[0], "access_log.target")
        assert "ProtectHome=tmpfs of the unit hides it" in message
        assert message.endswith(f"the line BindPaths={logs}")
        for bound in (f"BindPaths={logs}", f"BindPaths=-{logs}:{logs}:rbind"):
            unit.write_text(unit_text("/etc/x.yaml", *settings, bound))
            assert messages(warnings_of(path, "--unit", unit)[0], "access_log.target") == []
        unit.write_text(unit_text("/etc/x.yaml", *settings, f"BindPaths={logs}:/srv"))
        assert messages(warnings_of(path, "--unit", unit)[0], "access_log.target") != []
    # systemd 257 lets only root through an empty /root.
    path = write(folder, main_file(access_log={"target": "/root/logs/a.log"}))
    unit.write_text(unit_text("/etc/x.yaml", *settings, "BindPaths=/root/logs"))
    (message,) = messages(warnings_of(path, "--unit", unit)[0], "access_log.target")
    assert "hides it" in message and ", or " not in message


def test_files_that_the_unit_hides_are_to_be_moved(folder):
    path = write(folder, main_file())
    unit = folder / "s3gate.service"
    unit.write_text(unit_text(path, "User=nobody", "PrivateTmp=yes"))
    found = [w["message"] for w in warnings_of(path, "--unit", unit)[0] if not w["key"]]
    assert found and all(m.endswith("hides it; move it below /etc/s3gate") for m in found)


def test_a_folder_that_is_missing_is_named(folder):
    path = write(folder, main_file(access_log={"target": f"{folder}/no/such/a.log"}))
    unit = folder / "s3gate.service"
    unit.write_text(unit_text(path, "User=nobody"))
    (message,) = messages(warnings_of(path, "--unit", unit)[0], "access_log.target")
    assert f"there is no folder {folder}/no/such" in message
    unit.write_text(unit_text(path, "User=nobody", "ProtectSystem=strict", "LogsDirectory=s3gate"))
    path = write(folder, main_file(access_log={"target": "/var/log/s3gate/no-such/a.log"}))
    (message,) = messages(warnings_of(path, "--unit", unit)[0], "access_log.target")
    assert "there is no folder /var/log/s3gate/no-such" in message


def test_a_link_counts_for_where_it_leads(folder):
    """/var/run is a link on every host."""
    (folder / "link").symlink_to("/srv")
    path = write(folder, main_file(access_log={"target": f"{folder}/link/../x.log"}))
    assert messages(warnings_of(path, "--unit", SHIPPED)[0], "access_log.target")
    path = write(folder, main_file(access_log={"target": f"{folder}/link/x.log"}))
    unit = folder / "s3gate.service"
    unit.write_text(
        unit_text("/etc/x.yaml", "User=root", "ProtectSystem=strict", f"ReadWritePaths={folder}")
    )
    (message,) = messages(warnings_of(path, "--unit", unit)[0], "access_log.target")
    assert "ReadWritePaths=/srv" in message


def test_a_draft_elsewhere_need_not_be_readable(folder):
    draft = write(folder, main_file(), "draft.yaml")
    os.chmod(draft, 0o600)
    unit = folder / "s3gate.service"
    unit.write_text(unit_text("/etc/s3gate/s3gate.yaml", "User=nobody"))
    assert warnings_of(draft, "--unit", unit)[0] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_log_that_could_not_be_opened_anew(folder):
    """A start as root opens it; after a rotation `user` must open it."""
    path = write(folder, main_file(user="nobody", access_log={"target": f"{folder}/a.log"}))
    (message,) = messages(warnings_of(path)[0], "access_log.target")
    assert "cannot be opened anew by nobody" in message and f"{folder} belongs to" in message
