"""Upgrades the service while clients come and go. Copied into the container of test_unit_upgrade.py
beside ends.py, and run there as root. Uses the standard library only.
"""

import json
import pathlib
import shutil
import signal
import time

from ends import DOORS, DROP_IN, Backend, Knocker, Upload, knock, run, unit, wait_until, write

PROGRAM = pathlib.Path("/usr/bin/s3gate")
PROCESSES = pathlib.Path("/sys/fs/cgroup/system.slice/s3gate.service/cgroup.procs")


def upgrade():
    """The exit status of the command, and whether systemd follows."""
    before = unit("MainPID")
    code = run("s3gate", "ctl", "upgrade")
    if code == 0:
        wait_until(lambda: unit("MainPID") != before)
    return code


def upgrade_often(times):
    knocker = Knocker(DOORS)
    knocker.wait_served()
    codes = [upgrade() for _ in range(times)]
    knocker.wait_served()
    found = {**knocker.end(), "codes": codes, "state": unit("ActiveState")}
    wait_until(lambda: len(PROCESSES.read_text().split()) == 1)
    return {**found, "restarts": int(unit("NRestarts")), "kept": int(unit("NFileDescriptorStore"))}


def crash_at_once(times):
    """The new process dies right after it took over."""
    took = []
    knocker = Knocker(DOORS)
    knocker.wait_served()
    for _ in range(times):
        restarts = int(unit("NRestarts"))
        upgrade()
        begin = time.monotonic()
        run("kill", "-9", unit("MainPID"))
        wait_until(lambda n=restarts: int(unit("NRestarts")) > n)
        knocker.wait_served()
        took.append(round(time.monotonic() - begin, 2))
        wait_until(lambda: unit("ActiveState") == "active")
    return {**knocker.end(), "took": took, "kept": int(unit("NFileDescriptorStore"))}


def stop_with_upload(backend):
    backend.bodies.clear()
    upload = Upload(3)
    time.sleep(0.5)
    code = upgrade()
    begin = time.monotonic()
    code += run("systemctl", "stop", "s3gate")
    end = time.monotonic()
    upload_end, answer = upload.join()
    left = PROCESSES.read_text().split() if PROCESSES.exists() else []
    found = {"code": code, "answer": answer, "bodies": list(backend.bodies), "left": left}
    found["ended_after"] = round(end - upload_end, 2)
    found["took"] = round(end - begin, 2)
    found["later"] = knock(DOORS[0])
    run("systemctl", "start", "s3gate")
    return found


def refuse_a_bad_program():
    good = PROGRAM.with_name("s3gate.good")
    shutil.move(PROGRAM, good)
    PROGRAM.write_text("#!/bin/sh\nexit 1\n")
    PROGRAM.chmod(0o755)
    before = unit("MainPID")
    code = run(str(good), "ctl", "upgrade")
    PROGRAM.unlink()
    shutil.move(good, PROGRAM)
    return {"code": code, "same": unit("MainPID") == before, "served": knock(DOORS[0])}


def watch_after_upgrades(times):
    """A process that stands still is replaced, also after upgrades."""
    DROP_IN.parent.mkdir(exist_ok=True)
    DROP_IN.write_text("[Service]\nWatchdogSec=2\n", encoding="utf-8")
    run("systemctl", "daemon-reload")
    run("systemctl", "restart", "s3gate")
    codes = [upgrade() for _ in range(times)]
    time.sleep(3)  # longer than WatchdogSec: a watchdog that hears nothing would have acted
    alive = int(unit("NRestarts"))
    run("kill", "-STOP", unit("MainPID"))
    begin = time.monotonic()
    wait_until(lambda: int(unit("NRestarts")) > alive)
    return {"codes": codes, "alive": alive, "took": round(time.monotonic() - begin, 2)}


def main():
    signal.alarm(300)
    backend = Backend()
    write()
    seen = {"start": run("systemctl", "start", "s3gate")}
    seen["upgrades"] = upgrade_often(4)
    seen["bad program"] = refuse_a_bad_program()
    seen["crash"] = crash_at_once(2)
    seen["stop"] = stop_with_upload(backend)
    seen["watchdog"] = watch_after_upgrades(3)
    pathlib.Path("/seen.json").write_text(json.dumps(seen), encoding="utf-8")
    run("systemctl", "stop", "s3gate")
    run("journalctl", "--sync")


if __name__ == "__main__":
    main()
