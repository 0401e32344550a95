"""Follows the advice of `s3gate check` as an operator would. Copied into the container of
test_unit_advice.py, whose cases it reads, and run there as root. Uses the standard library only.
"""

import json
import pathlib
import re
import shutil
import subprocess

CONFIG = pathlib.Path("/etc/s3gate/s3gate.yaml")
DROP_INS = pathlib.Path("/etc/systemd/system/s3gate.service.d")
TEXT = """
user: "{user}"
access_log: {{target: "{target}"}}
sites:
  - name: cluster
    listen: ["127.0.0.1:{port}"]
    balance: {{salt: pepper}}
    backends: {{servers: ["127.0.0.1:9", "127.0.0.2:9"]}}
"""
ROUNDS = 4


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)


def advice(case):
    """The check's first warning about the case's subject; None if there is none."""
    text = TEXT.format(user=case["user"], target=case["target"], port=case["port"])
    CONFIG.write_text(text, encoding="utf-8")
    CONFIG.chmod(0o644)
    report = json.loads(run("s3gate", "check", "--json").stdout)
    # A running service has its address in use; `user` must be removed once the unit sets it.
    over = ["cannot be listened on now", *(["remove it"] if case["lines"] else [])]
    found = [w["message"] for w in report["warnings"]]
    found = [message for message in found if not any(words in message for words in over)]
    return found[0] if found else None


def follow(message, case):
    """Follows the message's advice; the second way if it offers two."""
    way = message
    if case["choose"]:
        way = re.split(", or ", message)[0]
        below = re.search(r"choose a file below ([^\s,]+)", way)
        if not below:
            return False
        case["target"] = below[1] + "/chosen.log"
    elif ", or " in message:
        way = message.split(", or ", 1)[1]
    for command in re.findall(r"run: (.+?)(?=, and |; |$)", way):
        done = run("sh", "-c", command)
        case["commands"].append([command, done.returncode, done.stderr])
    elsewhere = re.search(r"one below (.+?): ", way)
    there = re.search(r" (\S+), and log there", way)
    for found in (elsewhere, there):
        if found:
            case["target"] = found[1] + "/elsewhere.log"
    lines = re.search(r"add below \[Service\] the lines? (.+?)(?= and choose |$)", way)
    if lines:
        case["lines"] += lines[1].split(" and ")
        DROP_INS.mkdir(exist_ok=True)
        text = "\n".join(["[Service]", *case["lines"], ""])
        (DROP_INS / "override.conf").write_text(text, encoding="utf-8")
    return bool(lines or case["choose"] or "run: " in way)


def start(case):
    """Starts the service twice, as after a reboot, and reports the result."""
    for _ in range(2):
        run("systemctl", "daemon-reload")
        run("systemctl", "reset-failed", "s3gate")
        case["start"] = run("systemctl", "start", "s3gate").returncode
        case["status"], case["runs as"] = (
            run("systemctl", "show", "-p", name, "--value", "s3gate").stdout.strip()
            for name in ("ExecMainStatus", "User")
        )
        # Asked while it runs: the check must not take the temporary user for a permanent one.
        case["left"] = advice(case)
        run("systemctl", "stop", "s3gate")
        case["logged"] = pathlib.Path(case["target"]).exists()
        if case["start"] != 0:
            case["journal"] = run("journalctl", "-q", "-u", "s3gate", "-n", "5", "-o", "cat").stdout
            break


def try_case(case):
    shutil.rmtree(DROP_INS, ignore_errors=True)
    run("userdel", "s3gate")
    run("groupdel", "s3gate")
    run("systemctl", "daemon-reload")
    case.update({"lines": [], "commands": [], "messages": []})
    for command in case["prepare"]:
        run("sh", "-c", command)
    for _ in range(ROUNDS):
        message = advice(case)
        if message is None:
            break
        is_new = message not in case["messages"]
        case["messages"].append(message)
        if not is_new or not follow(message, case):
            break
        run("systemctl", "daemon-reload")
    start(case)
    return case


if __name__ == "__main__":
    cases = json.loads(pathlib.Path("/cases.json").read_text(encoding="utf-8"))
    pathlib.Path("/seen.json").write_text(
        json.dumps({name: try_case(case) for name, case in cases.items()}), encoding="utf-8"
    )
