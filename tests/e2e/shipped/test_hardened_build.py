"""The program has the protections that docs/security.md promises.

They are build flags, and flags get lost: by a new target, a packager's CXXFLAGS, an optimisation
level that disables them. Only the executable proves them.
"""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

from support.daemon import binary


def readelf(*arguments):
    if not shutil.which("readelf"):
        pytest.skip("readelf (binutils) is not installed")
    done = subprocess.run(
        ["readelf", "--wide", *arguments, binary()],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "LC_ALL": "C"},
    )
    return done.stdout


@pytest.fixture(name="symbols", autouse=True)
def symbols_fixture():
    """The library symbols that it uses; sanitizer builds bring their own and are skipped."""
    symbols = readelf("--dyn-syms")
    if "__asan_init" in symbols or "__tsan_init" in symbols:
        pytest.skip("a sanitizer build: hardening flags and sanitizers exclude each other")
    return set(re.findall(r"\bUND (\w+)(?:@\S+)?", symbols))


def test_position_independent():
    assert re.search(r"Type:\s+DYN", readelf("--file-header"))
    assert re.search(r"FLAGS_1\).*\bPIE\b", readelf("--dynamic"))


def test_full_relro():
    """The tables of addresses are read-only before the first request."""
    assert "GNU_RELRO" in readelf("--program-headers")
    dynamic = readelf("--dynamic")
    assert re.search(r"FLAGS\).*BIND_NOW", dynamic) or re.search(r"FLAGS_1\).*\bNOW\b", dynamic)


def test_no_executable_stack_and_nothing_writable_and_executable():
    segments = readelf("--program-headers")
    (stack,) = re.findall(r"GNU_STACK\s+(?:0x\w+\s+){5}([RWE ]{3})", segments)
    assert stack.strip() == "RW"
    loads = re.findall(r"LOAD\s+(?:0x\w+\s+){5}([RWE ]{3})", segments)
    assert loads and not [flags for flags in loads if "W" in flags and "E" in flags]


def test_stack_protector(symbols):
    assert "__stack_chk_fail" in symbols


def test_fortified(symbols):
    """_FORTIFY_SOURCE is in effect for our code: every build has memcpy() of variable length.
    Without optimisation the macro silently does nothing."""
    checked = {name for name in symbols if name.endswith("_chk")} - {"__stack_chk_fail"}
    assert "__memcpy_chk" in checked or "__snprintf_chk" in checked, checked


def test_control_flow_protection():
    """Our functions begin with the mark for targets of indirect branches. The linker sets the mark
    of the whole program (IBT, SHSTK in its notes) only if all objects have it, including the C
    library's start files. Debian 12's lack it, so the code is examined."""
    if not re.search(r"Machine:\s+.*X86-64", readelf("--file-header")):
        pytest.skip("another architecture")
    if re.search(r"x86 feature: IBT, SHSTK", readelf("--notes")):
        return
    rows = re.findall(
        r"^\s+\d+: (\w+)\s+\d+ FUNC\s+GLOBAL\s+\w+\s+\d+ (_ZNK?6s3gate\w+)",
        readelf("--symbols"),
        re.MULTILINE,
    )
    if not rows:
        pytest.skip("stripped: nothing tells where our functions begin")
    assert len(rows) > 100
    # The code's place in the file: the executable segment's offset and address.
    ((offset, address),) = re.findall(
        r"LOAD\s+(0x\w+) (0x\w+) .* R E ", readelf("--program-headers")
    )
    shift = int(offset, 16) - int(address, 16)
    image = pathlib.Path(binary()).read_bytes()
    endbr64 = b"\xf3\x0f\x1e\xfa"
    bare = [name for at, name in rows if image[int(at, 16) + shift :][:4] != endbr64]
    assert not bare


def test_no_search_path_for_libraries():
    """Libraries are never loaded from a build folder."""
    dynamic = readelf("--dynamic")
    assert "RPATH" not in dynamic and "RUNPATH" not in dynamic
