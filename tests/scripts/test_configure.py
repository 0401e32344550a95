"""CMake's options: warnings are errors only in the developers' presets; one sentence names what the
tests lack.

A compiler newer than the code has new warnings; an operator's build must not fail on one.
"""

import json
import re
import shutil
import subprocess

import pytest

from support.checkout import LONG, ROOT


def commands(make_checkout, *options):
    """The compile commands of a configuration of a copy of the checkout."""
    checkout = make_checkout()
    build = checkout.base / "out"
    done = subprocess.run(
        [shutil.which("cmake"), *options, "-S", str(checkout.root), "-B", str(build)],
        cwd=checkout.root,
        env=checkout.environment({}),
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    text = (build / "compile_commands.json").read_text(encoding="utf-8")
    return [entry["command"] for entry in json.loads(text)]


OFF = "-DS3GATE_TESTS=OFF"


@pytest.mark.parametrize(
    "options, errors",
    [
        (["--preset", "dev", OFF], True),
        (["--preset", "asan", OFF], True),
        (["--preset", "tsan", OFF], True),
        (["--preset", "release", OFF], False),
        (["--preset", "demo"], False),
        (["-G", "Ninja", OFF], False),
    ],
)
def test_only_in_the_developers_presets(make_checkout, options, errors):
    for command in commands(make_checkout, *options):
        assert bool(re.search(r"\s-Werror\s", command)) == errors
        assert "-Wall" in command and "-Wextra" in command


def test_an_operators_build_writes_no_compiler_cache(make_checkout):
    """The cache would be in HOME, which need not be writable."""
    for command in commands(make_checkout, "--preset", "release", OFF):
        assert "ccache" not in command


def test_tests_without_googlemock_say_what_to_do(tmp_path):
    """A machine that once built another project may have libgtest-dev without libgmock-dev."""
    for found, missing in ((["gtest_main"], "GoogleMock"), (["gtest_main", "gmock"], "pytest")):
        project = tmp_path / missing
        (project / "cmake").mkdir(parents=True)
        targets = "".join(f"add_library(GTest::{name} INTERFACE IMPORTED)\n" for name in found)
        (project / "cmake/GTestConfig.cmake").write_text(targets)
        (project / "CMakeLists.txt").write_text(
            "cmake_minimum_required(VERSION 3.25)\nproject(try LANGUAGES NONE)\n"
            f"include({ROOT}/tests/CMakeLists.txt)\n"
        )
        done = subprocess.run(
            [
                *("cmake", "-G", "Ninja", "-S", str(project), "-B", str(project / "out")),
                *(f"-DGTest_DIR={project}/cmake", "-DS3GATE_PYTHON=/nowhere/python3"),
            ],
            capture_output=True,
            text=True,
            timeout=LONG,
            check=False,
        )
        said = " ".join(done.stderr.split())
        assert done.returncode != 0
        assert said.count("CMake Error") == 1 and missing in said
        assert "run scripts/install-deps test, or build without them (-DS3GATE_TESTS=OFF)" in said
