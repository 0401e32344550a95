"""Sites that share an address: the request's host chooses the site.

The bytes that are sent stay as they came: signatures cover the host.
"""

import pytest

from support.config import free_port, make_config, make_site, to_yaml
from support.daemon import run_command
from support.waiting import wait_until


class Stage:
    """Sites at one address, each with a backend of its own that tells its name."""

    def __init__(self, make_backend, start, sites, **top):
        self.address = f"127.0.0.1:{free_port()}"
        self.backends = {}
        for name in sites:
            self.backends[name] = make_backend(name=name)
        self.sites = dict(sites)
        self.daemon = start(self.config(**top))

    def config(self, **top):
        return make_config(
            [
                make_site([self.backends[name]], name=name, listen=self.address, **keys)
                for name, keys in self.sites.items()
            ],
            **top,
        )

    def asks(self, host, client=None, **more):
        """The site that answered, or the status of an answer of our own."""
        if client is None:
            with self.daemon.client() as own:
                return self.asks(host, own, **more)
        response = client.request(host=host, **more)
        return response.header("X-Backend") or response.status

    def admitted(self, host):
        """A connection with an answer. Who saw the daemon ready may have its place for a while."""

        def tried():
            client = self.daemon.client()
            if self.asks(host, client) != 503:
                return client
            client.close()
            return None

        return wait_until(tried, what="a place")


@pytest.fixture(name="stage")
def stage_fixture(make_backend, start):
    return lambda sites, **top: Stage(make_backend, start, sites, **top)


SITES = {
    "below": {"hosts": ["*.lab"]},
    "exact": {"hosts": ["A.s3.lab.", "10.0.0.1", "[2001:DB8::0:1]"]},
    "rest": {},
    "longer": {"hosts": ["*.s3.lab"]},
    "bucket": {"domains": ["objects.lab"]},
}
HOSTS = {
    "a.s3.lab": "exact",
    "A.S3.LAB.:9000": "exact",
    "10.0.0.1:9000": "exact",
    "[2001:db8::1]:9000": "exact",
    "[2001:db8::2]:9000": "rest",
    "b.s3.lab": "longer",
    "c.b.S3.lab:9000": "longer",
    "s3.lab": "below",
    "x.a.lab": "below",
    "lab": "rest",
    "objects.lab": "bucket",
    "mine.objects.lab:9000": "bucket",
    "127.0.0.1": "rest",
    "s3.lab.example": "rest",
}


@pytest.mark.parametrize("is_reversed", [False, True], ids=["as written", "reversed"])
def test_the_host_chooses_the_site(stage, is_reversed):
    """Whatever the order of the sites, and on one connection."""
    order = reversed(SITES.items()) if is_reversed else SITES.items()
    here = stage(dict(order))
    with here.daemon.client() as client:
        for host, site in HOSTS.items():
            assert here.asks(host, client) == site, host
            assert here.backends[site].requests[-1].header("Host") == host, "nothing is rewritten"
            target = f"http://{host}/b/{site}?n"
            assert here.asks(host, client, target=target) == site, target
    wait_until(lambda: len(here.daemon.log_lines()) == 2 * len(HOSTS))
    assert [line["site"] for line in here.daemon.log_lines()][::2] == list(HOSTS.values())
    bucket = [line for line in here.daemon.log_lines() if line["site"] == "bucket"][-1]
    assert (bucket["bucket"], bucket["op"]) == ("mine", "GetObject")


def test_without_a_default_site_other_hosts_are_refused(stage):
    here = stage({"a": {"hosts": ["a.lab"]}, "b": {"hosts": ["b.lab"]}})
    with here.daemon.client() as client:
        response = client.request(host="c.lab", target="/b/unknown")
        assert (response.status, response.reason) == (421, b"Misdirected Request")
        assert b"<Code>MisdirectedRequest</Code>" in response.data
        assert b"<Resource>/b/unknown</Resource>" in response.data
        assert here.asks("b.lab", client) == "b", "the connection is kept"
        client.send(b"GET /b/old HTTP/1.0\r\n\r\n")
        assert client.read_response().status == 421
    line = here.daemon.wait_log("/b/unknown")
    assert (line["error"], line["blame"], line["domain"]) == ("unknown host", "client", "c.lab")
    assert here.daemon.totals()["requests for hosts of no site refused"] == 2


def test_a_site_alone_with_hosts_takes_no_other(one):
    daemon, backend = one(hosts=["s3.lab"])
    with daemon.client() as client:
        assert client.request(host="other").status == 421
        assert client.request(host="S3.lab").status == 200
    assert len(backend.requests) == 1


def test_each_site_has_its_own_settings(stage):
    """After the head all is the site's: its page, whom it believes, who may ask how often."""
    here = stage(
        {
            "a": {},
            "b": {
                "hosts": ["b.lab"],
                "status": {"path": "/health/", "allow": ["10.0.0.9"]},
                "forwarded": {"mode": "append", "trusted": ["127.0.0.0/8"]},
                "limits": {"requests_per_client": "1/m"},
            },
        }
    )
    forwarded = [("X-Forwarded-For", "10.0.0.9")]
    with here.daemon.client() as client:
        page = client.request(host="b.lab", target="/health/", fields=forwarded)
        assert page.status == 200 and b"upstream" in page.data.lower()
        assert here.asks("a.lab", client, target="/health/", fields=forwarded) == "a"
        assert here.asks("b.lab", client, fields=forwarded) == "b"
        assert here.asks("b.lab", client, fields=forwarded) == 503, "beyond its rate"
        assert here.asks("a.lab", client, fields=forwarded) == "a"
    assert here.backends["a"].requests[-1].header("X-Real-IP") == "127.0.0.1"
    assert here.backends["b"].requests[-1].header("X-Real-IP") == "10.0.0.9"


def test_a_connection_counts_at_the_site_of_its_last_request(stage):
    here = stage({"a": {}, "b": {"hosts": ["b.lab"], "limits": {"connections": 2}}}, workers=2)
    idle = [here.daemon.client() for _ in range(4)]
    first, second, third, fourth = idle
    assert here.asks("b.lab", first) == "b"
    assert here.asks("b.lab", second) == "b"
    assert here.asks("b.lab", third) == 503
    assert third.expect_close() == "eof"
    assert here.asks("a.lab", fourth) == "a", "the other site is not limited"
    assert here.asks("a.lab", second) == "a"
    assert here.asks("b.lab", fourth) == "b", "its place is free again"
    assert here.asks("b.lab", first) == "b", "who is there stays"
    assert here.asks("b.lab", second) == 503
    for client in idle:
        client.close()


def test_a_client_counts_at_the_site_of_its_requests(stage):
    here = stage({"a": {}, "b": {"hosts": ["b.lab"], "limits": {"per_client": 1}}}, workers=2)
    with here.daemon.client() as first, here.daemon.client() as second:
        assert here.asks("b.lab", first) == "b"
        assert here.asks("a.lab", second) == "a"
        assert here.asks("b.lab", second) == 503
        assert here.asks("a.lab", first) == "a"
    with here.daemon.client() as third:
        assert here.asks("b.lab", third) == "b"
        with here.daemon.client(source="127.0.7.1") as other:
            assert here.asks("b.lab", other) == "b"


def test_reloads_add_and_take_sites_of_an_address(stage):
    """A connection that stays is served by whom the new configuration names."""
    here = stage({"a": {}, "b": {"hosts": ["b.lab"], "limits": {"connections": 1}}})
    both = here.sites
    with here.daemon.client() as client, here.daemon.client() as other:
        for _ in range(3):
            here.sites = both
            here.daemon.reload(here.config())
            assert here.asks("b.lab", client) == "b"
            assert here.asks("b.lab", client) == "b"
            assert here.asks("a.lab", other) == "a"
            here.sites = {"b": {"hosts": ["c.lab"]}}
            here.daemon.reload(here.config())
            assert here.asks("b.lab", client) == 421
            assert here.asks("c.lab", client) == "b"
            assert here.asks("a.lab", other) == 421
            here.sites = {"a": {}}
            here.daemon.reload(here.config())
            assert here.asks("b.lab", client) == "a"
            assert here.asks("b.lab", other) == "a", "an idle one would still count at the old site"


def test_a_connection_over_a_limit_ends_with_its_answer(stage):
    """Also where it asks for a host of no site: else it would hold its place."""
    limited = {"hosts": ["a.lab"], "limits": {"connections": 1}}
    here = stage({"a": limited, "b": {"hosts": ["b.lab"]}}, workers=1)
    with here.admitted("a.lab"), here.daemon.client() as second:
        assert here.asks("c.lab", second) == 503
        assert second.expect_close() == "eof"


def test_a_reload_moves_no_limit_to_another_site(stage):
    """Who asks site b has no place at the default site a, and is under the limits of b alone."""
    sites = {
        "a": {"limits": {"per_client": 2, "connections": 8}},
        "b": {"hosts": ["b.lab"], "limits": {"connections": 30}},
    }
    here = stage(sites, workers=2)
    crowd = [here.admitted("b.lab") for _ in range(20)]
    own = [here.admitted("a.lab") for _ in range(2)]
    for _ in range(2):
        here.sites["b"]["backends"] = {"keepalive": 3}
        here.daemon.reload(here.config())
        for client in crowd:
            assert here.asks("b.lab", client) == "b"
        for client in own:
            assert here.asks("a.lab", client) == "a"
    # The limits of a hold for who comes from b, also with the first request after a reload.
    here.daemon.reload(here.config())
    assert here.asks("a.lab", crowd[0]) == 503
    assert crowd[0].expect_close() == "eof"
    # A bound that falls holds for who is there.
    here.sites["b"]["limits"] = {"connections": 10}
    here.daemon.reload(here.config())
    assert here.asks("b.lab", crowd[1]) == 503
    for client in crowd + own:
        client.close()


def test_route_chooses_by_the_host(tmp_path):
    """`s3gate route` says which site takes a URL, and why."""
    address = f"127.0.0.1:{free_port()}"
    names = {"a": {"hosts": ["a.lab"]}, "b": {}}
    sites = [make_site([f"{name}:80"], name=name, listen=address, **names[name]) for name in names]
    file = tmp_path / "s3gate.yaml"
    file.write_text(to_yaml(make_config(sites)))

    def site_of(*arguments):
        done = run_command("route", "--config", str(file), *arguments)
        found = [line.split(None, 1)[1] for line in done.stdout.splitlines() if "site" in line[:5]]
        hosts = [line.split(None, 1)[1] for line in done.stdout.splitlines() if "host" in line[:5]]
        return found, hosts

    assert site_of("http://A.lab:9000/k?sessionid=x") == (
        ["a"],
        ["A.lab:9000 (one of the site's hosts)"],
    )
    assert site_of("http://x/k?sessionid=x") == (
        ["b"],
        ["x (no site names it, and this one takes the rest)"],
    )
    assert site_of("/k?sessionid=x")[0] == ["a", "b"]
    assert site_of("--host", "a.lab", "/k?sessionid=x")[0] == ["a"]
