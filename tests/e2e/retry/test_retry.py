"""The retry table, row by row, counted at the backends by a unique id in the target.

One attempt too few is an avoidable outage; one too many stores an object twice or takes a second
node down.
"""

import itertools
import threading

import pytest

from support import wire
from support.backend import close, die, hang
from support.config import Blackhole, dead_address

ids = itertools.count(1)


def short(value):
    """Test names go into the environment, so a long body is named by its length."""
    return f"{len(value)} bytes" if isinstance(value, bytes) and len(value) > 20 else None


class Stage:
    """Three backends: the first one that is asked behaves as `first`, the others as `rest`."""

    def __init__(self, make_backend, gate, first, rest=None, count=3, **site):
        self.order = []
        self.lock = threading.Lock()
        self.first, self.rest = first, rest or self.answer
        self.backends = [make_backend(self.handle) for _ in range(count)]
        site.setdefault("passive", "off")
        self.daemon = gate(self.backends, **site)

    @staticmethod
    def answer(exchange):
        exchange.read_body()
        exchange.respond(200, [], exchange.backend.name.encode())

    def handle(self, exchange):
        with self.lock:
            self.order.append(exchange.backend.name)
            turn = len(self.order)
        (self.first if turn == 1 else self.rest)(exchange)

    def request(self, method="GET", query="", fields=(), body=None):
        """Sends one request with a fresh id; returns (response, attempts)."""
        mark = f"/b/id{next(ids)}-"
        with self.daemon.client() as client:
            fields = list(fields)
            if body is not None:
                fields.append(("Content-Length", len(body)))
            client.send(client.head(method, mark + query, fields) + (body or b""))
            response = client.read_response(method)
        attempts = sum(backend.count(mark) for backend in self.backends)
        assert len(set(self.order)) == len(self.order), "a backend was tried twice"
        return response, attempts


def status(code, body=b"<Error/>", fields=(), read=True):
    def handler(exchange):
        if read:
            exchange.read_body()
        exchange.respond(code, fields, body, "Reason")

    return handler


READS = ["GET", "HEAD", "OPTIONS"]
PART = "?uploadId=abc&partNumber=1"


# Row 2: no byte was sent.


@pytest.mark.parametrize("method", READS + ["PUT", "POST", "DELETE", "PATCH"])
def test_refused_goes_to_the_next_backend_for_any_method(make_backend, gate, method):
    backend = make_backend()
    daemon = gate(
        [dead_address(), dead_address(), dead_address(), dead_address(), backend],
        passive="off",
        retry={"max_tries": 1},
    )
    for number in range(8):
        with daemon.client() as client:
            body = None if method in READS else b"body"
            fields = [("Content-Length", 4)] if body else []
            client.send(
                client.head(method, f"/b/{number}?sessionid={number}", fields) + (body or b"")
            )
            assert client.read_response(method).status == 200
    assert len(backend.requests) == 8
    assert all(
        request.body.data == b"body" for request in backend.requests if request.method not in READS
    )


def test_refused_with_a_large_streaming_body(make_backend, gate):
    """The body is read only after a connect, so it can still go to any backend."""
    backend = make_backend()
    daemon = gate([dead_address(), dead_address(), backend], passive="off")
    data = wire.payload(3 * 1024 * 1024)
    for number in range(4):
        with daemon.client() as client:
            client.send(
                client.head(
                    "PUT", f"/b/{number}?sessionid={number}", [("Content-Length", len(data))]
                )
            )
            sender = client.send_in_background(data)
            assert client.read_response().status == 200
            sender.join()
    assert {request.body.sha256 for request in backend.requests} == {wire.sha256(data)}


def test_connect_timeout_goes_to_the_next_backend(make_backend, gate):
    hole = Blackhole()
    backend = make_backend()
    daemon = gate([hole.address, backend], passive="off", timeouts={"connect": "200ms"})
    for number in range(6):
        with daemon.client() as client:
            assert (
                client.request("POST", f"/b/{number}?sessionid={number}", body=b"x").status == 200
            )
    assert len(backend.requests) == 6
    hole.close()


def test_all_unreachable_is_a_503(gate):
    hole = Blackhole()
    daemon = gate([hole.address, dead_address()], timeouts={"connect": "200ms"})
    with daemon.client() as client:
        assert client.request().status == 503
    hole.close()


# Row 3: Expect pending.


@pytest.mark.parametrize(
    "failure",
    [
        lambda exchange: exchange.reset(),
        lambda exchange: exchange.close(),
        lambda exchange: (exchange.respond(503, [], b"x", "Unavailable"), exchange.close()),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_expect_pending_goes_on(make_backend, gate, failure, method):
    def accept(exchange):
        exchange.continue_100()
        exchange.read_body()
        exchange.respond(200, [], b"stored")

    stage = Stage(make_backend, gate, failure, accept)
    with stage.daemon.client() as client:
        client.send(
            client.head(method, "/b/row3", [("Expect", "100-continue"), ("Content-Length", "5")])
        )
        assert client.read_head().status == 100
        client.send(b"hello")
        response = client.read_response()
        assert (response.status, response.data) == (200, b"stored")
    assert len(stage.order) == 2


def test_after_100_row_3_no_longer_holds(make_backend, gate):
    def continue_and_die(exchange):
        exchange.continue_100()
        exchange.read_some(5)
        exchange.reset()

    stage = Stage(make_backend, gate, continue_and_die)
    with stage.daemon.client() as client:
        client.send(
            client.head(
                "PUT", "/b/row3", [("Expect", "100-continue"), ("Content-Length", "500000")]
            )
        )
        assert client.read_head().status == 100
        client.send_quietly(b"hello" * 20000)
        assert client.read_response().status == 502
    assert len(stage.order) == 1


# Row 5: 503 that is not load.


@pytest.mark.parametrize("method", READS)
def test_503_of_a_read_goes_on(make_backend, gate, method):
    stage = Stage(make_backend, gate, status(503))
    response, attempts = stage.request(method)
    assert (response.status, attempts) == (200, 2)


@pytest.mark.parametrize(
    "method,body",
    [("PUT", b""), ("PUT", b"x" * 1000), ("DELETE", None), ("PUT", b"y" * 60000)],
    ids=short,
)
def test_503_of_a_write_in_hand_goes_on(make_backend, gate, method, body):
    stage = Stage(make_backend, gate, status(503))
    response, attempts = stage.request(method, body=body)
    assert (response.status, attempts) == (200, 2)
    for backend in stage.backends:
        for request in backend.requests:
            assert request.body.data == (body or b"")


@pytest.mark.parametrize(
    "method,fields,body",
    [
        ("POST", [], b"x"),
        ("PATCH", [], b"x"),
        ("PUT", [("If-None-Match", "*")], b"x"),
        ("PUT", [("If-Match", '"e"')], b"x"),
        ("DELETE", [("If-Match", '"e"')], None),
        ("PUT", [("x-amz-copy-source", "/b/k")], b""),
        ("PUT", [], b"z" * 200000),
    ],
    ids=short,
)
def test_503_of_other_writes_passes_through(make_backend, gate, method, fields, body):
    stage = Stage(make_backend, gate, status(503, b"<Error>unavailable</Error>"))
    response, attempts = stage.request(method, fields=fields, body=body)
    assert (response.status, response.data, attempts) == (503, b"<Error>unavailable</Error>", 1)


@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize(
    "first",
    [
        status(429, b"<Error><Code>TooManyRequests</Code></Error>"),
        status(503, b"<Error><Code>SlowDown</Code></Error>"),
        status(503, b"<Error><Code>TooManyRequests</Code></Error>"),
        status(503, b"", [("X-Minio-Error-Code", "TooManyRequests")]),
    ],
)
def test_load_passes_through_at_once(make_backend, gate, first, method):
    stage = Stage(make_backend, gate, first)
    response, attempts = stage.request(method, body=b"x" if method == "PUT" else None)
    assert response.status in (429, 503)
    assert attempts == 1


def test_503_everywhere_relays_the_last_answer(make_backend, gate):
    def refuse(exchange):
        status(503, exchange.backend.name.encode())(exchange)

    stage = Stage(make_backend, gate, refuse, refuse)
    response, attempts = stage.request()
    assert (response.status, attempts) == (503, 3)
    assert response.data.decode() == stage.order[-1]
    assert len(set(stage.order)) == 3


def test_max_tries(make_backend, gate):
    stage = Stage(make_backend, gate, status(503), status(503), count=6, retry={"max_tries": 2})
    response, attempts = stage.request()
    assert (response.status, attempts) == (503, 2)


# Row 6: 500, 502, 504.


@pytest.mark.parametrize("code", [500, 502, 504])
@pytest.mark.parametrize("method", READS)
def test_5xx_of_a_read_goes_on(make_backend, gate, code, method):
    stage = Stage(make_backend, gate, status(code))
    response, attempts = stage.request(method)
    assert (response.status, attempts) == (200, 2)


@pytest.mark.parametrize("code", [500, 502, 504])
@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
def test_5xx_of_a_write_passes_through(make_backend, gate, code, method):
    stage = Stage(make_backend, gate, status(code, b"original"))
    response, attempts = stage.request(method, body=b"x")
    assert (response.status, response.data, attempts) == (code, b"original", 1)


@pytest.mark.parametrize("code", [400, 403, 404, 409, 412, 416, 499, 501])
def test_other_statuses_are_never_retried(make_backend, gate, code):
    stage = Stage(make_backend, gate, status(code, b"original"))
    response, attempts = stage.request()
    assert (response.status, response.data, attempts) == (code, b"original", 1)


# Row 7: sent, and the result is unknown.


@pytest.mark.parametrize("failure", [die, close])
@pytest.mark.parametrize("method", READS)
def test_read_gets_one_further_backend(make_backend, gate, failure, method):
    stage = Stage(make_backend, gate, failure)
    response, attempts = stage.request(method)
    assert (response.status, attempts) == (200, 2)


def test_read_never_gets_a_third(make_backend, gate):
    """A request that kills its node must not kill the cluster."""
    stage = Stage(make_backend, gate, die, die, count=6, retry={"max_tries": 6})
    response, attempts = stage.request()
    assert (response.status, attempts) == (502, 2)


@pytest.mark.parametrize("failure", [die, close])
def test_upload_part_in_hand_gets_one_further_backend(make_backend, gate, failure):
    stage = Stage(make_backend, gate, failure)
    response, attempts = stage.request("PUT", PART, body=b"part" * 1000)
    assert (response.status, attempts) == (200, 2)
    bodies = [request.body.data for backend in stage.backends for request in backend.requests]
    assert bodies == [b"part" * 1000] * 2


@pytest.mark.parametrize(
    "method,query,fields,body",
    [
        ("PUT", "", [], b"x"),
        ("PUT", "", [], b""),
        ("POST", "?uploadId=abc", [], b"x"),
        ("DELETE", "", [], None),
        ("DELETE", "?uploadId=abc", [], None),
        ("POST", "?uploads", [], b""),
        ("PUT", PART, [("x-amz-copy-source", "/b/k")], b""),
        ("PUT", PART, [("x-amz-copy-source", "/b/k")], b"x"),
        ("PUT", PART, [], b""),
        ("PUT", PART, [], b"z" * 300000),
        ("PUT", "?partNumber=1", [], b"x"),
        ("GET", "", [], b"body"),
    ],
    ids=short,
)
@pytest.mark.parametrize("failure", [die, close])
def test_other_writes_are_the_clients_to_repeat(
    make_backend, gate, method, query, fields, body, failure
):
    stage = Stage(make_backend, gate, failure)
    response, attempts = stage.request(method, query, fields, body)
    assert (response.status, attempts) == (502, 1)


def test_timeout_of_a_read_gets_one_further_backend(make_backend, gate):
    stage = Stage(make_backend, gate, hang, timeouts={"backend_head": "300ms"})
    response, attempts = stage.request()
    assert (response.status, attempts) == (200, 2)


def test_timeout_of_a_write_is_a_504(make_backend, gate):
    stage = Stage(make_backend, gate, hang, timeouts={"backend_head": "300ms"})
    response, attempts = stage.request("PUT", body=b"x")
    assert (response.status, attempts) == (504, 1)


# Row 1: a byte was relayed.


def test_nothing_after_the_first_relayed_byte(make_backend, gate):
    def half(exchange):
        exchange.read_body()
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        exchange.close()

    stage = Stage(make_backend, gate, half)
    with stage.daemon.client() as client:
        client.send(client.head())
        with pytest.raises(wire.Truncated):
            client.read_response()
    assert len(stage.order) == 1


# retry.on


@pytest.mark.parametrize(
    "on,first,method,expected",
    [
        ([], status(503), "GET", (503, 1)),
        ([], status(500), "GET", (500, 1)),
        ([], die, "GET", (502, 1)),
        (["error"], die, "GET", (200, 2)),
        (["error"], status(503), "GET", (503, 1)),
        (["timeout"], die, "GET", (502, 1)),
        ([503], status(503), "GET", (200, 2)),
        ([503], status(500), "GET", (500, 1)),
        ([500], status(500), "GET", (200, 2)),
        ([502], status(502), "GET", (200, 2)),
        ([502], status(504), "GET", (504, 1)),
        ([504], status(504), "GET", (200, 2)),
    ],
)
def test_on_switches_rows(make_backend, gate, on, first, method, expected):
    stage = Stage(make_backend, gate, first, retry={"on": on})
    response, attempts = stage.request(method)
    assert (response.status, attempts) == expected


def test_timeout_switched_off(make_backend, gate):
    stage = Stage(
        make_backend, gate, hang, timeouts={"backend_head": "300ms"}, retry={"on": ["error"]}
    )
    response, attempts = stage.request()
    assert (response.status, attempts) == (504, 1)


def test_replay_buffer_bounds_what_is_in_hand(make_backend, gate):
    stage = Stage(make_backend, gate, status(503), retry={"replay_buffer": "4KiB"})
    response, attempts = stage.request("PUT", body=b"x" * 4000)
    assert (response.status, attempts) == (200, 2)
    stage.order.clear()
    response, attempts = stage.request("PUT", body=b"x" * 30000)
    assert (response.status, attempts) == (503, 1)


def test_log_shows_every_attempt(make_backend, gate):
    stage = Stage(make_backend, gate, status(500))
    with stage.daemon.client() as client:
        assert client.request(target="/b/logged").status == 200
    line = stage.daemon.wait_log("/b/logged")
    named = {backend.name: backend.address for backend in stage.backends}
    assert line["upstreamaddr"] == ", ".join(named[name] for name in stage.order)
    assert len(line["upstreamtime"].split(", ")) == 2
    assert line["tries"] == 2
    assert line["status"] == 200


def test_max_time(make_backend, gate):
    """A 503 that took longer than retry.max_time is relayed: the client has waited long enough."""
    pause = threading.Event()

    def late(exchange):
        pause.wait(1)
        status(503, b"late")(exchange)

    stage = Stage(make_backend, gate, late, retry={"max_time": "200ms"})
    response, attempts = stage.request()
    assert (response.status, response.data, attempts) == (503, b"late", 1)
