"""Upgrades the service while clients come and go. Copied into the container of test_unit_upgrade.py
with ends_probe.py, and run there as root with the settings of the test. Uses the standard library
only.
"""

import contextlib
import json
import pathlib
import shutil
import signal
import subprocess
import threading
import time

from ends import CONFIG, DOORS, Backend, Knocker, Upload, kill, knock, run, unit, wait_until, write

PROGRAM = pathlib.Path("/usr/bin/s3gate")
GOOD = pathlib.Path("/usr/bin/s3gate.good")
DROP_IN = pathlib.Path("/etc/systemd/system/s3gate.service.d/test.conf")
UPLOAD = 4  # seconds, of one that a stop waits for
LONG_UPLOAD = 20  # of one that nobody waits for

# Says that it serves, and dies. `hidden`: another process keeps the link to the process before
# open until that has named the dead one to systemd. As a start of its own it is the good program.
DYING = """#!/usr/bin/python3 -BES
import os, sys, time
if "S3GATE_UPGRADE" not in os.environ:
    os.execv("/usr/bin/s3gate.good", sys.argv)
ready, *_, link = map(int, os.environ["S3GATE_UPGRADE"].split(":"))
if os.fork():
    os._exit(0)
pid = os.getpid()
if {hidden}:
    if os.fork():
        os._exit(1)
    while os.getppid() == pid:
        time.sleep(0.001)
else:
    os.close(link)
os.write(ready, b"pid %d\\nserving\\n" % pid)
time.sleep({hidden} and 0.3)
os._exit(1)
"""


def command(*words):
    """The exit status, and what the command said."""
    done = subprocess.run(
        words, capture_output=True, text=True, errors="replace", check=False, timeout=90
    )
    return done.returncode, done.stdout + done.stderr


def upgrade():
    """The exit status of the command, and what it said; systemd has followed then."""
    before = unit("MainPID")
    code, said = command("s3gate", "ctl", "upgrade")
    if code == 0:
        wait_until(lambda: unit("MainPID") != before)
    return code, said


def processes():
    """Those of the service, wherever its cgroup is mounted."""
    found = []
    for file in pathlib.Path("/proc").glob("[0-9]*/cgroup"):
        with contextlib.suppress(OSError):
            if "/s3gate.service" in file.read_text(encoding="utf-8"):
                found.append(int(file.parent.name))
    return found


def is_alone():
    return processes() == [int(unit("MainPID"))]


def kept():
    return int(unit("NFileDescriptorStore"))


def restarts():
    return int(unit("NRestarts"))


def log_since(cursor):
    found = ["journalctl", "-q", "-u", "s3gate", "-o", "cat", f"--after-cursor={cursor}"]
    run("journalctl", "--sync")
    return subprocess.run(found, capture_output=True, text=True, check=True).stdout


def log_cursor():
    run("journalctl", "--sync")
    last = ["journalctl", "-q", "-n", "1", "-o", "json"]
    return json.loads(subprocess.run(last, capture_output=True, check=True).stdout)["__CURSOR"]


@contextlib.contextmanager
def clients(found, doors=tuple(DOORS)):
    """Clients at these doors; what became of them is added to `found` at the end."""
    knocker = Knocker(doors)
    try:
        knocker.wait_served()
        yield knocker
    finally:
        found.update(knocker.end())


@contextlib.contextmanager
def drop_in(text):
    DROP_IN.parent.mkdir(exist_ok=True)
    DROP_IN.write_text(text, encoding="utf-8")
    run("systemctl", "daemon-reload")
    yield
    DROP_IN.unlink()
    run("systemctl", "daemon-reload")


@contextlib.contextmanager
def program(text):
    shutil.move(PROGRAM, GOOD)
    PROGRAM.write_text(text, encoding="utf-8")
    PROGRAM.chmod(0o755)
    yield
    shutil.move(GOOD, PROGRAM)


def upgrade_often(times):
    found = {}
    with clients(found) as knocker:
        found["codes"] = [upgrade()[0] for _ in range(times)]
        knocker.wait_served()
    found["state"] = unit("ActiveState")
    wait_until(is_alone)
    return {**found, "restarts": restarts(), "kept": kept()}


def upgrade_amid_reloads(times):
    found, reloads, done = {}, [], threading.Event()

    def reload(*words):
        while not done.is_set():
            reloads.append(command(*words))

    words = [("systemctl", "reload", "s3gate"), ("s3gate", "ctl", "reload")]
    threads = [threading.Thread(target=reload, args=one) for one in words]
    with clients(found) as knocker:
        for thread in threads:
            thread.start()
        found["codes"] = []
        for _ in range(times):
            count = len(reloads)
            wait_until(lambda n=count: len(reloads) > n)
            found["codes"].append(upgrade()[0])
        done.set()
        for thread in threads:
            thread.join()
        knocker.wait_served()
    wait_until(is_alone)
    found["reloads"] = len(reloads)
    found["failed reloads"] = [said for code, said in reloads if code != 0]
    return {**found, "restarts": restarts(), "kept": kept()}


def refuse_a_bad_program():
    found, before = {}, unit("MainPID")
    with clients(found) as knocker, program("#!/bin/sh\nexit 1\n"):
        found["code"], found["said"] = command(str(GOOD), "ctl", "upgrade")
        knocker.wait_served()
    return {**found, "same": unit("MainPID") == before, "alone": is_alone(), "kept": kept()}


@contextlib.contextmanager
def hanging_upgrade():
    """A process that hangs whatever systemd tells it, and a function that waits for the outcome of
    the command."""
    with program("#!/bin/sh\ntrap '' TERM\nexec sleep 600\n"):
        with subprocess.Popen([str(GOOD), "ctl", "upgrade"], stderr=subprocess.PIPE) as asking:
            wait_until(lambda: len(processes()) == 2)
            (hanging,) = set(processes()) - {int(unit("MainPID"))}
            yield hanging, asking.wait


def refuse_a_program_that_hangs():
    found, before = {}, unit("MainPID")
    with clients(found) as knocker, hanging_upgrade() as (hanging, outcome):
        knocker.wait_served()
        run("kill", "-9", str(hanging))
        found["code"] = outcome()
        knocker.wait_served()
    return {**found, "same": unit("MainPID") == before, "alone": is_alone(), "kept": kept()}


def stop_while_one_hangs():
    with hanging_upgrade() as (_, outcome):
        begin = time.monotonic()
        found = {"stopped": run("systemctl", "stop", "s3gate")}
        found["took"] = round(time.monotonic() - begin, 2)
        found["code"] = outcome()
    found["left"], found["result"] = processes(), unit("Result")
    run("systemctl", "start", "s3gate")
    return found


class Crashes:
    """Sees crashes restarted: how long nobody was served, and what the log said."""

    def __init__(self, knocker):
        self._knocker = knocker
        self._since = log_cursor()
        self._restarts = restarts()
        self._deaths = []
        self.took = []

    def kill(self):
        self._deaths.append(kill())
        return self._deaths[-1][0]

    def wait_restart(self, since):
        wait_until(lambda: restarts() > self._restarts + len(self.took))
        self._knocker.wait_served(1)
        self.took.append(round(time.monotonic() - since, 2))
        wait_until(lambda: unit("ActiveState") == "active")
        self._knocker.wait_served()

    def figures(self):
        return {
            "took": self.took,
            "restarts": restarts() - self._restarts,
            "cut in the queue": self._knocker.cut_apart_from(self._deaths),
            "log": log_since(self._since),
            "kept": kept(),
            "alone": is_alone(),
        }


def crash_at_once(times, seconds, limit):
    """The new process dies right after it took over. `seconds`: an upload in the old one takes so
    long. Further crashes follow where other work on the machine made each restart take longer than
    `limit`."""
    found = {"old": [], "answers": []}
    with clients(found) as knocker:
        crashes = Crashes(knocker)
        while len(crashes.took) < times or (
            min(crashes.took) > limit and len(crashes.took) < times + 4
        ):
            uploads = [Upload(seconds)] if seconds else []
            knocker.wait_served()
            upgrade()
            found["old"].append(len(processes()) - 1)
            crashes.wait_restart(crashes.kill())
            found["answers"] += [upload.join()[1] for upload in uploads]
    return {**found, **crashes.figures()}


def end_as_soon_as_it_serves():
    found, before = {}, unit("MainPID")
    with clients(found) as knocker, program(DYING.format(hidden=False)):
        found["code"], found["said"] = command(str(GOOD), "ctl", "upgrade")
        knocker.wait_served()
    return {**found, "same": unit("MainPID") == before, "kept": kept()}


def crash_before_systemd_knows():
    found = {}
    with program(DYING.format(hidden=True)):
        with clients(found) as knocker:
            crashes = Crashes(knocker)
            found["code"], found["said"] = command(str(GOOD), "ctl", "upgrade")
            crashes.wait_restart(time.monotonic())
        found.update(crashes.figures())
    run("systemctl", "restart", "s3gate")
    return found


def stop_with_upload(backend, seconds, shutdown_timeout):
    """An upload in the old process takes longer than TimeoutStopSec."""
    write(shutdown_timeout)
    run("systemctl", "restart", "s3gate")
    backend.bodies.clear()
    upload = Upload(seconds)
    time.sleep(0.3)
    with drop_in("[Service]\nTimeoutStopSec=2\n"):
        code = upgrade()[0]
        found = {"old": len(processes()) - 1}
        begin = time.monotonic()
        found["code"] = code + run("systemctl", "stop", "s3gate")
        end = time.monotonic()
        found["left"], found["result"] = processes(), unit("Result")
    upload_end, found["answer"] = upload.join()
    found["bodies"] = list(backend.bodies)
    found["ended_after"] = round(end - upload_end, 2)
    found["took"] = round(end - begin, 2)
    found["later"] = knock(DOORS[0])
    write()
    run("systemctl", "start", "s3gate")
    return found


def is_listened_on(port):
    rows = pathlib.Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    return any(row.split()[1].endswith(f":{port:04X}") and row.split()[3] == "0A" for row in rows)


def take_an_address_away():
    """The new configuration does not have the first door."""
    found, others = {}, {}
    with clients(others, DOORS[1:]), clients(found, DOORS[:1]) as knocker:
        CONFIG.write_text(CONFIG.read_text().replace('"127.0.0.1:9000", ', ""), encoding="utf-8")
        found["code"] = upgrade()[0]
        wait_until(lambda: "refused" in [outcome for _, outcome, _ in list(knocker.outcomes)])
        since = time.monotonic()
        later = lambda: {outcome for begin, outcome, _ in list(knocker.outcomes) if begin > since}
        wait_until(later)
        found["after"] = sorted(later())
    wait_until(is_alone)
    found["kept"], found["listens"] = kept(), is_listened_on(DOORS[0][1])
    write()
    found["code"] += upgrade()[0]
    found["back"], found["kept then"] = knock(DOORS[0]), kept()
    return {**found, "others": others}


def change_the_unit():
    """What each upgrade says of the unit."""
    run("systemctl", "restart", "s3gate")
    said = {"as it was": [upgrade()[1] for _ in range(2)]}
    with drop_in("[Service]\nLimitNOFILE=65536\n"):
        said["changed"] = [upgrade()[1] for _ in range(2)]
        run("systemctl", "restart", "s3gate")
        said["restarted"] = [upgrade()[1] for _ in range(2)]
    run("systemctl", "restart", "s3gate")
    wait_until(is_alone)
    return said


def watch_after_upgrades(times):
    """A process that stands still is replaced, also after upgrades."""
    found = {}
    with drop_in("[Service]\nWatchdogSec=3\n"):
        run("systemctl", "restart", "s3gate")
        before = restarts()
        found["codes"] = [upgrade()[0] for _ in range(times)]
        time.sleep(4)  # longer than WatchdogSec: a watchdog that hears nothing would have acted
        found["restarts"], main_process = restarts() - before, unit("MainPID")
        run("kill", "-STOP", main_process)
        begin = time.monotonic()
        wait_until(lambda: restarts() > before)
        found["served"] = knock(DOORS[0])
        found["took"] = round(time.monotonic() - begin, 2)
        wait_until(is_alone)
        found["replaced"] = unit("MainPID") != main_process
    return found


def main():
    signal.alarm(400)
    backend = Backend()
    write()
    begin = time.monotonic()
    seen = {"start": run("systemctl", "start", "s3gate"), "seconds": {}}

    def see(name, step, *arguments):
        start = time.monotonic()
        seen[name] = step(*arguments)
        seen["seconds"][name] = round(time.monotonic() - start, 1)
        pathlib.Path("/seen.json").write_text(json.dumps(seen), encoding="utf-8")

    see("upgrades", upgrade_often, 4)
    see("reloads", upgrade_amid_reloads, 3)
    see("bad program", refuse_a_bad_program)
    see("hanging program", refuse_a_program_that_hangs)
    see("stop of a hanging one", stop_while_one_hangs)
    settings = json.loads(pathlib.Path("/settings.json").read_text(encoding="utf-8"))
    times, limit = settings["crashes"], settings["longest_restart"]
    see("crash", crash_at_once, times, 0, limit)
    see("crash, upload", crash_at_once, times, LONG_UPLOAD, limit)
    see("end as it serves", end_as_soon_as_it_serves)
    see("crash before systemd knows", crash_before_systemd_knows)
    see("address", take_an_address_away)
    see("unit", change_the_unit)
    see("stop", stop_with_upload, backend, UPLOAD, "120s")
    see("stop, long upload", stop_with_upload, backend, LONG_UPLOAD, "1s")
    see("watchdog", watch_after_upgrades, 3)
    seen["seconds"]["all"] = round(time.monotonic() - begin, 1)
    pathlib.Path("/seen.json").write_text(json.dumps(seen), encoding="utf-8")
    run("systemctl", "stop", "s3gate")
    run("journalctl", "--sync")


if __name__ == "__main__":
    main()
