"""retry.unanswered_writes: an unanswered PutObject or DeleteObject is sent once more.

nginx did this; clients that rely on it would lose writes whenever a node dies. Off by default: the
first node may have executed the write, and a versioned bucket may get two versions.
"""

import pytest

from support.backend import close, die, hang

ON = {"unanswered_writes": True, "max_tries": 100}


def send(daemon, backends, method, target, fields=(), body=None):
    """(status, number of nodes asked)"""
    with daemon.client() as client:
        status = client.request(method, target, fields, body).status
    return status, sum(len(backend.requests) for backend in backends)


def stage(make_backend, gate, failure, once=True, **site):
    """Three nodes: the first one that is asked fails; with `once` no other one does."""
    asked = []

    def handler(exchange):
        asked.append(exchange.backend.name)
        if len(asked) == 1 or not once:
            failure(exchange)
        else:
            exchange.read_body()
            exchange.respond(200, [], b"ok")

    backends = [make_backend(handler) for _ in range(3)]
    site.setdefault("retry", ON)
    return gate(backends, passive="off", timeouts={"backend_head": "500ms"}, **site), backends


WRITES = [("PUT", b"object"), ("PUT", b""), ("PUT", b"x" * 60000), ("DELETE", None)]
IDS = ["PUT", "PUT of nothing", "PUT of 60000", "DELETE"]


@pytest.mark.parametrize("failure", [die, close, hang])
@pytest.mark.parametrize("method,body", WRITES, ids=IDS)
def test_goes_once_more(make_backend, gate, method, body, failure):
    daemon, backends = stage(make_backend, gate, failure)
    assert send(daemon, backends, method, "/b/k", body=body) == (200, 2)
    for backend in backends:
        assert all(request.body.data == (body or b"") for request in backend.requests)


@pytest.mark.parametrize("method,body", WRITES, ids=IDS)
def test_never_a_third_node(make_backend, gate, method, body):
    daemon, backends = stage(make_backend, gate, die, once=False)
    assert send(daemon, backends, method, "/b/k", body=body) == (502, 2)


@pytest.mark.parametrize("method,body", WRITES, ids=IDS)
def test_off_by_default(make_backend, gate, method, body):
    daemon, backends = stage(make_backend, gate, die, retry={})
    assert send(daemon, backends, method, "/b/k", body=body) == (502, 1)


@pytest.mark.parametrize(
    "method,target,fields,body",
    [
        ("POST", "/b/k?uploads", [], b""),
        ("POST", "/b/k?uploadId=u", [], b"<CompleteMultipartUpload/>"),
        ("POST", "/b?delete", [], b"<Delete/>"),
        ("PUT", "/b", [], b""),
        ("DELETE", "/b", [], None),
        ("PUT", "/b/k?tagging", [], b"<Tagging/>"),
        ("DELETE", "/b/k?uploadId=u", [], None),
        ("PUT", "/b/k", [("If-None-Match", "*")], b"x"),
        ("PUT", "/b/k", [("If-Match", '"e"')], b"x"),
        ("DELETE", "/b/k", [("If-Match", '"e"')], None),
        ("PUT", "/b/k", [("x-amz-copy-source", "/b/other")], b""),
        ("PUT", "/b/k", [], b"z" * 200000),
        ("PATCH", "/b/k", [], b"x"),
        ("PUT", "/b/k?append&position=0", [], b"x"),
        ("PUT", "/b/k", [("x-amz-write-offset-bytes", "0")], b"x"),
        ("DELETE", "/b/k", [("x-amz-if-match-size", "5")], None),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_all_else_is_left_to_the_client(make_backend, gate, method, target, fields, body):
    daemon, backends = stage(make_backend, gate, die)
    assert send(daemon, backends, method, target, fields, body) == (502, 1)


def test_a_parked_connection_that_died(make_backend, gate):
    """The usual case: a node dies between two requests of a client."""
    home = [""]

    def handler(exchange):
        exchange.read_body()
        if exchange.backend.name == home[0]:
            exchange.reset()
        else:
            exchange.respond(200, [], exchange.backend.name.encode())

    backends = [make_backend(handler) for _ in range(3)]
    daemon = gate(backends, passive="off", retry=ON, top={"workers": 1})
    with daemon.client() as client:
        dead = client.request("PUT", "/b/1?sessionid=a", body=b"x").data.decode()
        home[0] = dead
        response = client.request("PUT", "/b/2?sessionid=a", body=b"x")
    assert response.status == 200 and response.data.decode() != dead
    assert sum(backend.count("/b/2") for backend in backends) == 2


def test_not_on_plain_sites(make_backend, gate):
    daemon, backends = stage(make_backend, gate, die, type="http")
    assert send(daemon, backends, "PUT", "/b/k", body=b"x") == (502, 1)
