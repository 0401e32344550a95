"""A real MinIO cluster of four nodes behind s3gate: all nodes restart, one node dies, and clients
without retries continue to write.

MinIO calls a node ready long before it writes: for seconds after a restart it sees no quorum and
answers PUT with 503 SlowDownWrite, while the next node writes. Only scripted servers would show
that otherwise. Beside the load every node is probed directly and repeatedly by a PUT of its own:
the probes tell what a client could have had. Health checks, timeouts and retries have their
defaults.
"""

import collections
import hashlib
import re
import signal
import subprocess
import time
import uuid

import pytest

import minio_nodes
from load import Client, Load
from sigv4 import Signer, request_head
from support.client import exchange
from support_real import ADDRESSES, S3gate, report, s3gate_binary, wait_until

# Clients per node, by their fingerprint. Few, and with pauses: a failure must mean that no node
# writes, not that the machine is out of processors.
WRITERS = 2
READERS = 1
PAUSE = 0.05
PROBE_PAUSE = 0.05
# A probe is valid until the next one. If they are further apart, the state between them is unknown.
PROBE_GAP = 1.0
BODY = b"s3gate drill " * 80
BODY_SHA256 = hashlib.sha256(BODY).hexdigest()
ERROR_CODE = re.compile(rb"<Error><Code>([A-Za-z]+)</Code>")


class Setup:
    """The cluster, s3gate in front, a bucket, and the User-Agents whose fingerprints lead to each
    node."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.signer = Signer(minio_nodes.ACCESS_KEY, minio_nodes.SECRET_KEY, minio_nodes.REGION)
        self.bucket = f"drill-{uuid.uuid4().hex[:12]}"
        listen = f"{ADDRESSES.take()}:9000"
        status = {"path": "/upstream/health/"}
        admin = {"admin": {"socket": "./ctl.sock"}}
        self.gate = S3gate([minio_nodes.site(cluster, listen, status=status)], admin)
        try:
            self.ask(self.gate.address, self.request("PUT", self.gate.address, ""))
            self.ask(self.gate.address, self.put(self.gate.address, "read"))
            self.agents = self._find_agents()
        except BaseException:
            self.gate.stop()
            raise

    def request(self, method, address, key, body=b"", agent="drill"):
        path = f"/{self.bucket}/{key}" if key else f"/{self.bucket}"
        digest = hashlib.sha256(body).hexdigest() if body is not BODY else BODY_SHA256
        fields = self.signer.headers(method, address, path, payload_hash=digest)
        fields["User-Agent"] = agent
        if method == "PUT":
            fields["Content-Length"] = str(len(body))
        return request_head(method, path, fields) + body

    def put(self, address, key, agent="drill"):
        return self.request("PUT", address, key, BODY, agent)

    def get(self, address, key, agent="drill"):
        return self.request("GET", address, key, agent=agent)

    @staticmethod
    def ask(address, request):
        response = exchange(address, request, request.partition(b" ")[0].decode())
        assert response.status == 200, response.data
        return response

    def _find_agents(self):
        """For each node the User-Agents of clients whose home it is. MinIO names the answering node
        in x-amz-id-2."""
        found = collections.defaultdict(list)
        for number in range(200):
            agent = f"drill-{number}"
            answer = self.ask(self.gate.address, self.get(self.gate.address, "read", agent))
            found[answer.header("x-amz-id-2")].append(agent)
            are_enough = [len(agents) >= WRITERS + READERS for agents in found.values()]
            if len(found) == minio_nodes.NODES and all(are_enough):
                return dict(found)
        pytest.fail(f"no client reaches some nodes: {found}")

    def home(self, number):
        """The User-Agents at home at this node."""
        address = self.cluster.addresses[number]
        return self.agents[self.ask(address, self.get(address, "read")).header("x-amz-id-2")]

    def _client(self, method, address, agent, pause):
        name = f"{method.lower()}-{agent}"

        def make(number):
            key = f"{name}-{number}" if method == "PUT" else "read"
            build = self.put if method == "PUT" else self.get
            return method, f"{name}-{number}", build(address, key, agent)

        return Client(address, make, pause, node_field="x-amz-id-2")

    def clients(self):
        made = []
        for agents in self.agents.values():
            for number, agent in enumerate(agents[: WRITERS + READERS]):
                method = "PUT" if number < WRITERS else "GET"
                made.append(self._client(method, self.gate.address, agent, PAUSE))
        return made

    def probes(self):
        """One client per node that writes to that node alone."""
        return [
            self._client("PUT", address, f"probe-{number}", PROBE_PAUSE)
            for number, address in enumerate(self.cluster.addresses)
        ]

    def shows(self, number, state):
        request = b"GET /upstream/health/ HTTP/1.1\r\nHost: s3\r\n\r\n"
        page = exchange(self.gate.address, request).data.decode()
        return f" {self.cluster.addresses[number]} {state}\n" in page

    def all_are(self, state):
        return all(self.shows(number, state) for number in range(minio_nodes.NODES))

    def all_up(self):
        return self.all_are("UP")

    def all_down(self):
        return self.all_are("DOWN")


@pytest.fixture
def setup(minio_cluster):
    made = Setup(minio_cluster)
    yield made
    made.gate.stop()


def wrote_throughout(probe_answers, answer):
    """True if the node of these probes took every write just before, during and just after
    `answer`'s request."""
    before = [probe for probe in probe_answers if probe.ended <= answer.begun][-1:]
    after = [probe for probe in probe_answers if probe.begun >= answer.ended][:1]
    during = [
        probe
        for probe in probe_answers
        if probe.ended > answer.begun and probe.begun < answer.ended
    ]
    if not before or not after:
        return False
    seen = [*before, *during, *after]
    is_dense = all(
        later.begun - earlier.ended <= PROBE_GAP for earlier, later in zip(seen, seen[1:])
    )
    return is_dense and all(probe.status == 200 for probe in seen)


def code_of(answer):
    """The status with the S3 code, or the kind of error that left none."""
    found = ERROR_CODE.search(answer.body)
    if found:
        return f"{answer.status} {found.group(1).decode()}"
    return answer.error.partition("(")[0] or str(answer.status)


def count_codes(answers):
    return dict(collections.Counter(map(code_of, answers)))


def probe_figures(probes):
    return {
        f"direct PUTs to node {number}": count_codes(client.answers)
        for number, client in enumerate(probes.clients)
    }


def failed(answers, method):
    return [answer for answer in answers if answer.method == method and answer.status != 200]


def let_pass(load, count):
    """Waits until the clients had `count` more answers: the load flows."""
    target = load.count() + count
    wait_until(lambda: load.count() >= target, 60, f"{count} more answers")


def wait_writing(probes, since, rounds=20):
    """Every node has taken its last `rounds` probes, all of them begun after `since`."""

    def writes(client):
        last = client.answers[-rounds:]
        return len(last) == rounds and all(p.status == 200 and p.begun > since for p in last)

    wait_until(lambda: all(map(writes, probes.clients)), 120, "every node writes again")
    return time.monotonic()


def served_elsewhere(probes, answers):
    """Those of `answers` during whose whole request some node took every probe. A node's answer
    about the object itself is not judged (MinIO answers 404 for an existing one in the second of
    its start)."""
    return [
        answer
        for answer in answers
        if (answer.status >= 500 or answer.error)
        and any(wrote_throughout(list(client.answers), answer) for client in probes.clients)
    ]


def refused_beside(probes):
    """Number of probes that a node refused for lack of a quorum while another node took every
    probe."""
    return sum(
        any(
            wrote_throughout(list(other.answers), answer)
            for other in probes.clients
            if other is not client
        )
        for client in probes.clients
        for answer in client.answers
        if b"<Code>SlowDownWrite</Code>" in answer.body
    )


@pytest.mark.parametrize("how", ["terminated", "killed", "away"])
def test_all_nodes_restart(setup, how):
    """A PUT or GET through s3gate fails only while no node writes, whatever MinIO reports during
    its start. `away`: the nodes start after the checks have taken all of them down."""
    which = signal.SIGTERM if how == "terminated" else signal.SIGKILL
    start_when = setup.all_down if how == "away" else lambda: True
    with Load(setup.probes()) as probes, Load(setup.clients()) as load:
        let_pass(load, 300)
        begun, started = setup.cluster.restart_all(which, start_when)
        writing = wait_writing(probes, started)
        wait_until(setup.all_up, 60, "the checks see all nodes")
        settled = time.monotonic()
        let_pass(load, 300)
    answers = load.answers()
    puts, gets = failed(answers, "PUT"), failed(answers, "GET")
    needless = served_elsewhere(probes, [*puts, *gets])
    report(
        f"minio-all-nodes-{how}",
        {
            "PUTs": len([answer for answer in answers if answer.method == "PUT"]),
            "failed PUTs": len(puts),
            "failed PUTs while some node wrote": count_codes(
                answer for answer in needless if answer.method == "PUT"
            ),
            "failed PUTs by code": count_codes(puts),
            "GETs": len([answer for answer in answers if answer.method == "GET"]),
            "failed GETs": len(gets),
            "failed GETs while some node wrote": count_codes(
                answer for answer in needless if answer.method == "GET"
            ),
            "failed GETs by code": count_codes(gets),
            "nodes ended and started within (s)": round(started - begun, 2),
            "every node wrote after (s)": round(writing - begun, 2),
            "checks saw all nodes after (s)": round(settled - begun, 2),
            "direct probes without quorum beside a node that wrote": refused_beside(probes),
            **probe_figures(probes),
        },
    )
    assert puts, "nobody noticed a cluster without nodes: the test proves nothing"
    assert not [str(answer) for answer in needless]
    late = [str(answer) for answer in [*puts, *gets] if answer.begun > settled]
    assert not late


def test_one_node_killed(setup):
    """kill -9 of one node: no GET fails, and only those PUTs fail that were sent to it and not
    answered."""
    victim = 1
    home = setup.home(victim)
    with Load(setup.probes()) as probes, Load(setup.clients()) as load:
        let_pass(load, 300)
        killed = time.monotonic()
        setup.cluster.kill(victim)
        let_pass(load, 600)
        wait_until(lambda: setup.shows(victim, "DOWN"), 20, "the checks noticed")
        noticed = time.monotonic()
        let_pass(load, 300)
        setup.cluster.start(victim)
        wait_writing(probes, time.monotonic())
        wait_until(setup.all_up, 60, "the checks see all nodes")
        let_pass(load, 300)
    answers = load.answers()
    puts, gets = failed(answers, "PUT"), failed(answers, "GET")
    report(
        "minio-one-node-killed",
        {
            "PUTs": len([answer for answer in answers if answer.method == "PUT"]),
            "failed PUTs": len(puts),
            "failed PUTs by code": count_codes(puts),
            "GETs": len([answer for answer in answers if answer.method == "GET"]),
            "failed GETs": len(gets),
            "longest PUT (s)": round(max(a.seconds for a in answers if a.method == "PUT"), 3),
            "longest GET (s)": round(max(a.seconds for a in answers if a.method == "GET"), 3),
            "marked down after (s)": round(noticed - killed, 2),
            **probe_figures(probes),
        },
    )
    assert not [str(answer) for answer in gets]
    # One connection, one request: each writer at home there had at most one in progress.
    odd = [
        str(answer)
        for answer in puts
        if answer.begun > killed + 0.1
        or answer.status != 502
        or not any(f"put-{agent}-" in answer.test_id for agent in home)
    ]
    assert not odd
    assert len(puts) <= WRITERS


def test_a_node_is_maintained(setup):
    """`ctl maintain` and a stop of the node: no request fails. A second node may not leave then:
    five of the eight drives must stay."""

    def ctl(*words):
        command = [s3gate_binary(), "ctl", "--socket", str(setup.gate.dir / "ctl.sock"), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    first, second = setup.cluster.addresses[:2]
    with Load(setup.clients()) as load:
        let_pass(load, 200)
        left = ctl("maintain", first, "--timeout", "30s")
        assert left.returncode == 0, left
        setup.cluster.kill(0)
        let_pass(load, 200)
        refused = ctl("maintain", second)
        assert refused.returncode == 1 and "it answers 412" in refused.stderr, refused
        setup.cluster.start(0)
        wait_until(lambda: ctl("maintain", second).returncode == 0, 60, "the node is back")
        assert ctl("maintain", second, "--done").returncode == 0
        assert ctl("maintain", first, "--done").returncode == 0
        wait_until(setup.all_up, 60, "all nodes serve")
        let_pass(load, 300)
    answers = load.answers()
    bad = failed(answers, "PUT") + failed(answers, "GET")
    report("minio-maintained", {"requests": len(answers), "failed by code": count_codes(bad)})
    assert not [str(answer) for answer in bad]
