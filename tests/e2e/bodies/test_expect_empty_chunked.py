"""An empty chunked body after Expect counts as a sent body: it is executed once.

A request may move to the next backend, whatever its method, only if no byte of the body was sent.
The last chunk alone completes an empty upload, and the backend may have stored it.
"""

import pytest


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_executed_once(make_backend, gate, method):
    def handler(exchange):
        exchange.read_body()
        exchange.reset()

    backends = [make_backend(handler) for _ in range(3)]
    daemon = gate(backends, passive="off")
    fields = [("Expect", "100-continue"), ("Transfer-Encoding", "chunked")]
    with daemon.client() as client:
        client.send(client.head(method, "/b/empty", fields) + b"0\r\n\r\n")
        assert client.read_response().status == 502
    requests = [request for backend in backends for request in backend.find("/b/empty")]
    assert len(requests) == 1
    assert requests[0].body.complete and requests[0].body.length == 0
