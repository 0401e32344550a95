"""The addresses of admin.listen, as a load balancer asks them."""

import contextlib
import json
import re
import socket

from support.client import split_address
from support.config import free_port
from support.waiting import DEADLINE


def admin_at(*addresses, **more):
    """Of a configuration: `admin`, with the command socket (support.ctl)."""
    listen = {"listen": list(addresses)} if addresses else {}
    return {"socket": "{dir}/ctl.sock", **listen, **more}


def free_address(host="127.0.0.1"):
    return f"[{host}]:{free_port(host)}" if ":" in host else f"{host}:{free_port(host)}"


def send(address, data):
    """Sends bytes and returns all that is answered; raises OSError where no answer comes."""
    with socket.create_connection(split_address(address), DEADLINE) as sock:
        sock.sendall(data)
        out = b""
        while some := sock.recv(65536):
            out += some
    if not out:
        raise ConnectionResetError("closed without an answer")
    return out


def ask(address, target="/healthz", method="GET", fields=(), version="1.1", host=None):
    """One request: (status, fields in lower case, parsed body or None). `host`: None is the
    address; "" is no such field."""
    host = address if host is None else host
    lines = [f"{method} {target} HTTP/{version}", *([f"Host: {host}"] if host else []), *fields]
    head, _, body = send(address, "\r\n".join([*lines, "", ""]).encode()).partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    pairs = [line.partition(": ")[::2] for line in rest]
    return (
        int(first.split()[1]),
        {name.lower(): value for name, value in pairs},
        json.loads(body) if body else None,
    )


def health(address, query=""):
    """(status, reason)"""
    status, _, body = ask(address, f"/healthz{query}")
    return status, body["reason"]


@contextlib.contextmanager
def taken_addresses(count):
    """Those of another process."""
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        yield ["127.0.0.1:%d" % server.getsockname()[1] for server in servers]


def is_refused(address):
    try:
        socket.create_connection(split_address(address), DEADLINE).close()
    except ConnectionRefusedError:
        return True
    return False


def ports_of(daemon):
    """Those that its last line "ready" says."""
    ready = re.findall(r"\] ready: .*, admin on (.*)", daemon.stderr)[-1]
    return ready.split(", ")
