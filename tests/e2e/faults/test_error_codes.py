"""The meaning of a 503: too much load, which is relayed at once, or a node that cannot serve now,
so the next one is tried.

MinIO's SlowDownWrite does not mean load but a node without a quorum. For 8 to 16 s after a restart
other nodes can write. If the answer were relayed, nearly all of those writes would fail needlessly.
"""

import itertools

import pytest

from support import wire
from support.waiting import wait_until

ids = itertools.count(1)

LOAD = ["SlowDown", "TooManyRequests", "ServerBusy", "Busy", "RequestTimeout"]
ELSEWHERE = [
    "SlowDownRead",
    "SlowDownWrite",
    "XMinioServerNotInitialized",
    "XMinioIAMNotInitialized",
    "XMinioBucketMetadataNotInitialized",
    "STSNotInitialized",
    "STSIAMNotInitialized",
    "XMinioAdminConfigNoQuorum",
    "ServiceUnavailable",
    "slowdown",
    "SlowDownX",
    "XSlowDown",
]


def document(code):
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>SlowDown, please</Message>"
        "<Key>&lt;Code>SlowDown&lt;/Code></Key></Error>"
    ).encode()


def in_header(code):
    def handler(exchange):
        exchange.read_body()
        exchange.respond(503, [("x-minio-error-code", code)], b"", "Service Unavailable")

    return handler


def in_body(code):
    def handler(exchange):
        exchange.read_body()
        exchange.respond(503, [], document(code), "Service Unavailable")

    return handler


def in_pieces(*pieces, then=None):
    """Each piece in its own packet."""

    def handler(exchange):
        exchange.read_body()
        for piece in pieces:
            exchange.send(piece)
            wire.sleep_briefly()
        if then:
            then(exchange)

    return handler


def with_length(code):
    body = document(code)
    middle = body.index(b"<Code>") + 10
    head = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: %d\r\n\r\n" % len(body)
    return in_pieces(head, body[:middle], body[middle:])


def chunked(code):
    body = document(code)
    middle = body.index(b"<Code>") + 10
    head = b"HTTP/1.1 503 Service Unavailable\r\nTransfer-Encoding: chunked\r\n\r\n"
    return in_pieces(
        head, wire.chunked(body[:middle])[: -len(b"0\r\n\r\n")], wire.chunked(body[middle:])
    )


def until_close(code):
    body = document(code)
    head = b"HTTP/1.1 503 Service Unavailable\r\n\r\n"
    return in_pieces(head, body[:60], body[60:], then=lambda exchange: exchange.close())


PLACES = {
    "header": in_header,
    "body": in_body,
    "body in packets": with_length,
    "chunks in packets": chunked,
    "until the end": until_close,
}


def attempts_of(make_backend, gate, handler, method="GET", **site):
    """The answer if every node sends the same one, and the number of nodes asked."""
    backends = [make_backend(handler) for _ in range(3)]
    daemon = gate(backends, passive="off", **site)
    mark = f"/b/id{next(ids)}"
    with daemon.client() as client:
        body = b"x" if method == "PUT" else None
        response = client.request(method, mark, body=body)
    return response, sum(backend.count(mark) for backend in backends)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("code", LOAD)
def test_load_is_passed_through_at_once(make_backend, gate, code, place):
    response, attempts = attempts_of(make_backend, gate, PLACES[place](code))
    assert (response.status, attempts) == (503, 1)
    assert response.data in (b"", document(code))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("code", ELSEWHERE)
def test_what_is_no_load_goes_on(make_backend, gate, code, place):
    response, attempts = attempts_of(make_backend, gate, PLACES[place](code))
    assert (response.status, attempts) == (503, 3)
    assert response.data in (b"", document(code))


@pytest.mark.parametrize("code,expected", [("SlowDown", 1), ("SlowDownWrite", 3)])
@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE"])
def test_other_methods(make_backend, gate, method, code, expected):
    handler = in_header(code) if method == "HEAD" else in_body(code)
    response, attempts = attempts_of(make_backend, gate, handler, method)
    assert (response.status, attempts) == (503, expected)


def test_429_is_load_whatever_it_says(make_backend, gate):
    def handler(exchange):
        exchange.read_body()
        exchange.respond(429, [], document("SlowDownWrite"), "Too Many Requests")

    response, attempts = attempts_of(make_backend, gate, handler)
    assert (response.status, attempts) == (429, 1)


def test_the_header_decides(make_backend, gate):
    def handler(exchange):
        exchange.read_body()
        exchange.respond(503, [("x-minio-error-code", "SlowDownWrite")], document("SlowDown"))

    assert attempts_of(make_backend, gate, handler)[1] == 3


def test_an_answer_that_is_whole_is_not_waited_for(one):
    """Without a code in a complete answer there is no wait. The head of the next answer proves that
    this one is sent."""

    def handler(exchange):
        exchange.read_body()
        exchange.respond(503, [], b"<html>down</html>", "Service Unavailable", chunked=True)

    daemon, _ = one(handler, passive="off")
    with daemon.client() as client:
        for _ in range(30):
            # A second of waiting in each would exceed the test client's timeout.
            assert client.request().status == 503
    assert sum(float(line["responsetime"]) for line in daemon.log_lines()) < 30


@pytest.mark.parametrize("end", ["silence", "close", "reset"])
def test_a_body_that_never_names_its_code(make_backend, gate, end):
    """The wait for the code is bounded, and the end of the body ends it."""

    def then(exchange):
        if end == "silence":
            exchange.wait_closed()
        elif end == "close":
            exchange.close()
        else:
            exchange.reset()

    head = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 500\r\n\r\n"
    backends = [make_backend(in_pieces(head, b"<Error><Co", then=then)), make_backend()]
    daemon = gate(backends, passive="off", balance={"method": "round_robin"}, top={"workers": 1})
    for _ in range(2):
        with daemon.client() as client:
            assert client.request().status == 200


def test_a_client_that_leaves_during_the_wait(one):
    head = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 500\r\n\r\n"
    daemon, backend = one(in_pieces(head, then=lambda exchange: exchange.wait_closed()))
    with daemon.client() as client:
        client.send(client.head("GET", "/b/k"))
        backend.wait_request("/b/k")
        wire.sleep_briefly()
        client.reset()
    assert daemon.wait_log("/b/k")["status"] == 499


@pytest.mark.parametrize("code", ["XMinioServerNotInitialized", "SlowDownWrite"])
def test_a_node_that_is_not_ready_keeps_its_mark(make_backend, gate, code):
    """It answers, but not as a node that serves, so its keys stay away until it does."""
    backends = [make_backend() for _ in range(3)]
    daemon = gate(
        backends, passive={"max_fails": 1, "fail_timeout": "500ms"}, top={"workers": 1}
    )

    def ask(mark):
        with daemon.client() as client:
            for number in range(20):
                response = client.request("GET", f"{mark}?sessionid=k{number}")
                assert response.status == 200

    victim = backends[0]
    victim.refuse()
    ask("/b/dead")
    daemon.wait_stderr("passively marked")
    victim.handler, good = in_body(code), victim.handler
    victim.listen()

    def was_tried_twice():
        ask("/b/trial")
        return victim.count("/b/trial") >= 2

    wait_until(was_tried_twice)
    assert "no longer passively marked" not in daemon.stderr
    victim.handler = good

    def is_lifted():
        ask("/b/well")
        return "no longer passively marked" in daemon.stderr

    wait_until(is_lifted)
