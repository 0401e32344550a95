"""What is in progress goes before what is new: an answer that arrives behind a hundred requests is
passed on before most of them begin. Without that, all that is asked at once is in progress at once,
with a backend connection each, and everybody waits for the last of them."""

import pathlib
import shutil
import signal
import socket
import subprocess

import pytest
from support.client import split_address
from support.lockstep import ANSWERS, REQUESTS, Backend, is_whole
from support.waiting import DEADLINE, wait_until

CROWD = 100
BEGUN_AT_ONCE = 16  # net::Reactor::kBeginsPerRound


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_an_answer_overtakes_requests_that_have_not_begun(gate, tmp_path):
    backend = Backend()
    daemon = gate(
        [backend], top={"workers": 1}, balance={"salt": "x"}, backends={"keepalive": 2 * CROWD}
    )

    def connect():
        return socket.create_connection(split_address(daemon.address), DEADLINE)

    first, *crowd = clients = [connect() for _ in range(CROWD + 1)]
    # From now on everybody's backend connection is there already.
    for client in clients:
        client.sendall(REQUESTS["GET"][0])
    for connection in backend.take(len(clients)):
        connection.sendall(ANSWERS["GET"])
    for client in clients:
        receive_answer(client)
    first.sendall(REQUESTS["GET"][0])
    (waiting,) = backend.take(1)

    trace = tmp_path / "sends"
    strace = subprocess.Popen(
        ["strace", "-f", "-e", "trace=sendmsg", "-p", str(daemon.process.pid), "-o", trace],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = strace.stderr.readline()
        if "ttach" in line and "not permitted" in line:
            pytest.skip("this machine lets nobody trace")
        assert "attached" in line, line
        daemon.signal(signal.SIGSTOP)
        threads = len(list(pathlib.Path(f"/proc/{daemon.process.pid}/task").iterdir()))
        wait_until(
            lambda: trace.read_text().count("stopped by SIGSTOP") >= threads,
            what="the daemon stands still",
        )
        for client in crowd:
            client.sendall(REQUESTS["GET"][0])
        waiting.sendall(ANSWERS["GET"])
        daemon.signal(signal.SIGCONT)
        receive_answer(first)
        for connection in backend.take(CROWD):
            connection.sendall(ANSWERS["GET"])
        for client in crowd:
            receive_answer(client)
    finally:
        strace.send_signal(signal.SIGINT)
        strace.wait(30)
    sends = [line for line in trace.read_text().splitlines() if "sendmsg(" in line]
    answer = next(i for i, line in enumerate(sends) if "HTTP/1.1 200" in line)
    begun = sum("GET /bucket" in line for line in sends[:answer])
    assert begun <= BEGUN_AT_ONCE, f"{begun} requests began before the answer"
    assert sum("GET /bucket" in line for line in sends) == CROWD
    for client in clients:
        client.close()
    backend.close()


def receive_answer(client):
    answer = b""
    while not is_whole(answer):
        data = client.recv(65536)
        assert data, "the daemon closed the connection"
        answer += data
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer[:200]
