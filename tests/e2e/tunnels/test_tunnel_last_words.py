"""The last bytes of a tunnel's side before it breaks reach the other side, whichever event comes
first.

A server that closes with unread bytes sends a reset directly after its close frame; so does a
browser that leaves a page. Bytes in transit to the broken side must not destroy those bytes.
"""

import contextlib
import threading

import pytest

from support import wire
from support.waiting import DEADLINE, wait_until

CONSOLE = {"type": "http", "balance": {"method": "least_conn"}, "upgrade": True, "passive": "off"}
OFFER = [("Connection", "Upgrade"), ("Upgrade", "websocket")]
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
WORDS = wire.payload(40000)


def test_backend_breaks_right_behind_its_101(one):
    """Bytes sent with the request meet the reset before the daemon reads from the backend."""
    daemon = None

    def handler(exchange):
        exchange._body_read = True
        with daemon.frozen():
            exchange.send(SWITCH + WORDS)
            exchange.reset()

    daemon, _ = one(handler, **CONSOLE)
    for _ in range(4):
        with daemon.client() as client:
            client.send(client.head("GET", "/ws", OFFER) + b"glued")
            assert client.read_head().status == 101
            assert client.reader.exactly(len(WORDS), "last words") == WORDS
            assert client.expect_close() == "reset"


@pytest.mark.parametrize("order", ["words first", "bytes first"])
@pytest.mark.parametrize("breaker", ["backend", "client"])
def test_words_of_either_side(one, breaker, order):
    begun = threading.Semaphore(0)
    go = threading.Event()
    heard = []

    def handler(exchange):
        exchange._body_read = True
        exchange.send(SWITCH)
        begun.release()
        exchange.wait(go)
        if breaker == "backend":
            exchange.send(WORDS)
            exchange.reset()
        else:
            exchange.send(b"bytes")
            said.release()
            with contextlib.suppress(wire.Truncated):
                heard.append(exchange.reader.exactly(len(WORDS), "last words"))
            exchange.close()
        said.release()

    daemon, _ = one(handler, **CONSOLE)
    for _ in range(4):
        go.clear()
        heard.clear()
        said = threading.Semaphore(0)
        with daemon.client() as client:
            client.send(client.head("GET", "/ws", OFFER))
            assert client.read_head().status == 101
            assert begun.acquire(timeout=DEADLINE)

            def of_client():
                if breaker == "client":
                    client.send(WORDS)
                    client.reset()
                else:
                    client.send(b"bytes")

            def of_backend():
                go.set()
                assert said.acquire(timeout=DEADLINE)

            backend_first = (breaker == "backend") == (order == "words first")
            steps = [of_backend, of_client] if backend_first else [of_client, of_backend]
            with daemon.frozen():
                for step in steps:
                    step()
            if breaker == "backend":
                assert client.reader.exactly(len(WORDS), "last words") == WORDS
                assert client.expect_close() == "reset"
            else:
                assert said.acquire(timeout=DEADLINE)
                assert heard == [WORDS]
