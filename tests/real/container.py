"""A real systemd, booted in a container on a copy of this machine's files."""

import os
import pathlib
import shutil
import subprocess
import uuid

from support_real import require, require_program, s3gate_binary

UNIT = pathlib.Path(__file__).resolve().parents[2] / "systemd" / "s3gate.service"
PROBE_UNIT = """
[Unit]
DefaultDependencies=no
After=systemd-journald.socket
Requires=systemd-journald.socket
[Service]
Type=oneshot
TimeoutStartSec={seconds}
ExecStart=-/bin/bash /probe.sh
ExecStart=-/bin/systemctl --force --force poweroff
"""


def require_systemd():
    require(os.geteuid() == 0, "a container needs root")
    require_program("systemd-nspawn")


def installed_files():
    """The files of `cmake --install` and of an operator, for run_in_systemd()."""
    return {
        "usr/bin/s3gate": pathlib.Path(s3gate_binary()),
        "etc/systemd/system/s3gate.service": UNIT,
    }


def run_in_systemd(folder, files, probe, seconds=120):
    """Boots systemd on an overlay of / with `files` ({path: text or Path}) and runs `probe` as root
    in it, for at most `seconds`; returns the overlay's upper folder. Does not change this machine.
    """
    upper, work, root = (folder / name for name in ("upper", "work", "root"))
    for path in (upper, work, root):
        path.mkdir()
    layers = f"lowerdir=/,upperdir={upper},workdir={work}"
    mount = ["mount", "-t", "overlay", "overlay", "-o", layers, str(root)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    require(mounted.returncode == 0, f"no overlay of / here: {mounted.stderr.strip()}")
    try:
        # The test does not need the services that this machine starts at boot.
        for wants in (root / "etc/systemd/system").glob("*.wants"):
            shutil.rmtree(wants)
        for path, content in {
            **files,
            "etc/machine-id": uuid.uuid4().hex + "\n",
            "etc/systemd/system/probe.service": PROBE_UNIT.format(seconds=seconds - 30),
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
            ["timeout", "-k", "5", str(seconds), *boot],
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
