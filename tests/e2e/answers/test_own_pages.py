"""Browsers get a readable page instead of S3 XML, and the status page also without its final slash.

An SDK that gets HTML reports a parse error instead of the reason, so S3 sites never send HTML.
"""

import re

import pytest

from support.config import dead_address, make_config, make_site

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
STATUS = {"path": "/upstream/health/", "allow": ["127.0.0.1/32"]}


def ask(daemon, site, accept=BROWSER, method="GET"):
    fields = [("Accept", accept)] if accept else []
    with daemon.client(site) as client:
        client.send(client.head(method, "/some/path?x=<b>", fields))
        return client.read_response(method)


@pytest.fixture(name="both")
def both_fixture(start):
    """Site 0 is a console, site 1 an S3 site; neither has a backend."""
    console = make_site([dead_address()], name="console", type="http")
    return start(make_config([console, make_site([dead_address()], name="api")]))


def test_a_browser_gets_a_page(both):
    response = ask(both, 0)
    assert response.status == 503
    assert response.header("content-type") == "text/html; charset=utf-8"
    assert response.header("cache-control") == "no-store"
    assert response.header("content-security-policy").startswith("default-src 'none'")
    assert response.header("retry-after") == "1"
    assert response.framing == "length"
    text = response.data.decode()
    assert text.startswith("<!DOCTYPE html>")
    assert "<title>503 Service Unavailable</title>" in text
    assert "path" not in text and "<b>" not in text
    shown = re.search("Request id: <code>([0-9A-Fa-f]{16})</code>", text)[1]
    line = both.wait_log("/some/path")
    assert (line["request_id"], line["size"]) == (shown, len(response.data))


def test_head_has_the_same_head_and_no_body(both):
    full, head = ask(both, 0), ask(both, 0, method="HEAD")
    assert head.header("content-length") == full.header("content-length") == str(len(full.data))
    assert head.header("content-type") == "text/html; charset=utf-8"
    assert head.body.length == 0


@pytest.mark.parametrize("accept", ["", "*/*", "application/json", "text/html;q=0"])
def test_programs_get_xml(both, accept):
    assert ask(both, 0, accept).header("content-type") == "application/xml"


def test_s3_sites_send_xml_to_everybody(both):
    assert ask(both, 1).header("content-type") == "application/xml"


@pytest.mark.parametrize("kind", ["s3", "http"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_status_page_without_its_slash(one, kind, method):
    daemon, backend = one(status=STATUS, type=kind)
    with daemon.client() as client:
        for query in ("", "?a=%2F&b", "?x=//evil.example/"):
            client.send(client.head(method, "/upstream/health" + query))
            response = client.read_response(method)
            assert response.status == 301
            assert response.header("location") == "/upstream/health/" + query
            assert response.header("cache-control") == "no-store"
            assert response.body.length == 0
            client.send(client.head("GET", response.header("location")))
            page = client.read_response()
            assert (page.status, page.data.split()[0]) == (200, b"Upstream")
    assert backend.requests == []
    assert daemon.log_lines() == [], "requests for the page are not logged"


def test_the_status_page_has_the_path_that_is_configured(one):
    daemon, backend = one(status={**STATUS, "path": "/a/b/"})
    with daemon.client() as client:
        assert client.request(target="/a/b").header("location") == "/a/b/"
        for target in ("/a", "/a/bc", "/a/b%2F", "/upstream/health"):
            assert client.request(target=target).status == 200
    assert len(backend.requests) == 4


def test_a_prefix_without_a_slash_is_never_redirected(one):
    daemon, _ = one(status={**STATUS, "path": "/health"})
    with daemon.client() as client:
        assert client.request(target="/health").data.startswith(b"Upstream")
        assert client.request(target="/healt").data == b"b1"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST", "OPTIONS"])
def test_other_methods_go_to_the_server(one, method):
    daemon, backend = one(status=STATUS)
    with daemon.client() as client:
        assert client.request(method, "/upstream/health").status == 200
    assert [request.target for request in backend.requests] == ["/upstream/health"]


@pytest.mark.parametrize("status", ["off", {**STATUS, "allow": ["192.0.2.0/24"]}])
def test_an_object_of_that_name_where_there_is_no_page(one, status):
    """The page is off, or not for this client, and the bucket "upstream" has an object "health"."""
    daemon, backend = one(status=status)
    with daemon.client() as client:
        assert client.request(target="/upstream/health").data == b"b1"
    assert [request.target for request in backend.requests] == ["/upstream/health"]
