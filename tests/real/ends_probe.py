"""Ends the service in every way while clients come and go. Copied into the container of
test_unit_ends.py, whose settings it reads, and run there as root. Uses the standard library only.
"""

import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import threading
import time

CONFIG = pathlib.Path("/etc/s3gate/s3gate.yaml")
DROP_IN = pathlib.Path("/etc/systemd/system/s3gate.service.d/no-store.conf")
BACKEND = ("127.0.0.1", 9100)
TEXT = """
workers: 2
shutdown_timeout: {shutdown_timeout}
sites:
  - name: cluster
    listen: ["127.0.0.1:9000", "127.0.0.1:9002", "0.0.0.0:9002"]
    balance: {{salt: pepper}}
    health: off
    backends: {{servers: ["127.0.0.1:9100", "127.0.0.1:9101"]}}
"""
# The second and third are the specific address and the wildcard of one port.
DOORS = [("127.0.0.1", 9000), ("127.0.0.1", 9002), ("127.0.0.2", 9002)]
GET = b"GET /b/k HTTP/1.1\r\nHost: x\r\n\r\n"
PATIENCE = 30


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    return done.returncode


def unit(name):
    command = ["systemctl", "show", "-p", name, "--value", "s3gate"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def wait_until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, condition
        time.sleep(0.02)


class Backend:
    """Answers every request when its body is there, and remembers the sizes of the bodies."""

    def __init__(self):
        self.bodies = []
        self._listener = socket.create_server(BACKEND, backlog=1024)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            client, _ = self._listener.accept()
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client, client.makefile("rb") as lines:
            while line := lines.readline():
                size = 0
                while line.strip():
                    name, _, value = line.partition(b":")
                    size = int(value) if name.lower() == b"content-length" else size
                    line = lines.readline()
                try:
                    body = lines.read(size)
                except ConnectionResetError:
                    return
                if size:
                    self.bodies.append(len(body))
                if len(body) == size:
                    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


class Knocker:
    """Clients that connect to a door one after another, send a request and read the answer."""

    def __init__(self, doors, pause=0.004):
        self.outcomes = []  # (begin, end, outcome)
        self._go = True
        self._pause = pause
        self._threads = [threading.Thread(target=self._run, args=(door,)) for door in doors]
        for thread in self._threads:
            thread.start()

    def _run(self, door):
        while self._go:
            begin = time.monotonic()
            self.outcomes.append((begin, knock(door), time.monotonic()))
            time.sleep(self._pause)

    def end(self):
        """What became of the clients: figures."""
        self._go = False
        for thread in self._threads:
            thread.join()
        words = [outcome for _, outcome, _ in self.outcomes]
        found = {word: words.count(word) for word in sorted(set(words))}
        found["refusing"] = self._longest_refusal()
        found["slowest"] = round(max(end - begin for begin, _, end in self.outcomes), 3)
        return found

    def cut_apart_from(self, deaths):
        """Clients that were cut and lived through none of these (begin, end) of a process."""
        return sum(
            outcome == "cut" and not any(begin <= gone and end >= killed for killed, gone in deaths)
            for begin, outcome, end in self.outcomes
        )

    def _longest_refusal(self):
        """Seconds from the first client that was refused to the last before one that was served."""
        first, last, longest = None, 0.0, 0.0
        for begin, outcome, _ in sorted(self.outcomes):
            if outcome == "refused":
                first, last = first or begin, begin
            elif outcome == "served" and first:
                first, longest = None, max(longest, last - first)
        return round(longest, 3)

    def wait_served(self, count=20):
        """Until so many that begin from now on are served."""
        since = time.monotonic()

        def served():
            return sum(b > since and o == "served" for b, o, _ in list(self.outcomes)) >= count

        wait_until(served)


def knock(door):
    try:
        with socket.create_connection(door, timeout=PATIENCE) as client:
            try:
                client.sendall(GET)
                answer = client.recv(4096)
            except (ConnectionResetError, BrokenPipeError):
                return "cut"
            return "served" if b" 200 " in answer.split(b"\r\n")[0] + b" " else "cut"
    except ConnectionRefusedError:
        return "refused"
    except ConnectionResetError:
        return "reset in connect"
    except socket.timeout:
        return "hung"


def kill():
    """From when to when the process died."""
    process, begin = os.pidfd_open(int(unit("MainPID"))), time.monotonic()
    signal.pidfd_send_signal(process, signal.SIGKILL)
    assert select.select([process], [], [], PATIENCE)[0]
    end = time.monotonic()
    os.close(process)
    return begin, end


def write(shutdown_timeout="120s", more=""):
    CONFIG.write_text(TEXT.format(shutdown_timeout=shutdown_timeout) + more, encoding="utf-8")
    CONFIG.chmod(0o644)


def crash(times):
    knocker = Knocker(DOORS)
    deaths = []
    for _ in range(times):
        knocker.wait_served()
        restarts = int(unit("NRestarts"))
        deaths.append(kill())
        wait_until(lambda n=restarts: int(unit("NRestarts")) > n)
        wait_until(lambda: unit("ActiveState") == "active")
        knocker.wait_served()
    figures = knocker.end()
    figures["cut in the queue"] = knocker.cut_apart_from(deaths)
    return {**figures, "kept": int(unit("NFileDescriptorStore"))}


def crash_without_store(times):
    DROP_IN.parent.mkdir(exist_ok=True)
    DROP_IN.write_text("[Service]\nFileDescriptorStoreMax=0\n", encoding="utf-8")
    run("systemctl", "daemon-reload")
    run("systemctl", "restart", "s3gate")
    found = crash(times)
    DROP_IN.unlink()
    run("systemctl", "daemon-reload")
    run("systemctl", "restart", "s3gate")
    return found


def restart_with_idle_clients():
    clients = [socket.create_connection(DOORS[0], timeout=PATIENCE) for _ in range(500)]
    for client in clients:
        client.sendall(GET)
    served = sum(b" 200 " in client.recv(4096) for client in clients)
    knocker = Knocker(DOORS[:1])
    knocker.wait_served()
    begin = time.monotonic()
    code = run("systemctl", "restart", "s3gate")
    took = time.monotonic() - begin
    knocker.wait_served()
    for client in clients:
        client.close()
    return {**knocker.end(), "idle": served, "code": code, "took": round(took, 3)}


class Upload:
    """A PUT whose body takes `seconds`, in steps of a tenth."""

    STEPS = 10

    def __init__(self, seconds):
        self.end = None  # (time, answer)
        self._steps = int(seconds * self.STEPS)
        self._client = socket.create_connection(DOORS[0], timeout=PATIENCE)
        length = self._steps * 1000
        head = f"PUT /b/long HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
        self._client.sendall(head.encode())
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        answer = b""
        try:
            for _ in range(self._steps):
                time.sleep(1 / self.STEPS)
                self._client.sendall(b"x" * 1000)
            answer = self._client.recv(4096)
        except OSError:
            pass
        self.end = (time.monotonic(), answer.split(b"\r\n")[0].decode())

    def join(self):
        self._thread.join()
        self._client.close()
        return self.end


def restart_with_upload(backend, seconds, shutdown_timeout):
    write(shutdown_timeout)
    code = run("systemctl", "reload", "s3gate")
    backend.bodies.clear()
    upload = Upload(seconds)
    time.sleep(0.5)
    begin = time.monotonic()
    code += run("systemctl", "restart", "s3gate")
    end = time.monotonic()
    upload_end, answer = upload.join()
    write()
    code += run("systemctl", "reload", "s3gate")
    return {
        "code": code,
        "took": round(end - begin, 2),
        "began_to_stop_before": round(upload_end - begin, 2),
        "ended_after": round(end - upload_end, 2),
        "answer": answer,
        "bodies": list(backend.bodies),
        "result": unit("Result"),
    }


def reload_often(times):
    knocker = Knocker(DOORS)
    codes = [run("systemctl", "reload", "s3gate") for _ in range(times)]
    knocker.wait_served()
    return {**knocker.end(), "codes": codes}


def reload_a_broken_file():
    knocker = Knocker(DOORS[:1])
    write(more="sties: []\n")
    code = run("systemctl", "reload", "s3gate")
    write()
    knocker.wait_served()
    return {**knocker.end(), "code": code, "state": unit("ActiveState")}


def crash_and_fail(more):
    """What a client meets that connected after the crash, and what a later one does."""
    write(more=more)
    restarts = int(unit("NRestarts"))
    kill()
    wait_until(lambda: unit("SubState") == "auto-restart")
    first = knock(DOORS[0])  # returns when the next start has failed
    wait_until(lambda: int(unit("NRestarts")) > restarts)
    wait_until(lambda: unit("SubState") in ("auto-restart", "failed"))
    later = knock(DOORS[0])
    found = {"first": first, "later": later, "state": unit("SubState")}
    found["kept"] = int(unit("NFileDescriptorStore"))
    write()
    run("systemctl", "restart", "s3gate")
    return {**found, "repaired": knock(DOORS[0])}


def crash_and_stop():
    kill()
    wait_until(lambda: unit("SubState") == "auto-restart")
    run("systemctl", "stop", "s3gate")
    found = {"later": knock(DOORS[0]), "kept": int(unit("NFileDescriptorStore"))}
    run("systemctl", "start", "s3gate")
    return found


def main():
    signal.alarm(600)
    settings = json.loads(pathlib.Path("/settings.json").read_text(encoding="utf-8"))
    backend = Backend()
    write()
    seen = {"start": run("systemctl", "start", "s3gate")}
    times = settings["crashes"]
    seen["reload"] = reload_often(20)
    seen["broken reload"] = reload_a_broken_file()
    seen["crash"] = crash(times)
    seen["crash and code 2"] = crash_and_fail("sties: []\n")
    seen["crash and code 1"] = crash_and_fail('access_log: {target: "/none/a.log"}\n')
    seen["crash and stop"] = crash_and_stop()
    seen["restart, idle"] = restart_with_idle_clients()
    seconds = settings["upload_seconds"]
    seen["restart, upload"] = restart_with_upload(backend, seconds, f"{seconds + 60}s")
    seen["restart, long upload"] = restart_with_upload(backend, 30, "2s")
    seen["crash without store"] = crash_without_store(times)
    pathlib.Path("/seen.json").write_text(json.dumps(seen), encoding="utf-8")
    run("systemctl", "stop", "s3gate")
    run("journalctl", "--sync")


if __name__ == "__main__":
    main()
