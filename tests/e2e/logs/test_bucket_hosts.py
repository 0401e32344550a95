"""Buckets in the host (virtual-host style): `domains` of a site says which hosts are buckets.

Without that, `DELETE /key.txt` of a bucket's host read as the end of a bucket called key.txt.
"""

import pytest

from support.backend import die
from support.config import make_config, make_site

DOMAINS = ["s3.lab", "eu.s3.lab"]
STATUS = {"path": "/upstream/health/", "allow": ["127.0.0.0/8"]}

# Method, target, host: operation and bucket, with `domains` and without.
REQUESTS = [
    ("GET", "/", "mine.s3.lab", ("ListObjects", "mine"), ("ListBuckets", "-")),
    ("GET", "/?list-type=2", "mine.s3.lab:9000", ("ListObjectsV2", "mine"), ("-", "-")),
    ("PUT", "/", "mine.s3.lab", ("CreateBucket", "mine"), ("-", "-")),
    ("POST", "/?delete", "mine.s3.lab.", ("DeleteObjects", "mine"), ("-", "-")),
    ("PUT", "/key.txt", "a.b.s3.lab", ("PutObject", "a.b"), ("CreateBucket", "key.txt")),
    ("DELETE", "/key.txt", "MINE.S3.LAB", ("DeleteObject", "MINE"), ("DeleteBucket", "key.txt")),
    ("GET", "/a/b", "mine.eu.s3.lab", ("GetObject", "mine"), ("GetObject", "a")),
    ("GET", "http://mine.s3.lab/a/b", "mine.s3.lab", ("GetObject", "mine"), ("GetObject", "a")),
    ("GET", "/mine/key.txt", "s3.lab", ("GetObject", "mine"), ("GetObject", "mine")),
    ("GET", "/mine/key.txt", "127.0.0.1", ("GetObject", "mine"), ("GetObject", "mine")),
    ("GET", "/mine/key.txt", "[::1]:9000", ("GetObject", "mine"), ("GetObject", "mine")),
    ("GET", "/mine/key.txt", "mine.s3.lab.example", ("GetObject", "mine"), ("GetObject", "mine")),
    ("GET", "/minio/health/live", "mine.s3.lab", ("HealthLive", "-"), ("HealthLive", "-")),
]


@pytest.mark.parametrize("domains, column", [(DOMAINS, 3), ([], 4)], ids=["domains", "none"])
def test_operation_and_bucket(make_backend, gate, domains, column):
    backend = make_backend()
    daemon = gate([backend], domains=domains)
    for number, row in enumerate(REQUESTS):
        method, target, host = row[:3]
        mark = f"{'&' if '?' in target else '?'}n={number}"
        with daemon.client() as client:
            assert client.request(method, target + mark, host=host).status == 200
        line = daemon.wait_log(target + mark)
        assert (line["op"], line["bucket"]) == row[column], row
        sent = backend.requests[-1]
        origin_form = target.removeprefix("http://mine.s3.lab") + mark
        assert (sent.target, sent.header("Host")) == (origin_form, host), "nothing is rewritten"


def test_the_status_page_hides_no_object_of_such_a_bucket(make_backend, gate):
    daemon = gate([make_backend()], domains=DOMAINS, status=STATUS)
    with daemon.client() as client:
        for target in ("/upstream/health/", "/upstream/health"):
            answer = client.request("GET", target, host="mine.s3.lab")
            assert (answer.status, answer.header("X-Backend") is None) == (200, False), target
        page = client.request("GET", "/upstream/health/", host="s3.lab")
        assert page.status == 200 and b"Upstream test" in page.body.data


@pytest.mark.parametrize("domains, status", [(DOMAINS, 200), ([], 502)], ids=["domains", "none"])
def test_an_object_without_an_answer_is_sent_again(make_backend, start, domains, status):
    """`retry.unanswered_writes` is for objects; PUT /key of a bucket's host is one."""
    nodes = [make_backend(die), make_backend()]
    site = make_site(
        nodes,
        balance={"method": "round_robin"},
        retry={"unanswered_writes": True},
        domains=domains,
        health="off",
    )
    daemon = start(make_config([site]))
    with daemon.client() as client:
        answers = [client.request("PUT", "/key", body=b"x", host="mine.s3.lab") for _ in range(2)]
    assert {answer.status for answer in answers} == {200, status}
