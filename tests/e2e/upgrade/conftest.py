"""Daemons whose binary can be replaced."""

import pathlib
import shutil
import tempfile

import pytest

from support.config import make_config, make_site
from support.ctl import ADMIN
from support.upgrade import Line, adopt_orphans


@pytest.fixture(name="line")
def line_fixture(start):
    adopt_orphans()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="s3gate-upgrade-", dir="/tmp"))
    folder.chmod(0o755)  # also for a daemon that drops to another user
    line = Line(start, folder)
    yield line
    line.finish()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(name="serve")
def serve_fixture(line, make_backend):
    """Starts the first process with one backend: (daemon, backend)."""

    def run(handler=None, main=None, environment=None, **site):
        backend = make_backend(handler) if handler else make_backend()
        config = make_config([make_site([backend], **site)], admin=ADMIN, **(main or {}))
        return line.start(config, env=environment), backend

    return run
