"""`s3gate ctl` as operators, keepalived and systemd call it: what it prints, what it exits with,
and what /healthz says.

A script that moves traffic by exit codes moves it wrongly when one of them is wrong.
"""

import contextlib
import json
import os
import re
import resource
import signal
import socket
import subprocess
import time

import pytest

from support.backend import answer_ok, hang
from support.client import RawClient
from support.config import FAST_HEALTH, dead_address, make_config, make_site, to_yaml
from support.ctl import ADMIN, ask, ctl, socket_of, status_of
from support.daemon import binary, run_command
from support.waiting import DEADLINE, SCALE, wait_until

TOP = {"admin": ADMIN}


@pytest.fixture
def daemon(one):
    return one(top=TOP)[0]


def test_status_tells_sites_servers_and_counters(make_backend, gate):
    backend, dead = make_backend(), dead_address()
    daemon = gate([backend, dead], health=FAST_HEALTH, top=TOP)
    daemon.client().request()
    status = wait_until(
        lambda: (now := status_of(daemon))["counters"]["requests"] == 1 and now, what="a request"
    )
    assert status["pid"] == daemon.process.pid
    assert status["phase"] == "serving" and not status["standby"]
    assert status["health"] == {"healthy": True, "reason": "ok"}
    assert status["config"]["file"] == str(daemon.file)
    assert status["config"]["generation"] == 1 and status["config"]["old_generations"] == 0
    assert not status["config"]["differs_from_disk"]
    assert len(status["workers"]) == 2
    (site,) = status["sites"]
    (group,) = site["groups"]
    assert [server["server"] for server in group["servers"]] == [backend.address, dead]
    assert [server["usable"] for server in group["servers"]] == [True, False]
    assert group["servers"][1]["addresses"][0]["up"] is False
    assert status["counters"]["requests"] == 1

    text = ctl(daemon, "status")
    assert text.returncode == 0 and not text.stderr
    first = rf"s3gate \S+, pid {daemon.process.pid}, up \d+ s: serving"
    assert re.fullmatch(first, text.stdout.splitlines()[0])
    assert re.search(rf"^ +{backend.address} +{backend.address} +up +0$", text.stdout, re.M)
    assert re.search(rf"^ +{dead} +{dead} +down +0$", text.stdout, re.M)
    assert re.search(r"^  requests +1$", text.stdout, re.M)


def test_status_counts_what_is_in_flight(make_backend, gate):
    backend = make_backend(hang)
    daemon = gate([backend], top=TOP)
    with daemon.client() as client:
        client.send(client.head("GET", "/"))
        status = wait_until(
            lambda: (now := status_of(daemon))["requests"] == 1 and now, what="a request"
        )
        assert status["connections"] == 1
        assert sum(worker["connections"] for worker in status["workers"]) == 1
        server = status["sites"][0]["groups"][0]["servers"][0]
        assert server["addresses"][0]["in_flight"] == 1
    wait_until(lambda: status_of(daemon)["requests"] == 0, what="the end of the request")


def test_standby_and_active(daemon):
    """The traffic is served on, and asking twice is no mistake."""
    path = socket_of(daemon)
    assert ask(path, "GET", "/healthz") == (200, {"healthy": True, "reason": "ok"})
    done = ctl(daemon, "standby")
    assert (done.returncode, done.stdout) == (0, "standby: /healthz answers 503\n")
    assert ask(path, "GET", "/healthz") == (503, {"healthy": False, "reason": "standby"})
    assert ask(path, "GET", "/healthz?live=1")[0] == 200
    assert status_of(daemon)["phase"] == "standby"
    assert "/healthz answers 503: standby" in ctl(daemon, "status").stdout
    assert daemon.client().request().status == 200
    done = ctl(daemon, "standby")
    assert (done.returncode, done.stdout) == (0, "standby: /healthz answers 503 already\n")
    done = ctl(daemon, "active")
    assert (done.returncode, done.stdout) == (0, "active: the standby is over\n")
    assert ask(path, "GET", "/healthz")[0] == 200
    done = ctl(daemon, "active")
    assert (done.returncode, done.stdout) == (0, "active: there was no standby\n")


def test_a_change_is_logged_with_who_asked(daemon):
    ctl(daemon, "standby")
    user = "root" if os.geteuid() == 0 else rf"\S+ \(uid {os.geteuid()}\)"
    assert daemon.wait_stderr(
        rf"\[info\] standby: /healthz answers 503 \(asked by {user}, pid \d+\)\n"
    )
    assert "asked by" not in daemon.stderr.split("standby: ", 1)[0]


def test_health_is_quiet_unless_it_fails(daemon):
    done = ctl(daemon, "health")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    ctl(daemon, "standby")
    done = ctl(daemon, "health")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "s3gate: health: standby\n")
    assert ctl(daemon, "health", "--live").returncode == 0


def test_strict_health_wants_a_server_in_each_group(make_backend, start):
    good = make_site([make_backend()], name="good")
    bad = make_site([dead_address()], name="bad", health=FAST_HEALTH)
    daemon = start(make_config([good, bad], **TOP))
    assert ctl(daemon, "health").returncode == 0
    done = ctl(daemon, "health", "--strict")
    assert (done.returncode, done.stderr) == (1, "s3gate: health: no server of bad is usable\n")
    assert ctl(daemon, "health", "--strict", "--live").returncode == 1


def test_health_gives_up_on_a_daemon_that_stands_still(daemon):
    with daemon.frozen():
        began = time.monotonic()
        done = ctl(daemon, "health")
        took = time.monotonic() - began
    assert done.returncode == 4
    assert done.stderr.count("\n") == 1 and "no answer within 1500ms" in done.stderr
    assert 1.4 < took < 1.5 + 2 * SCALE


def test_health_gives_up_on_a_full_queue(tmp_path):
    """Nobody accepts, and the kernel's queue takes no further connection."""
    path = str(tmp_path / "full.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)
        fillers = [socket.socket(socket.AF_UNIX) for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(path)
        began = time.monotonic()
        done = run_command("ctl", "--socket", path, "health")
        took = time.monotonic() - began
        for filler in fillers:
            filler.close()
    assert done.returncode == 4 and "cannot reach the daemon" in done.stderr
    assert took < 1.5 + 2 * SCALE


def test_health_fails_from_the_first_moment_of_a_stop(make_backend, gate):
    backend = make_backend(hang)
    daemon = gate([backend], top=TOP)
    daemon.expected_exit = 3
    with daemon.client() as client:
        client.send(client.head("GET", "/"))
        wait_until(lambda: status_of(daemon)["requests"] == 1, what="a request")
        daemon.signal(signal.SIGTERM)
        done = wait_until(
            lambda: (now := ctl(daemon, "health")).returncode != 0 and now, what="the stop"
        )
        assert (done.returncode, done.stderr) == (1, "s3gate: health: draining\n")
        assert ctl(daemon, "health", "--live").returncode == 0
        assert status_of(daemon)["phase"] == "draining"
        daemon.signal(signal.SIGTERM)
        daemon.wait_exit()


def nothings(daemon):
    """Descriptors of /dev/null: standard input, and what the command socket has for such a day."""
    folder = f"/proc/{daemon.process.pid}/fd"
    links = []
    for name in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):
            links.append(os.readlink(f"{folder}/{name}"))
    return links.count("/dev/null")


def test_health_fails_while_a_listener_cannot_accept(make_backend, gate):
    """Out of descriptors; whoever looks into it gets in all the same."""
    daemon = gate([make_backend()], top={**TOP, "workers": 1, "limits": {"connections": 1000}},
                  daemon={"nofile": 64})
    spares = nothings(daemon)
    clients = []
    try:
        for _ in range(80):
            clients.append(socket.socket())
            clients[-1].setblocking(False)
            host, port = daemon.address.split(":")
            clients[-1].connect_ex((host, int(port)))
        done = wait_until(
            lambda: (now := ctl(daemon, "health")).returncode != 0 and now, what="a pause"
        )
        assert done.returncode == 1 and "do not accept for want of descriptors" in done.stderr
        for _ in range(20):  # as often as it is asked: no worker is given its descriptor
            assert ctl(daemon, "status").returncode == 0
            # A spare that is given up between two questions goes to a worker.
            wait_until(lambda: nothings(daemon) == spares, what="the spare descriptors")
    finally:
        for client in clients:
            client.close()
    wait_until(lambda: ctl(daemon, "health").returncode == 0, what="the end of the pause")


USAGE = {
    "no command": [],
    "unknown command": ["foo"],
    "unknown option": ["status", "--colour"],
    "one word too many": ["status", "all"],
    "two commands": ["standby", "active"],
    "no duration": ["reload", "--confirm"],
    "no duration at all": ["reload", "--confirm", "soon"],
    "too long": ["reload", "--confirm", "48h"],
    "option of another command": ["status", "--strict"],
}


@pytest.mark.parametrize("mistake", USAGE)
def test_usage_is_2(daemon, mistake):
    done = ctl(daemon, *USAGE[mistake])
    assert done.returncode == 2, done.stdout + done.stderr
    assert ("standby" in done.stdout) == (mistake == "no command")  # the list of commands
    assert status_of(daemon)["phase"] == "serving"


def test_a_bare_ctl_prints_the_commands():
    done = run_command("ctl")
    assert done.returncode == 2
    for command in ("status", "reload", "confirm", "standby", "active", "health"):
        assert re.search(rf"^  {command} ", done.stdout, re.M), done.stdout
    for form in (["ctl", "--help"], ["help", "ctl"]):
        done = run_command(*form)
        assert done.returncode == 0 and re.search(r"^  standby ", done.stdout, re.M)


def test_unreachable_is_4_and_names_the_socket(tmp_path):
    path = str(tmp_path / "ctl.sock")
    for command in ("status", "health", "standby", "reload"):
        done = run_command("ctl", "--socket", path, command)
        assert done.returncode == 4
        assert path in done.stderr and "No such file" in done.stderr and done.stdout == ""
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(path)
    done = run_command("ctl", "--socket", path, "status")
    assert done.returncode == 4 and "has ended" in done.stderr
    done = run_command("ctl", "--socket", "/" + "x" * 200, "status")
    assert done.returncode == 4 and "too long" in done.stderr


def test_several_daemons_one_after_another(one, tmp_path):
    first, second = one(top=TOP)[0], one(top=TOP)[0]
    gone = str(tmp_path / "gone.sock")
    sockets = [socket_of(first), gone, socket_of(second)]
    done = run_command("ctl", *(word for path in sockets for word in ("--socket", path)), "standby")
    assert done.returncode == 4 and gone in done.stderr
    assert done.stdout == "".join(
        f"{path}: standby: /healthz answers 503\n" for path in (sockets[0], sockets[2])
    )
    done = run_command("ctl", "health", "--socket", sockets[0], "--socket", sockets[2])
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"s3gate: {path}: health: standby" for path in (sockets[0], sockets[2])
    ]


def test_the_socket_of_a_configuration(daemon, tmp_path):
    file = str(daemon.file)
    for form in (["-c", file, "ctl", "status"], ["ctl", "status", "-c", file]):
        assert run_command(*form).returncode == 0
    other = tmp_path / "s3gate.yaml"
    sites = [make_site([dead_address()])]
    other.write_text(to_yaml(make_config(sites, admin={"socket": "off"})))
    done = run_command("ctl", "-c", str(other), "status")
    assert done.returncode == 4 and "admin.socket: off" in done.stderr
    other.write_text("workers: many\n")
    done = run_command("ctl", "-c", str(other), "status")
    assert done.returncode == 4 and "workers: " in done.stderr


BROKEN = {
    "value": "workers: many\n{good}",
    "key": "{good}workerz: 1\n",
    "yaml": "{good}access_log: {{target: off\n",
    "yaml before": "log: [unclosed\n{good}",
}


@pytest.mark.parametrize("mistake", BROKEN)
def test_a_broken_file_keeps_no_command_from_the_daemon(daemon, mistake):
    """Whoever reloads with a broken file wants to see what is wrong with it."""
    daemon.write(BROKEN[mistake].format(good=daemon.file.read_text()))
    file = str(daemon.file)
    done = run_command("ctl", "-c", file, "status")
    assert done.returncode == 0
    assert done.stderr.startswith(f"note: {file} is broken ({file}:")
    assert f"); asking {socket_of(daemon)}\n" in done.stderr
    done = run_command("ctl", "-c", file, "reload")
    assert done.returncode == 1 and "reload refused: " in done.stderr


DOUBTFUL = {
    "a variable that is not set": 'admin: {{socket: "${{B_SOCK}}"}}',
    "an unclosed bracket": "admin: {{socket: {socket}",
    "a quoted key": '"admin": {{socket: {socket}}}\nlog: [unclosed',
    "a relative path": "admin: {{socket: b.sock}}",
}


@pytest.mark.parametrize("doubt", DOUBTFUL)
def test_a_socket_in_doubt_is_no_default(daemon, tmp_path, doubt):
    """The default is the socket of another daemon, which then would be on standby."""
    file = tmp_path / "b.yaml"
    sites = to_yaml(make_config([make_site([dead_address()])]))
    file.write_text(sites + DOUBTFUL[doubt].format(socket=tmp_path / "b.sock") + "\n")
    env = {"RUNTIME_DIRECTORY": str(daemon.dir)}  # where the default is
    done = run_command("ctl", "-c", str(file), "standby", env=env)
    assert done.returncode == 4
    assert f"{file}:" in done.stderr and "socket: off" not in done.stderr
    assert done.stderr.endswith("--socket names it\n")
    assert status_of(daemon)["standby"] is False


def test_a_file_that_is_missing_is_no_default(tmp_path):
    """A typing error must not command another daemon."""
    done = run_command("ctl", "-c", str(tmp_path / "missing.yaml"), "standby")
    assert done.returncode == 4 and "missing.yaml: cannot be read: " in done.stderr
    assert "ctl.sock" not in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can have another /etc")
def test_without_options_the_default_file_names_the_socket(daemon, tmp_path):
    """As the packaged unit's ExecReload is run, where admin.socket is not the default."""
    etc = tmp_path / "etc"
    own = 'cp -a /etc/. "$0"; mkdir -p "$0/s3gate"; cp "$1" "$0/s3gate/s3gate.yaml"; shift'
    command = ["unshare", "-m", "--propagation", "private", "sh", "-e", "-c"]
    command += [f'mkdir "$0"; {own}; mount --bind "$0" /etc; exec "$@"', str(etc)]
    done = subprocess.run(
        [*command, str(daemon.file), binary(), "ctl", "reload"],
        env={"RUNTIME_DIRECTORY": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    if "unshare: " in done.stderr or "mount: " in done.stderr:
        pytest.skip(f"mount namespaces are not permitted here: {done.stderr.strip()}")
    assert done.returncode == 0 and done.stdout.endswith("reloaded: generation 2\n"), done.stderr


def test_json_is_the_answer_itself(daemon):
    done = ctl(daemon, "--json", "standby")
    assert json.loads(done.stdout) == {
        "done": True,
        "message": "standby: /healthz answers 503",
        "problems": [],
        "warnings": [],
    }
    done = ctl(daemon, "health", "--json")
    assert done.returncode == 1 and json.loads(done.stdout)["reason"] == "standby"


def test_it_starts_quickly(daemon):
    """keepalived starts one every second or two, also on a busy host: 20 ms of processor time."""
    if daemon.is_sanitized:
        pytest.skip("a sanitizer takes its own time")
    runs = 20
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(runs):
        assert ctl(daemon, "health").returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert spent / runs < 0.020 * SCALE


def test_checks_and_traffic_go_on_meanwhile(make_backend, gate):
    backend = make_backend(answer_ok)
    daemon = gate([backend], health=FAST_HEALTH, top=TOP)
    before = status_of(daemon)["counters"]["checks_passed"]
    with RawClient(daemon.address) as client:
        for _ in range(20):
            assert client.request().status == 200
            ctl(daemon, "status")
    wait_until(
        lambda: status_of(daemon)["counters"]["checks_passed"] > before + 2, what="further checks"
    )
