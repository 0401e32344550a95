"""cmake --install to any prefix: the unit starts the installed program, and the pages' links have
targets.

A unit with /usr/bin for every prefix starts another program, or none.
"""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

from support.checkout import LONG, ROOT
from support.daemon import binary

TREE = pathlib.Path(binary()).parent


def install(prefix, cwd="/", umask=0o022, env=None):
    done = subprocess.run(
        ["cmake", "--install", str(TREE), "--prefix", str(prefix)],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        umask=umask,
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def unit_of(prefix):
    return (prefix / "lib/systemd/system/s3gate.service").read_text(encoding="utf-8")


def field(unit, key):
    return re.search(rf"^{key}=(.*)$", unit, re.MULTILINE)[1]


def test_the_units_paths_are_the_prefixs(tmp_path):
    prefix = tmp_path / "opt"
    install(prefix)
    unit = unit_of(prefix)
    command = f"{prefix}/bin/s3gate --config /etc/s3gate/s3gate.yaml"
    assert field(unit, "ExecStart") == command
    assert field(unit, "ExecReload") == f"{prefix}/bin/s3gate ctl reload"
    assert field(unit, "Documentation") == f"file://{prefix}/share/doc/s3gate"
    # The rest equals the shipped unit, line by line.
    shipped = (ROOT / "systemd/s3gate.service").read_text(encoding="utf-8").splitlines()
    differing = [a.split("=")[0] for a, b in zip(shipped, unit.splitlines()) if a != b]
    assert differing == ["Documentation", "ExecStart", "ExecReload"]
    assert subprocess.run([f"{prefix}/bin/s3gate", "version"], check=True, timeout=LONG)


def test_usr_is_as_shipped(tmp_path):
    """Below DESTDIR, as packagers do: the unit's paths are without DESTDIR."""
    install("/usr", env={"DESTDIR": str(tmp_path)})
    shipped = (ROOT / "systemd/s3gate.service").read_text(encoding="utf-8")
    assert unit_of(tmp_path / "usr") == shipped
    assert not pathlib.Path(f"{tmp_path}{TREE}").exists()


def test_relative_prefix(tmp_path):
    install("stage", cwd=tmp_path)
    assert field(unit_of(tmp_path / "stage"), "ExecStart").startswith(f"{tmp_path}/stage/bin/")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_reads_a_path_with_spaces_and_percents(tmp_path):
    prefix = tmp_path / "o p%t"
    install(prefix)
    unit = prefix / "lib/systemd/system/s3gate.service"
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )
    # It requires that the program exists and is executable.
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_check_unit_takes_a_path_of_the_callers(tmp_path):
    install(tmp_path)
    done = subprocess.run(
        [str(ROOT / "scripts/check-unit"), "bin/s3gate"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "check-unit: ok\n"), done.stderr


def test_open_to_everybody_whatever_the_umask(tmp_path):
    """The daemon's user differs from the installing one."""
    prefix = tmp_path / "opt"
    install(prefix, umask=0o077)
    for path in [prefix, *prefix.rglob("*")]:
        wanted = 0o755 if path.is_dir() or path.name == "s3gate" else 0o644
        assert path.stat().st_mode & 0o777 == wanted, path


def test_a_folder_that_is_there_keeps_its_mode(tmp_path):
    prefix = tmp_path / "opt"
    (prefix / "bin").mkdir(parents=True)
    (prefix / "bin").chmod(0o750)
    install(prefix)
    assert (prefix / "bin").stat().st_mode & 0o777 == 0o750


def test_pages_licence_and_samples(tmp_path):
    install(tmp_path)
    pages = tmp_path / "share/doc/s3gate"
    assert (pages / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    for folder in ("docs", "config"):
        there = {path.relative_to(ROOT) for path in (ROOT / folder).rglob("*")}
        assert {path.relative_to(pages) for path in (pages / folder).rglob("*")} == there
    assert (pages / "CHANGELOG.md").exists() and (pages / "SECURITY.md").exists()
    # Links have a target; links to sources stay behind with the sources.
    stay_behind = ("CONTRIBUTING.md", "bench", "tests", "scripts", "src", "systemd")
    for page in [*pages.glob("*.md"), *(pages / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            at = (page.parent / link).resolve().relative_to(pages.resolve())
            if at.parts[0] not in stay_behind:
                assert (pages / at).exists(), f"{page.name}: {link}"
