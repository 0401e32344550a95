"""A resolver of its own for one program: /etc/resolv.conf in a private mount namespace."""

import os
import shutil
import subprocess

import pytest


def resolver_prefix(folder, server):
    """A command that becomes another one for which only the name server at `server` exists. Skips
    the test if that is impossible."""
    if not shutil.which("unshare") or os.geteuid() != 0:
        pytest.skip("a mount namespace needs unshare (util-linux) and root")
    resolv, switch, hosts = (folder / name for name in ("resolv", "nsswitch", "hosts"))
    resolv.write_text(f"nameserver {server}\noptions timeout:1 attempts:1\n")
    switch.write_text("hosts: files dns\n")
    hosts.write_text("127.0.0.1 localhost\n")
    mounts = "; ".join(
        f"mount --bind {source} {target}"
        for source, target in (
            (resolv, "/etc/resolv.conf"),
            (switch, "/etc/nsswitch.conf"),
            (hosts, "/etc/hosts"),
        )
    )
    command = ["unshare", "-m", "--propagation", "private"]
    command += ["sh", "-e", "-c", f'{mounts}; exec "$@"']
    trial = subprocess.run([*command, "sh", "true"], capture_output=True, check=False, text=True)
    if trial.returncode != 0:
        pytest.skip(f"mount namespaces are not permitted here: {trial.stderr.strip()}")
    return [*command, "sh"]
