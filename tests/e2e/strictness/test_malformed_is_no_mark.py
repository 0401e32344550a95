"""On S3 sites a malformed answer is the object's fault and marks no node; on plain sites it is the
server's fault.

Every node answers an object with too much metadata in the same way; a few reads of it would mark
them one after the other.
"""

import pytest

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
ANSWERS = {
    "large": OK + b"x-amz-meta-a: " + b"y" * 140000 + b"\r\n\r\n",
    "garbage": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "two lengths": OK + b"Content-Length: 1\r\n\r\n",
    "unrequested 101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n",
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_no_mark(make_backend, gate, kind):
    def handler(exchange):
        exchange.read_body()
        if "bad" in exchange.request.target:
            exchange.send(ANSWERS[kind])
            exchange.wait_closed()
        else:
            exchange.respond(200, [], exchange.backend.name.encode())

    backends = [make_backend(handler) for _ in range(3)]
    daemon = gate(backends, passive={"max_fails": 1, "fail_timeout": "60s"})

    def ask(target):
        with daemon.client() as client:
            return client.request(target=target)

    keys = [f"k{number}" for number in range(9)]
    before = {key: ask(f"/b/k?sessionid={key}").data for key in keys}
    for key in keys:
        assert ask(f"/b/bad?sessionid={key}").status == 502
    assert {key: ask(f"/b/k?sessionid={key}").data for key in keys} == before


@pytest.mark.parametrize("kind", ANSWERS)
def test_mark_on_plain_sites(make_backend, gate, kind):
    def handler(exchange):
        exchange.read_body()
        exchange.send(ANSWERS[kind])
        exchange.wait_closed()

    bad = make_backend(handler)
    good = [make_backend() for _ in range(2)]
    daemon = gate(
        [bad, *good],
        type="http",
        balance={"method": "round_robin"},
        passive={"max_fails": 1, "fail_timeout": "60s"},
        top={"workers": 1},
    )
    with daemon.client() as client:
        for _ in range(12):
            assert client.request().status == 200  # a read goes to the next one
    assert len(bad.requests) == 1
    daemon.wait_stderr("is passively marked after 1 failure\n")
