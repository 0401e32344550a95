"""A request that kills its node takes at most two nodes down.

If it went on to the next node each time, it would take the whole cluster down (an UploadPartCopy
with an escaped key did that to Ceph's gateways). A connection that breaks because its node died
must not be taken for a stale one.
"""

import pytest

from support.config import dead_address


EXPECTS = ("Expect", "100-continue")


def deadly(exchange):
    """Ends the node: it resets its connections and stops listening."""
    if "/kill" not in exchange.request.target:
        exchange.read_body()
        exchange.respond(200, [], b"ok")
        return
    exchange._body_read = True  # pylint: disable=protected-access
    exchange.backend.refuse()


def warmed(make_backend, gate, first=(), warm=True, **site):
    """Four nodes, each with a parked connection."""
    backends = [make_backend(deadly) for _ in range(4)]
    daemon = gate(
        [*first, *backends],
        passive="off",
        retry={"max_tries": 100},
        top={"workers": 1},
        **site,
    )
    with daemon.client() as client:
        number = 0
        while warm and not all(backend.requests for backend in backends):
            number += 1
            assert number < 1000, "a thousand keys reach four nodes"
            assert client.request(target=f"/b/warm?sessionid={number}").status == 200
    return daemon, backends


def killed(backends):
    return sum(1 for backend in backends if backend.count("/kill"))


@pytest.mark.parametrize("warm", [True, False], ids=["parked", "fresh"])
@pytest.mark.parametrize("key", range(4))
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_reads(make_backend, gate, method, key, warm):
    daemon, backends = warmed(make_backend, gate, warm=warm)
    with daemon.client() as client:
        assert client.request(method, f"/b/kill?sessionid={key}").status in (502, 503)
    assert killed(backends) == 2


@pytest.mark.parametrize("key", range(6))
def test_a_read_that_was_refused_before(make_backend, gate, key):
    first = [dead_address(), dead_address()]
    daemon, backends = warmed(make_backend, gate, first)
    with daemon.client() as client:
        assert client.request(target=f"/b/kill?sessionid={key}").status in (502, 503)
    assert killed(backends) <= 2


@pytest.mark.parametrize("warm", [True, False], ids=["parked", "fresh"])
@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_head_that_waits_for_its_100(make_backend, gate, method, warm):
    """No byte of the body was sent, but the head was."""
    daemon, backends = warmed(make_backend, gate, warm=warm)
    with daemon.client() as client:
        fields = [("Content-Length", 5), EXPECTS]
        client.send(client.head(method, "/b/kill", fields))
        assert client.read_response().status in (502, 503)
    assert killed(backends) <= 2


@pytest.mark.parametrize("kind", ["expect", "part", "object"])
def test_what_is_stale_everywhere_is_no_death(make_backend, gate, kind):
    """The one blind attempt must not use a connection that the node has merely closed."""

    def stale(exchange):
        if exchange.connection.requests > 1:
            exchange._body_read = True  # pylint: disable=protected-access
            exchange.reset()
            return
        if exchange.request.header("Expect"):
            exchange.continue_100()
        exchange.read_body()
        exchange.respond(200, [], b"ok")

    backends = [make_backend(stale) for _ in range(3)]
    daemon = gate(
        backends, passive="off", retry={"unanswered_writes": True}, top={"workers": 1}
    )
    with daemon.client() as client:
        number = 0
        while not all(backend.requests for backend in backends):
            number += 1
            assert number < 1000, "a thousand keys reach three nodes"
            assert client.request(target=f"/b/warm?sessionid={number}").status == 200
        if kind == "expect":
            client.send(client.head("PUT", "/b/k", [("Content-Length", 5), EXPECTS]))
            assert client.read_head().status == 100
            client.send(b"hello")
            assert client.read_response().status == 200
        elif kind == "part":
            assert client.request("PUT", "/b/k?uploadId=u&partNumber=1", body=b"x").status == 200
        else:
            assert client.request("PUT", "/b/k", body=b"x").status == 200


def test_a_part_in_hand(make_backend, gate):
    daemon, backends = warmed(make_backend, gate)
    with daemon.client() as client:
        response = client.request("PUT", "/b/kill?uploadId=u&partNumber=1", body=b"x")
        assert response.status in (502, 503)
    assert killed(backends) <= 2


def test_one_try_is_one_node(make_backend, gate):
    """The attempt that was free as long as it seemed stale counts after the death."""
    backends = [make_backend(deadly) for _ in range(3)]
    daemon = gate(backends, passive="off", retry={"max_tries": 1}, top={"workers": 1})
    with daemon.client() as client:
        assert client.request(target="/b/warm?sessionid=1").status == 200
        assert client.request(target="/b/kill?sessionid=1").status in (502, 503)
    assert killed(backends) == 1
