"""Ten thousand exchanges on kept-alive connections allocate nothing.

Otherwise a string or a vector per request would return unnoticed: each costs a few per cent, and
memory that grows with the load.
"""

import mmap
import pathlib
import struct
import subprocess

import pytest
from support.checkout import ROOT
from support.daemon import binary
from support.lockstep import Backend, Lockstep

WIDTH = 4
ROUNDS = 2500  # of WIDTH exchanges
SHIM = ROOT / "tests" / "support" / "count_allocations.c"


@pytest.fixture
def counter(tmp_path):
    """The preloaded library, and a view of its two words."""
    program = pathlib.Path(binary()).read_bytes()
    if b"__asan_init" in program or b"__tsan_init" in program:
        # Sanitizers must be the first library, so the daemon would not start.
        pytest.skip("sanitizers bring their own allocator and take frames from the heap")
    library = tmp_path / "count_allocations.so"
    subprocess.check_call(["cc", "-O1", "-shared", "-fPIC", "-pthread", "-o", library, SHIM])
    words = tmp_path / "count"
    words.write_bytes(bytes(4096))
    with open(words, "r+b") as file, mmap.mmap(file.fileno(), 4096) as memory:
        yield {"LD_PRELOAD": str(library), "COUNT_ALLOCATIONS": str(words)}, memory


@pytest.mark.parametrize("method", ["GET", "PUT", "large PUT", "forwarded GET"])
def test_exchanges_allocate_nothing(counter, gate, method):
    environment, memory = counter
    backend = Backend()
    daemon = gate(
        [backend],
        top={"workers": 1, "metrics": {"buckets": 10}},
        daemon={"env": environment},
        backends={"keepalive": 64},
        balance={"salt": "x"},
        session_header="X-Session-ID",
        forwarded={"mode": "append", "trusted": ["127.0.0.1"]} if "forwarded" in method else {},
    )
    clients = Lockstep(daemon, backend, WIDTH)
    # Frames, buffers and vectors reach their size, and log blocks begin to circulate.
    for _ in range(500):
        clients.exchange(method)
    memory[8:16] = struct.pack("Q", 1)
    for _ in range(ROUNDS):
        clients.exchange(method)
    memory[8:16] = struct.pack("Q", 0)
    count = struct.unpack("Q", memory[0:8])[0]
    clients.close()
    backend.close()
    assert count == 0, f"{count} allocations in {ROUNDS * WIDTH} exchanges:\n{daemon.stderr}"


def test_the_counter_counts(counter, gate):
    """A new connection does allocate; a counter that sees nothing would prove nothing."""
    environment, memory = counter
    backend = Backend()
    daemon = gate([backend], top={"workers": 1}, daemon={"env": environment})
    memory[8:16] = struct.pack("Q", 1)
    clients = Lockstep(daemon, backend, 1)
    clients.exchange("GET")
    memory[8:16] = struct.pack("Q", 0)
    assert struct.unpack("Q", memory[0:8])[0] > 0
    clients.close()
    backend.close()
