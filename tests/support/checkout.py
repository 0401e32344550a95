"""A copy of the checkout with fake programs on PATH: the scripts on machines unlike this one."""

import os
import pathlib
import shutil
import stat
import subprocess
import tempfile

from support.daemon import binary
from support.waiting import SCALE

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Without tests/: a build without tests does not need it. Without build/: it is made there.
PARTS = ["CMakeLists.txt", "CMakePresets.json", "LICENSE", "README.md", "cmake", "config", "docs"]
PARTS += [".ci", ".clang-format", ".clang-tidy", "CHANGELOG.md", "SECURITY.md"]
PARTS += ["demo", "include", "scripts", "src", "systemd"]
PROXIES = {
    name: "http://127.0.0.1:9"
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
}
LONG = 120 * SCALE

# Really configures; the build's results exist already. Notes each call and the compilers' settings.
CMAKE = """#!/bin/bash
printf '%s\\n' "$*" >>"{notes}/cmake"
case "$1" in
    --build)
        case "$*" in *release*) at=build/release ;; *) at=build/demo ;; esac
        env >"{notes}/environment"
        cp "{programs}/s3gate" "{programs}/s3gate-demo-nodes" "$at/"
        ;;
    --install)
        shift 2
        exec "{cmake}" --install "{tree}" "$@"
        ;;
    *) exec "{cmake}" "$@" ;;
esac
"""
INSTALLED = "#!/bin/sh\necho installed\n"
MISSING = "#!/bin/sh\nexit 1\n"


class Checkout:
    """`name` may contain spaces. `fakes` are {program: text of a script} beside the cmake above."""

    def __init__(self, name="s3gate", fakes=None):
        # Not pytest's folder: other users must be able to reach it.
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="s3gate-checkout-", dir="/tmp"))
        self.base.chmod(0o755)
        self.root = self.base / name
        self.root.mkdir()
        for part in PARTS:
            source, target = ROOT / part, self.root / part
            if source.is_dir():
                shutil.copytree(source, target)
            else:
                shutil.copy(source, target)
        self.notes = self.base / "notes"
        self.notes.mkdir()
        self.bin = self.base / "bin"
        self.bin.mkdir()
        self.tree = pathlib.Path(binary()).parent
        programs = self.base / "programs"
        programs.mkdir()
        for program in ("s3gate", "s3gate-demo-nodes"):
            shutil.copy(self.tree / program, programs / program)
        self.programs = programs
        cmake = CMAKE.format(
            notes=self.notes, programs=programs, cmake=shutil.which("cmake"), tree=self.tree
        )
        self.fake("cmake", cmake)
        self.fake("dpkg-query", INSTALLED)
        for program, text in (fakes or {}).items():
            self.fake(program, text)

    def fake(self, program, text):
        """`{notes}` in the text is the folder for the program's notes."""
        path = self.bin / program
        path.unlink(missing_ok=True)
        path.write_text(text.replace("{notes}", str(self.notes)), encoding="utf-8")
        path.chmod(0o755)

    def hide(self, *programs):
        """PATH without these programs: links to all installed ones replace /usr."""
        tools = self.base / "tools"
        tools.mkdir()
        for folder in ("/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"):
            for entry in os.scandir(folder) if os.path.isdir(folder) else ():
                link = tools / entry.name
                if entry.name not in programs and not os.path.lexists(link):
                    link.symlink_to(entry.path)
        return {"PATH": f"{self.bin}:{tools}"}

    def give_to(self, user):
        """Makes this user the owner of everything, as after the user's own clone."""
        for path in [self.base, *self.base.rglob("*")]:
            shutil.chown(path, user)

    def environment(self, changes):
        """`changes` with None remove a variable."""
        names = {**os.environ, "PATH": f"{self.bin}:{os.environ['PATH']}", **(changes or {})}
        for inherited in ("CCACHE_DIR", "CI", "DESTDIR", "S3GATE_JOBS", "S3GATE_STAGE", *PROXIES):
            if inherited not in (changes or {}):
                names.pop(inherited, None)
        return {name: value for name, value in names.items() if value is not None}

    def run(self, command, cwd=None, env=None, prefix=(), **more):
        """Runs a script of the checkout to its end: CompletedProcess with texts."""
        command = [str(self.root / command[0]), *command[1:]]
        return subprocess.run(
            [*prefix, *command],
            cwd=cwd or self.root,
            env=self.environment(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LONG,
            check=False,
            **more,
        )

    def noted(self, name):
        path = self.notes / name
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def files(self):
        """{path: (size, time)} of everything but build/ and the fakes' notes."""
        return {
            path: (path.lstat().st_size, path.lstat().st_mtime_ns)
            for path in self.base.rglob("*")
            if stat.S_ISREG(path.lstat().st_mode)
            and self.root / "build" not in path.parents
            and self.notes not in path.parents
        }

    def remove(self):
        shutil.rmtree(self.base, ignore_errors=True)


def overlaid(folder, writable, script):
    """A command in its own mount namespace. Its writes to the folders `writable` go to `folder`,
    and the machine's stay unchanged."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["set -e"]
    for path in writable:
        below = pathlib.Path(tempfile.mkdtemp(dir=folder))
        upper, work = below / "upper", below / "work"
        upper.mkdir()
        work.mkdir()
        lines.append(
            f"mount -t overlay overlay -o lowerdir={path},upperdir={upper},workdir={work} {path}"
        )
    return ["unshare", "--mount", "bash", "-c", "\n".join([*lines, script]), "overlaid"]


def may_overlay(folder):
    """True if this user may make mounts here."""
    done = subprocess.run(
        overlaid(folder, ["/etc"], "true"), capture_output=True, check=False, timeout=LONG
    )
    return done.returncode == 0
