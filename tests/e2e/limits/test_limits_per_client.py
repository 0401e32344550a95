"""limits.per_client: the number of connections per address is limited over all workers, without an
effect on other addresses.

Without it a single client that opens connections endlessly takes every place of the site.
"""

import socket

import pytest

from support import wire
from support.config import free_port, make_config, make_site
from support.waiting import wait_until

AGGRESSOR, OTHER = "127.0.7.1", "127.0.7.2"


def opened(daemon, source):
    """A connection with its first answer: (client, response), or (client, None) if it was closed
    without an answer."""
    client = daemon.client(source=source)
    try:
        client.send(client.head())
        return client, client.read_response()
    except (wire.Truncated, OSError):
        return client, None


def assert_slow_down(response, close):
    assert response.status == 503
    assert response.header("retry-after") == "1"
    assert response.header("content-type") == "application/xml"
    declaration = b'<?xml version="1.0" encoding="UTF-8"?>\n'
    assert response.data.startswith(declaration + b"<Error><Code>SlowDown<")
    assert b"<Resource>/b/k</Resource>" in response.data
    assert response.closes == close


def test_so_many_and_no_more_whatever_the_worker(make_backend, gate):
    backend = make_backend()
    daemon = gate([backend], top={"workers": 4}, limits={"per_client": 8})
    inside = []
    for _ in range(8):
        client, response = opened(daemon, AGGRESSOR)
        assert response.status == 200
        inside.append(client)
    for _ in range(10):
        client, response = opened(daemon, AGGRESSOR)
        assert_slow_down(response, close=True)
        assert client.expect_close() == "eof"
        client.close()
    assert len(backend.requests) == 8, "no backend hears of what is refused"
    wait_until(lambda: len(daemon.log_lines()) == 18)  # each worker writes its lines in one piece
    errors = [line["error"] for line in daemon.log_lines() if line["status"] == 503]
    assert errors == ["client connection limit"] * 10
    # Other clients, and the connections within the limit, are not affected.
    for client in inside:
        assert client.request().status == 200
    client, response = opened(daemon, OTHER)
    assert response.status == 200
    client.close()
    # A place becomes free at once.
    inside.pop().close()
    wait_until(lambda: got_in(daemon), what="the place of a closed connection")
    for client in inside:
        client.close()


def got_in(daemon):
    client, response = opened(daemon, AGGRESSOR)
    client.close()
    return response is not None and response.status == 200


def test_far_beyond_it_connections_are_closed_without_a_word(make_backend, gate):
    """Silent connections beyond the limit take 16 places, no more; the refusal ends when they
    close."""
    daemon = gate([make_backend()], limits={"per_client": 2})
    crowd = [daemon.client(source=AGGRESSOR) for _ in range(60)]
    # They send nothing, so readable input means their end.
    wait_until(lambda: sum(client.has_input() for client in crowd) == 60 - 2 - 16)
    assert got_in_as(daemon, OTHER)
    for client in crowd:
        client.close()
    wait_until(lambda: got_in(daemon))


def got_in_as(daemon, source):
    client, response = opened(daemon, source)
    client.close()
    return response is not None and response.status == 200


def test_refused_ones_do_not_keep_their_client_out(make_backend, gate):
    """Refused connections that linger do not count once a served one ends."""
    # One worker accepts the silent connections before the request, and so before the place becomes
    # free.
    daemon = gate([make_backend()], top={"workers": 1}, limits={"per_client": 1})
    served, response = opened(daemon, AGGRESSOR)
    assert response.status == 200
    silent = [daemon.client(source=AGGRESSOR) for _ in range(10)]
    client, response = opened(daemon, AGGRESSOR)
    assert_slow_down(response, close=True)
    client.close()
    served.close()
    wait_until(lambda: got_in(daemon))
    for client in silent:
        client.close()


def test_a_refused_upload_reads_its_answer(make_backend, gate):
    """The body is in transit when the answer is written: a lingering close lets the answer arrive.
    """
    backend = make_backend()
    daemon = gate([backend], limits={"per_client": 1})
    served, response = opened(daemon, AGGRESSOR)
    assert response.status == 200
    client = daemon.client(source=AGGRESSOR)
    client.send(client.head("PUT", "/b/k", [("Content-Length", 4_000_000)]))
    sender = client.send_in_background(b"x" * 4_000_000)
    assert_slow_down(client.read_response("PUT"), close=True)
    sender.join()
    client.close()
    served.close()
    assert len(backend.requests) == 1


def test_an_operator_may_look_all_the_same(make_backend, gate):
    daemon = gate(
        [make_backend()],
        limits={"per_client": 1, "requests_per_client": "1/m"},
        status={"allow": ["127.0.7.1/32"]},
    )
    served, response = opened(daemon, AGGRESSOR)
    assert response.status == 200
    for _ in range(3):
        with daemon.client(source=AGGRESSOR) as client:
            response = client.request(target="/upstream/health/")
            assert response.status == 200
            assert b"test" in response.data
            assert response.closes
    assert served.request(target="/upstream/health/").status == 200
    served.close()
    # A client without access to the page is limited as any other.
    with daemon.client(source=OTHER) as client:
        assert client.request(target="/upstream/health/").status == 403
        assert client.request(target="/upstream/health/").status == 503


def has_ipv6():
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this host")
def test_ipv6(make_backend, start):
    backend = make_backend()
    port = free_port("::1")
    daemon = start(
        make_config([make_site([backend], listen=f"[::1]:{port}", limits={"per_client": 3})])
    )
    clients = []

    def got_three():
        # The test for readiness came from this address and may still count.
        client, response = opened(daemon, None)
        if response is not None and response.status == 200:
            clients.append(client)
        else:
            client.close()
        return len(clients) == 3

    wait_until(got_three)
    with daemon.client() as late:
        late.send(late.head())
        assert_slow_down(late.read_response(), close=True)
    for client in clients:
        client.close()
