"""The drill: a gateway dies in the middle of a multipart upload, and the client, which does not
retry, does not notice.

Otherwise only scripted backends would prove "a node is lost". The upload's gateway is read from
s3gate's access log and killed with SIGKILL between two parts; the upload must complete on the
others.
"""

import hashlib
import itertools
import time
import uuid

import pytest

pytest.importorskip("boto3")

import rgw  # noqa: E402
from support.s3 import s3_client  # noqa: E402

MIB = 1024 * 1024


def gateways_of(lines):
    """The gateway of each request: the last of the addresses it tried."""
    return [line["upstreamaddr"].split(", ")[-1] for line in lines]


def test_upload_survives_its_gateway(cluster, gate):
    s3 = s3_client(gate.address, rgw.ACCESS_KEY, rgw.SECRET_KEY)
    bucket = f"drill-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=bucket)
    parts = [hashlib.sha512(bytes([number])).digest() * (8 * MIB // 64) for number in range(8)]
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key="object")["UploadId"]

    def is_part(entry):
        return entry["op"] == "UploadPart" and entry["session"] == upload_id

    etags = []

    def upload(number):
        answer = s3.upload_part(
            Bucket=bucket,
            Key="object",
            UploadId=upload_id,
            PartNumber=number,
            Body=parts[number - 1],
        )
        etags.append({"PartNumber": number, "ETag": answer["ETag"]})

    upload(1)
    upload(2)
    first = gateways_of(gate.wait_entries(is_part, 2))
    assert len(set(first)) == 1, "parts of one upload went to several gateways"
    victim = first[0]
    cluster.kill_gateway(cluster.addresses.index(victim))
    try:
        for number in range(3, 9):
            upload(number)
        s3.complete_multipart_upload(
            Bucket=bucket, Key="object", UploadId=upload_id, MultipartUpload={"Parts": etags}
        )
        stored = s3.get_object(Bucket=bucket, Key="object")
        data = stored["Body"].read()
    finally:
        cluster.revive()
    later = gateways_of(gate.wait_entries(is_part, 8)[2:])
    assert victim not in later
    assert len(set(later)) == 1, "without its gateway the upload has one new home, not many"
    assert [line["status"] for line in gate.wait_entries(is_part, 8)] == [200] * 8
    assert hashlib.sha256(data).hexdigest() == hashlib.sha256(b"".join(parts)).hexdigest()
    digests = b"".join(hashlib.md5(part).digest() for part in parts)
    assert stored["ETag"].strip('"') == f"{hashlib.md5(digests).hexdigest()}-8"


def test_key_comes_home_when_its_gateway_is_back(cluster, gate):
    """The ring does not change with health: the upload's own gateway serves it again after its
    return."""
    s3 = s3_client(gate.address, rgw.ACCESS_KEY, rgw.SECRET_KEY)
    bucket = f"home-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=bucket)
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key="object")["UploadId"]

    def part_gateway(number):
        s3.upload_part(
            Bucket=bucket, Key="object", UploadId=upload_id, PartNumber=number, Body=b"x"
        )
        lines = gate.wait_entries(
            lambda entry: entry["op"] == "UploadPart"
            and f"partNumber={number}&" in entry["request"] + "&"
            and entry["session"] == upload_id,
            1,
        )
        return gateways_of(lines)[0]

    home = part_gateway(1)
    cluster.kill_gateway(cluster.addresses.index(home))
    try:
        assert part_gateway(2) != home
    finally:
        cluster.revive()
    # Part numbers distinguish the log lines.
    deadline = (
        time.monotonic() + 120
    )  # a busy machine starts it slowly, and each late check counts again
    numbers = itertools.count(3)
    while part_gateway(next(numbers)) != home:
        assert time.monotonic() < deadline, "the gateway is back, its key is not"
    s3.abort_multipart_upload(Bucket=bucket, Key="object", UploadId=upload_id)
