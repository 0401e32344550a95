"""A client announces Expect and sends its long body at once: no backend ever stores it with a gap.

The part beyond the replay buffer is read while the first connection turns out to be dead. The next
backend once got the beginning and the rest as a well-formed chunked body.
"""

import pytest

from support import wire


@pytest.mark.parametrize("chunk", [1024, 16384])
def test_stored_whole_or_not_at_all(make_backend, gate, chunk):
    data = wire.payload(256 * 1024)
    stored = []

    def handler(exchange):
        body = exchange.read_body()
        stored.append((exchange.request.target, body.sha256))
        exchange.respond(200)

    backends = [make_backend(handler) for _ in range(2)]
    daemon = gate(backends, passive="off", retry={"replay_buffer": "4KiB"}, top={"workers": 1})

    fields = [("Expect", "100-continue"), ("Transfer-Encoding", "chunked")]
    for number in range(3):
        with daemon.client() as client:
            key = f"uploadId=a{number}"
            assert client.request("PUT", f"/b/warm-{number}?{key}", body=b"x").status == 200
            (home,) = [backend for backend in backends if backend.count(f"/b/warm-{number}")]
            message = client.head("PUT", f"/b/put-{number}?{key}", fields)
            message += wire.chunked(data, size=chunk)
            with daemon.frozen():
                # More than the replay buffer holds is waiting for the daemon before it learns of
                # the reset.
                client.send(message[:32768])
                client.send_in_background(message[32768:])
                for connection in home.open_connections:
                    connection.reset()
            status = client.read_response("PUT").status
        daemon.wait_log(f"/b/put-{number}")
        whole = [digest for target, digest in stored if target.startswith(f"/b/put-{number}?")]
        assert set(whole) <= {wire.sha256(data)}, "stored with a hole"
        assert len(whole) <= 1
        if status == 200:
            assert len(whole) == 1
        else:
            assert status in (502, 503)
