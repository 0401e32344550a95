"""scripts/test on machines unlike its author's.

A test run that ends in CMake errors tells a contributor nothing about the change.

cmake and ctest are fakes that note their arguments.
"""

import re
import subprocess

import pytest

from support.checkout import MISSING

NOTE = '#!/bin/sh\necho "$*" >>{notes}/asked\nenv >{notes}/environment\n'


@pytest.fixture(name="checkout")
def checkout_fixture(make_checkout):
    checkout = make_checkout("a check out", fakes={"cmake": NOTE, "ctest": NOTE})
    checkout.cache = checkout.root / "build/dev/CMakeCache.txt"
    checkout.cache.parent.mkdir(parents=True)
    return checkout


def write_cache(checkout, source=None, folder=None, generator="Ninja"):
    checkout.cache.write_text(
        f"CMAKE_CACHEFILE_DIR:INTERNAL={folder or checkout.cache.parent}\n"
        f"CMAKE_GENERATOR:INTERNAL={generator}\n"
        f"CMAKE_HOME_DIRECTORY:INTERNAL={source or checkout.root}\n",
        encoding="utf-8",
    )


@pytest.mark.parametrize(
    "changes, fresh",
    [
        ({}, False),
        ({"source": "/nowhere"}, True),
        ({"folder": "/nowhere/build/dev"}, True),
        ({"generator": "Unix Makefiles"}, True),
    ],
)
def test_build_folder_of_another_place(checkout, changes, fresh):
    """A checkout that was moved or copied takes its build folders along. A usable folder stays as
    it is, with its developer's settings."""
    write_cache(checkout, **changes)
    done = checkout.run(["scripts/test", "--fast"], cwd="/")
    assert done.returncode == 0, done.stderr
    first = checkout.noted("asked")[0]
    assert first == ("--fresh " if fresh else "") + "--preset dev -DS3GATE_TESTS=ON"


def test_packages_missing_without_sudo(checkout):
    checkout.fake("dpkg-query", MISSING)
    checkout.fake("id", "#!/bin/sh\necho 1000\n")
    done = checkout.run(["scripts/test"], env=checkout.hide("sudo"))
    said = done.stderr.strip().splitlines()
    assert done.returncode == 1 and len(said) == 2
    assert 'install-deps test" once as root' in said[0] and "libgmock-dev" in said[0]
    assert said[1].startswith("test: not everything that the tests need is there")
    assert not checkout.noted("asked")


@pytest.mark.parametrize("home, below_build", [("/dev/null", True), (None, True), ("own", False)])
def test_compiler_cache(checkout, home, below_build):
    """A developer's cache is warm; without one, the cache below build/ is used."""
    if home == "own":
        home = str(checkout.notes / "home")
    done = checkout.run(["scripts/test", "--fast"], env={"HOME": home, "XDG_CACHE_HOME": None})
    assert done.returncode == 0, done.stderr
    set_to = f"CCACHE_DIR={checkout.root}/build/ccache"
    assert (set_to in checkout.noted("environment")) == below_build


def git(checkout, *arguments):
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@example.net", *arguments],
        cwd=checkout.root,
        check=True,
        stdout=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("subject, status", [("Begin", 0), ("x" * 73, 1)])
def test_stages_of_integration(checkout, subject, status):
    """The style comes first, and later stages run even if it fails. Every stage has a number, its
    seconds and its verdict; ctest's summary stays the end."""
    git(checkout, "init", "--quiet")
    git(checkout, "add", "--all")
    git(checkout, "commit", "--quiet", "--message", subject)
    done = checkout.run([".ci/run", "--fast"])
    assert done.returncode == status, done.stdout + done.stderr
    said = [line for line in done.stdout.splitlines() if line.startswith("== ")]
    ends = [re.sub(r": \d+ s", ": N s", line) for line in said]
    assert ends == [
        "== stage 1: style",
        "== stage 1: style: N s" + (", FAILED" if status else ""),
        "== stage 2: packages",
        "== stage 2: packages: N s",
        "== stage 3: dev configure",
        "== stage 3: dev configure: N s",
        "== stage 4: dev build",
        "== stage 4: dev build: N s",
        "== stage 5: dev tests",
    ]
    assert done.stdout.splitlines()[-1] == "== stage 5: dev tests"
    assert ("x" * 73 in done.stdout) == bool(status)


def test_stage_that_fails(checkout):
    """The stage is named as failed, and the exit status tells."""
    checkout.fake("cmake", "#!/bin/sh\nexit 3\n")
    done = checkout.run(["scripts/test", "--fast"])
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "== stage 2: dev configure"
    checkout.fake("cmake", '#!/bin/sh\ncase "$*" in *asan*) exit 3 ;; esac\n')
    done = checkout.run(["scripts/test"])
    assert done.returncode == 1
    assert re.search(r"^== stage 2: asan configure: \d+ s, FAILED$", done.stdout, re.MULTILINE)
    assert "== FAILED so far: asan configure" in done.stdout
