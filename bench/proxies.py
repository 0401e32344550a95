"""The contenders: how each proxy is configured and started so that all do the same work.

Every proxy listens on 127.0.0.1, spreads over the six origins by consistent hashing (sessionid,
else uploadId, else a fingerprint of the client), keeps connections on both sides, sets the
forwarded headers, echoes the key, and writes one JSON line a request. """

import dataclasses
import json
import os
import pathlib
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ORIGIN_PORT = 9000


def origins(count):
    """Addresses of this number of origins, as src/origin.cpp listens on them."""
    return [f"127.0.{1 + n // 256}.{n % 256}:{ORIGIN_PORT}" for n in range(1, count + 1)]


ORIGINS = origins(6)
BUILT_IN = ["nginx", "nginx-tuned", "nginx-lua", "haproxy", "haproxy-splice", "direct"]
WHEN_ASKED = ["floor"]  # src/floor.cpp: the kernel's cost
LUA_MODULE = pathlib.Path("/usr/lib/nginx/modules/ngx_http_lua_module.so")
DEFAULT_USER = "nobody"


@dataclasses.dataclass
class Settings:
    """Settings that all contenders share in this run."""

    directory: pathlib.Path
    data: pathlib.Path
    workers: int
    pinned: bool
    access_log: bool
    upstream_keepalive: int
    user: str = DEFAULT_USER
    origins: list = dataclasses.field(default_factory=lambda: list(ORIGINS))
    connections: int = 10240  # that every proxy is made ready for

    @property
    def programs(self):
        """Folder of the bench's own programs (src/), compiled for this run."""
        return self.directory / "bin"


@dataclasses.dataclass
class Proxy:
    """A running contender; `pid` is the root of its processes, None for no proxy."""

    name: str
    host: str
    port: int
    pid: int | None = None
    process: subprocess.Popen | None = None
    pid_file: pathlib.Path | None = None

    def signal_stop(self):
        if self.pid_file is not None:
            try:
                os.kill(int(self.pid_file.read_text()), signal.SIGTERM)
            except (OSError, ValueError):
                pass
        elif self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def wait_stopped(self, timeout=5):
        if self.process is None:
            return
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(timeout)


@dataclasses.dataclass
class Candidate:
    """A proxy from the command line; `port` is set if its own configuration fixes it."""

    command: str
    port: int | None = None
    config: str = ""


def why_missing(name):
    """The reason why a built-in contender cannot be started on this machine; empty if it can."""
    program = name.split("-")[0]
    if program in ("nginx", "haproxy") and shutil.which(program) is None:
        return f"{program} is not installed"
    if name == "nginx-lua" and not LUA_MODULE.exists():
        return "libnginx-mod-http-lua is not installed"
    return ""


def pin(settings, core):
    return ["taskset", "-c", str(core)] if settings.pinned else []


class Launcher:
    """Starts contenders one after the other, each in its own folder and on its own port."""

    def __init__(self, settings, candidates, s3gate, base_port):
        self._settings = settings
        self._candidates = candidates
        self._s3gate = s3gate
        self._port = base_port

    def start(self, name):
        if name == "direct":
            return Proxy(name, "127.0.1.1", ORIGIN_PORT)
        self._port += 1
        folder = self._settings.directory / name
        folder.mkdir(parents=True)
        if name == "floor":
            return self._start_floor(name, folder)
        log = self._settings.data / f"log-{name}.json"
        if name in self._candidates:
            return self._start_candidate(name, folder, log)
        if name in self._s3gate:
            return self._start_s3gate(name, folder, log)
        if name.startswith("nginx"):
            return self._start_nginx(name, folder, log)
        if name.startswith("haproxy"):
            return self._start_haproxy(name, folder, log)
        sys.exit(f"no contender is called {name}")

    def _fill(self, template, folder, values):
        """Writes conf/TEMPLATE.tmpl into the folder with @NAME@ replaced."""
        text = (HERE / "conf" / f"{template}.tmpl").read_text()
        values = {"DIR": folder, "PORT": self._port, "WORKERS": self._settings.workers, **values}
        for key, value in values.items():
            text = text.replace(f"@{key}@", str(value))
        path = folder / template
        path.write_text(text)
        return path

    def _start_floor(self, name, folder):
        command = [self._settings.programs / "floor", self._port, ",".join(self._settings.origins)]
        return self._spawn(name, self._port, command, os.devnull, folder)

    def _start_nginx(self, name, folder, log):
        settings = self._settings
        tuned, lua = name == "nginx-tuned", name == "nginx-lua"
        buffered = " buffer=64k flush=1s" if tuned else ""
        # Common settings of nginx administrators for large objects.
        buffers = (
            "proxy_buffer_size 256k; proxy_buffers 4 256k; proxy_busy_buffers_size 512k; "
            "client_body_buffer_size 256k;"
        )
        config = self._fill(
            "nginx-lua.conf" if lua else "nginx.conf",
            folder,
            {
                "SERVERS": " ".join(f"server {origin};" for origin in settings.origins),
                "CONNECTIONS": settings.connections,
                "FILES": min(
                    2 * settings.connections, resource.getrlimit(resource.RLIMIT_NOFILE)[1]
                ),
                "UPKEEP": 128 if tuned else settings.upstream_keepalive,
                "REUSEPORT": "reuseport" if settings.workers > 1 else "",
                "ACCESS_LOG": f"{log} json{buffered}" if settings.access_log else "off",
                "BUFFERS": buffers if tuned else "",
            },
        )
        if lua:
            shutil.copytree(HERE / "conf" / "lua", folder / "lua")
        subprocess.check_call(
            [*pin(settings, 0), "nginx", "-p", folder, "-c", config, "-e", folder / "error.log"]
        )
        pid_file = folder / "nginx.pid"
        for _ in range(100):
            if pid_file.exists() and pid_file.read_text().strip():
                break
            time.sleep(0.02)
        return Proxy(name, "127.0.0.1", self._port, int(pid_file.read_text()), pid_file=pid_file)

    def _start_haproxy(self, name, folder, log):
        settings = self._settings
        splice, logs = name == "haproxy-splice", settings.access_log
        config = self._fill(
            "haproxy.cfg",
            folder,
            {
                "SERVERS": "\n".join(
                    f"  server s{number} {origin}"
                    for number, origin in enumerate(settings.origins, 1)
                ),
                "CONNECTIONS": settings.connections,
                "LOG_TARGET": "log stdout len 4096 format raw local0 info" if logs else "",
                "LOG": "log global" if logs else "",
                "PIPES": "maxpipes 512\n  tune.pipesize 1048576" if splice else "",
                "SPLICE": (
                    "option splice-auto\n  option splice-request\n  option splice-response"
                    if splice
                    else ""
                ),
            },
        )
        return self._spawn(
            name, self._port, ["haproxy", "-db", "-f", config], log if logs else os.devnull, folder
        )

    def _start_s3gate(self, name, folder, log):
        """Unprivileged, because the kernel gives such a process fewer and smaller pipes."""
        settings = self._settings
        target = "off"
        if settings.access_log:
            target = str(log)
            log.touch()
            log.chmod(0o666)
        (folder / "s3gate.yaml").write_text(
            json.dumps(
                {
                    "workers": settings.workers,
                    "include": ["site.yaml"],
                    "limits": {"connections": settings.connections},
                    "log": {"level": "info", "target": "stderr"},
                    "access_log": {"target": target},
                },
                indent=1,
            )
        )
        (folder / "site.yaml").write_text(
            json.dumps(
                {
                    "name": "bench",
                    "type": "s3",
                    "listen": [f"127.0.0.1:{self._port}"],
                    "balance": {"method": "ketama", "salt": "ZRVdfTSDRTvadFAd"},
                    "backends": {"servers": settings.origins, "keepalive": 128},
                    "health": {"path": "/minio/health/ready"},
                    "session_header": "X-Session-ID",
                },
                indent=1,
            )
        )
        command = [self._s3gate[name], "--config", str(folder / "s3gate.yaml")]
        if settings.user != "root" and os.geteuid() == 0:
            drop = ["setpriv", f"--reuid={settings.user}", "--regid=nogroup", "--clear-groups"]
            command = [*drop, *command]
        return self._spawn(name, self._port, command, folder / "out", folder)

    def _start_candidate(self, name, folder, log):
        settings, candidate = self._settings, self._candidates[name]
        port = candidate.port or self._port
        command = candidate.command.format(
            port=port,
            workers=settings.workers,
            config=candidate.config,
            log=log if settings.access_log else os.devnull,
            origins=",".join(settings.origins),
            dir=folder,
        )
        return self._spawn(name, port, shlex.split(command), folder / "out", folder)

    def _spawn(self, name, port, command, output, folder):
        # Opened for appending, so the log can be truncated between rounds.
        with open(output, "ab") as out, open(folder / "errors", "wb") as errors:
            process = subprocess.Popen(
                [*pin(self._settings, 0), *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
                cwd=folder,
            )
        return Proxy(name, "127.0.0.1", port, process.pid, process)
