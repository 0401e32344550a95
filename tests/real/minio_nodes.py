"""A real MinIO cluster for the tests: four nodes of one erasure set, as processes that can be
killed and restarted.

The server is $MINIO_BIN, or `minio` on PATH. No distribution packages it, so its absence skips the
tests everywhere. MinIO refuses loopback addresses in a container: the nodes have a network
namespace, its one address, and a port each. Root.
"""

import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

import pytest

from namespace import Namespace
from support_real import end_process, s3_site, tail, wait_until

NODES = 4
DRIVES = 2  # per node; parity EC:4, so five of the eight drives can write
ACCESS_KEY = "s3gate-tests"
SECRET_KEY = "s3gate/test+secret=key"
REGION = "us-east-1"
FIRST_PORT = 9001


def minio_binary():
    """The server's path; skips without one, also where a missing package would be a failure."""
    named = os.environ.get("MINIO_BIN", "")
    found = named or shutil.which("minio")
    if not found:
        pytest.skip("no MinIO server: MINIO_BIN does not name one, and none is on PATH")
    if not os.access(found, os.X_OK):
        pytest.fail(f"MINIO_BIN={named} is not an executable", pytrace=False)
    return found


def drives_folder():
    """In memory if possible: a drill does not measure this machine's disk."""
    shared = pathlib.Path("/dev/shm")
    place = shared if os.access(shared, os.W_OK) else None
    return pathlib.Path(tempfile.mkdtemp(prefix="s3gate-minio-", dir=place))


class Cluster:
    """Four nodes that write when the constructor returns; stop() ends them by their pids and
    removes what they stored."""

    def __init__(self):
        self._binary = minio_binary()
        self.dir = drives_folder()
        self._namespace = None
        self._processes = [None] * NODES
        try:
            self._namespace = Namespace()
            self.addresses = [f"{self._namespace.address}:{FIRST_PORT + n}" for n in range(NODES)]
            for number in range(NODES):
                self.start(number)
            self.wait_writable()
        except BaseException:
            self.stop()
            raise

    def _command(self, number):
        drives = [
            f"http://{address}{self.dir}/node{node}/drive{drive}"
            for node, address in enumerate(self.addresses)
            for drive in range(DRIVES)
        ]
        home = self.dir / f"node{number}"
        options = ["--address", self.addresses[number], "--certs-dir", str(home / "certs")]
        return [*self._namespace.prefix, self._binary, "server", "--quiet", *options, *drives]

    def start(self, number):
        home = self.dir / f"node{number}"
        home.mkdir(exist_ok=True)
        with open(self.log(number), "ab") as log:
            self._processes[number] = subprocess.Popen(
                self._command(number),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={
                    "PATH": os.environ.get("PATH", ""),
                    "HOME": str(home),
                    "MINIO_ROOT_USER": ACCESS_KEY,
                    "MINIO_ROOT_PASSWORD": SECRET_KEY,
                    "MINIO_STORAGE_CLASS_STANDARD": "EC:4",
                    "MINIO_CI_CD": "1",  # allows drives on the root file system
                    "MINIO_BROWSER": "off",
                    "MINIO_UPDATE": "off",
                },
            )

    def log(self, number):
        return self.dir / f"node{number}.log"

    def _is_writable(self, address):
        try:
            with urllib.request.urlopen(f"http://{address}/minio/health/cluster", timeout=5) as got:
                return got.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def wait_writable(self, timeout=90):
        """Waits until every node reports that the cluster writes. After a restart some may still
        refuse to."""

        def ready():
            for number, process in enumerate(self._processes):
                if process is None or process.poll() is not None:
                    pytest.fail(f"node {number} is not running:\n{tail(self.log(number))}")
            return all(self._is_writable(address) for address in self.addresses)

        wait_until(ready, timeout, "all nodes write", 0.2)

    def kill(self, number):
        """kill -9; the process is gone when this returns."""
        self._processes[number].kill()
        self._processes[number].wait(10)

    def restart_all(self, which=signal.SIGTERM, start_when=lambda: True):
        """Ends all nodes at once and restarts each when it has ended and `start_when` is true, like
        `mc admin service restart` or a loop over all hosts. Returns the time of the begin and the
        time at which the last node was started."""
        begun = time.monotonic()
        for process in self._processes:
            process.send_signal(which)
        left = set(range(NODES))

        def started():
            ended = [number for number in left if self._processes[number].poll() is not None]
            if start_when():
                for number in ended:
                    self.start(number)
                    left.discard(number)
            return not left

        wait_until(started, 60, "all nodes ended and were started", 0.01)
        return begun, time.monotonic()

    def stop(self):
        for process in self._processes:
            if process is not None and process.poll() is None:
                process.kill()
        for process in self._processes:
            if process is not None:
                end_process(process)
        if self._namespace is not None:
            self._namespace.remove()
        shutil.rmtree(self.dir, ignore_errors=True)


def site(cluster, listen, **extra):
    """The site of docs/config.md with every default: checks of /minio/health/ready among them."""
    return s3_site(
        "minio", listen, cluster.addresses, balance={"salt": "a-salt-for-tests"}, **extra
    )
