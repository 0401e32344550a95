"""Daemons that are upgraded."""

import pytest

from support.config import make_config, make_site
from support.ctl import ADMIN


@pytest.fixture(name="serve")
def serve_fixture(line, make_backend):
    """Starts the first process with one backend: (daemon, backend)."""

    def run(handler=None, main=None, environment=None, **site):
        backend = make_backend(handler) if handler else make_backend()
        config = make_config([make_site([backend], **site)], admin=ADMIN, **(main or {}))
        return line.start(config, env=environment), backend

    return run
