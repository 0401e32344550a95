"""The soak test's own tools notice faults.

Clients that talk to a lying node directly, without the daemon, must report its faults; the audit
must find every kind of violation in records that contain it. Otherwise a soak test that checks
nothing would pass.
"""

import json
import random
import struct
import subprocess

import pytest

import soak
from drill_modes import PER_CLIENT, QUEUE_FULL, AtLimits
from support.waiting import wait_until

FIRST = 0xABCDEF0000000000
OPERATION = {"get": 0, "put": 4, "delete": 6, "part": 8, "complete": 9}
OUTCOME = {
    "ok": 0,
    "proxy error": 1,
    "node error": 2,
    "cut": 3,
    "aborted": 4,
    "aborted late": 5,
    "corrupt": 6,
    "malformed": 7,
    "hung": 8,
    "refused": 9,
}
ERROR, BACKEND = 1, 2


@pytest.fixture(name="node")
def node_fixture(tmp_path):
    node = soak.Node(1, tmp_path, 77)
    yield node
    node.stop()


def clients_of(node, tmp_path, crowd=()):
    seed = random.randrange(1 << 30)
    return soak.ClientProcess(
        node.address, tmp_path / "records", 8, seed, tmp_path / "stderr", crowd
    )


def outcomes_of(node, tmp_path, mode, requests=1500):
    node.tell(f"mode {mode}")
    clients = clients_of(node, tmp_path)
    try:
        wait_until(lambda: clients.latest["requests"] >= requests, 60, what="requests")
        clients.tell("stop")
        return clients.wait_end(60)["outcomes"], clients.first
    finally:
        clients.stop()


def test_sound_node(node, tmp_path):
    outcomes, first = outcomes_of(node, tmp_path, "ok 0")
    assert outcomes["ok"] > 1000
    allowed = {
        "ok",
        "aborted by the client before the request was sent",
        "aborted by the client later",
    }
    assert {name for name, count in outcomes.items() if count} <= allowed
    # There is no log: every answered request lacks its line, and nothing else is wrong.
    (tmp_path / "lines").touch()
    found = judge(tmp_path, first, notes=node.notes)
    assert found.pop("answered requests without exactly one line in the access log") > 1000
    assert not any(found.values()), found


def test_lies_are_noticed(node, tmp_path):
    outcomes, _ = outcomes_of(node, tmp_path, "lie 500")
    assert outcomes["ok"] > 100
    assert outcomes["MALFORMED"] > 100
    assert outcomes["cut visibly"] > 0


def test_cuts_are_never_complete(node, tmp_path):
    outcomes, _ = outcomes_of(node, tmp_path, "cut 500")
    assert outcomes["ok"] > 100
    assert outcomes["cut visibly"] > 100
    assert outcomes["CORRUPT"] == outcomes["MALFORMED"] == 0


def test_errors_are_told_apart(node, tmp_path):
    outcomes, _ = outcomes_of(node, tmp_path, "s503 500")
    assert outcomes["ok"] > 100
    assert outcomes["error of a node"] > 100
    assert outcomes["error of the proxy"] == outcomes["CORRUPT"] == 0


CROWD = ["fresh=4", "idle=2", "slow=4", "slow_ms=3000", "tunnel=3", "keys=5"]


def test_a_crowd_without_reloads(node, tmp_path):
    """Each kind of client is served by a sound node, and its node is noted for each key."""
    clients = clients_of(node, tmp_path, CROWD)
    try:
        wait_until(lambda: clients.latest["ms"] > 4000, 60, what="a slow request's time")
        clients.tell("quick")
        clients.tell("stop")
        end = clients.wait_end(60)
    finally:
        clients.stop()
    assert {name for name, count in end["outcomes"].items() if count} == {"ok"}
    assert end["operations"]["tunnel"] == [3, 3]
    assert end["connections"] > 1000
    assert end["nodes_of_keys"] == [1 << node.number] * 5


def test_a_crowd_hears_of_a_cut_tunnel(node, tmp_path):
    clients = clients_of(node, tmp_path, ["tunnel=3"])
    try:
        wait_until(lambda: clients.latest["requests"] > 100, 60, what="requests")
        node.kill()
        wait_until(
            lambda: clients.latest["operations"]["tunnel"][0], 60, what="the cut"
        )
        clients.tell("stop")
        end = clients.wait_end(60)
    finally:
        clients.stop()
    assert end["operations"]["tunnel"][0] >= 3 and end["operations"]["tunnel"][1] == 0
    assert "tunnel" in (tmp_path / "stderr").read_text()


def record(number, what, operation, status=0, detail=0):
    return struct.pack("=QBBHI", FIRST + number, what, operation, status, detail)


def judge(folder, first, notes):
    run = subprocess.run(
        [
            soak.tool("soak_audit"),
            "judge",
            first,
            str(folder / "records"),
            str(folder / "lines"),
            str(notes),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(run.stdout)["violations"]


@pytest.mark.parametrize(
    "client, lines, executions, violation",
    [
        # (outcome, operation, status, bytes), [(flags, status, size)], executions
        (("ok", "put", 200, 0), [(BACKEND, 200, 0)], 1, None),
        (("ok", "get", 200, 5), [(BACKEND, 200, 5)], 0, None),
        (("ok", "part", 200, 0), [(BACKEND, 200, 0)], 2, None),
        (("cut", "put", 0, 0), [(BACKEND | ERROR, 502, 0)], 1, None),
        (("node error", "put", 500, 9), [(BACKEND, 500, 9)], 1, None),
        (("proxy error", "put", 502, 9), [(BACKEND | ERROR, 502, 9)], 1, None),
        (("aborted", "put", 0, 0), [], 0, None),
        (("aborted late", "put", 0, 0), [], 1, None),
        (("ok", "put", 200, 0), [(BACKEND, 200, 0)], 2, "writes executed twice"),
        (("cut", "complete", 0, 0), [(BACKEND | ERROR, 502, 0)], 2, "writes executed twice"),
        (("ok", "part", 200, 0), [(BACKEND, 200, 0)], 3, "UploadParts executed more than twice"),
        (("ok", "delete", 204, 0), [(BACKEND, 204, 0)], 0, "writes acknowledged but not executed"),
        (("aborted", "put", 0, 0), [], 1, "writes executed whose client left before their end"),
        (("cut", "get", 200, 5), [], 0, "failures without an explanation in the access log"),
        (
            ("cut", "get", 200, 5),
            [(BACKEND, 200, 5)],
            0,
            "failures without an explanation in the access log",
        ),
        (
            ("proxy error", "get", 503, 5),
            [(BACKEND, 503, 5)],
            0,
            "failures without an explanation in the access log",
        ),
        (
            ("ok", "get", 200, 5),
            [],
            0,
            "answered requests without exactly one line in the access log",
        ),
        (
            ("ok", "get", 200, 5),
            [(BACKEND, 200, 5)] * 2,
            0,
            "answered requests without exactly one line in the access log",
        ),
        (
            ("ok", "get", 200, 5),
            [(BACKEND, 206, 5)],
            0,
            "answers whose status is not the logged one",
        ),
        (
            ("ok", "get", 200, 5),
            [(BACKEND, 200, 6)],
            0,
            "answers whose length is not the logged one",
        ),
        (("corrupt", "get", 200, 5), [(BACKEND, 200, 5)], 0, "answers complete but wrong"),
        (("malformed", "get", 0, 0), [(BACKEND, 200, 5)], 0, "answers that are no HTTP"),
        (("hung", "get", 0, 0), [], 0, "requests that hung"),
        (("refused", "get", 0, 0), [], 0, "connections refused"),
    ],
)
def test_audit(tmp_path, client, lines, executions, violation):
    outcome, operation, status, size = client
    (tmp_path / "records").write_bytes(
        record(3, OUTCOME[outcome], OPERATION[operation], status, size)
    )
    (tmp_path / "lines").write_bytes(b"".join(record(3, flags, 1, s, n) for flags, s, n in lines))
    (tmp_path / "notes").write_bytes(record(3, 0, OPERATION[operation]) * executions)
    found = judge(tmp_path, f"{FIRST:016x}", tmp_path / "notes")
    assert {name for name, count in found.items() if count} == ({violation} if violation else set())


def test_audit_hears_nodes(tmp_path):
    (tmp_path / "records").write_bytes(record(0, 0, OPERATION["get"], 200, 5))
    (tmp_path / "lines").write_bytes(record(0, BACKEND, 1, 200, 5))
    notes = record(0, 1, OPERATION["put"]) + record(0, 2, OPERATION["put"])
    (tmp_path / "notes").write_bytes(notes + record(-1 << 40, 0, OPERATION["put"]))
    found = judge(tmp_path, f"{FIRST:016x}", tmp_path / "notes")
    assert {name: count for name, count in found.items() if count} == {
        "uploads complete at a node but wrong": 1,
        "requests at a node that are no HTTP": 1,
        "ids nobody sent": 1,
    }


def test_digest_keeps_what_counts(tmp_path):
    def line(number, **fields):
        text = {
            "request": f"/bucket/x?id={FIRST + number:016x}&sessionid=1",
            "status": 200,
            "size": 7,
            "tries": 1,
            "error": "-",
            "upstreamaddr": "127.0.2.1:9000",
        }
        return json.dumps({**text, **fields}).encode() + b"\n"

    log = line(1) + line(2, status=502, error="backend reset", tries=2) + b'{"broken": \n'
    log += line(3, upstreamaddr="-", error="") + line(4, request="/other")
    out = tmp_path / "out"
    run = subprocess.run(
        [soak.tool("soak_audit"), "digest", str(out)], input=log, capture_output=True, check=True
    )
    assert json.loads(run.stdout) == {"bad": 1, "foreign": 1}
    assert out.read_bytes() == (
        record(1, BACKEND, 1, 200, 7)
        + record(2, BACKEND | ERROR, 2, 502, 7)
        + record(3, 0, 1, 200, 7)
    )


def test_a_refusal_needs_a_limit_in_force():
    """The drill at limits looks a second back, and knows whose limit it is."""
    drill = AtLimits.__new__(AtLimits)
    drill.times = [
        (0, "nothing"),
        (10, "connections of a client"),
        (20, "room and time to wait"),
        (30, "no room to wait"),
    ]
    crowded, other = "127.1.2.1", "127.1.1.1"
    for begun, reason, client, is_right in (
        (5, PER_CLIENT, crowded, False),
        (15, PER_CLIENT, crowded, True),
        (15, PER_CLIENT, other, False),
        (15, QUEUE_FULL, crowded, False),
        (20.5, PER_CLIENT, crowded, True),
        (21.5, PER_CLIENT, crowded, False),
        (25, QUEUE_FULL, other, False),
        (35, QUEUE_FULL, other, True),
    ):
        assert drill._is_in_force(begun, begun + 1, reason, client) == is_right, (begun, reason)


def test_a_reset_is_no_limit(node, tmp_path):
    """Nothing that a node does is taken for a refusal by a limit or for the end of a grace."""
    node.tell("mode cut 500")
    clients = clients_of(node, tmp_path, ["slow=4", "slow_ms=3000", "grace_ms=60000"])
    try:
        wait_until(lambda: clients.latest["requests"] >= 500, 60, what="requests")
        clients.leave("127.0.0.1:9")
        clients.tell("stop")
        end = clients.wait_end(60)
        assert end["outcomes"]["cut visibly"] > 0
        assert end["slow_downs"] == end["overdue"] == 0
    finally:
        clients.stop()


def test_slope():
    flat = [(x, 1000 + (-1) ** x) for x in range(100)]
    slope, error = soak.slope_of(flat)
    assert abs(slope) < 3 * error
    slope, error = soak.slope_of([(x, y + 5 * x) for x, y in flat])
    assert abs(slope - 5) < 3 * error < 1
    assert soak.slope_of([])[0] == 0
