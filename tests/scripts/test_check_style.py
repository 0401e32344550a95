"""scripts/check-style finds what it promises, names the place, and reports nothing else.

A check that passes everything is worse than none; one with false complaints is switched off.

The checkouts are repositories made by the test; clang-format is a fake, and so is clang-tidy where
its findings do not matter.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOL = "clang-format-19"
TIDY = "clang-tidy-19"
GOOD = "int main() {}\n"
# What the tidy part needs of a checkout. The presets are as the real ones as far as it goes.
PRESET = {
    "name": "dev",
    "generator": "Ninja",
    "binaryDir": "${sourceDir}/build/dev",
    "cacheVariables": {"CMAKE_CXX_COMPILER_LAUNCHER": "ccache", "CMAKE_BUILD_TYPE": "Debug"},
}
CMAKE_LISTS = """cmake_minimum_required(VERSION 3.25)
project(small LANGUAGES CXX)
add_library(part STATIC src/part.cpp)
add_executable(main src/main.cpp)
target_link_libraries(main PRIVATE part)
"""
# Notes which files it is asked about, and finds something where "bad" stands. Tells like clang what
# a file includes.
FAKE_TIDY = """
[ "$1" != --version ] || exec cat '{version}'
basename "$2" >>'{calls}'
for argument; do
    case "$argument" in -Wp,-MD,*) c++ -M -MF "${{argument#-Wp,-MD,}}" "$2" ;; esac
done
! grep -n bad "$2"
"""
USE_AFTER_MOVE = """#include <string>
#include <utility>

inline std::string twice(std::string text) {
    std::string copy = std::move(text);
    return copy + text;
}
"""


class Repository:
    def __init__(self, folder):
        self.root = folder / "a check out"
        self.bin = folder / "bin"
        self.bin.mkdir()
        for name in ("check-style", "common.sh"):
            self.write(f"scripts/{name}", (ROOT / "scripts" / name).read_text(encoding="utf-8"))
        (self.root / "scripts/check-style").chmod(0o755)
        self.write("src/main.cpp", GOOD)
        self.git("init", "--quiet")
        self.first = self.commit("Begin")

    def git(self, *arguments):
        done = subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@example.net", *arguments],
            cwd=self.root,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))

    def commit(self, subject):
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", subject)
        return self.git("rev-parse", "HEAD")

    def fake(self, name, text):
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        path.chmod(0o755)

    def without(self, name):
        """A PATH with links to all installed programs except `name`."""
        for folder in os.environ["PATH"].split(os.pathsep):
            for entry in os.scandir(folder) if os.path.isdir(folder) else ():
                link = self.bin / entry.name
                if entry.name != name and not os.path.lexists(link):
                    link.symlink_to(entry.path)
        return str(self.bin)

    def check(self, *arguments, tidy=False, formatted="no", cwd=None, path=None, **more):
        """(exit status, output)."""
        fast = [] if tidy else ["--fast"]
        done = subprocess.run(
            [str(self.root / "scripts/check-style"), *fast, *arguments],
            cwd=cwd or self.root,
            env={
                **os.environ,
                "PATH": path or f"{self.bin}:{os.environ['PATH']}",
                "S3GATE_IS_FORMATTED": formatted,
                "S3GATE_NO_SKIP": "",
                "CCACHE_DIR": str(self.root.parent / "ccache"),
                **more,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=60,
        )
        return done.returncode, done.stdout


@pytest.fixture(name="repository")
def repository_fixture(tmp_path):
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    return Repository(tmp_path)


def test_nothing_to_say(repository, tmp_path):
    """Also from a folder outside the checkout, and with everything that is allowed."""
    repository.write("a.py", "#" + "ü" * 99 + "\n")
    repository.write("a.cmake", "#" + "x" * 129 + "\n")
    repository.write("a.md", "x" * 500 + "\n")
    repository.write("empty", "")
    repository.write("picture", b"\0\t \n\n")
    repository.write("tests/data/x", "\t \n\n\nno end")
    repository.write("tests/fuzz/corpus/t/x", "\t \n\n\nno end")
    repository.commit("S" * 72)
    status, said = repository.check(repository.first, cwd=tmp_path)
    assert status == 0, said
    assert said.endswith("check-style: ok\n")


@pytest.mark.parametrize(
    "name, text, rule",
    [
        ("a.py", "x = 1\n" + "#" + "ü" * 100 + "\n", "a.py:2:#ü.*"),
        ("tests/a.js", "/" * 101 + "\n", "tests/a.js:1:/.*"),
        ("scripts/tool", "#" * 131 + "\n", "scripts/tool:1:#.*"),
        ("src/CMakeLists.txt", "#" * 131 + "\n", "src/CMakeLists.txt:1:#.*"),
        ("docs/a.md", "word \nword\n", "docs/a.md:1: trailing whitespace."),
        ("a.txt", "word\r\n", "a.txt:1: trailing whitespace."),
        ("a.txt", "word\n\n", "a.txt:2: new blank line at EOF."),
        ("a.txt", "two\twords\n", "a.txt:1:two\twords"),
        ("folder/a.txt", "a\nb", "folder/a.txt"),
    ],
)
def test_text(repository, name, text, rule):
    repository.write(name, text)
    repository.commit("Write it")
    status, said = repository.check(repository.first)
    assert status == 1
    assert re.search(f"^{rule}$", said, re.MULTILINE), said
    assert said.endswith("check-style: text: see above\n")


def test_what_is_not_committed_yet(repository):
    """It runs before a commit, so the files in the work tree count."""
    repository.write("src/main.cpp", "int main() {} \n")
    status, said = repository.check(repository.first)
    assert status == 1 and "src/main.cpp:1: trailing whitespace." in said
    repository.write("src/main.cpp", GOOD)
    assert repository.check(repository.first)[0] == 0


def test_subjects(repository):
    """Characters count, not bytes, and only commits after SINCE."""
    repository.commit("Ä" * 72)
    long = repository.commit("x" * 73)
    status, said = repository.check(repository.first)
    assert status == 1
    found = [line for line in said.splitlines() if line.endswith("x" * 73)]
    assert len(found) == 1 and long.startswith(found[0].split()[0])
    assert "Ä" not in said and said.endswith("check-style: commits: see above\n")
    repository.commit("Later")
    assert repository.check(long)[0] == 0


def test_subjects_of_a_clone_that_does_not_reach_back(repository):
    repository.commit("x" * 73)
    repository.commit("Short")
    status, said = repository.check()
    assert status == 0 and "only the last commit's subject is looked at" in said
    repository.commit("x" * 73)
    assert repository.check()[0] == 1


def test_format(repository):
    """The complaint is printed; one switch in the script decides whether it counts."""
    repository.fake(TOOL, 'echo "$*"; exit 1')
    status, said = repository.check(repository.first)
    assert status == 0 and "not formatted throughout yet" in said
    status, said = repository.check(repository.first, formatted="yes")
    assert status == 1
    assert "--dry-run -Werror src/main.cpp" in said
    assert said.endswith("check-style: format: see above\n")


def test_format_and_long_lines_of_cpp(repository):
    repository.fake(TOOL, "exit 0")
    repository.write("src/main.cpp", "/" * 101 + "\n")
    assert repository.check(repository.first)[0] == 0
    status, said = repository.check(repository.first, formatted="yes")
    assert status == 1 and "src/main.cpp:1:/" in said and "text: see above" in said


def test_tool_that_is_missing(repository):
    """The tool is named with the way to install it; where nothing may be left out it is a failure.
    """
    path = repository.without(TOOL)
    status, said = repository.check(repository.first, formatted="yes", path=path)
    assert status == 0
    assert f"left out: {TOOL} is not installed (scripts/install-deps style" in said
    status, said = repository.check(
        repository.first, formatted="yes", path=path, S3GATE_NO_SKIP="1"
    )
    assert status == 1 and "check-style: format: see above" in said


def test_tools_are_those_that_are_installed():
    """The version is in two scripts."""
    version = re.search(
        r"^llvm=(\d+)$", (ROOT / "scripts/check-style").read_text(encoding="utf-8"), re.MULTILINE
    ).group(1)
    packages = (ROOT / "scripts/install-deps").read_text(encoding="utf-8")
    assert f"style_packages=(git clang-format-{version} clang-tidy-{version})" in packages


@pytest.mark.parametrize("arguments", [["--all"], ["a", "b"], ["--fast", "a"]])
def test_usage(repository, arguments):
    status, said = repository.check(*arguments)
    assert status == 2 and said.startswith("usage: scripts/check-style")


def test_a_commit_that_is_none(repository):
    status, said = repository.check("no-such-commit")
    assert status == 1 and said == "check-style: no-such-commit is no commit of this clone\n"


def test_without_git(repository):
    shutil.rmtree(repository.root / ".git")
    ceiling = str(repository.root.parent)
    status, said = repository.check(GIT_CEILING_DIRECTORIES=ceiling)
    assert status == 0 and len(said.splitlines()) == 1
    assert "left out: it checks what git tracks" in said
    status, _ = repository.check(GIT_CEILING_DIRECTORIES=ceiling, S3GATE_NO_SKIP="1")
    assert status == 1


class TidyRepository(Repository):
    """Two files that include a header each, and one that both include."""

    def __init__(self, folder):
        super().__init__(folder)
        self.calls = folder / "calls"
        self.version = folder / "version"
        self.version.write_text("1\n", encoding="utf-8")
        presets = {"version": 6, "configurePresets": [PRESET]}
        self.write("CMakePresets.json", json.dumps(presets) + "\n")
        self.write("CMakeLists.txt", CMAKE_LISTS)
        for name in (".clang-tidy", "scripts/tidy-compiler"):
            self.write(name, (ROOT / name).read_text(encoding="utf-8"))
        (self.root / "scripts/tidy-compiler").chmod(0o755)
        # GCC takes two files with the same text for the same one.
        self.write("src/both.hpp", "#pragma once\n\n// For both\n")
        self.write("src/part.hpp", "#pragma once\n\n// For one\n")
        self.write("src/part.cpp", '#include "both.hpp"\n#include "part.hpp"\n')
        self.write("src/main.cpp", '#include "both.hpp"\n\n' + GOOD)
        self.commit("Write more")

    def use_fake(self):
        self.fake(TIDY, FAKE_TIDY.format(calls=self.calls, version=self.version))

    def asked(self):
        """The files that the fake was asked about since the last call."""
        names = self.calls.read_text(encoding="utf-8").split() if self.calls.exists() else []
        self.calls.unlink(missing_ok=True)
        return sorted(names)


@pytest.fixture(name="tidy_repository")
def tidy_repository_fixture(tmp_path):
    for tool in ("git", "cmake", "ninja", "ccache", "c++"):
        if not shutil.which(tool):
            pytest.skip(f"{tool} is not installed")
    return TidyRepository(tmp_path)


@pytest.mark.parametrize("file", ["src/main.cpp", "src/part.hpp"])
def test_tidy_finds_a_use_after_move(tidy_repository, file):
    """By the rules of this repository, in sources and in what they include."""
    if not shutil.which(TIDY):
        pytest.skip(f"{TIDY} is not installed")
    good = (tidy_repository.root / file).read_text(encoding="utf-8")
    status, said = tidy_repository.check(tidy_repository.first, tidy=True)
    assert status == 0, said
    tidy_repository.write(file, USE_AFTER_MOVE + good)
    status, said = tidy_repository.check(tidy_repository.first, tidy=True)
    assert status == 1 and said.endswith("check-style: tidy: see above\n")
    assert re.search(f"{file}:6:19: error: 'text' used after it was moved", said), said
    assert "bugprone-use-after-move" in said and "tidy-compiler" not in said
    tidy_repository.write(file, good)
    assert tidy_repository.check(tidy_repository.first, tidy=True)[0] == 0


def test_tidy_remembers_what_passed(tidy_repository):
    """Only what changed is looked at again, wherever the checkout lies; what was found stays."""
    tidy_repository.use_fake()

    def asked(expected=0):
        assert tidy_repository.check(tidy_repository.first, tidy=True)[0] == expected
        return tidy_repository.asked()

    assert asked() == ["main.cpp", "part.cpp"]
    assert asked() == []
    moved = tidy_repository.root.with_name("another")
    shutil.rmtree(tidy_repository.root / "build")
    tidy_repository.root.rename(moved)
    tidy_repository.root = moved
    assert asked() == []
    tidy_repository.write("src/part.hpp", "#pragma once\n\n// More of it\n")
    assert asked() == ["part.cpp"]
    tidy_repository.write("src/both.hpp", "#pragma once\n\n// More for both\n")
    assert asked() == ["main.cpp", "part.cpp"]
    tidy_repository.write("src/main.cpp", GOOD + "// bad\n")
    assert asked(1) == ["main.cpp"]
    assert asked(1) == ["main.cpp"]
    tidy_repository.write("src/main.cpp", GOOD)
    assert asked() == ["main.cpp"]


@pytest.mark.parametrize("what", ["rules", "tool"])
def test_tidy_forgets_when_the_judge_changes(tidy_repository, what):
    tidy_repository.use_fake()
    assert tidy_repository.check(tidy_repository.first, tidy=True)[0] == 0
    assert tidy_repository.asked() == ["main.cpp", "part.cpp"]
    if what == "rules":
        tidy_repository.write(".clang-tidy", "Checks: '-*,bugprone-use-after-move'\n")
    else:
        tidy_repository.version.write_text("2\n", encoding="utf-8")
    assert tidy_repository.check(tidy_repository.first, tidy=True)[0] == 0
    assert tidy_repository.asked() == ["main.cpp", "part.cpp"]


def test_tidy_takes_a_build_folder_that_was_moved(tidy_repository):
    tidy_repository.use_fake()
    assert tidy_repository.check(tidy_repository.first, tidy=True)[0] == 0
    moved = tidy_repository.root.with_name("another")
    tidy_repository.root.rename(moved)
    tidy_repository.root = moved
    status, said = tidy_repository.check(tidy_repository.first, tidy=True)
    assert status == 0, said


def test_tidy_where_the_build_cannot_be_configured(repository):
    repository.fake("cmake", "echo no compiler; exit 1")
    repository.fake(TIDY, "exit 0")
    status, said = repository.check(repository.first, tidy=True)
    assert status == 1 and "no compiler" in said and "check-style: tidy: see above" in said


@pytest.mark.parametrize("tool", [TIDY, "ccache"])
def test_tidy_without_a_tool(repository, tool):
    """As for clang-format: what is missing is named, and a failure where nothing is left out."""
    repository.fake(TIDY, "exit 0")
    if tool == TIDY:
        (repository.bin / TIDY).unlink()
    path = repository.without(tool)
    status, said = repository.check(repository.first, tidy=True, path=path, S3GATE_NO_SKIP="1")
    assert status == 1 and "check-style: tidy: see above" in said
    assert f"left out: {tool} is not installed (scripts/install-deps style" in said
