"""Headers of the PROXY protocol (HAProxy's doc/proxy-protocol.txt), as balancers write them."""

import ipaddress
import struct

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL, PROXY = 0x20, 0x21
UNSPEC, TCP4, UDP4, TCP6, UDP6, UNIX = 0x00, 0x11, 0x12, 0x21, 0x22, 0x31


def line(source, destination, ports=(56224, 9000)):
    """A header of version 1."""
    family = "TCP6" if ":" in source else "TCP4"
    return f"PROXY {family} {source} {destination} {ports[0]} {ports[1]}\r\n".encode()


def block(command, family, rest=b""):
    """A header of version 2 around any bytes."""
    return SIGNATURE + bytes([command, family]) + struct.pack("!H", len(rest)) + rest


def addresses(source, destination, ports=(56224, 9000)):
    """The address block of version 2."""
    packed = [ipaddress.ip_address(text).packed for text in (source, destination)]
    return b"".join(packed) + struct.pack("!HH", *ports)


def vector(kind, value):
    """A TLV of version 2."""
    return bytes([kind]) + struct.pack("!H", len(value)) + value


def binary(source, destination, ports=(56224, 9000), vectors=b""):
    """A header of version 2."""
    family = TCP6 if ":" in source else TCP4
    return block(PROXY, family, addresses(source, destination, ports) + vectors)


def read_binary(reader):
    """Reads a header of version 2 from a support.wire.ByteReader. Returns the command, the family
    and the (source, destination, source port, destination port); None for LOCAL."""
    fixed = reader.exactly(16, "PROXY protocol header")
    assert fixed[:12] == SIGNATURE, fixed
    command, family, length = fixed[12], fixed[13], struct.unpack("!H", fixed[14:])[0]
    rest = reader.exactly(length, "PROXY protocol addresses")
    if command == LOCAL:
        assert (family, rest) == (UNSPEC, b"")
        return command, family, None
    size = {TCP4: 4, TCP6: 16}[family]
    assert length == 2 * size + 4, "no vectors are sent"
    ips = [str(ipaddress.ip_address(rest[at : at + size])) for at in (0, size)]
    return command, family, (*ips, *struct.unpack("!HH", rest[2 * size :]))
