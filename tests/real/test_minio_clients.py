"""Clients of a real MinIO cluster, direct and through s3gate: the results must be identical, and
MinIO's own client must not notice the proxy.
"""

import json
import os
import subprocess
import uuid

import pytest

pytest.importorskip("boto3")

import minio_nodes  # noqa: E402
import s3_steps  # noqa: E402
from s3_steps import MIB, Side, pattern, plain  # noqa: E402
from support_real import ADDRESSES, S3gate  # noqa: E402


# Steps that cannot be compared with MinIO. boto3 loses count of the responses after an empty upload
# with Expect, to which MinIO never sends 100. And a node lists the multipart uploads that began at
# it, even if another node completed them.
NOT_COMPARED = (s3_steps.file_uploads, s3_steps.multipart_calls)
STEPS = [step for step in s3_steps.STEPS if step not in NOT_COMPARED]


@pytest.fixture(scope="module")
def sides(minio_cluster, minio_gate):
    keys = (minio_nodes.ACCESS_KEY, minio_nodes.SECRET_KEY, minio_nodes.REGION)
    return (
        Side("direct", minio_cluster.addresses[0], *keys),
        Side("s3gate", minio_gate.address, *keys),
    )


@pytest.fixture(scope="module")
def minio_gate(minio_cluster):
    with S3gate([minio_nodes.site(minio_cluster, f"{ADDRESSES.take()}:9000")]) as daemon:
        yield daemon


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_same_result_direct_and_through_s3gate(step, sides):
    results = [plain(step(side), side) for side in sides]
    assert results[0] == results[1]


def test_multipart_upload_over_all_nodes(sides, minio_gate):
    """The upload begins at the node of the client's fingerprint; its parts go to that of the
    uploadId, and any node completes it."""
    side = sides[1]
    names = {"Bucket": side.bucket, "Key": "parts"}
    upload = {**names, "UploadId": side.s3.create_multipart_upload(**names)["UploadId"]}
    bodies = [pattern(5 * MIB, seed=1), pattern(5 * MIB, seed=2), b"last"]
    etags = []
    for number, body in enumerate(bodies, 1):
        part = side.s3.upload_part(**upload, PartNumber=number, Body=body)
        etags.append({"PartNumber": number, "ETag": part["ETag"]})
    listed = side.s3.list_parts(**upload)["Parts"]
    assert [part["Size"] for part in listed] == [len(body) for body in bodies]
    side.s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": etags})
    assert side.s3.get_object(**names)["Body"].read() == b"".join(bodies)
    lines = minio_gate.wait_entries(
        lambda entry: entry["op"] == "UploadPart" and entry["session"] == upload["UploadId"], 3
    )
    assert len({line["upstreamaddr"] for line in lines}) == 1


@pytest.fixture
def mc(minio_gate, tmp_path):
    """MinIO's client, without retries, set up for the gate as `gate`."""
    program = os.environ.get("MINIO_MC", "")
    if not program:
        pytest.skip("MINIO_MC does not name MinIO's client")

    def run(*words):
        done = subprocess.run(
            [program, "--config-dir", str(tmp_path / "mc"), "--json", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
            check=False,
            env={
                "PATH": os.environ.get("PATH", ""),
                "HOME": str(tmp_path),
                "MC_UPDATE": "off",
            },
        )
        assert done.returncode == 0, f"mc {words}: {done.stdout[-800:]} {done.stderr[-800:]}"
        return done.stdout

    run("alias", "set", "gate", minio_gate.url, minio_nodes.ACCESS_KEY, minio_nodes.SECRET_KEY)
    return run


def test_mc_mirrors_a_tree(mc, tmp_path):
    """Small files, one that is uploaded in parts, and an empty one return unchanged."""
    tree, back = tmp_path / "tree", tmp_path / "back"
    files = {
        "empty": b"",
        "with space/ü+%41": b"x",
        "small": pattern(70000),
        "big": pattern(40 * MIB),
    }
    for name, data in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    bucket = f"gate/mc-{uuid.uuid4().hex[:12]}"
    mc("mb", bucket)
    mc("mirror", str(tree), bucket)
    mc("mirror", bucket, str(back))
    for name, data in files.items():
        assert (back / name).read_bytes() == data
    listed = [json.loads(line)["key"] for line in mc("ls", "--recursive", bucket).splitlines()]
    assert sorted(listed) == sorted(files)
    mc("rb", "--force", bucket)


def test_mc_admin_through_the_gate(mc):
    """The admin API is signed like S3 and answers JSON: it names all nodes as online."""
    info = json.loads(mc("admin", "info", "gate"))
    states = [server["state"] for server in info["info"]["servers"]]
    assert states == ["online"] * minio_nodes.NODES


def test_clients_left_no_failed_request(minio_gate):
    """Runs after the tests above: none of their requests met a fault of the proxy."""
    faults = [entry for entry in minio_gate.entries() if entry["error"] not in ("-", "")]
    assert not faults, faults[:5]
