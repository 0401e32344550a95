"""A start while DNS fails or is silent, through the system's own resolver.

A proxy that does not start without DNS turns a restart in a bad moment into an outage.

The daemon gets a resolv.conf of its own in a mount namespace.
"""

import time

from support.config import free_port
from support.waiting import wait_until

SERVER = "127.0.53.7"


def page(daemon):
    with daemon.client() as client:
        return client.request(target="/upstream/health/").data.decode()


def served(daemon, count=20):
    with daemon.client() as client:
        return {
            client.request(target=f"/b/k?sessionid={number}").data.decode()
            for number in range(count)
        }


def test_start_without_some_names(make_backend, gate, names, prefix):
    """It serves with the rest and says so; the missing server comes when its name does. With
    `resolve: off` a name that resolved is not asked again, even when DNS would now say something
    else."""
    first, second, third = (make_backend() for _ in range(3))
    known, later, never = "known.s3.test", "later.s3.test", "never.s3.test"
    names.answers[known] = "127.0.0.1"
    daemon = gate(
        [f"{known}:{first.port}", f"{later}:{second.port}", f"{never}:{third.port}"],
        status={},
        resolve="off",
        daemon={"prefix": prefix},
    )
    said = f"{later}:{second.port} is down: cannot resolve {later}: "
    daemon.wait_stderr(rf"\[warning\] test: {said}")
    assert f"cannot resolve {known}" not in daemon.stderr
    daemon.wait_stderr(r"\[warning\] in the last \d+ s: 2 name lookups failed")
    assert served(daemon) == {"b1"}
    assert f"{later}:{second.port} DOWN" in page(daemon)
    asked = names.asked.count(known)
    names.answers[later] = "127.0.0.1"
    names.answers[known] = "127.0.0.99"  # nobody is there
    daemon.wait_stderr(rf"\[info\] test: {later}:{second.port} \(127\.0\.0\.1\) is resolved\n")
    wait_until(lambda: served(daemon) == {"b1", "b2"})
    # The round behind that one asks for the name that is still missing, and for no other.
    rounds = names.asked.count(never)
    wait_until(lambda: names.asked.count(never) > rounds)
    assert names.asked.count(known) == asked
    assert served(daemon) == {"b1", "b2"}
    assert daemon.totals()["name lookups failed"] >= 3


def test_start_while_dns_is_silent(make_backend, gate, names, prefix):
    """Bounded: five seconds, then it serves with what needs no name."""
    backend = make_backend()
    names.silent.add("mute.s3.test")
    begun = time.monotonic()
    daemon = gate(
        [backend, f"mute.s3.test:{free_port()}"], daemon={"prefix": prefix}, passive="off"
    )
    assert time.monotonic() - begun < 15, "ready after 5 s and what a busy machine adds"
    assert served(daemon) == {"b1"}
    daemon.wait_stderr(r"cannot resolve mute\.s3\.test: ")
    assert names.asked
    assert daemon.totals()["name lookup failed"] == 1


def test_start_without_any_name(make_backend, gate, names, prefix):
    """Nobody to go to yet is no reason not to start: 503 in S3's words."""
    backend = make_backend()
    daemon = gate([f"only.s3.test:{backend.port}"], daemon={"prefix": prefix})
    with daemon.client() as client:
        response = client.request()
        assert (response.status, b"<Code>ServiceUnavailable" in response.data) == (503, True)
    assert daemon.wait_log("/b/k")["error"] == "no backend available"
    assert names.asked
    totals = daemon.totals()
    assert totals["name lookup failed"] == totals["request without a backend left"] == 1
