"""A client whose handshake with an address ends after a reload has taken the address away.

For the client the connection exists as soon as it has the SYN-ACK. Its last packet may come late:
from another continent, on a busy machine, or because the first one was lost. A reset then would be
a request that fails on account of a reload.
"""

import copy
import time

import pytest

from support.config import make_config, make_site
from support.far_client import ACK, PUSH, RST, SYN, FarHost

PORT, STAYS = 9100, 9101
FIRST = 1000  # of the client's sequence numbers


@pytest.fixture(name="far")
def far_fixture():
    host = FarHost()
    yield host
    host.remove()


def begin_handshake(far, source_port):
    """Returns the number that the client acknowledges."""
    far.send(source_port, PORT, FIRST, 0, SYN)
    flags, sequence, _ = far.receive()
    assert flags == SYN | ACK
    return sequence + 1


def test_it_is_served(start, far):
    page = {"path": "/page", "allow": ["0.0.0.0/0"]}
    site = make_site(["192.0.2.1:9"], health="off", status=page)
    site["listen"] = [f"{far.address}:{STAYS}", f"{far.address}:{PORT}"]
    daemon = start(make_config([site]), prefix=far.prefix, wait_ready=False)
    daemon.wait_stderr("ready: s3gate")
    next_sequence = begin_handshake(far, 5000)
    without = copy.deepcopy(daemon.config)
    without["sites"][0]["listen"] = [f"{far.address}:{STAYS}"]
    assert daemon.reload(without).startswith("reloaded: ")
    time.sleep(1.1)  # the SYN-ACK of a server is repeated after a second
    far.send(5000, PORT, FIRST + 1, next_sequence, ACK)
    far.send(5000, PORT, FIRST + 1, next_sequence, ACK | PUSH, b"GET /page HTTP/1.0\r\n\r\n")
    while not (packet := far.receive())[2]:
        assert not packet[0] & RST, "the client was reset"
    assert packet[2].startswith(b"HTTP/1.1 200 OK\r\n")
    # Whoever comes later is refused at once.
    far.send(5001, PORT, FIRST, 0, SYN)
    while (packet := far.receive())[0] != RST | ACK:
        pass
