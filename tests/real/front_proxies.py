"""Real proxies from Debian on configurations that the test writes: nginx and HAProxy."""

import pathlib
import shutil
import socket
import subprocess
import tempfile

from support_real import end_process, require_program, tail, wait_until

NGINX_MAIN = """
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


HAPROXY_MAIN = """
global
    maxconn 1000
defaults
    timeout connect 5s
    timeout client 60s
    timeout server 60s
"""


class _Front:
    """Runs when the constructor returns; `addresses` are those it has to accept on. A subclass says
    how it is started."""

    def __init__(self, addresses):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="s3gate-front-"))
        try:
            with open(self.dir / "stderr", "wb") as errors:
                self._process = subprocess.Popen(
                    self._command(), stdin=subprocess.DEVNULL, stdout=errors, stderr=errors
                )
        except BaseException:
            shutil.rmtree(self.dir, ignore_errors=True)
            raise
        try:
            for address in addresses:
                wait_until(lambda where=address: self._accepts(where), 10, f"connects to {address}")
        except BaseException:
            self.stop()
            raise

    def _command(self):
        raise NotImplementedError

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


class Nginx(_Front):
    """`http` is what its http block holds, `main` what stands before everything else."""

    def __init__(self, http, addresses, main=""):
        self._http, self._main = http, main
        super().__init__(addresses)

    def _command(self):
        config = self.dir / "nginx.conf"
        config.write_text(self._main + NGINX_MAIN.format(dir=self.dir, http=self._http))
        return [
            require_program("nginx"), "-p", self.dir, "-c", config, "-e", self.dir / "error.log"
        ]  # fmt: skip


class HAProxy(_Front):
    """`sections` are its frontends and backends."""

    def __init__(self, sections, addresses):
        self._sections = sections
        super().__init__(addresses)

    def _command(self):
        config = self.dir / "haproxy.cfg"
        config.write_text(HAPROXY_MAIN + self._sections)
        return [require_program("haproxy"), "-db", "-f", config]
