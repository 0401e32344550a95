"""A WebSocket server of Python's websockets: the same conversation as ws_node.js.

websockets_node.py NAME HOST PORT; prints READY when it listens."""

import asyncio
import http
import json
import sys

import websockets

# The server of Debian 12's version; Debian 13's own has another form and still carries this one.
from websockets.legacy.server import serve as listen

NAME, HOST, PORT = sys.argv[1], sys.argv[2], int(sys.argv[3])
CLOSES = []
OPEN = set()


async def ordinary(path, headers):
    """Requests that are no handshake."""
    if headers.get("Upgrade"):
        return None
    answers = {
        "/name": lambda: NAME,
        "/open": lambda: str(len(OPEN)),
        "/closes": lambda: json.dumps(CLOSES),
    }
    if path not in answers:
        return http.HTTPStatus.NOT_FOUND, [], b"not here"
    return http.HTTPStatus.OK, [], answers[path]().encode()


async def report_pong(socket, payload):
    await (await socket.ping(payload))
    await socket.send(f"!pong {payload}")


async def obey(socket, text):
    if text == "!seen":
        seen = {
            "name": NAME,
            "target": socket.path,
            "headers": list(socket.request_headers.raw_items()),
            "protocol": socket.subprotocol or "",
            "deflate": any(e.name == "permessage-deflate" for e in socket.extensions),
        }
        await socket.send(json.dumps(seen))
    elif text.startswith("!ping "):
        asyncio.ensure_future(report_pong(socket, text[6:]))
    elif text.startswith("!close "):
        _, code, reason = text.split(" ", 2)
        await socket.close(int(code), reason)
    else:
        await socket.send(text)


async def serve(socket):
    OPEN.add(socket)
    try:
        async for message in socket:
            if isinstance(message, str):
                await obey(socket, message)
            else:
                await socket.send(message)
    except websockets.ConnectionClosed:
        pass
    finally:
        OPEN.discard(socket)
        CLOSES.append(
            {"target": socket.path, "code": socket.close_code, "reason": socket.close_reason}
        )


async def main():
    async with listen(
        serve,
        HOST,
        PORT,
        subprotocols=["s3gate.test"],
        process_request=ordinary,
        max_size=64 * 1024 * 1024,
        ping_interval=None,
        backlog=1024,
    ):
        print("READY", flush=True)
        await asyncio.Future()


asyncio.run(main())
