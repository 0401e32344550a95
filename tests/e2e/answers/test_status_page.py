"""The status page is byte for byte the page that operators' scripts parse today.

A different space or a missing blank line breaks their parsers; a prefix that is too wide hides a
bucket.
"""

import pytest

from support.config import FAST_HEALTH, make_config, make_site
from support.waiting import wait_until

STATUS = {"path": "/upstream/health/", "allow": ["127.0.0.1/32", "127.0.6.0/24"]}


def expected(groups):
    return (
        "\n".join(
            f"Upstream {name}{'' if checked else ' (NO checkers)'}\n    Primary Peers\n"
            + "".join(f"        {address} {'UP' if up else 'DOWN'}\n" for address, up in primary)
            + "    Backup Peers\n"
            + "".join(f"        {address} {'UP' if up else 'DOWN'}\n" for address, up in backup)
            for name, checked, primary, backup in groups
        )
        + "\n"
    )


@pytest.fixture(name="stage")
def stage_fixture(make_backend, start):
    api = [make_backend() for _ in range(3)]
    console = [make_backend() for _ in range(2)]
    site = make_site(api, name="api", health=FAST_HEALTH, status=STATUS)
    site["backends"]["name"] = "backend_api"
    other = make_site(
        [console[0], {"address": console[1].address, "backup": True}],
        name="console",
        type="http",
        balance={"method": "least_conn"},
    )
    return start(make_config([site, other])), api, console


def test_bytes_of_the_page(stage):
    daemon, api, console = stage

    def page(up):
        return expected(
            [
                (
                    "backend_api",
                    True,
                    [(backend.address, state) for backend, state in zip(api, up)],
                    [],
                ),
                ("console", False, [(console[0].address, True)], [(console[1].address, True)]),
            ]
        ).encode()

    with daemon.client() as client:
        response = client.request(target="/upstream/health/")
        assert response.status == 200
        assert response.data == page([True, True, True])
        assert response.header("content-type").lower().startswith("text/plain")
        api[1].health.status = 503
        wait_until(
            lambda: client.request(target="/upstream/health/").data == page([True, False, True])
        )


def test_head(stage):
    daemon, _, _ = stage
    with daemon.client() as client:
        length = client.request(target="/upstream/health/").body.length
        response = client.request("HEAD", "/upstream/health/")
        assert (response.status, response.header("content-length")) == (200, str(length))
        assert client.request(target="/upstream/health/").status == 200


def test_closes_where_a_100_is_due(stage):
    """The client would take the next answer for the one to its Expect."""
    daemon, _, _ = stage
    with daemon.client() as client:
        fields = [("Expect", "100-continue"), ("Content-Length", "0")]
        response = client.request(target="/upstream/health/", fields=fields)
        assert (response.status, response.closes) == (200, True)
        assert client.expect_close() == "eof"


def test_everything_below_is_the_page(stage):
    daemon, api, _ = stage
    with daemon.client() as client:
        assert client.request(target="/upstream/health/x/y?z").data.startswith(
            b"Upstream backend_api\n"
        )
        assert client.request(target="/upstream/health/?a=b").data.startswith(
            b"Upstream backend_api\n"
        )
    assert not any(backend.requests for backend in api)


@pytest.mark.parametrize(
    "method,target",
    [
        ("POST", "/upstream/health"),
        ("GET", "/upstream/healt?x=/upstream/health/"),
        ("GET", "/upstream/healthy/"),
        ("GET", "/Upstream/health/"),
        ("GET", "//upstream/health/"),
        ("GET", "/b/upstream/health/"),
        ("GET", "/"),
        ("POST", "/upstream/health/"),
        ("PUT", "/upstream/health/"),
        ("DELETE", "/upstream/health/x"),
        ("OPTIONS", "/upstream/health/"),
    ],
)
def test_what_is_not_the_page_goes_to_the_backends(stage, method, target):
    daemon, api, _ = stage
    with daemon.client() as client:
        response = client.request(method, target, body=b"x" if method in ("POST", "PUT") else None)
        assert response.status == 200
    assert [request.target for backend in api for request in backend.requests] == [target]


def test_acl(stage):
    daemon, api, _ = stage
    with daemon.client(source="127.0.6.9") as client:
        assert client.request(target="/upstream/health/").status == 200
    with daemon.client(source="127.0.7.9") as client:
        response = client.request(target="/upstream/health/")
        assert response.status == 403
        assert b"Primary" not in response.data
        client.send(client.head("GET", "/b/k"))
        if not response.closes:
            assert client.read_response().status == 200
    # A forged address changes nothing.
    with daemon.client(source="127.0.7.9") as client:
        response = client.request(
            target="/upstream/health/", fields=[("X-Forwarded-For", "127.0.0.1")]
        )
        assert response.status == 403
    assert sum(len(backend.find("/upstream")) for backend in api) == 0


def test_not_logged(stage):
    daemon, _, _ = stage
    with daemon.client() as client:
        client.request(target="/upstream/health/")
        client.request(target="/b/logged")
    daemon.wait_log("/b/logged")
    assert [line["request"] for line in daemon.log_lines()] == ["/b/logged"]


def test_off_by_default(make_backend, gate):
    backend = make_backend()
    daemon = gate([backend])
    with daemon.client() as client:
        assert client.request(target="/upstream/health/").data == b"b1"


def test_page_in_the_middle_of_a_pipeline(stage):
    daemon, _, _ = stage
    with daemon.client() as client:
        client.send(
            client.head("GET", "/b/1")
            + client.head("GET", "/upstream/health/")
            + client.head("GET", "/b/2")
        )
        assert client.read_response().data.startswith(b"b")
        assert client.read_response().data.startswith(b"Upstream")
        assert client.read_response().data.startswith(b"b")
