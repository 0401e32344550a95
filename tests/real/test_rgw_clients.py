"""The same steps against a real cluster, direct and through s3gate: the results must be identical.

Otherwise a change of signed parts (target, Host, a signed field, body framing), a dropped or added
response field, or an own 100 would go unnoticed until a user's SDK reports SignatureDoesNotMatch.
"""

import pytest

pytest.importorskip("boto3")

import rgw  # noqa: E402
from s3_steps import STEPS, Side, escaped_tilde, plain  # noqa: E402


@pytest.fixture(scope="module")
def sides(cluster, gate):
    keys = (rgw.ACCESS_KEY, rgw.SECRET_KEY)
    return Side("direct", cluster.addresses[0], *keys), Side("s3gate", gate.address, *keys)


@pytest.mark.parametrize("step", [*STEPS, escaped_tilde], ids=lambda step: step.__name__)
def test_same_result_direct_and_through_s3gate(step, sides):
    results = [plain(step(side), side) for side in sides]
    assert results[0] == results[1]


def test_parts_reach_one_gateway_whatever_the_escaping(sides, gate):
    """The uploadId is decoded only for the key, so 2~x and 2%7Ex are one key; the target is
    forwarded as sent."""
    side = sides[1]
    upload_id = side.s3.create_multipart_upload(Bucket=side.bucket, Key="spread")["UploadId"]
    for number in range(1, 9):
        written = upload_id.replace("~", "%7E") if number % 2 else upload_id
        answer = side.signed(
            "PUT",
            "spread",
            body=b"x",
            query=[("partNumber", str(number)), ("uploadId", upload_id)],
            target=side.path("spread") + f"?partNumber={number}&uploadId={written}",
        )
        assert answer.status == 200
    side.s3.abort_multipart_upload(Bucket=side.bucket, Key="spread", UploadId=upload_id)
    lines = gate.wait_entries(
        lambda entry: entry["op"] == "UploadPart" and "/spread" in entry["request"], 8
    )
    assert len({line["upstreamaddr"] for line in lines}) == 1
    assert {line["session"] for line in lines} == {upload_id}
    assert {line["key_source"] for line in lines} == {"uploadid"}
