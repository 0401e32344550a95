"""No usable credential is ever written: not in the access log, not in the operational log at any
level, not on the status page.

More places and people see logs than the storage. A presigned URL, a session cookie or a customer's
key in a log is a leaked password.
"""

import pytest

from support.backend import script
from support.config import FAST_HEALTH, make_config, make_site
from support.waiting import wait_until

SECRET = "TOPSECRET"
FIELDS = [
    ("Authorization", f"AWS4-HMAC-SHA256 Credential={SECRET}/d, Signature={SECRET}"),
    ("Proxy-Authorization", f"Basic {SECRET}"),
    ("Cookie", f"token={SECRET}; x-amz-signature={SECRET}"),
    ("X-Amz-Security-Token", SECRET),
    ("X-Amz-Signature", SECRET),
    ("x-amz-server-side-encryption-customer-key", SECRET),
    ("x-amz-copy-source-server-side-encryption-customer-key", SECRET),
    ("X-Api-Key", SECRET),
]
NAMES = [
    "X-Amz-Signature",
    "X-Amz-Credential",
    "X-Amz-Security-Token",
    "Signature",
    "AWSAccessKeyId",
    "x-amz-server-side-encryption-customer-key",
    "LDAPPassword",
]


def escaped(text, every=1, upper=True):
    """Every `every`-th character as %XX."""
    digits = "%%%02X" if upper else "%%%02x"
    return "".join(digits % ord(c) if at % every == 0 else c for at, c in enumerate(text))


def spellings(name):
    """Queries that contain SECRET under that name, in every spelling that a client may use."""
    inner = f"http://h/k?{name}={SECRET}&y=1"
    return [
        f"{name}={SECRET}",
        f"a=1&{name.lower()}={SECRET}&b=2",
        f"{name.upper()}={SECRET}",
        f"{escaped(name)}={SECRET}",
        f"{escaped(name, 3, upper=False)}={SECRET}",
        f"{escaped(escaped(name, 2))}={SECRET}",
        f"a=1;{name}={SECRET}",
        f"u={escaped(inner)}",
        f"u={escaped(escaped(inner))}",
        f"u=http://user:{SECRET}@h/",
        f"u={escaped(f'http://user:{SECRET}@h/')}",
    ]


@pytest.fixture(name="stage")
def stage_fixture(make_backend, start):
    """A site with all outputs enabled, at the most verbose level."""

    def handler(exchange):
        exchange.read_body()
        if "broken" in exchange.request.target:
            exchange.send(f"HTTP/1.1 200 OK\r\nX-A: {SECRET}\r\n {SECRET}\r\n\r\n".encode())
            exchange.close()
        elif "reset" in exchange.request.target:
            exchange.reset()
        else:
            fields = [("Set-Cookie", f"token={SECRET}"), ("x-amz-security-token", SECRET)]
            exchange.respond(200, fields, b"")

    backend = make_backend(handler)
    # Failed checks have a secret in their answer and in their path.
    backend.health.path = "/ready"
    backend.health.status = 401
    backend.health.fields = [("WWW-Authenticate", SECRET), ("Set-Cookie", SECRET)]
    site = make_site(
        [backend],
        name="api",
        status={"path": "/upstream/health/"},
        health={**FAST_HEALTH, "path": f"/ready?X-Amz-Signature={SECRET}&Signature={SECRET}"},
        session_header="X-Session-ID",
        limits={"head": "8KiB"},
    )
    console = make_site(
        [backend],
        name="console",
        type="http",
        balance={"key": ["cookie:token", "header:X-Api-Key", "fingerprint"]},
    )
    return start(make_config([site, console], log={"level": "debug"}, workers=1)), backend


def everything(daemon):
    with daemon.client() as client:
        page = client.request(target="/upstream/health/")
        assert page.status == 200
    daemon.stop()
    return daemon.access_log.read_text() + daemon.stderr + page.data.decode()


def test_requests_that_are_served(stage):
    daemon, backend = stage
    targets = [f"/b/k?{query}&mark" for name in NAMES for query in spellings(name)]
    for site in (0, 1):
        with daemon.client(site) as client:
            for target in targets:
                referer = [("Referer", "http://h" + target)]
                assert client.request(target=target, fields=FIELDS + referer).status == 200
    # The backend got the full URLs: only the log is redacted.
    assert [request.target for request in backend.requests] == targets * 2
    assert backend.requests[0].header("authorization") == FIELDS[0][1]
    wait_until(lambda: len(daemon.log_lines()) == 2 * len(targets))
    assert {line["status"] for line in daemon.log_lines()} == {200}
    daemon.wait_stderr(r"\[debug\] .* failed a check: status 401")
    assert SECRET not in everything(daemon)


@pytest.mark.parametrize("name", NAMES)
def test_requests_that_are_refused(stage, name):
    """Refused requests are logged as well, although their content was not parsed."""
    daemon, backend = stage
    lines = "".join(f"{field}: {value}\r\n" for field, value in FIELDS)
    refused = 0
    for query in spellings(name):
        target = f"/b/k?{query}"
        for head in (
            f"GET {target} HTTP/1.1\r\nHost: a\r\nHost: b\r\n{lines}\r\n",
            f"GET {target}#f HTTP/1.1\r\nHost: a\r\n{lines}\r\n",
            f"GET {target}  HTTP/1.1\r\nHost: a\r\n{lines}\r\n",
            f"GET {target} HTTP/9.9\r\nHost: a\r\n{lines}\r\n",
            f"GET http://user:{SECRET}@h{target} HTTP/1.1\r\nHost: h\r\n{lines}\r\n",
            f"GET {target} HTTP/1.1\r\nHost: a\r\n {SECRET}\r\n{lines}\r\n",
            f"GET {target} HTTP/1.1\r\nHost: a\r\nCookie : {SECRET}\r\n\r\n",
            f"CONNECT {target} HTTP/1.1\r\nHost: a\r\n{lines}\r\n",
            f"GET {target} HTTP/1.1\r\nHost: a\r\nX: {'y' * 9000}\r\n{lines}\r\n",
            f"GET /{'y' * 9000}?{query} HTTP/1.1\r\nHost: a\r\n\r\n",
        ):
            with daemon.client() as client:
                client.send_quietly(head.encode())
                answer, _ = client.read_until_close()
                assert answer[:10] == b"HTTP/1.1 4", head
                assert SECRET.encode() not in answer, head
            refused += 1
    assert not backend.requests
    wait_until(lambda: len(daemon.log_lines()) == refused)
    assert SECRET not in everything(daemon)


def test_requests_that_fail(stage):
    """Broken backends, clients that leave in a head: the messages are our own texts."""
    daemon, _ = stage
    query = f"X-Amz-Signature={SECRET}&X-Amz-Credential={SECRET}"
    for target in (f"/b/broken?{query}", f"/b/reset?{query}"):
        with daemon.client() as client:
            client.send(client.head("PUT", target, [*FIELDS, ("Content-Length", 1)]) + b"x")
            answer = client.read_response("PUT")
            assert answer.status == 502
            assert SECRET.encode() not in answer.data
    with daemon.client() as client:
        client.send(f"GET /b/half?{query} HTTP/1.1\r\nAuthorization: {SECRET}".encode())
        client.half_close()
        client.read_until_close()
    wait_until(lambda: len(daemon.log_lines()) == 3)
    assert SECRET not in everything(daemon)


def test_check_shows_no_secret_of_a_rejected_field(make_backend, gate):
    """The message names the bad field and hides the value of a credential."""
    backend = make_backend(script(b""))
    backend.health.fields = [("Set-Cookie", f"token={SECRET}")]
    health = {**FAST_HEALTH, "reject_headers": {"set-cookie": "*"}}
    daemon = gate([backend], health=health, top={"log": {"level": "debug"}})
    daemon.wait_stderr(r"(?i)is down after .* header set-cookie: \*\*\*")
    assert SECRET not in daemon.stderr
