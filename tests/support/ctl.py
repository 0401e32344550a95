"""The control socket of a daemon: as `s3gate ctl` uses it, and by hand."""

import json
import socket

from support.daemon import run_command
from support.waiting import DEADLINE

# Of a configuration: the daemon's folder is put into texts (support.daemon).
ADMIN = {"socket": "{dir}/ctl.sock"}


def socket_of(daemon):
    return str(daemon.dir / "ctl.sock")


def ctl(daemon, *words, **more):
    """`s3gate ctl --socket … WORDS` to its end."""
    return run_command("ctl", "--socket", socket_of(daemon), *words, **more)


def status_of(daemon):
    done = ctl(daemon, "status", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def connect(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)  # blocks while the queue is full, which a timeout would make an error
    sock.settimeout(DEADLINE)
    return sock


def read_all(sock):
    """What comes until the other side ends the connection, in whichever way."""
    out = b""
    try:
        while data := sock.recv(65536):
            out += data
    except ConnectionResetError:
        pass
    return out


def exchange(path, data):
    """Sends bytes and returns everything that is answered."""
    with connect(path) as sock:
        try:
            sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has answered before the end, and closed
        return read_all(sock)


def ask(path, method, target, body=""):
    """One request; returns the status and the parsed body (None where there is none)."""
    head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    answer, _, rest = exchange(path, (head + body).encode()).partition(b"\r\n\r\n")
    return int(answer.split()[1]), json.loads(rest) if rest else None
