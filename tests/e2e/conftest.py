"""Fixtures: every daemon and backend a test makes is stopped and checked when the test ends."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support.backend import ScriptedBackend, answer_ok  # noqa: E402
from support.checkout import ROOT  # noqa: E402
from support.config import make_config, make_site  # noqa: E402
from support.daemon import Daemon, binary  # noqa: E402
from support.names import NameServer, resolver_prefix  # noqa: E402
from support.upgrade import Line, adopt_orphans  # noqa: E402


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if call.when == "call":
        item.call_failed = outcome.get_result().failed


@pytest.fixture
def make_backend():
    """Makes backends; an ambiguous request at any of them fails the test."""
    made = []

    def make(handler=answer_ok, name=None, host="127.0.0.1", **more):
        made.append(ScriptedBackend(handler, name or f"b{len(made) + 1}", host, **more))
        return made[-1]

    yield make
    for backend in made:
        backend.stop()
    problems = [problem for backend in made for problem in backend.problems]
    assert not problems, "\n".join(problems)


@pytest.fixture
def start(request):
    """Starts a daemon from a whole configuration."""
    made = []

    def run(config, **more):
        made.append(Daemon(config, **more))
        return made[-1]

    yield run
    errors = []
    for daemon in made:
        try:
            daemon.finish(failed=getattr(request.node, "call_failed", True))
        except AssertionError as error:
            errors.append(str(error))
    assert not errors, "\n".join(errors)


@pytest.fixture
def gate(start):
    """Starts a daemon with one site before the given backends: gate([b1, b2], retry={...},
    top={...})."""

    def run(backends, /, top=None, daemon=None, **site):
        return start(make_config([make_site(backends, **site)], **(top or {})), **(daemon or {}))

    return run


@pytest.fixture
def one(make_backend, gate):
    """The usual stage: one backend with a handler, one daemon before it. Returns (daemon, backend).
    """

    def run(handler=answer_ok, **site):
        backend = make_backend(handler)
        return gate([backend], **site), backend

    return run


@pytest.fixture(name="names")
def names_fixture(request):
    """A name server of the test's own at SERVER of its file."""
    server = NameServer(request.module.SERVER)
    yield server
    server.stop()


@pytest.fixture(name="prefix")
def prefix_fixture(request, tmp_path):
    """A command that becomes another one for which only the name server at SERVER exists."""
    return resolver_prefix(tmp_path, request.module.SERVER)


@pytest.fixture(name="line")
def line_fixture(start):
    """Daemons whose binary can be replaced."""
    adopt_orphans()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="s3gate-upgrade-", dir="/tmp"))
    folder.chmod(0o755)  # also for a daemon that drops to another user
    line = Line(start, folder)
    yield line
    line.finish()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(name="hang")
def hang_fixture(tmp_path):
    """The environment of a daemon whose calls can hang (hang_calls.c), and the file that makes them
    hang while it exists."""
    program = pathlib.Path(binary()).read_bytes()
    if b"__asan_init" in program or b"__tsan_init" in program:
        pytest.skip("a sanitizer must be the first library")
    library, switch = tmp_path / "hang_calls.so", tmp_path / "hang"
    source = ROOT / "tests" / "support" / "hang_calls.c"
    subprocess.check_call(["cc", "-O1", "-shared", "-fPIC", "-o", library, source])
    yield {"LD_PRELOAD": str(library), "HANG_WHILE": str(switch)}, switch
    switch.unlink(missing_ok=True)


def pytest_sessionstart(session):
    del session
    if "S3GATE_BIN" not in os.environ:
        raise pytest.UsageError("S3GATE_BIN must name the s3gate program")
