"""A 101 before the request's head is completely sent is no valid answer: 502, and the daemon lives.

The tunnel would begin on a connection that the upload still writes to; once that ended the process.
"""

import contextlib
import socket
import threading

from support.waiting import DEADLINE, wait_until

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"


class SwitchesUnread:
    """Sends 101 on every connection at once and reads nothing. Its receive buffer and its segments
    are small, so the kernel cannot take a long head whole."""

    def __init__(self):
        self.answered = 0
        self._connections = []
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(16)
        self.address = "%s:%d" % self._listener.getsockname()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            with contextlib.suppress(OSError):
                connection.sendall(SWITCH)
                self.answered += 1

    def close(self):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            connection.close()


def test_101_before_the_head_was_sent(make_backend, gate):
    eager = SwitchesUnread()
    try:
        daemon = gate(
            [eager.address],
            type="http",
            upgrade=True,
            balance={"method": "least_conn"},
            limits={"head": "1MiB"},
            top={"workers": 1},
        )
        fields = [("Connection", "Upgrade"), ("Upgrade", "websocket")]
        fields += [(f"X-Filler-{number}", "y" * 8000) for number in range(100)]
        for _ in range(3):
            with daemon.client() as client:
                client.send(client.head("GET", "/b/ws", fields))
                response = client.read_response()
                assert response.status == 502
        # The backend counts after its send, possibly after our answer.
        wait_until(lambda: eager.answered >= 3, what="three answers of the backend")
    finally:
        eager.close()
    # The fixture checks the exit status; this fails earlier if something hangs.
    daemon.process.terminate()
    assert daemon.wait_exit(DEADLINE) == 0
