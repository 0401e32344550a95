"""A backend that gives up on a client that sends nothing is not marked.

Otherwise three such clients would take a healthy node out of service.
"""


def test_no_mark(make_backend, gate):
    def handler(exchange):
        if exchange.request.method == "PUT":
            exchange.read_some(3)
            exchange.reset()
        else:
            exchange.respond(200, [], exchange.backend.name.encode())

    backends = [make_backend(handler) for _ in range(3)]
    daemon = gate(backends, passive={"max_fails": 1, "fail_timeout": "60s"})

    def home(key):
        with daemon.client() as client:
            return client.request(target=f"/b/k?sessionid={key}").data.decode()

    keys = [f"k{number}" for number in range(9)]
    before = {key: home(key) for key in keys}
    for key in keys:
        with daemon.client() as client:
            head = client.head("PUT", f"/b/up?sessionid={key}", [("Content-Length", "1000")])
            client.send(head + b"abc")
            assert client.read_response("PUT").status == 502
    assert sum(backend.count("/b/up") for backend in backends) == len(keys)
    assert {key: home(key) for key in keys} == before
