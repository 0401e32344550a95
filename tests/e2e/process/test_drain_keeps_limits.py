"""While the daemon drains, the limits of requests in progress hold as before.

Without it a client that stalls in its upload keeps its server busy until the end of the drain, and
the stop counts as one that had to cut somebody.
"""

import signal

from support.waiting import wait_until


def test_stalled_first_upload(one):
    """It is the connection's first request: those that never sent one are closed half-way through
    the drain, and must not be mistaken for it."""
    daemon, backend = one(top={"shutdown_timeout": "8s"}, timeouts={"client_body": "5s"})
    with daemon.client() as client:
        client.send(client.head("PUT", "/b/k", [("Content-Length", 10)]) + b"abc")
        wait_until(lambda: backend.connections and backend.connections[0].requests)
        daemon.signal(signal.SIGTERM)
        data, _ = client.read_until_close()
        assert data.startswith(b"HTTP/1.1 408 "), data
    assert daemon.wait_log("/b/k")["error"] == "client body timeout"
    assert daemon.wait_exit() == 0
