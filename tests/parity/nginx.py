"""A real nginx on a configuration that the test writes."""

import pathlib
import shutil
import socket
import subprocess
import tempfile

from support_real import end_process, require_program, tail, wait_until

MAIN = """
worker_processes 1;
daemon off;
pid {dir}/nginx.pid;
error_log {dir}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    client_header_buffer_size 32k;
    large_client_header_buffers 8 32k;
    keepalive_requests 1000000;
    {http}
}}
"""


class Nginx:
    """Runs when the constructor returns; `addresses` are those it has to accept on."""

    def __init__(self, http, addresses):
        program = require_program("nginx")
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="s3gate-nginx-"))
        config = self.dir / "nginx.conf"
        config.write_text(MAIN.format(dir=self.dir, http=http))
        with open(self.dir / "stderr", "wb") as errors:
            self._process = subprocess.Popen(
                [program, "-p", self.dir, "-c", config, "-e", self.dir / "error.log"],
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
            )
        try:
            for address in addresses:
                wait_until(lambda where=address: self._accepts(where), 10, f"nginx on {address}")
        except BaseException:
            self.stop()
            raise

    def _accepts(self, address):
        assert self._process.poll() is None, tail(self.dir / "stderr") + tail(
            self.dir / "error.log"
        )
        host, port = address.rsplit(":", 1)
        try:
            socket.create_connection((host, int(port)), timeout=2).close()
        except OSError:
            return False
        return True

    def stop(self):
        end_process(self._process)
        shutil.rmtree(self.dir, ignore_errors=True)
