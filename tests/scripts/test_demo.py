"""scripts/demo, the README's first command, on untidy machines.

A reader whose first command ends in CMake errors does not type the second.

The configure step is real; the build's results are copied from this build (support.checkout).
"""

import os
import pathlib
import re
import shutil
import socket

import pytest

from support.checkout import MISSING, PROXIES
from support.config import free_port

PASSED = "demo: all checks passed"
NOBODY = {"user": "nobody", "group": "nogroup", "extra_groups": []}
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


@pytest.fixture(name="ports")
def ports_fixture():
    """Free ports, as the demo's variables."""
    return {
        "S3GATE_DEMO_PORT": str(free_port()),
        "S3GATE_DEMO_NODE_PORT": str(free_port("127.0.2.1")),
        "S3GATE_DEMO_CONTROL_PORT": str(free_port()),
    }


def passed(done):
    assert done.returncode == 0 and PASSED in done.stdout, done.stdout + done.stderr
    return done.stdout


def refused(done):
    """The one sentence at its end."""
    assert done.returncode == 1, done.stdout + done.stderr
    said = done.stderr.strip().splitlines()
    assert len(said) == 1 and "CMake Error" not in done.stderr, done.stderr
    return said[0]


def cached(checkout, key, build="demo"):
    text = (checkout.root / "build" / build / "CMakeCache.txt").read_text(encoding="utf-8")
    return re.search(rf"^{key}:[A-Z]*=(.*)$", text, re.MULTILINE)[1]


def put_into_cache(checkout, key, value):
    path = checkout.root / "build/demo/CMakeCache.txt"
    text = path.read_text(encoding="utf-8")
    changed, times = re.subn(rf"^({key}:[A-Z]*)=.*$", rf"\1={value}", text, flags=re.MULTILINE)
    assert times == 1
    path.write_text(changed, encoding="utf-8")


def test_everything_unlucky_at_once(make_checkout, ports):
    """A path with a space, dead proxies, a HOME that is not writable, a cdpath, another folder."""
    checkout = make_checkout("a check out")
    before = checkout.files()
    env = {**ports, **PROXIES, "NO_PROXY": None, "no_proxy": None, "HOME": "/dev/null"}
    env |= {"CDPATH": "/usr:/", "TMPDIR": None}
    said = passed(checkout.run(["scripts/demo", "--check"], cwd="/", env=env))
    # Everything is below build/, including files of compilers and the compiler cache.
    assert checkout.files() == before
    build = checkout.root / "build"
    told = dict(line.split("=", 1) for line in checkout.noted("environment") if "=" in line)
    for name in ("TMPDIR", "CCACHE_DIR", "CCACHE_TEMPDIR"):
        assert build in pathlib.Path(told[name]).parents, name
    assert {path.name for path in build.iterdir()} <= {"ccache", "demo", "demo-run", "tmp"}
    # Lines to paste: a proxy setting of the other terminal must not affect them.
    lines = [line.strip() for line in said.splitlines() if line.startswith("    curl")]
    assert len(lines) >= 8 and all("--noproxy 127.0.0.1 " in line for line in lines)


def test_apostrophe_in_the_path(make_checkout, ports):
    passed(make_checkout("it's").run(["scripts/demo", "--check"], env=ports))


def test_home_unset_and_own_compiler_cache(make_checkout, ports):
    checkout = make_checkout()
    theirs = checkout.base / "cache"
    env = {**ports, "HOME": None, "CCACHE_DIR": str(theirs)}
    passed(checkout.run(["scripts/demo", "--check"], env=env))
    assert f"CCACHE_DIR={theirs}" in checkout.noted("environment")


def test_no_tests_whatever_a_cache_says(make_checkout, ports):
    """Without tests to build, neither GoogleTest nor Python is needed: the checkout here has no
    folder of tests. A developer's build/release is not used."""
    checkout = make_checkout()
    release = checkout.root / "build/release"
    release.mkdir(parents=True)
    (release / "CMakeCache.txt").write_text("S3GATE_TESTS:BOOL=ON\n", encoding="utf-8")
    passed(checkout.run(["scripts/demo", "--check"], env=ports))
    put_into_cache(checkout, "S3GATE_TESTS", "ON")
    passed(checkout.run(["scripts/demo", "--check"], env=ports))
    assert cached(checkout, "S3GATE_TESTS") == "OFF"
    assert cached(checkout, "S3GATE_TESTS", "release") == "ON"
    assert [path.name for path in release.iterdir()] == ["CMakeCache.txt"]


@pytest.mark.parametrize(
    "key, value",
    [
        ("CMAKE_GENERATOR", "Unix Makefiles"),
        ("CMAKE_MAKE_PROGRAM", "/nowhere/ninja"),
        ("CMAKE_CXX_COMPILER", "/nowhere/c++"),
    ],
)
def test_another_generator_or_a_tool_that_is_gone(make_checkout, ports, key, value):
    checkout = make_checkout()
    passed(checkout.run(["scripts/demo", "--check"], env=ports))
    put_into_cache(checkout, key, value)
    passed(checkout.run(["scripts/demo", "--check"], env=ports))
    assert cached(checkout, key) != value


@pytest.mark.parametrize("how", ["moved", "copied"])
def test_checkout_elsewhere(make_checkout, ports, how):
    checkout = make_checkout()
    passed(checkout.run(["scripts/demo", "--check"], env=ports))
    elsewhere = checkout.base / "else where"
    if how == "moved":
        checkout.root.rename(elsewhere)
    else:
        shutil.copytree(checkout.root, elsewhere)
    checkout.root = elsewhere
    passed(checkout.run(["scripts/demo", "--check"], env=ports))
    assert cached(checkout, "CMAKE_HOME_DIRECTORY") == str(elsewhere)


def test_relative_folders_are_the_callers(make_checkout, ports):
    checkout = make_checkout(fakes={"dpkg-query": MISSING})
    env = {**ports, "S3GATE_DEMO_BUILD": "../programs", "S3GATE_DEMO_RUN": "it's a run, #1 {a}"}
    passed(checkout.run(["scripts/demo", "--check"], cwd=checkout.notes, env=env))
    assert (checkout.notes / env["S3GATE_DEMO_RUN"] / "access.log").stat().st_size > 0
    # Nothing was installed or built.
    assert not checkout.noted("cmake") and not (checkout.root / "build").exists()


def test_a_folder_without_the_programs(make_checkout, ports):
    checkout = make_checkout()
    said = refused(checkout.run(["scripts/demo"], env={**ports, "S3GATE_DEMO_BUILD": "nowhere"}))
    assert f"{checkout.root}/nowhere/s3gate does not exist" in said


@pytest.mark.parametrize("kind", ["listening", "overrun"])
def test_ports_taken(make_checkout, ports, kind):
    """All of them in one sentence, before minutes of building."""
    checkout = make_checkout()
    taken = [
        ("127.0.0.1", int(ports["S3GATE_DEMO_PORT"])),
        ("127.0.2.4", int(ports["S3GATE_DEMO_NODE_PORT"])),
        ("127.0.0.1", int(ports["S3GATE_DEMO_CONTROL_PORT"])),
    ]
    listeners, fillers = [], []
    for address in taken:
        listener = socket.socket()
        listener.bind(address)
        listener.listen(0)
        listeners.append(listener)
        for _ in range(4 if kind == "overrun" else 0):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(address)
            fillers.append(filler)
    said = refused(checkout.run(["scripts/demo"], env=ports))
    for name, address in zip(ports, taken[:1] + taken[1:]):
        assert f"{address[0]}:{address[1]}" in said and f"{name}=" in said
    assert not checkout.noted("cmake")
    for sock in (*listeners, *fillers):
        sock.close()
    # The advice can be typed verbatim.
    advice = dict(word.split("=") for word in said.split() if word.startswith("S3GATE_DEMO_"))
    assert all(0 < int(value) < 65536 for value in advice.values())


@pytest.mark.parametrize("value", ["http", "0", "65536", "-1", "9000 "])
def test_port_that_is_none(make_checkout, ports, value):
    said = refused(make_checkout().run(["scripts/demo"], env={**ports, "S3GATE_DEMO_PORT": value}))
    assert "S3GATE_DEMO_PORT=" in said and "1 to 65535" in said


def test_one_port_for_two(make_checkout, ports):
    env = {**ports, "S3GATE_DEMO_CONTROL_PORT": ports["S3GATE_DEMO_PORT"]}
    assert "choose two ports" in refused(make_checkout().run(["scripts/demo"], env=env))


USER = '#!/bin/sh\n[ "$1" = -u ] && echo 1000 || echo tester\n'


@pytest.mark.parametrize("sudo", ["none", "refuses"])
def test_packages_missing_without_sudo(make_checkout, ports, sudo):
    checkout = make_checkout("a place", fakes={"id": USER, "dpkg-query": MISSING})
    path = checkout.hide("sudo")
    if sudo == "refuses":
        checkout.fake("sudo", "#!/bin/sh\nexit 1\n")
    said = refused(checkout.run(["scripts/demo"], env={**ports, **path}))
    assert f'run "{checkout.root}/scripts/install-deps build" once as root' in said
    assert "libyaml-cpp-dev" in said
    assert not checkout.noted("cmake")


@root_only
@pytest.mark.parametrize("home", ["/nonexistent", None])
def test_ordinary_user_without_sudo(make_checkout, ports, home):
    """The packages are installed, so root is not needed."""
    checkout = make_checkout()
    path = checkout.hide("sudo")
    checkout.give_to("nobody")
    env = {**ports, **path, "HOME": home}
    passed(checkout.run(["scripts/demo", "--check"], env=env, **NOBODY))


@root_only
@pytest.mark.parametrize("of_root", ["build", "build/demo", "build/ccache/tmp", "build/tmp/x"])
def test_what_root_left_behind(make_checkout, ports, of_root):
    checkout = make_checkout()
    checkout.give_to("nobody")
    (checkout.root / of_root).mkdir(parents=True)
    for folder in (checkout.root / of_root).parents:
        if checkout.root / "build" in (folder, *folder.parents):
            shutil.chown(folder, "nobody")
    said = refused(checkout.run(["scripts/demo"], env=ports, **NOBODY))
    assert str(checkout.root / of_root) in said
    assert "remove it" in said
    assert not checkout.noted("cmake")


def test_configure_that_fails_shows_why(make_checkout, ports):
    """CMake says what the machine lacks; the sentence after it is ours."""
    checkout = make_checkout()
    lists = checkout.root / "CMakeLists.txt"
    text = lists.read_text(encoding="utf-8").replace("find_package(ZLIB", "find_package(Nowhere")
    lists.write_text(text, encoding="utf-8")
    done = checkout.run(["scripts/demo"], env=ports)
    assert done.returncode == 1
    assert "Nowhere" in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("demo: CMake could not configure")


def test_usage(make_checkout):
    checkout = make_checkout()
    done = checkout.run(["scripts/demo", "--help"])
    assert done.returncode == 0 and done.stdout.startswith("usage: scripts/demo")
    for arguments in (["--chekc"], ["--check", "more"], [""]):
        done = checkout.run(["scripts/demo", *arguments])
        assert done.returncode == 2 and done.stderr.startswith("usage: scripts/demo")
