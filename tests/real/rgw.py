"""A real S3 cluster for the tests: Ceph's RADOS gateway, several gateways that share one in-memory
store.

One monitor, one OSD with the memstore, no manager, N radosgw processes, each on a loopback address
of its own. Debian packages radosgw, ceph-mon and ceph-osd; root (the daemons insist on their own
directories). Up in a few seconds. """

import os
import pathlib
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import uuid

import pytest

from support_real import ADDRESSES, end_process, require, require_program, tail

ACCESS_KEY = "S3GATETESTACCESSKEY1"
SECRET_KEY = "s3gate/test+secret=key/for+the+local+cluster"

# The folder of classes as an absolute path: Debian 13's OSD looks below its working directory.
# cephx everywhere: without authentication the gateway hangs at its start. No cache in the gateways:
# with a cache, bucket changes wait half a minute for a gateway that was killed.
CONFIG = """
[global]
fsid = {fsid}
mon_initial_members = a
mon_host = [v2:{monitor}:3300,v1:{monitor}:6789]
public_addr = {monitor}
cluster_addr = {monitor}
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
keyring = {dir}/keyring
run_dir = {dir}
admin_socket = {dir}/$name.asok
pid_file =
log_file = {dir}/$name.log
mon_cluster_log_file = {dir}/cluster.log
crash_dir = {dir}
ms_bind_ipv6 = false
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pgp_num = 8
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
osd_class_dir = {classes}
osd_class_load_list = *
osd_class_default_list = *
osd_objectstore = memstore
osd_max_object_name_len = 2048
osd_data = {dir}/osd
memstore_device_bytes = 4G
mon_data = {dir}/mon
mon_data_avail_warn = 1
mon_data_avail_crit = 1
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 2000
paxos_propose_interval = 0.1
[client]
rgw_thread_pool_size = 64
rgw_cache_enabled = false
rgw_enable_usage_log = false
rgw_dynamic_resharding = false
rgw_override_bucket_index_max_shards = 1
rgw_num_control_oids = 2
rgw_rados_pool_pg_num_min = 8
"""


class Cluster:
    """Starts in the constructor; stop() ends every process by its pid and removes the directory."""

    def __init__(self, gateways=3):
        require(os.geteuid() == 0, "the Ceph daemons need root")
        require_program("ceph", "ceph-authtool", "ceph-mon", "ceph-osd", "radosgw", "radosgw-admin")
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="s3gate-rgw-"))
        self.config = self.dir / "ceph.conf"
        self.processes = {}
        self.addresses = [f"{ADDRESSES.take()}:9000" for _ in range(gateways)]
        try:
            self._start_store()
            self.start_gateway(0)  # the first one makes the pools; in parallel they would race
            self._wait_gateway(0)
            self._admin(
                "user",
                "create",
                "--uid",
                "tester",
                "--display-name",
                "Tester",
                "--access-key",
                ACCESS_KEY,
                "--secret",
                SECRET_KEY,
            )
            for number in range(1, gateways):
                self.start_gateway(number)
            for number in range(1, gateways):
                self._wait_gateway(number)
        except BaseException:
            self.stop()
            raise

    def _run(self, *command, timeout=60):
        done = subprocess.run(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode != 0:
            pytest.fail(
                f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stderr[-2000:]}"
            )
        return done.stdout.strip()

    def _ceph(self, *command):
        return self._run("ceph", "-c", self.config, "--connect-timeout", "20", *command)

    def _admin(self, *command):
        return self._run("radosgw-admin", "-c", self.config, *command)

    def _spawn(self, name, *command):
        with open(self.dir / f"{name}.out", "ab") as log:
            self.processes[name] = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _add_key(self, entity, *caps):
        keyring = self.dir / "keyring"
        create = [] if keyring.exists() else ["--create-keyring"]
        self._run("ceph-authtool", *create, keyring, "--gen-key", "-n", entity, *caps)

    def _start_store(self):
        classes = next(pathlib.Path("/usr/lib").glob("*/rados-classes"), None)
        require(classes is not None, "ceph-osd's classes are not installed")
        self.config.write_text(
            CONFIG.format(
                dir=self.dir, fsid=uuid.uuid4(), monitor=ADDRESSES.take(), classes=classes
            )
        )
        everything = [
            "--cap",
            "mon",
            "allow *",
            "--cap",
            "osd",
            "allow *",
            "--cap",
            "mgr",
            "allow *",
        ]
        self._add_key("mon.", "--cap", "mon", "allow *")
        self._add_key("client.admin", *everything)
        for number in range(len(self.addresses)):
            self._add_key(f"client.gateway{number}", *everything)
        (self.dir / "mon").mkdir()
        (self.dir / "osd").mkdir()
        self._run(
            "ceph-mon", "-c", self.config, "-i", "a", "--mkfs", "--keyring", self.dir / "keyring"
        )
        self._spawn("mon", "ceph-mon", "-c", self.config, "-i", "a", "-f")
        self._ceph("mon", "stat")
        osd_uuid = uuid.uuid4()
        number = self._ceph("osd", "new", osd_uuid)
        self._add_key(
            f"osd.{number}", "--cap", "mon", "allow profile osd", "--cap", "osd", "allow *"
        )
        self._ceph("auth", "add", f"osd.{number}", "-i", self.dir / "keyring")
        self._run("ceph-osd", "-c", self.config, "-i", number, "--mkfs", "--osd-uuid", osd_uuid)
        self._spawn("osd", "ceph-osd", "-c", self.config, "-i", number, "-f")
        self._poll("the OSD is up", lambda: "1 up" in self._ceph("osd", "stat"))

    def _poll(self, what, condition, timeout=60):
        deadline = time.monotonic() + timeout
        while not condition():
            for name, process in self.processes.items():
                if process.poll() is not None:
                    pytest.fail(
                        f"{name} ended with {process.returncode}\n{tail(self.dir / f'{name}.out')}"
                    )
            if time.monotonic() > deadline:
                pytest.fail(f"not within {timeout} s: {what}")
            time.sleep(0.1)

    def start_gateway(self, number):
        host, port = self.addresses[number].split(":")
        self._spawn(
            f"gateway{number}",
            "radosgw",
            "-c",
            self.config,
            "-n",
            f"client.gateway{number}",
            "-f",
            f"--rgw-frontends=beast endpoint={host}:{port}",
        )

    def _wait_gateway(self, number):
        def healthy():
            try:
                url = f"http://{self.addresses[number]}/swift/healthcheck"
                with urllib.request.urlopen(url, timeout=5) as response:
                    return response.status == 200
            except (urllib.error.URLError, OSError):
                return False

        self._poll(f"gateway {number} answers", healthy)

    def kill_gateway(self, number):
        """kill -9, and the process is gone when this returns."""
        process = self.processes.pop(f"gateway{number}")
        process.kill()
        process.wait(10)

    def revive(self):
        """Every gateway runs and answers when this returns."""
        for number in range(len(self.addresses)):
            process = self.processes.get(f"gateway{number}")
            if process is None or process.poll() is not None:
                self.start_gateway(number)
            self._wait_gateway(number)

    def stop(self):
        # The store ends last: a gateway without it would wait for it instead of ending.
        for process in reversed(list(self.processes.values())):
            if process.poll() is None:
                process.kill()
        for process in self.processes.values():
            end_process(process)
        shutil.rmtree(self.dir, ignore_errors=True)
