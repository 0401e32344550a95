"""A resolver of its own for one program: /etc/resolv.conf in a private mount namespace, and the
name server that it names."""

import os
import shutil
import socket
import struct
import subprocess
import threading

import pytest

NO_ERROR, SERVFAIL, NXDOMAIN, REFUSED = 0, 2, 3, 5


class NameServer:
    """Answers A questions from `answers` ({name: address or list of addresses, or a function that
    returns one for each question}); NXDOMAIN for others, `codes` ({name: code}) instead where a
    name is in it, without addresses, and nothing at all for names in `silent`."""

    def __init__(self, host):
        self.answers = {}
        self.codes = {}
        self.silent = set()
        self.asked = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.bind((host, 53))
        except OSError as error:
            self._socket.close()
            pytest.skip(f"no name server on port 53 here: {error}")
        self._socket.settimeout(0.05)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._end.is_set():
            try:
                question, peer = self._socket.recvfrom(2048)
            except TimeoutError:
                continue
            answer = self._answer_to(question)
            if answer:
                self._socket.sendto(answer, peer)

    def _answer_to(self, question):
        at, labels = 12, []
        while question[at]:
            labels.append(question[at + 1 : at + 1 + question[at]].decode().lower())
            at += 1 + question[at]
        name = ".".join(labels)
        (kind,) = struct.unpack(">H", question[at + 1 : at + 3])
        self.asked.append(name)
        if name in self.silent:
            return None
        code = self.codes.get(name)
        addresses = []
        if code is None:
            code = NO_ERROR if name in self.answers else NXDOMAIN
            if kind == 1 and code == NO_ERROR:
                addresses = self._addresses_of(name)
        flags = 0x8580 | code  # authoritative
        head = question[:2] + struct.pack(">HHHHH", flags, 1, len(addresses), 0, 0)
        records = [
            struct.pack(">HHHIH", 0xC00C, 1, 1, 1, 4) + socket.inet_aton(address)
            for address in addresses
        ]
        return head + question[12 : at + 5] + b"".join(records)

    def _addresses_of(self, name):
        answer = self.answers[name]
        if callable(answer):
            answer = answer()
        return [answer] if isinstance(answer, str) else answer

    def stop(self):
        self._end.set()
        self._thread.join()
        self._socket.close()


def resolver_prefix(folder, server):
    """A command that becomes another one for which only the name server at `server` exists. Skips
    the test if that is impossible."""
    if not shutil.which("unshare") or os.geteuid() != 0:
        pytest.skip("a mount namespace needs unshare (util-linux) and root")
    resolv, switch, hosts = (folder / name for name in ("resolv", "nsswitch", "hosts"))
    resolv.write_text(f"nameserver {server}\noptions timeout:1 attempts:1\n")
    switch.write_text("hosts: files dns\n")
    hosts.write_text("127.0.0.1 localhost\n")
    mounts = "; ".join(
        f"mount --bind {source} {target}"
        for source, target in (
            (resolv, "/etc/resolv.conf"),
            (switch, "/etc/nsswitch.conf"),
            (hosts, "/etc/hosts"),
        )
    )
    command = ["unshare", "-m", "--propagation", "private"]
    command += ["sh", "-e", "-c", f'{mounts}; exec "$@"']
    trial = subprocess.run([*command, "sh", "true"], capture_output=True, check=False, text=True)
    if trial.returncode != 0:
        pytest.skip(f"mount namespaces are not permitted here: {trial.stderr.strip()}")
    return [*command, "sh"]
