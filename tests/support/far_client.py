"""A TCP client by hand on another host, which is a TUN device in a network namespace: it chooses
when each packet of a handshake is sent."""

import ctypes
import fcntl
import os
import select
import shutil
import socket
import struct
import subprocess
import threading
import time

import pytest

CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h
FIN, SYN, RST, PUSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10


def checksum(data):
    """RFC 1071."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data + b"\0" * (len(data) % 2))[:])
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


class FarHost:
    """`prefix` is a command that becomes another one in the namespace, where `address` is its own
    and this host is a neighbour. Skips the test where that is not permitted."""

    address, _far = "10.77.0.1", "10.77.0.2"

    def __init__(self):
        if os.geteuid() != 0 or not shutil.which("ip") or not os.path.exists("/dev/net/tun"):
            pytest.skip("a TUN device in a namespace needs root, iproute2 and /dev/net/tun")
        self.name = f"s3gate-far-{os.getpid()}"
        self.prefix = ["ip", "netns", "exec", self.name]
        self._tun = -1
        try:
            self._ip("netns", "add", self.name)
            thread = threading.Thread(target=self._open_tun)
            thread.start()
            thread.join()
            self._ip("-n", self.name, "link", "set", "lo", "up")
            self._ip("-n", self.name, "addr", "add", f"{self.address}/24", "dev", "far")
            self._ip("-n", self.name, "link", "set", "far", "up")
        except subprocess.CalledProcessError as error:
            self.remove()
            pytest.skip(f"a TUN device is not permitted here: {error.stderr}")

    def _open_tun(self):
        """In a thread: a device belongs to the namespace of the thread that makes it."""
        with open(f"/run/netns/{self.name}", "rb") as space:
            if ctypes.CDLL(None).setns(space.fileno(), CLONE_NEWNET) != 0:
                return
        try:
            self._tun = os.open("/dev/net/tun", os.O_RDWR)
            fcntl.ioctl(self._tun, TUNSETIFF, struct.pack("16sH", b"far", IFF_TUN | IFF_NO_PI))
        except OSError:
            pass  # the device is missing, which the next command says

    @staticmethod
    def _ip(*words):
        subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=20)

    def send(self, source_port, port, sequence, acknowledged, flags, data=b""):
        ends = socket.inet_aton(self._far) + socket.inet_aton(self.address)
        head = struct.pack(
            "!HHIIBBHHH", source_port, port, sequence, acknowledged, 5 << 4, flags, 65535, 0, 0
        )
        length = len(head) + len(data)
        check = checksum(ends + struct.pack("!HH", socket.IPPROTO_TCP, length) + head + data)
        head = head[:16] + struct.pack("!H", check) + head[18:]
        outer = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 1, 0, 64, socket.IPPROTO_TCP, 0)
        outer = outer[:10] + struct.pack("!H", checksum(outer + ends)) + ends
        os.write(self._tun, outer + head + data)

    def receive(self, limit=5.0):
        """(flags, sequence number, data) of the next TCP packet; None if none comes in time."""
        end = time.monotonic() + limit
        while select.select([self._tun], [], [], max(0.0, end - time.monotonic()))[0]:
            packet = os.read(self._tun, 65536)
            if packet[0] >> 4 != 4 or packet[9] != socket.IPPROTO_TCP:
                continue
            segment = packet[(packet[0] & 15) * 4 :]
            (sequence,) = struct.unpack("!I", segment[4:8])
            return segment[13], sequence, segment[(segment[12] >> 4) * 4 :]
        return None

    def remove(self):
        if self._tun >= 0:
            os.close(self._tun)
        subprocess.run(["ip", "netns", "del", self.name], check=False, capture_output=True)
