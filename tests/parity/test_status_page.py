"""The text status page: byte for byte the output of lua-resty-upstream-healthcheck and its
configuration.

Otherwise scripts that read the old page break. The expected text follows the library's
documentation: every group in the order of the configuration, resolved addresses, a blank line
between groups, "(NO checkers)" without checks, and the newline that the old configuration's ngx.say
added.
"""

import pytest

from nodes import Node, stop_all
from support.client import exchange
from support_real import ADDRESSES, S3gate, s3_site, wait_until


def page(address, path="/upstream/health/", source=None):
    request = f"GET {path} HTTP/1.1\r\nHost: s3\r\nConnection: close\r\n\r\n"
    return exchange(address, request.encode(), source=source)


@pytest.fixture(scope="module")
def setup():
    nodes = [Node(f"n{number}", f"{ADDRESSES.take()}:9000") for number in range(3)]
    servers = [node.address for node in nodes]
    addresses = [f"{ADDRESSES.take()}:9000", f"{ADDRESSES.take()}:9001"]
    friend = ADDRESSES.take()
    first = s3_site(
        "cluster01",
        addresses[0],
        [servers[0], {"address": servers[1], "down": True}, servers[2]],
        balance={"salt": "x"},
        health={"interval": "200ms", "timeout": "5s", "fall": 2, "rise": 2},
        status={"path": "/upstream/health/", "allow": [f"{friend}/32"]},
    )
    first["backends"]["name"] = "backend_cluster01-minio-xunku-in"
    second = {
        "name": "console01",
        "type": "http",
        "listen": [addresses[1]],
        "balance": {"method": "least_conn"},
        "backends": {
            "name": "backend_console01-minio-xunku-in",
            "servers": [servers[2], {"address": servers[0], "backup": True}],
        },
    }
    try:
        with S3gate([first, second]):
            yield nodes, servers, addresses[0], friend
    finally:
        stop_all(nodes)


def expected(servers, third):
    return (
        "Upstream backend_cluster01-minio-xunku-in\n"
        "    Primary Peers\n"
        f"        {servers[0]} UP\n"
        f"        {servers[1]} DOWN\n"
        f"        {servers[2]} {third}\n"
        "    Backup Peers\n"
        "\n"
        "Upstream backend_console01-minio-xunku-in (NO checkers)\n"
        "    Primary Peers\n"
        f"        {servers[2]} UP\n"
        "    Backup Peers\n"
        f"        {servers[0]} UP\n"
        "\n"
    )


def test_text(setup):
    nodes, servers, address, friend = setup
    response = page(address, source=friend)
    assert response.status == 200
    assert response.data.decode() == expected(servers, "UP")
    assert response.header("content-type").split(";")[0] == "text/plain"
    nodes[2].kill()
    try:
        wait_until(
            lambda: page(address, source=friend).data.decode() == expected(servers, "DOWN"),
            15,
            "the page shows the dead node",
        )
    finally:
        nodes[2].revive()
    wait_until(
        lambda: page(address, source=friend).data.decode() == expected(servers, "UP"),
        15,
        "the page shows the node back",
    )


def test_who_may_see_it(setup):
    _, _, address, friend = setup
    assert page(address, source=ADDRESSES.take()).status == 403
    assert page(address, source=friend).status == 200


def test_path_is_a_prefix_and_nothing_more(setup):
    """Every path below it shows the page. The path without its final slash redirects to it; the old
    page left that path to the bucket "upstream"."""
    _, servers, address, friend = setup
    below = page(address, "/upstream/health/anything?x=1", source=friend)
    assert below.data.decode() == expected(servers, "UP")
    bare = page(address, "/upstream/health", source=friend)
    assert (bare.status, bare.header("location")) == (301, "/upstream/health/")
    assert page(address, "/upstream/healthy", source=friend).header("x-node") is not None


def test_passive_marks_show_as_down(setup):
    """Unlike the old page, ours also shows passively marked servers as DOWN: the page tells where
    requests go now."""
    nodes, servers, _, _ = setup
    address, friend = f"{ADDRESSES.take()}:9000", ADDRESSES.take()
    site = s3_site(
        "passive",
        address,
        servers[:2],
        balance={"salt": "x"},
        health={"interval": "60s", "timeout": "1s"},
        passive={"max_fails": 1, "fail_timeout": "60s"},
        status={"path": "/upstream/health/", "allow": [f"{friend}/32"]},
    )
    with S3gate([site]) as gate:
        key = next(
            key
            for key in map(str, range(100))
            if page(address, f"/b/o?sessionid={key}").header("x-node") == "n0"
        )
        nodes[0].kill()
        try:
            assert page(address, f"/b/o?sessionid={key}").header("x-node") == "n1"
            gate.wait_entries(lambda entry: entry["tries"] == 2, 1)
            assert page(address, f"/b/o?sessionid={key}").header("x-node") == "n1"
            shown = page(address, source=friend).data.decode()
        finally:
            nodes[0].revive()
    assert f"        {servers[0]} DOWN\n" in shown
