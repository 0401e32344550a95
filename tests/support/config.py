"""Configurations for tests: a small YAML writer, free ports, and a site with short timeouts."""

import copy
import errno
import fcntl
import json
import pathlib
import random
import re
import socket
import tempfile

# Ports that this process has claimed, each with the lock that keeps other test processes away.
_given = {}
_LOCKS = pathlib.Path(tempfile.gettempdir()) / "s3gate-test-ports"
PLAIN = re.compile(r"^(off|auto|[a-z][a-z_]*|[0-9]+(ms|s|m|h|KiB|MiB|GiB)?)$")
YAML_WORDS = {"true", "false", "yes", "no", "on", "null", "y", "n"}


def _first_ephemeral_port():
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as limits:
        return int(limits.read().split()[0])


def _lock(port):
    """Claims a port among all test processes of this machine until this one ends; None if another
    one has it."""
    _LOCKS.mkdir(mode=0o777, exist_ok=True)
    try:
        handle = open(_LOCKS / str(port), "ab")  # pylint: disable=consider-using-with
    except PermissionError:
        return None  # another user's
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        return None
    return handle


def free_port(host="127.0.0.1"):
    """A port without a listener: bind, note, close. Below the ports that the kernel gives to
    outgoing connections (one of those may take it before the daemon listens), and unique among test
    processes: two daemons on one port would share its clients."""
    lowest, highest = 10000, _first_ephemeral_port() - 1
    while True:
        port = random.randint(lowest, highest)
        if port in _given:
            continue
        handle = _lock(port)
        if handle is None:
            continue
        with socket.socket(
            socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM
        ) as sock:
            try:
                sock.bind((host, port))
            except OSError as error:
                handle.close()
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
        _given[port] = handle
        return port


def dead_address(host="127.0.0.1"):
    """An address where connects are refused."""
    return f"{host}:{free_port(host)}"


class Blackhole:
    """An address where connects never complete: a listener with a full accept queue drops further
    SYNs."""

    def __init__(self, host="127.0.0.1"):
        self._listener = socket.socket()
        self._listener.bind((host, 0))
        self._listener.listen(0)
        self.address = "%s:%d" % self._listener.getsockname()
        self._fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            try:
                filler.connect(self._listener.getsockname())
            except BlockingIOError:
                pass
            self._fillers.append(filler)

    def close(self):
        for sock in self._fillers:
            sock.close()
        self._listener.close()


def merge(base, changes):
    """Merges mappings deeply; other values replace."""
    out = copy.deepcopy(base)
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(out.get(key), dict):
            out[key] = merge(out[key], value)
        else:
            out[key] = copy.deepcopy(value)
    return out


def make_site(backends, /, listen=None, **changes):
    """A site before `backends` (ScriptedBackend, address text or server mapping). Active checks are
    off unless asked for."""
    servers = [getattr(backend, "address", backend) for backend in backends]
    site = {
        "name": "test",
        "listen": [listen or f"127.0.0.1:{free_port()}"],
        "balance": {"salt": "pepper"},
        "backends": {"servers": servers},
        "health": "off",
        "timeouts": {
            "connect": "2s",
            "client_head": "20s",
            "client_idle": "60s",
            "client_body": "20s",
            "client_write": "20s",
            "backend_head": "20s",
            "backend_body": "20s",
            "tunnel_idle": "60s",
        },
    }
    return merge(site, changes)


# Fast checks with a long timeout: a busy machine must not take a healthy backend down.
FAST_HEALTH = {"interval": "100ms", "timeout": "2s", "fall": 2, "rise": 2}


def make_config(sites, **changes):
    config = {"workers": 2, "shutdown_timeout": "10s", "log": {"level": "info"}, "sites": sites}
    return merge(config, changes)


def _scalar(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if PLAIN.match(value) and value not in YAML_WORDS:
        return value
    return json.dumps(value)


def to_yaml(value, indent=0):
    """Block-style YAML of mappings, lists and scalars."""
    pad = " " * indent
    out = []
    if isinstance(value, dict):
        if not value:
            return pad + "{}\n"
        for key, item in value.items():
            name = key if re.match(r"^[A-Za-z_][\w-]*$", key) else json.dumps(key)
            if isinstance(item, (dict, list)) and item:
                out.append(f"{pad}{name}:\n{to_yaml(item, indent + 2)}")
            else:
                empty = {dict: "{}", list: "[]"}.get(type(item))
                out.append(f"{pad}{name}: {empty or _scalar(item)}\n")
    else:
        for item in value:
            if isinstance(item, (dict, list)):
                block = to_yaml(item, indent + 2)
                out.append(f"{pad}- {block.lstrip()}")
            else:
                out.append(f"{pad}- {_scalar(item)}\n")
    return "".join(out)
