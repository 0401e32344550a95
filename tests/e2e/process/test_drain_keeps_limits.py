"""During a drain the limits of requests in progress still apply.

Otherwise a client that stalls in its upload occupies its server until the end of the drain, and the
stop counts as one that cut a request.
"""

import signal

from support.waiting import wait_until


def test_stalled_first_upload(one):
    """It is the connection's first request. Connections that never sent one are closed during the
    drain, and must not be confused with it."""
    daemon, backend = one(top={"shutdown_timeout": "8s"}, timeouts={"client_body": "5s"})
    with daemon.client() as client:
        client.send(client.head("PUT", "/b/k", [("Content-Length", 10)]) + b"abc")
        wait_until(lambda: backend.connections and backend.connections[0].requests)
        daemon.signal(signal.SIGTERM)
        data, _ = client.read_until_close()
        assert data.startswith(b"HTTP/1.1 408 "), data
    assert daemon.wait_log("/b/k")["error"] == "client body timeout"
    assert daemon.wait_exit() == 0
