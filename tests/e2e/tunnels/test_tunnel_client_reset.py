"""A tunnel ends when its client breaks, also after a half-close before a silent backend.

With one direction ended and the other one waiting for the backend, no coroutine watched the client:
both sockets stayed until tunnel_idle, an hour by default.
"""

import threading

from support.waiting import DEADLINE, wait_until

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


def test_reset_after_half_close(one):
    finished = threading.Event()
    leave = threading.Event()

    def handler(exchange):
        exchange._body_read = True
        exchange.send(SWITCH)
        exchange.wait_closed()
        finished.set()
        # Silent and open: only the client can end the tunnel.
        leave.wait(2 * DEADLINE)

    daemon, _ = one(
        handler,
        type="http",
        upgrade=True,
        balance={"method": "least_conn"},
        timeouts={"tunnel_idle": "10m"},
    )
    before = daemon.sockets
    try:
        with daemon.client() as client:
            client.send(
                client.head("GET", "/b/ws", [("Connection", "Upgrade"), ("Upgrade", "websocket")])
            )
            assert client.read_head().status == 101
            client.half_close()
            assert finished.wait(DEADLINE), "the half-close did not reach the backend"
            assert daemon.sockets > before
            client.reset()
            wait_until(lambda: daemon.sockets <= before, what="both sockets closed")
    finally:
        leave.set()
