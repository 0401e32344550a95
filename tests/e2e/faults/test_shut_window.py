"""A backend that acknowledges but does not read for longer than TCP_USER_TIMEOUT is slow, not dead.

The kernel counts a closed window as silence (tcp(7)): uploads broke after ten seconds whenever a
storage server stalled on its disks. Slow: the stall must outlast that limit.
"""

import time

from support import wire

# Backend connections carry a TCP_USER_TIMEOUT of ten seconds.
STALL = 12.0


def test_upload_survives_a_stalled_reader(one):
    data = wire.payload(16 * 1024 * 1024)

    def handler(exchange):
        # Real time must pass here: the kernel's limit.
        time.sleep(STALL)
        exchange.read_body()
        exchange.respond(200, [], b"stored")

    limits = {name: "120s" for name in ("client_body", "client_write", "backend_head")}
    daemon, backend = one(handler, passive="off", timeouts={**limits, "backend_body": "120s"})
    with daemon.client(timeout=60) as client:
        client.send_in_background(
            client.head("PUT", "/b/k", [("Content-Length", len(data))]) + data
        )
        response = client.read_response("PUT")
        assert (response.status, response.data) == (200, b"stored")
    (request,) = backend.find("/b/k")
    assert request.body.sha256 == wire.sha256(data)
