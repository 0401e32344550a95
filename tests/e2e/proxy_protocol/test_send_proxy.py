"""send_proxy: each connection to a backend names the client of all its requests.

Without it a backend that believes the header would take one client's requests for another's, or
refuse connections and checks that lack one.
"""

import ipaddress

import pytest

from support import proxy_protocol as pp
from support import wire
from support.backend import ScriptedBackend, answer_ok
from support.config import FAST_HEALTH, dead_address, free_port, make_config, make_site
from support.waiting import wait_until

BALANCER = "127.0.11.1"
A, B = "127.0.14.1", "127.0.14.2"
SEND = {"send_proxy": "v2"}


class NamedBackend(ScriptedBackend):
    """Every connection begins with a header; `connection.named` is what it says."""

    def _serve(self, connection):
        try:
            command, _, connection.named = pp.read_binary(connection.reader)
            assert (command == pp.LOCAL) == (connection.named is None)
        except (wire.Truncated, OSError):
            connection.close()
            return
        except AssertionError as error:
            self.problems.append(f"{self}: {error}")
            connection.close()
            return
        super()._serve(connection)


@pytest.fixture(name="named_backend")
def named_backend_fixture():
    made = []

    def make(handler=answer_ok, **more):
        made.append(NamedBackend(handler, f"b{len(made) + 1}", **more))
        return made[-1]

    yield make
    for backend in made:
        backend.stop()
    assert not [problem for backend in made for problem in backend.problems]


def sources(backend):
    """The source and the number of requests of each connection with requests."""
    return [(c.named[0], c.requests) for c in backend.data_connections]


def test_it_names_both_ends_and_is_kept_for_its_client(named_backend, gate):
    backend = named_backend()
    daemon = gate([backend], backends=SEND)
    first, second = daemon.client(source=A), daemon.client(source=B)
    for _ in range(3):
        assert first.request().status == 200
        assert second.request(method="PUT", body=b"abc").status == 200
    assert sorted(sources(backend)) == [(A, 3), (B, 3)]
    host, port = daemon.address.split(":")
    for connection, client in zip(backend.data_connections, (first, second)):
        assert connection.named == (
            client.sock.getsockname()[0], host, client.sock.getsockname()[1], int(port)
        )  # fmt: skip
    # The same address from another port is another connection of the client.
    assert daemon.client(source=A).request().status == 200
    assert sorted(sources(backend)) == [(A, 1), (A, 3), (B, 3)]


def test_long_bodies_arrive_unchanged(named_backend, gate):
    """Through pipes, behind a head that begins with the header or has none."""
    backend = named_backend()
    daemon = gate([backend], backends=SEND)
    client = daemon.client(source=A)
    for seed in (1, 2):
        body = wire.payload(3_000_000, seed)
        assert client.request(method="PUT", body=body).status == 200
        assert backend.wait_request(number=seed).body.sha256 == wire.sha256(body)
    assert sources(backend) == [(A, 2)]


def test_mixed_families_are_sent_as_ipv6(named_backend, gate):
    """A header has one family: the client's, or IPv6 for both ends."""
    backend = named_backend()
    listen = {"address": f"127.0.0.1:{free_port()}", "accept_proxy": [BALANCER]}
    daemon = gate([backend], listen=listen, backends=SEND)
    seen = []
    for source, destination in (
        ("2001:db8::7", "2001:db8::9"),
        ("192.0.2.7", "198.51.100.9"),
        ("::ffff:192.0.2.8", "2001:db8::9"),
    ):
        client = daemon.client(source=BALANCER)
        client.send(pp.binary(source, destination, (1000, 443)))
        assert client.request().status == 200
        seen.append(backend.data_connections[-1].named)
    assert seen == [
        ("2001:db8::7", "2001:db8::9", 1000, 443),
        ("192.0.2.7", "198.51.100.9", 1000, 443),
        (str(ipaddress.ip_address("::ffff:192.0.2.8")), "2001:db8::9", 1000, 443),
    ]


def test_a_trusted_proxy_brings_many_clients(named_backend, gate):
    """On one connection each of its clients has connections of its own; its port is not known."""
    backend = named_backend()
    forwarded = {"mode": "append", "trusted": [A]}
    daemon = gate([backend], forwarded=forwarded, backends=SEND)
    client = daemon.client(source=A)
    for address in ("192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.2"):
        assert client.request(fields=[("X-Forwarded-For", address)]).status == 200
    assert client.request().status == 200
    assert sources(backend) == [("192.0.2.1", 2), ("192.0.2.2", 2), (A, 1)]
    assert [c.named[2] for c in backend.data_connections] == [0, 0, client.sock.getsockname()[1]]


def test_retries_name_the_client_again(named_backend, gate):
    """To the next server, and once more to the same one after a kept connection was closed."""

    def dies_once(exchange):
        exchange.read_body()
        if exchange.connection.requests == 2:
            exchange.reset()
        else:
            exchange.respond(200, [("X-Backend", exchange.backend.name)])

    backend = named_backend(dies_once)
    daemon = gate([dead_address(), backend], balance={"method": "round_robin"}, backends=SEND)
    client = daemon.client(source=A)
    for _ in range(3):
        assert client.request().status == 200
    assert sources(backend) == [(A, 2), (A, 2), (A, 1)]


def test_early_bodies_and_100_continue(named_backend, gate):
    def asks(exchange):
        exchange.continue_100()
        answer_ok(exchange)

    backend = named_backend(asks)
    daemon = gate([backend], backends=SEND)
    client = daemon.client(source=A)
    client.send(client.head("PUT", fields=[("Expect", "100-continue"), ("Content-Length", "3")]))
    assert client.reader.exactly(25, "100") == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"abc")
    assert client.read_response().status == 200
    assert sources(backend) == [(A, 1)]


def test_tunnels(named_backend, gate):
    def switches(exchange):
        exchange.send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
        )
        exchange.send(exchange.reader.exactly(4, "tunnel"))
        exchange.close()

    backend = named_backend(switches)
    daemon = gate([backend], type="http", upgrade=True, backends=SEND)
    client = daemon.client(source=A)
    client.send(client.head(fields=[("Connection", "Upgrade"), ("Upgrade", "echo")]) + b"ping")
    assert client.read_response().status == 101
    assert client.reader.exactly(4, "echo") == b"ping"
    assert sources(backend) == [(A, 1)]


def test_checks_are_local(named_backend, gate):
    backend = named_backend()
    daemon = gate([backend], health=FAST_HEALTH, backends=SEND)
    wait_until(lambda: len(backend.health.seen) >= 2)
    assert daemon.client(source=A).request().status == 200
    assert {c.named for c in backend.connections if not c.requests} == {None}
    assert "1 of 1 server up" in daemon.stderr


def test_checks_of_another_port_have_no_header(named_backend, make_backend, gate):
    """As in HAProxy: what listens there is another service."""
    backend, checked = named_backend(), make_backend()
    gate([backend], health={**FAST_HEALTH, "port": checked.port}, backends=SEND)
    wait_until(lambda: len(checked.health.seen) >= 2)
    assert not backend.connections


def test_a_reload_changes_new_connections(named_backend, make_backend, start):
    """Neither a connection without a header nor one with a client's name serves the other kind."""
    backend = named_backend()
    address = f"127.0.0.1:{free_port()}"

    def config(mode, server):
        site = make_site([server], listen=address, backends={"send_proxy": mode})
        return make_config([site], workers=1)

    daemon = start(config("v2", backend))
    client = daemon.client(source=A)
    assert client.request().status == 200
    port = backend.port
    backend.refuse(drop_connections=False)
    plain = make_backend(port=port)
    daemon.reload(config("off", plain))
    assert client.request().status == 200
    assert daemon.client(source=B).request().status == 200
    assert len(plain.requests) == 2 and len(plain.data_connections) == 1
    plain.refuse(drop_connections=False)
    backend.listen()
    daemon.reload(config("v2", backend))
    assert client.request().status == 200
    assert sources(backend)[0][0] == A and len(backend.requests) == 2


def test_connections_of_clients_that_left_are_closed(named_backend, gate):
    backend = named_backend()
    daemon = gate([backend], backends={**SEND, "keepalive": 3, "idle_timeout": "300ms"})
    for last in range(1, 9):
        with daemon.client(source=f"127.0.15.{last}") as client:
            assert client.request().status == 200
    wait_until(lambda: not backend.open_connections, what="the end of idle connections")
    assert len(backend.data_connections) == 8
