"""WebSockets of real software through the console's site: Node's ws and Python's websockets, each
as server and as client.

A tunnel that is right for scripted bytes may still break what these negotiate: compression, pings,
close codes, fields that a server compares. A console's proxy holds hundreds of tunnels for hours:
none may be lost when others come, go or die, and none may leave resources behind.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time

import pytest

from load import Client, Load
from support.client import RawClient, exchange
from support_real import (
    ADDRESSES,
    S3gate,
    end_process,
    report,
    require,
    require_program,
    wait_until,
)

try:
    import websockets

    # The client of Debian 12's version; Debian 13's own has another form and still carries this
    # one.
    from websockets.legacy import client as websockets_client
except ImportError:
    websockets = None

FOLDER = pathlib.Path(__file__).resolve().parent / "websocket"
HOST = "console.example:9001"
MIB = 1024 * 1024
TUNNELS = 500
PATIENCE = 120  # a longer wait only ends a failed test


def node_environment():
    """Debian's modules are not on the search path of another node."""
    return {**os.environ, "NODE_PATH": "/usr/share/nodejs"}


class Server:
    """One node of the console: a separate process. `kind` is ws or websockets."""

    def __init__(self, kind, name):
        self.kind = kind
        self.name = name
        self.address = f"{ADDRESSES.take()}:9001"
        host, port = self.address.rsplit(":", 1)
        if kind == "ws":
            command = [require_program("node"), str(FOLDER / "ws_node.js")]
        else:
            command = [sys.executable, "-B", str(FOLDER / "websockets_node.py")]
        self._process = subprocess.Popen(
            [*command, name, host, port],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            env=node_environment(),
        )
        if self._process.stdout.readline().strip() != "READY":
            self.stop()
            pytest.fail(f"{kind} {name} did not start on {self.address}")

    def ask(self, path):
        head = f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
        return exchange(self.address, head.encode()).data

    @property
    def open(self):
        return int(self.ask("/open"))

    def close_of(self, target):
        """(code, reason) of the end of `target`'s WebSocket, as the server saw it."""

        def found():
            for close in json.loads(self.ask("/closes")):
                if close["target"] == target:
                    return close["code"], close["reason"]
            return None

        return wait_until(found, PATIENCE, f"the end of {target} at {self.name}")

    def kill(self):
        self._process.kill()
        self._process.wait(10)

    def stop(self):
        end_process(self._process)
        self._process.stdout.close()


def console_site(name, servers, **extra):
    """Like config/sites/console01-minio.yaml, without checks: these nodes have no API port."""
    return {
        "name": name,
        "type": "http",
        "listen": [f"{ADDRESSES.take()}:9001"],
        "balance": {"method": "least_conn"},
        "backends": {"servers": [server.address for server in servers], "idle_timeout": "1s"},
        "upgrade": True,
        **extra,
    }


def sockets_of(gate):
    folder, count = f"/proc/{gate.process.pid}/fd", 0
    for name in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):
            count += os.readlink(f"{folder}/{name}").startswith("socket:")
    return count


def connect(address, path="/ws/objectManager", **more):
    """A WebSocket of Python's websockets to `address`, with the Host HOST."""
    host, port = address.rsplit(":", 1)
    more = {
        "ping_interval": None,
        "max_size": 64 * MIB,
        "open_timeout": PATIENCE,
        "close_timeout": PATIENCE,
        **more,
    }
    return websockets_client.connect(f"ws://{HOST}{path}", host=host, port=int(port), **more)


async def echo(socket, message):
    await socket.send(message)
    return await asyncio.wait_for(socket.recv(), PATIENCE)


async def name_of(socket):
    return json.loads(await echo(socket, "!seen"))["name"]


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 2 * PATIENCE))


@pytest.fixture(scope="module", name="stage")
def stage_fixture():
    """Three nodes of two kinds; a site before each of two alone, and one before all of them."""
    require(websockets is not None, "not installed: python3-websockets")
    require_program("node")
    found = subprocess.run(
        ["node", "-e", "require('ws')"], env=node_environment(), capture_output=True, check=False
    )
    require(found.returncode == 0, "not installed: node-ws")
    servers = []
    try:
        for kind, name in (("ws", "node1"), ("websockets", "node2"), ("ws", "node3")):
            servers.append(Server(kind, name))
        sites = [
            console_site("cluster", servers),
            console_site("ws", servers[:1]),
            console_site("websockets", servers[1:2]),
        ]
        with S3gate(sites, {"workers": 2}) as gate:
            gate.addresses = {site["name"]: site["listen"][0] for site in sites}
            gate.servers = {"ws": servers[0], "websockets": servers[1]}
            gate.nodes = servers
            yield gate
    finally:
        for server in servers:
            server.stop()


@pytest.fixture(params=["ws", "websockets"])
def one(request, stage):
    """One kind of server: (address of its site, the server)."""
    return stage.addresses[request.param], stage.servers[request.param]


def test_messages_of_every_kind_and_size(one):
    async def talk():
        async with connect(one[0], compression=None) as socket:
            assert socket.extensions == []
            for text in ("", "x", "Grüße, 世界", "y" * 126, "z" * 65536):
                assert await echo(socket, text) == text
            for size in (0, 1, 125, 126, 65535, 65536, MIB, MIB + 7):
                data = random.randbytes(size)
                back = await echo(socket, data)
                assert hashlib.sha256(back).digest() == hashlib.sha256(data).digest(), size
            letters = random.randbytes(MIB // 2).hex()
            assert await echo(socket, letters) == letters
            # Many messages in transit, both directions full, and the order is kept.
            messages = [b"%d " % number + random.randbytes(20000) for number in range(200)]

            async def send_all():
                for message in messages:
                    await socket.send(message)

            sender = asyncio.ensure_future(send_all())
            for message in messages:
                assert await asyncio.wait_for(socket.recv(), PATIENCE) == message
            await sender

    run(talk())


def test_compression_is_the_ends_business(stage, one):
    """permessage-deflate is offered and accepted through the proxy, and the compressed form passes;
    without an offer there is no compression."""
    text = "the same line again and again\n" * (4 * MIB // 30)
    target = f"/ws/deflate-{one[1].kind}"

    async def talk():
        async with connect(one[0], target, compression="deflate") as socket:
            assert [extension.name for extension in socket.extensions] == ["permessage-deflate"]
            seen = json.loads(await echo(socket, "!seen"))
            assert seen["deflate"]
            assert await echo(socket, text) == text
        async with connect(one[0], compression=None) as socket:
            seen = json.loads(await echo(socket, "!seen"))
            assert not seen["deflate"]
            assert not [k for k, _ in seen["headers"] if k.lower() == "sec-websocket-extensions"]

    run(talk())
    entry = stage.wait_entries(lambda entry: entry["request"] == target, 1)[0]
    assert entry["status"] == 101
    assert 0 < entry["size"] < len(text) // 20, "what went to the client was not compressed"
    assert 0 < entry["bytes_in"] < len(text) // 20


def test_pings_both_ways(one):
    async def talk():
        async with connect(one[0]) as socket:
            waiter = await socket.ping(b"from the client")
            await asyncio.wait_for(waiter, PATIENCE)
            # The client's library answers the server's ping; the server reports the answer.
            assert await echo(socket, "!ping from-the-server") == "!pong from-the-server"

    run(talk())


def test_closes_with_code_and_reason(one):
    """From either end; an end without a close handshake stays one (1006)."""
    address, server = one

    async def closed_by_server():
        async with connect(address) as socket:
            await socket.send("!close 4001 the server is done")
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await asyncio.wait_for(socket.recv(), PATIENCE)
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (
                4001,
                "the server is done",
            )

    async def closed_by_client():
        socket = await connect(address, "/ws/client-closes")
        await socket.close(4002, "grüße")
        assert socket.close_code == 4002

    async def broken_by_client():
        socket = await connect(address, "/ws/client-breaks")
        socket.transport.abort()

    run(closed_by_server())
    run(closed_by_client())
    assert server.close_of("/ws/client-closes") == (4002, "grüße")
    run(broken_by_client())
    assert server.close_of("/ws/client-breaks")[0] == 1006


def test_the_server_sees_what_the_browser_sent(one):
    """CheckOrigin compares Origin with Host, and the session is a cookie: each arrives byte for
    byte, once, in order."""
    fields = [
        ("Cookie", "token=sealed==; theme=dark"),
        ("Accept-Language", "de, en;q=0.8"),
        ("X-Odd_Name", "a  b"),
    ]

    async def talk():
        async with connect(
            one[0],
            "/ws/seen?a=%2F&b=c+d",
            origin=f"http://{HOST}",
            extra_headers=fields,
            subprotocols=["other", "s3gate.test"],
            user_agent_header="Mozilla/5.0 (test)",
        ) as socket:
            assert socket.subprotocol == "s3gate.test"
            sent = list(socket.request_headers.raw_items())
            return json.loads(await echo(socket, "!seen")), sent

    seen, sent = run(talk())
    got = [(name.lower(), value) for name, value in seen["headers"]]
    assert seen["target"] == "/ws/seen?a=%2F&b=c+d"
    assert seen["protocol"] == "s3gate.test"
    assert ("Host", HOST) in sent and ("Origin", f"http://{HOST}") in sent
    for name, value in sent:
        if name not in ("Connection", "Upgrade"):
            assert [v for k, v in got if k == name.lower()] == [value], name
    assert [v.lower() for k, v in got if k == "connection"] == ["upgrade"]
    assert [v.lower() for k, v in got if k == "upgrade"] == ["websocket"]
    assert dict(got)["x-forwarded-proto"] == "http"
    assert dict(got)["x-real-ip"].startswith("127.")


def test_node_as_client(one):
    """The whole conversation again with a client of another kind."""
    result = subprocess.run(
        ["node", str(FOLDER / "ws_client.js"), f"ws://{one[0]}/ws/node-client", HOST],
        env=node_environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    seen = json.loads(result.stdout)
    server = seen.pop("server")
    headers = {name.lower(): value for name, value in server.pop("headers")}
    assert seen == {
        "upgrade": 101,
        "protocol": "s3gate.test",
        "extensions": "permessage-deflate",
        "text": ["Grüße, 世界", False],
        "binary": [True, True],
        "long": [True, False],
        "pong": "from the client",
        "ping": "from-the-server",
        "pongSeen": "!pong from-the-server",
        "close": [4002, "client is done"],
    }
    assert server == {
        "name": one[1].name,
        "target": "/ws/node-client",
        "protocol": "s3gate.test",
        "deflate": True,
    }
    assert (headers["host"], headers["origin"]) == (HOST, f"http://{HOST}")
    assert headers["cookie"] == "token=sealed; theme=dark"
    assert one[1].close_of("/ws/node-client") == (4002, "client is done")


async def open_many(address, count, path="/ws/many"):
    """This number of WebSockets, a few handshakes at a time."""
    sockets = []
    while len(sockets) < count:
        batch = min(25, count - len(sockets))
        sockets += await asyncio.gather(
            *(connect(address, path, compression=None) for _ in range(batch))
        )
    return sockets


async def close_all(sockets):
    await asyncio.gather(*(socket.close() for socket in sockets))


def ordinary(number):
    head = f"GET /name HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
    return "GET", str(number), head.encode()


def test_hundreds_of_tunnels_beside_ordinary_requests(stage):
    """500 tunnels are spread evenly and stay. Requests on the same site are all answered meanwhile.
    Afterwards the daemon has no resource of them left."""
    address = stage.addresses["cluster"]
    wait_until(lambda: all(node.open == 0 for node in stage.nodes), PATIENCE, "no tunnel left")
    # Connections that earlier tests left in the pool are gone after a second.
    before = wait_until(lambda: settled(lambda: sockets_of(stage)), PATIENCE, "parked ones closed")
    figures = {}

    async def talk(load):
        begun = time.monotonic()
        sockets = await open_many(address, TUNNELS)
        figures["seconds to open"] = round(time.monotonic() - begun, 2)
        spread = [node.open for node in stage.nodes]
        figures["spread over three nodes"] = str(spread)
        assert sum(spread) == TUNNELS
        # An ordinary request in progress counts as much as a tunnel; that explains the difference.
        assert max(spread) - min(spread) <= 8
        assert sockets_of(stage) >= before + 2 * TUNNELS
        done = load.count()
        while load.count() < done + 100:
            await asyncio.sleep(0.02)

        async def check(number, socket):
            message = f"still here, {number}"
            assert await echo(socket, message) == message

        begun = time.monotonic()
        await asyncio.gather(*(check(*item) for item in enumerate(sockets)))
        figures["seconds for all to echo"] = round(time.monotonic() - begun, 2)
        await close_all(sockets)

    with Load(Client(address, ordinary, pause=0.01) for _ in range(4)) as load:
        run(talk(load))
    answers = load.answers()
    figures["ordinary requests meanwhile"] = len(answers)
    bad = [str(answer) for answer in answers if answer.status != 200]
    assert not bad, bad[:5]
    assert {answer.body for answer in answers} == {b"node1", b"node2", b"node3"}
    wait_until(lambda: sockets_of(stage) <= before, PATIENCE, "as many sockets as before")
    assert all(node.open == 0 for node in stage.nodes)
    report("websocket-tunnels", figures)


def settled(value, seconds=1.5):
    """The value once it has been constant for a while; None until then."""
    first = value()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.1)
        if value() != first:
            return None
    return first


@pytest.fixture(name="doomed")
def doomed_fixture(stage):
    """A cluster of its own, to be damaged: (daemon, its three nodes)."""
    del stage  # the fixture must be up
    nodes = [Server("ws", f"doomed{number}") for number in range(3)]
    gate = None
    try:
        gate = S3gate([console_site("doomed", nodes)], {"workers": 2, "shutdown_timeout": "6s"})
        yield gate, nodes
        if gate.process.poll() is None:
            gate.stop()
    finally:
        if gate:
            end_process(gate.process)
        for node in nodes:
            node.stop()


def test_a_node_is_killed(doomed):
    """Its clients learn of it at once, the others do not, and a new connection finds another node.
    """
    gate, nodes = doomed
    figures = {}

    async def talk():
        sockets = await open_many(gate.address, 60)
        owners = dict(zip(sockets, await asyncio.gather(*map(name_of, sockets))))
        lost = [socket for socket, name in owners.items() if name == "doomed0"]
        kept = [socket for socket, name in owners.items() if name != "doomed0"]
        assert len(lost) == 20
        begun = time.monotonic()
        await asyncio.get_running_loop().run_in_executor(None, nodes[0].kill)

        async def ended(socket):
            with pytest.raises(websockets.ConnectionClosedError):
                await socket.recv()
            assert socket.close_code == 1006
            return time.monotonic() - begun

        last = max(await asyncio.wait_for(asyncio.gather(*map(ended, lost)), PATIENCE))
        figures["last client heard of it after, ms"] = round(1000 * last)
        again = await open_many(gate.address, 20)
        names = await asyncio.gather(*map(name_of, again))
        assert set(names) == {"doomed1", "doomed2"}
        for socket in kept:
            assert await echo(socket, "unharmed") == "unharmed"
        figures["tunnels of the others"] = len(kept)
        await close_all(kept + again)

    run(talk())
    marked = rf": {nodes[0].address} is passively marked after 3 failures"
    wait_until(lambda: re.search(marked, gate.stderr.read_text()), PATIENCE, "the mark in the log")
    report("websocket-node-killed", figures)


def test_stop_with_tunnels_open(doomed):
    """They continue for shutdown_timeout, then end. The log says so, and the stop counts as a
    success."""
    gate, _ = doomed

    async def talk():
        sockets = await open_many(gate.address, 30)
        begun = time.monotonic()
        gate.process.send_signal(signal.SIGTERM)
        await asyncio.get_running_loop().run_in_executor(
            None,
            lambda: wait_until(
                lambda: "draining" in gate.stderr.read_text(), PATIENCE, "the drain's beginning"
            ),
        )
        for number, socket in enumerate(sockets):
            assert await echo(socket, f"after the signal {number}") == f"after the signal {number}"

        async def ended(socket):
            with pytest.raises(websockets.ConnectionClosed):
                await socket.recv()
            return time.monotonic() - begun

        ends = await asyncio.gather(*map(ended, sockets))
        assert min(ends) > 5.5, "cut before shutdown_timeout"

    run(talk())
    assert gate.process.wait(PATIENCE) == 0
    log = gate.stderr.read_text()
    assert "draining: requests in progress have 6 s" in log
    assert "stopping at once: shutdown_timeout is over" in log
    assert "30 tunnels were still open at the end of the drain and cut" in log
    with pytest.raises(OSError):
        RawClient(gate.address, timeout=5)
