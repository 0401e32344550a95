"""Every fault has an answer, an `error` in the access log and its own counter, and they agree.

Without counters an operator sees single failed requests and never their number. A counter that
misses a fault, or two counters for one fault, mislead.
"""

import contextlib
import pathlib
import signal
import subprocess
import sys
import threading

import pytest

from support import wire
from support.backend import answer_ok, hang, script
from support.config import FAST_HEALTH, Blackhole, dead_address
from support.waiting import wait_until

# Counters of work, not of faults.
ORDINARY = {"requests", "connections", "connection accepted"}
ORDINARY |= {f"{kind} handed to another worker" for kind in ("connection", "connections")}
OWN = {"answer of our own": 1}
CUT = {"response cut short": 1}


def faults(daemon):
    return {words: n for words, n in daemon.totals().items() if words not in ORDINARY}


def answer_of(client, data):
    """The status of the answer before the connection ends; None for no answer."""
    client.send(data)
    got, _ = client.read_until_close()
    return int(got[9:12]) if got else None


def test_client_head_timeout(one):
    daemon, backend = one(timeouts={"client_head": "500ms"})
    with daemon.client() as client:
        assert answer_of(client, b"GET /b/k HTTP/1.1\r\nHo") == 408
    wait_until(lambda: [line["error"] for line in daemon.log_lines()] == ["client head timeout"])
    daemon.wait_stderr(r"\[warning\] in the last \d+ s: 1 client head timeout\n")
    assert faults(daemon) == {"client head timeout": 1, **OWN}
    assert not backend.requests


def test_client_body_timeout(one):
    daemon, _ = one(timeouts={"client_body": "500ms"})
    with daemon.client() as client:
        head = client.head("PUT", "/b/k", [("Content-Length", 10)])
        assert answer_of(client, head + b"abc") == 408
    assert daemon.wait_log("/b/k")["error"] == "client body timeout"
    assert faults(daemon) == {"client body timeout": 1, **OWN}


def test_client_write_timeout(one):
    def handler(exchange):
        exchange.read_body()
        with contextlib.suppress(OSError):
            exchange.respond(200, [], wire.payload(64 * 1024 * 1024))
        exchange.close()

    daemon, _ = one(handler, timeouts={"client_write": "500ms"})
    with daemon.client(rcvbuf=4096) as client:
        client.send(client.head("GET", "/b/k"))
        line = daemon.wait_log("/b/k")
        assert (line["status"], line["error"]) == (200, "client write timeout")
        with pytest.raises(wire.Truncated):
            client.read_response()
    assert faults(daemon) == {"client write timeout": 1, **CUT}


@pytest.mark.parametrize("asks", [True, False])
def test_idle_client(one, asks):
    """Closed without an answer or a log line. Harmless: no warning."""
    daemon, _ = one(timeouts={"client_idle": "500ms", "client_head": "500ms"})
    with daemon.client() as client:
        if asks:
            assert client.request().status == 200
        assert client.expect_close() == "eof"
    daemon.wait_stderr(r"\[info\] in the last \d+ s: 1 idle client connection closed\n")
    assert len(daemon.log_lines()) == (1 if asks else 0)
    assert faults(daemon) == {"idle client connection closed": 1}


@pytest.mark.parametrize("where", ["head", "upload", "waiting", "download"])
def test_client_gone(one, where):
    def handler(exchange):
        if where == "download":
            with contextlib.suppress(OSError):
                exchange.respond(200, [], wire.payload(64 * 1024 * 1024))
            exchange.close()
        else:
            with contextlib.suppress(wire.Truncated):
                hang(exchange)
            exchange.close()

    daemon, backend = one(handler)
    client = daemon.client(rcvbuf=4096)
    if where == "head":
        client.send(b"GET /b/k HTTP/1.1\r\n")
        client.half_close()
        client.expect_close()
    else:
        body = b"abc" if where == "upload" else b""
        fields = [("Content-Length", 10)] if where == "upload" else []
        client.send(client.head("PUT" if where == "upload" else "GET", "/b/k", fields) + body)
        backend.wait_request("/b/k")
        if where == "download":
            client.begin_response()
    client.reset()
    (line,) = wait_until(daemon.log_lines)
    assert line["error"] == ("client closed in head" if where == "head" else "client closed")
    assert line["status"] == (200 if where == "download" else 499)
    assert faults(daemon) == {
        "client gone before its answer's end": 1,
        **(CUT if where == "download" else {}),
    }


def test_malformed_request(one):
    daemon, backend = one()
    with daemon.client() as client:
        assert answer_of(client, b"GET /b/k HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n") == 400
    assert daemon.wait_log("/b/k")["error"] not in ("", "-")
    assert faults(daemon) == {"malformed request refused": 1, **OWN}
    assert not backend.requests


def test_status_page_denied(one):
    daemon, _ = one(status={"allow": ["10.0.0.1"]})
    with daemon.client() as client:
        assert client.request(target="/upstream/health/").status == 403
    assert daemon.wait_log("/upstream")["error"] == "status page denied"
    assert faults(daemon) == {"request for the status page denied": 1, **OWN}


def test_unknown_host(one):
    daemon, backend = one(hosts=["s3.lab"])
    with daemon.client() as client:
        assert client.request(host="other.lab").status == 421
    assert daemon.wait_log("/b/k")["error"] == "unknown host"
    assert faults(daemon) == {"request for a host of no site refused": 1, **OWN}
    assert not backend.requests


def test_connects_refused_and_nobody_left(gate):
    daemon = gate([dead_address(), dead_address()], passive="off")
    with daemon.client() as client:
        response = client.request()
        assert (response.status, response.header("retry-after")) == (503, "1")
    line = daemon.wait_log("/b/k")
    assert (line["error"], line["tries"]) == ("connect refused", 2)
    assert faults(daemon) == {
        "connects refused": 2,
        "retry": 1,
        **OWN,
    }


def test_nobody_to_go_to(make_backend, gate):
    backend = make_backend()
    daemon = gate([{"address": backend.address, "drained": True}])
    with daemon.client() as client:
        assert client.request().status == 503
    assert daemon.wait_log("/b/k")["error"] == "no backend available"
    assert faults(daemon) == {"request without a backend left": 1, **OWN}


def test_connect_timeout(gate):
    hole = Blackhole()
    try:
        daemon = gate([hole.address], timeouts={"connect": "300ms"}, passive="off")
        with daemon.client() as client:
            assert client.request().status == 503
        assert daemon.wait_log("/b/k")["error"] == "connect timed out"
        assert faults(daemon) == {"connect timeout": 1, **OWN}
    finally:
        hole.close()


def test_backend_head_timeout(one):
    """The backend accepts, takes the request and does not answer."""
    daemon, _ = one(hang, timeouts={"backend_head": "500ms"})
    with daemon.client() as client:
        response = client.request("PUT", body=b"x")
        assert (response.status, b"<Code>RequestTimeout" in response.data) == (504, True)
    assert daemon.wait_log("/b/k")["error"] == "backend response timeout"
    assert faults(daemon) == {"backend head timeout": 1, **OWN}


def test_frozen_backend_process(gate):
    """SIGSTOP: the kernel still accepts and acknowledges, but no answer comes. After SIGCONT the
    backend serves as before."""
    script_text = (
        "import http.server, sys; s = http.server.ThreadingHTTPServer(('127.0.0.1', 0),"
        " http.server.SimpleHTTPRequestHandler); print(s.server_port, flush=True);"
        " s.serve_forever()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script_text],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=pathlib.Path(__file__).parent,
    )
    try:
        address = f"127.0.0.1:{int(process.stdout.readline())}"
        daemon = gate([address], timeouts={"backend_head": "700ms"}, passive="off")
        target = f"/{pathlib.Path(__file__).name}"
        with daemon.client() as client:
            assert client.request(target=target).status == 200
            process.send_signal(signal.SIGSTOP)
            assert client.request("PUT", "/b/frozen", body=b"x").status == 504
            process.send_signal(signal.SIGCONT)
            assert client.request(target=target).status == 200
        assert daemon.wait_log("/b/frozen")["error"] == "backend response timeout"
        assert faults(daemon) == {"backend head timeout": 1, **OWN}
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_slow_head(one):
    """Single bytes do not count as progress: the whole head has one limit."""
    daemon, backend = one(timeouts={"client_head": "1s"})
    with daemon.client() as client:
        pause = threading.Event()
        for byte in b"GET /b/k HTTP/1.1\r\nHost: a\r\nX-Slow: " + b"y" * 200:
            if client.has_input() or not client.send_quietly(bytes([byte])):
                break
            pause.wait(0.1)
        data, _ = client.read_until_close()
        assert data.startswith(b"HTTP/1.1 408 ")
    wait_until(lambda: [line["error"] for line in daemon.log_lines()] == ["client head timeout"])
    assert faults(daemon) == {"client head timeout": 1, **OWN}
    assert not backend.requests


def test_both_windows_shut(one):
    """The client does not read its answer and the server does not read the request: each has its
    own limit, the shorter one ends both, and nothing is left."""
    done = threading.Event()

    def handler(exchange):
        exchange._body_read = True
        with contextlib.suppress(OSError):
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 26))
            exchange.sock.settimeout(None)
            exchange.sock.sendall(wire.payload(1 << 26))
        exchange.wait(done)
        exchange.close()

    daemon, _ = one(handler, timeouts={"client_write": "700ms"})
    sockets = daemon.sockets
    with daemon.client(rcvbuf=4096) as client:
        client.send(client.head("PUT", "/b/k", [("Content-Length", 1 << 26)]))
        client.send_in_background(wire.payload(1 << 26))
        line = daemon.wait_log("/b/k")
        assert (line["status"], line["error"]) == (200, "client write timeout")
        wait_until(lambda: daemon.sockets <= sockets)
    assert faults(daemon) == {"client write timeout": 1, **CUT}
    done.set()


def test_backend_body_timeout(one):
    def handler(exchange):
        exchange.read_body()
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        exchange.wait_closed()
        exchange.close()

    daemon, _ = one(handler, timeouts={"backend_body": "500ms"})
    with daemon.client() as client:
        client.send(client.head("GET", "/b/k"))
        with pytest.raises(wire.Truncated):
            client.read_response()
    assert daemon.wait_log("/b/k")["error"] == "backend body timeout"
    assert faults(daemon) == {"backend body timeout": 1, **CUT}


def test_backend_write_timeout(one):
    """The backend's window is zero: a long upload cannot proceed."""
    done = threading.Event()

    def handler(exchange):
        exchange._body_read = True
        exchange.wait(done)
        exchange.close()

    daemon, _ = one(handler, timeouts={"backend_body": "500ms"})
    with daemon.client() as client:
        client.send(client.head("PUT", "/b/k", [("Content-Length", 64 * 1024 * 1024)]))
        client.send_in_background(wire.payload(64 * 1024 * 1024))
        assert client.read_response("PUT").status == 504
        line = daemon.wait_log("/b/k")
        assert line["error"] == "backend stopped reading"
        assert faults(daemon) == {"backend write timeout": 1, **OWN}
    done.set()


@pytest.mark.parametrize("then", ["close", "reset"])
def test_backend_broken(one, then):
    def handler(exchange):
        exchange.read_body()
        exchange.close() if then == "close" else exchange.reset()

    daemon, _ = one(handler, passive="off")
    with daemon.client() as client:
        assert client.request("PUT", body=b"x").status == 502
    assert daemon.wait_log("/b/k")["error"] == "backend closed"
    assert faults(daemon) == {"backend connection broken before an answer": 1, **OWN}


def test_backend_cuts_its_response(one):
    daemon, _ = one(script(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"))
    with daemon.client() as client:
        client.send(client.head("GET", "/b/k"))
        with pytest.raises(wire.Truncated):
            client.read_response()
    assert daemon.wait_log("/b/k")["error"] == "backend closed in body"
    assert faults(daemon) == {"response cut by its backend": 1, **CUT}


def test_malformed_answer(one):
    daemon, _ = one(script(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"))
    with daemon.client() as client:
        assert client.request("PUT", body=b"x").status == 502
    assert daemon.wait_log("/b/k")["error"] == "malformed response"
    assert faults(daemon) == {"malformed answer": 1, **OWN}


@pytest.mark.parametrize("when", ["at once", "while parked"])
def test_unasked_bytes(one, when):
    """Late bytes must not become another answer: the connection is closed, and the client keeps its
    answer."""
    go = threading.Event()

    def handler(exchange):
        if when == "at once":
            exchange.read_body()
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\n")
        else:
            answer_ok(exchange)
            exchange.wait(go)
            exchange.send(b"HTTP/1.1 408 Late\r\n\r\n")
        with contextlib.suppress(wire.Truncated):
            exchange.wait_closed()

    daemon, backend = one(handler)
    with daemon.client() as client:
        assert client.request().status == 200
        go.set()
        wait_until(lambda: not backend.open_connections)
        assert daemon.wait_log("/b/k")["error"] == "-"
    assert faults(daemon) == {"backend connection closed for unasked bytes": 1}


def test_an_end_of_a_parked_connection_is_no_fault(one):
    def handler(exchange):
        answer_ok(exchange)
        exchange.close()

    daemon, backend = one(handler)
    with daemon.client() as client:
        assert client.request().status == 200
        wait_until(lambda: not backend.open_connections)
    assert faults(daemon) == {}


def test_marks(make_backend, gate):
    """One is set by live requests, one is cleared by a request, one by the checks."""
    backends = [make_backend() for _ in range(2)]
    daemon = gate(
        backends,
        balance={"method": "round_robin"},
        passive={"max_fails": 1, "fail_timeout": "500ms"},
        top={"workers": 1},
    )
    backends[0].refuse()
    with daemon.client() as client:

        def marked():
            assert client.request().status == 200
            return "passively marked after" in daemon.stderr

        wait_until(marked)
        backends[0].listen()

        def cleared():
            assert client.request().status == 200
            return "no longer passively marked" in daemon.stderr

        wait_until(cleared)
    counted = faults(daemon)
    assert counted["passive mark set"] == 1
    assert counted["passive mark cleared by a request"] == 1
    assert counted.get("connect refused", counted.get("connects refused"))


def test_mark_cleared_by_checks(make_backend, gate):
    backends = [make_backend() for _ in range(2)]
    daemon = gate(
        backends,
        balance={"method": "round_robin"},
        health={**FAST_HEALTH, "interval": "300ms", "fall": 100, "rise": 1},
        passive={"max_fails": 1, "fail_timeout": "1h"},
    )
    backends[0].refuse()
    with daemon.client() as client:

        def marked():
            assert client.request().status == 200
            return "passively marked after" in daemon.stderr

        wait_until(marked)
        backends[0].listen()
        daemon.wait_stderr("is no longer passively marked")
    counted = faults(daemon)
    assert counted["passive mark set"] == 1
    assert counted["passive mark cleared by checks"] == 1


def test_requests_that_wait_when_a_backend_goes_down(make_backend, gate):
    backends = [make_backend(hang), make_backend(hang)]
    daemon = gate(
        backends,
        health={**FAST_HEALTH, "timeout": "300ms", "interval": "300ms"},
        when_all_down="refuse",
    )
    with daemon.client() as client:
        client.send(client.head("PUT", "/b/k", [("Content-Length", 1)]) + b"x")
        wait_until(lambda: sum(backend.count("/b/k") for backend in backends))
        (victim,) = [backend for backend in backends if backend.count("/b/k")]
        victim.health.mode = "hang"
        assert client.read_response("PUT").status == 504
    assert daemon.wait_log("/b/k")["error"] == "backend taken down"
    counted = faults(daemon)
    assert counted["request waiting on a backend that went down"] == 1
    assert counted["backend down"] == 1


def test_idle_tunnel(one):
    def handler(exchange):
        exchange._body_read = True
        fields = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
        exchange.send(b"HTTP/1.1 101 Switching\r\n" + fields + b"\r\n")
        exchange.wait_closed()
        exchange.close()

    daemon, _ = one(handler, type="http", upgrade=True, timeouts={"tunnel_idle": "500ms"})
    with daemon.client() as client:
        fields = [("Connection", "Upgrade"), ("Upgrade", "websocket")]
        client.send(client.head("GET", "/b/k", fields))
        assert client.begin_response().status == 101
        client.expect_close()
    assert daemon.wait_log("/b/k")["error"] == "tunnel idle timeout"
    assert faults(daemon) == {"idle tunnel closed": 1}


def test_out_of_descriptors(make_backend, gate):
    """New connections wait in the kernel's queue; those in service continue."""
    backend = make_backend()
    daemon = gate([backend], daemon={"nofile": 64}, top={"limits": {"connections": 1000}})
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(daemon.client())
        assert first.request().status == 200
        for _ in range(80):
            stack.enter_context(daemon.client())
        daemon.wait_stderr(r"\[warning\] in the last \d+ s: \d+ pauses? in accepting for want of")
        assert first.request().status == 200
    counted = faults(daemon)
    assert [words for words in counted if words.startswith("pause")]


def test_connection_limit(make_backend, gate):
    backend = make_backend()
    daemon = gate([backend], top={"limits": {"connections": 1}, "workers": 1})
    kept = []

    def is_alone():
        # The connection of the readiness test may still be open.
        client = daemon.client()
        with contextlib.suppress(wire.Truncated, OSError):
            if client.request().status == 200:
                kept.append(client)
                return True
        client.close()
        return False

    wait_until(is_alone)
    with kept[0], daemon.client() as second:
        response = second.request(target="/b/shed")
        assert (response.status, b"<Code>SlowDown" in response.data) == (503, True)
    assert daemon.wait_log("/b/shed")["error"] == "connection limit"
    counted = faults(daemon)
    assert [words for words in counted if words.endswith("over limits.connections refused")]


def test_what_was_not_told_yet_is_told_at_the_end(one):
    """The second fault comes within the minute, so its line is written at the end of the process.
    """
    daemon, _ = one()
    with daemon.client() as client:
        assert answer_of(client, b"x\r\n\r\n") == 400
    daemon.wait_stderr(r"in the last \d+ s: 1 malformed request refused\n")
    with daemon.client() as client:
        assert answer_of(client, b"x\r\n\r\n") == 400
    daemon.signal(signal.SIGTERM)
    assert daemon.wait_exit() == 0
    told = daemon.stderr.count("1 malformed request refused\n")
    assert told == 2, daemon.stderr
    assert daemon.totals()["malformed requests refused"] == 2


def test_connection_over_per_client(make_backend, gate):
    daemon = gate([make_backend()], limits={"per_client": 1})
    source = "127.0.7.1"  # not the address of the readiness test
    with daemon.client(source=source) as inside:
        assert inside.request().status == 200
        with daemon.client(source=source) as outside:
            assert answer_of(outside, outside.head("GET", "/b/more")) == 503
    assert daemon.wait_log("/b/more")["error"] == "client connection limit"
    assert faults(daemon) == {"connection over limits.per_client refused": 1, **OWN}


def test_request_over_the_rate_of_a_client(make_backend, gate):
    limit = {"requests_per_client": {"rate": "1/m", "burst": 1}}
    daemon = gate([make_backend()], limits=limit)
    with daemon.client(source="127.0.7.1") as client:
        assert client.request().status == 200
        assert client.request(target="/b/more").status == 503
    assert daemon.wait_log("/b/more")["error"] == "client rate limit"
    assert faults(daemon) == {"request over limits.requests_per_client refused": 1, **OWN}


def test_no_room_at_a_server(make_backend, gate):
    """One is served, one waits in vain, one finds the queue full, and one waits with success."""
    done = threading.Event()

    def handler(exchange):
        exchange.read_body()
        exchange.wait(done)
        exchange.respond(200, [], b"")

    backend = make_backend(handler)
    room = {"max_connections": 1, "queue": 1, "queue_timeout": "1s"}
    daemon = gate([backend], top={"workers": 1}, backends=room)
    with daemon.client() as served, daemon.client() as waits, daemon.client() as outside:
        served.send(served.head("GET", "/b/served"))
        wait_until(lambda: backend.count("/b/served") == 1)
        waits.send(waits.head("GET", "/b/waits"))
        outside.send(outside.head("GET", "/b/outside"))
        assert outside.read_response().status == 503
        assert waits.read_response().status == 503
        waits.send(waits.head("GET", "/b/again"))
        done.set()
        assert served.read_response().status == 200
        assert waits.read_response().status == 200
    counted = faults(daemon)
    # The last request may have come when the room was free again.
    assert counted.pop("request that waited for room at a server", 0) + counted.pop(
        "requests that waited for room at a server", 0
    ) in (1, 2)
    assert counted == {
        "request that waited for room in vain": 1,
        "request that found no place to wait": 1,
        "answers of our own": 2,
    }


def test_kept_connection_found_closed(one):
    """The server closes a kept connection at the moment of its use: a read is repeated once, free.
    """

    def handler(exchange):
        exchange.read_body()
        if exchange.connection.requests > 1:
            exchange.reset()
        else:
            exchange.respond(200, [], b"")

    daemon, _ = one(handler, top={"workers": 1})
    with daemon.client() as client:
        assert client.request(target="/b/1").status == 200
        assert client.request(target="/b/2").status == 200
    assert faults(daemon) == {"kept backend connection found closed": 1, "retry": 1}
