"""The same key goes to the same backend through a real nginx and through s3gate.

Without this, moving from nginx to s3gate (or running both behind one name during the move) would
scatter sessions and uploads over other nodes. nginx has the upstream block of the deployment that
s3gate replaces. Its Lua part, which only computes the key, is done by the test: the key of requests
without sessionid and uploadId arrives in a header. The addresses, and with them the rings, differ
from run to run; the keys do not. """

import hashlib
import os
import random
import string

import pytest

from front_proxies import Nginx
from nodes import Node, stop_all
from support.client import RawClient, exchange
from support_real import ADDRESSES, S3gate, s3_site, wait_until

UNRESERVED = string.ascii_letters + string.digits + "-._~"
SALT = "ZRVdfTSDRTvadFAd"
DOWN = (1, 4)  # positions of the two nodes that are down in some tests
# Notices a refused connection quickly, but tolerates a busy machine.
HEALTH = {"interval": "200ms", "timeout": "5s", "fall": 2, "rise": 2}


def make_keys(count, seed):
    dice = random.Random(seed)
    return ["".join(dice.choices(UNRESERVED, k=dice.randint(1, 64))) for _ in range(count)]


def upstream(name, lines):
    servers = "\n".join(f"        server {line};" for line in lines)
    return f"""
    upstream {name} {{
        hash $key consistent;
{servers}
        keepalive 32;
    }}"""


def server(name, address):
    return f"""
    server {{
        listen {address};
        ignore_invalid_headers off;
        proxy_buffering off;
        proxy_request_buffering off;
        location / {{
            proxy_pass http://{name}$request_uri;
            proxy_next_upstream error timeout http_500 http_502 http_503 http_504;
            proxy_set_header Host $http_host;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}"""


# The key that the old configuration computes in Lua, without the fingerprint.
KEY = """
    map $arg_uploadid $upload_key { "" $http_x_test_key; default $arg_uploadid; }
    map $arg_sessionid $key { "" $upload_key; default $arg_sessionid; }"""


class Pair:
    """nginx and s3gate with the same upstream, under one name."""

    def __init__(self, name, nginx_lines, gate_servers):
        self.name = name
        self.nginx_lines = nginx_lines
        self.gate_servers = gate_servers
        self.nginx = f"{ADDRESSES.take()}:9000"
        self.gate = f"{ADDRESSES.take()}:9000"


@pytest.fixture(scope="module")
def nodes():
    running = [Node(f"n{number}", f"{ADDRESSES.take()}:9000") for number in range(6)]
    if os.geteuid() == 0:
        running.append(Node("n6", f"{ADDRESSES.take()}:80"))
    yield running
    stop_all(running)


@pytest.fixture(scope="module")
def pairs(nodes):
    six = [node.address for node in nodes[:6]]
    marked = [f"{text} down" if number in DOWN else text for number, text in enumerate(six)]
    # A further server without a port in its text: the connection uses 80, the hash the text. Port
    # 80 needs root.
    bare = [node.address.removesuffix(":80") for node in nodes[6:]]
    weights = [3, 1, 2, 1, 5, 1]
    found = {
        "six": Pair("six", six, six),
        "down": Pair(
            "down",
            marked,
            [{"address": text, "down": number in DOWN} for number, text in enumerate(six)],
        ),
        "weighted": Pair(
            "weighted",
            [f"{text} weight={weight}" for text, weight in zip(six, weights)] + bare,
            [{"address": text, "weight": weight} for text, weight in zip(six, weights)] + bare,
        ),
    }
    blocks = [KEY]
    for name, pair in found.items():
        blocks += [upstream(name, pair.nginx_lines), server(name, pair.nginx)]
    running = Nginx("\n".join(blocks), [pair.nginx for pair in found.values()])
    yield found
    running.stop()


@pytest.fixture(scope="module")
def gate(pairs):
    sites = [
        s3_site(
            name,
            pair.gate,
            pair.gate_servers,
            health=HEALTH,
            balance={"salt": SALT},
            session_header="X-Session-ID",
            status={"path": "/upstream/health/"},
        )
        for name, pair in pairs.items()
    ]
    with S3gate(sites) as daemon:
        yield daemon


def answers(address, requests, source=None):
    """The responses to these (target, fields) requests over one connection."""
    found = []
    with RawClient(address, source) as client:
        for target, fields in requests:
            lines = [f"GET {target} HTTP/1.1", "Host: s3.example.test:9000"]
            lines += [f"{name}: {value}" for name, value in fields.items()]
            client.send(("\r\n".join(lines) + "\r\n\r\n").encode("utf-8"))
            response = client.read_response()
            assert response.status == 200, f"{target} via {address}: {response}"
            found.append(response)
    return found


def chosen(address, requests, source=None):
    return [response.header("x-node") for response in answers(address, requests, source)]


def assert_same_choice(pair, requests, gate_address=None, source=None):
    theirs = chosen(pair.nginx, requests, source)
    ours = chosen(gate_address or pair.gate, requests, source)
    different = [
        (request, nginx, gate)
        for request, nginx, gate in zip(requests, theirs, ours)
        if nginx != gate
    ]
    assert (
        not different
    ), f"{len(different)} of {len(requests)} on {pair.gate_servers}: {different[:5]}"
    return ours


def session_requests(seed):
    return [(f"/bucket/object?sessionid={key}", {}) for key in make_keys(2000, seed)]


@pytest.mark.parametrize("name", ["six", "down", "weighted"])
def test_sessions(pairs, gate, nodes, name):
    used = set(assert_same_choice(pairs[name], session_requests(seed=name)))
    expected = {node.name for number, node in enumerate(nodes) if name == "weighted" or number < 6}
    if name == "down":
        expected -= {f"n{number}" for number in DOWN}
    assert used == expected


def fingerprint(ip, user_agent, language):
    inner = hashlib.md5((ip + user_agent + language + SALT).encode()).hexdigest()
    return hashlib.md5(inner.encode()).hexdigest()


@pytest.mark.parametrize("name", ["six", "down", "weighted"])
def test_fingerprints(pairs, gate, name):
    dice = random.Random(5)
    host = pairs[name].gate.rsplit(".", 1)[0]
    for source in [f"{host}.{number}" for number in (200, 201)]:
        requests, keys = [], []
        for number in range(100):
            fields = {}
            if number % 5:
                fields["User-Agent"] = f"client/{dice.randint(0, 999)} (ключ; {number})"
            if number % 3:
                fields["Accept-Language"] = dice.choice(["de", "en;q=0.8, zh", "zh-CN"])
            keys.append(
                fingerprint(source, fields.get("User-Agent", ""), fields.get("Accept-Language", ""))
            )
            requests.append(("/bucket/object", {**fields, "X-Test-Key": keys[-1]}))
        assert_same_choice(pairs[name], requests, source=source)
        responses = answers(pairs[name].gate, requests, source)
        assert [response.header("x-session-id") for response in responses] == keys


def test_which_argument_is_the_key(pairs, gate):
    """nginx's $arg_: any case, first match, only after '?' or '&', the value as written."""
    targets = []
    for number, key in enumerate(make_keys(60, seed=9)):
        other = make_keys(1, seed=number)[0]
        targets += [
            f"/b/o?uploadId={key}&partNumber=3",
            f"/b/o?partNumber=3&UPLOADID={key}",
            f"/b/o?uploadId={other}&sessionid={key}",
            f"/b/o?SessionID={key}",
            f"/b/o?sessionid={key}&sessionid={other}",
            f"/b/o?xsessionid={other}&sessionid={key}",
            f"/b/o?x=1;sessionid={other}&sessionid={key}",
            f"/b/o?sessionid&sessionid={key}",
        ]
    assert_same_choice(pairs["six"], [(target, {"X-Test-Key": "none"}) for target in targets])


def states(pair):
    """Node states of this site's group on s3gate's status page, which shows all groups."""
    request = b"GET /upstream/health/ HTTP/1.1\r\nHost: s3\r\nConnection: close\r\n\r\n"
    page = exchange(pair.gate, request).data.decode()
    group = next(part for part in page.split("\n\n") if part.startswith(f"Upstream {pair.name}\n"))
    rows = [line.split() for line in group.splitlines() if line.startswith(" " * 8)]
    return {row[0]: row[1] for row in rows}


def test_two_nodes_really_down(pairs, gate, nodes):
    """nginx is configured with two nodes down, s3gate notices by its checks; both skip the same
    two. Then every key returns."""
    requests = session_requests(seed="stopped")
    before = chosen(pairs["six"].gate, requests)
    for number in DOWN:
        nodes[number].kill()
    try:
        gone = {nodes[number].address for number in DOWN}
        wait_until(
            lambda: {key for key, state in states(pairs["six"]).items() if state == "DOWN"} == gone,
            15,
            "the checks found both nodes down",
        )
        during = assert_same_choice(pairs["down"], requests, gate_address=pairs["six"].gate)
    finally:
        for number in DOWN:
            nodes[number].revive()
    stayed = [old == new for old, new in zip(before, during) if old not in ("n1", "n4")]
    assert all(stayed), "a key moved although its node was up"
    wait_until(lambda: set(states(pairs["six"]).values()) == {"UP"}, 15, "both nodes are up again")
    assert chosen(pairs["six"].gate, requests) == before
