"""The worker of each client, according to the kernel."""

import contextlib
import os
import re


def _read_link(path):
    with contextlib.suppress(OSError):
        return os.readlink(path)
    return ""


def workers_of(daemon):
    """{client's port: a number for the worker}. Every worker has its own epoll set, and the kernel
    tells its content."""
    folder = f"/proc/{daemon.process.pid}"
    port_of_inode = {}
    with open(f"{folder}/net/tcp", encoding="ascii") as table:
        for line in table.readlines()[1:]:
            fields = line.split()
            port_of_inode[fields[9]] = int(fields[2].rpartition(":")[2], 16)
    links = {number: _read_link(f"{folder}/fd/{number}") for number in os.listdir(f"{folder}/fd")}
    out = {}
    for number, link in links.items():
        if link != "anon_inode:[eventpoll]":
            continue
        with open(f"{folder}/fdinfo/{number}", encoding="ascii") as info:
            members = re.findall(r"^tfd:\s*(\d+)", info.read(), re.MULTILINE)
        for member in members:
            match = re.fullmatch(r"socket:\[(\d+)\]", links.get(member, ""))
            if match and match.group(1) in port_of_inode:
                out[port_of_inode[match.group(1)]] = int(number)
    return out
