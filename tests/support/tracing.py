"""strace at a running daemon."""

import contextlib
import shutil
import signal
import subprocess

import pytest

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


@contextlib.contextmanager
def traced(daemon, output, *options):
    """Follows all threads of the daemon with strace into `output`; yields its pid. Skips the test
    if tracing is not permitted."""
    strace = subprocess.Popen(
        ["strace", "-f", *options, "-p", str(daemon.process.pid), "-o", output],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = strace.stderr.readline()
        if "ttach" in line and "not permitted" in line:
            pytest.skip("this machine lets nobody trace")
        assert "attached" in line, line
        yield strace.pid
    finally:
        strace.send_signal(signal.SIGINT)
        strace.wait(30)
