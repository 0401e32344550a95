"""Steps of S3 clients that run on either side of s3gate.

A step takes a side, works in that side's bucket, and returns plain values. Bucket names have the
same length and are made equal before a comparison. Only fields that differ between any two requests
are left out: the rest must be the same direct and through s3gate.
"""

import dataclasses
import gzip
import hashlib
import io
import re
import time
import uuid

import boto3.s3.transfer
import botocore.exceptions

from sigv4 import Signer, escape_path, request_head
from support.client import RawClient, exchange
from support.message import Message
from support.s3 import s3_client

MIB = 1024 * 1024

# Fields whose value depends on the request, the connection or the node, not on the answer.
VOLATILE = {
    "date",
    "x-amz-request-id",
    "x-amz-id-2",
    "connection",
    "keep-alive",
    "last-modified",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
}
# The same for results of an SDK; a continuation token names a listing, in MinIO by a random id.
VOLATILE_KEYS = {
    "RequestId",
    "HostId",
    "RetryAttempts",
    "LastModified",
    "UploadId",
    "Initiated",
    "ContinuationToken",
    "NextContinuationToken",
}

ODD_KEYS = [
    "with space",
    " leading and trailing ",
    "plus+plus",
    "percent%41%2f%",
    "tilde~tilde",
    "double//slash///",
    "dots/../up/./here",
    "naïve-ключ-键-🔑",
    "a&b=c?d#e",
    "quotes\"'<>`{}|\\^[]",
    "semi;colon:comma,at@dollar$excl!star*(paren)",
    "k" * 1024,
    "ü" * 512,
    "trailing/",
    "uploadId=fake&sessionid=fake",
]


@dataclasses.dataclass
class Side:
    """One of the two ways to the cluster: the endpoint, an SDK client without retries, and a
    bucket."""

    name: str
    address: str
    access_key: str
    secret_key: str
    region: str = "default"
    bucket: str = ""
    s3: object = None

    def __post_init__(self):
        self.signer = Signer(self.access_key, self.secret_key, self.region)
        self.s3 = self.client()
        self.bucket = f"{self.name}-{uuid.uuid4().hex[:12]}"
        self.s3.create_bucket(Bucket=self.bucket)

    def client(self, secret=None, **options):
        secret = secret or self.secret_key
        return s3_client(self.address, self.access_key, secret, region=self.region, **options)

    def path(self, key):
        return f"/{self.bucket}/{escape_path(key)}"

    def raw(self, method, target, fields, body=b""):
        return exchange(self.address, request_head(method, target, fields) + body, method)

    def signed(self, method, key, body=b"", query=(), headers=None, target=None):
        fields = self.signer.headers(
            method, self.address, self.path(key), query, headers, hashlib.sha256(body).hexdigest()
        )
        if body or method in ("PUT", "POST"):
            fields["Content-Length"] = str(len(body))
        return self.raw(method, target or self.path(key), fields, body)


def plain(value, side):
    """Plain, comparable form of an SDK answer or a raw response."""
    if isinstance(value, bytes):
        if len(value) > 4096:
            return (len(value), hashlib.sha256(value).hexdigest())
        return plain(value.decode("latin-1"), side)
    if isinstance(value, str):
        value = value.replace(side.bucket, "BUCKET").replace(side.address, "ENDPOINT")
        value = re.sub(r"2(~|%7E)[A-Za-z0-9_-]{20,}", "UPLOADID", value)
        value = re.sub(
            r"<(RequestId|HostId|LastModified|UploadId|Initiated)>[^<]*</", r"<\1>X</", value
        )
        return value
    if isinstance(value, dict):
        return {
            key: plain(item, side)
            for key, item in value.items()
            if key not in VOLATILE_KEYS
            and not (isinstance(key, str) and key.lower() in VOLATILE)
        }
    if isinstance(value, (list, tuple)):
        return [plain(item, side) for item in value]
    if hasattr(value, "read"):
        return plain(value.read(), side)
    if isinstance(value, Message):
        is_long = value.body.length > 4096
        return {
            "start": value.start,
            "interim": [interim.status for interim in value.interim],
            "headers": [
                (name, plain(text, side))
                for name, text in value.fields
                if name.decode("latin-1").lower() not in VOLATILE
            ],
            "body": value.body.sha256 if is_long else plain(value.data, side),
        }
    return value


def outcome(call, *arguments, **options):
    """The result of an SDK call, or its error, as a value."""
    try:
        return call(*arguments, **options)
    except botocore.exceptions.ClientError as error:
        return {"raised": error.response}
    except botocore.exceptions.BotoCoreError as error:
        return {"raised": type(error).__name__}


def pattern(size, seed=1):
    block = hashlib.sha512(str(seed).encode()).digest() * 1024
    return (block * (size // len(block) + 1))[:size]


# --- steps: each takes a side and returns what it saw
# -----------------------------------------------------------------------------


def sizes(side):
    seen = []
    for size in (0, 1, 1023, 65536, 262144, 262145, 5 * MIB):
        body = pattern(size)
        seen.append(side.s3.put_object(Bucket=side.bucket, Key=f"size-{size}", Body=body))
        got = side.s3.get_object(Bucket=side.bucket, Key=f"size-{size}")
        data = got.pop("Body").read()
        assert data == body
        seen += [got, outcome(side.s3.head_object, Bucket=side.bucket, Key=f"size-{size}")]
    return seen


def file_uploads(side):
    """File-like bodies make the SDK send Expect: 100-continue; without a 100 it waits 1 s."""
    seen = []
    for number, size in enumerate((0, 5, 6, 0, 300000)):
        begun = time.monotonic()
        body = io.BytesIO(pattern(size))
        seen.append(side.s3.put_object(Bucket=side.bucket, Key=f"file-{number}", Body=body))
        seen.append("at once" if time.monotonic() - begun < 0.95 else "after a wait")
    return seen


def ranges(side):
    side.s3.put_object(Bucket=side.bucket, Key="ranged", Body=pattern(100000))
    wanted = (
        "bytes=0-0",
        "bytes=0-",
        "bytes=10-19",
        "bytes=99990-200000",
        "bytes=-1",
        "bytes=-100",
        "bytes=100000-",
        "bytes=5-1",
        "bytes=0-1,4-5",
        "lines=1-2",
    )
    return [
        outcome(side.s3.get_object, Bucket=side.bucket, Key="ranged", Range=one) for one in wanted
    ]


def odd_keys(side):
    seen = []
    for number, key in enumerate(ODD_KEYS):
        body = f"object {number}".encode()
        seen.append(outcome(side.s3.put_object, Bucket=side.bucket, Key=key, Body=body))
        seen.append(outcome(side.s3.head_object, Bucket=side.bucket, Key=key))
        seen.append(outcome(side.s3.get_object, Bucket=side.bucket, Key=key))
        seen.append(
            outcome(
                side.s3.copy_object,
                Bucket=side.bucket,
                Key=f"copies/{number}",
                CopySource={"Bucket": side.bucket, "Key": key},
            )
        )
    seen.append(side.s3.list_objects_v2(Bucket=side.bucket))
    seen.append(side.s3.list_objects_v2(Bucket=side.bucket, EncodingType="url"))
    for key in ODD_KEYS:
        seen.append(outcome(side.s3.delete_object, Bucket=side.bucket, Key=key))
    return seen


def raw_keys(side):
    """The same keys without an SDK's escaping: the target is sent as written."""
    seen = []
    for number, key in enumerate(ODD_KEYS):
        seen.append(
            side.signed(
                "PUT", "raw/" + key[:1020] if key.isascii() else key, body=f"raw {number}".encode()
            )
        )
        seen.append(side.signed("GET", "raw/" + key[:1020] if key.isascii() else key))
    return seen


def multipart_sizes(side):
    seen = []
    body = pattern(64 * MIB, seed=64)
    for part_mib, concurrency in ((5, 1), (8, 4), (16, 8)):
        config = boto3.s3.transfer.TransferConfig(
            multipart_threshold=MIB,
            multipart_chunksize=part_mib * MIB,
            max_concurrency=concurrency,
            use_threads=concurrency > 1,
        )
        key = f"big-{part_mib}-{concurrency}"
        side.s3.upload_fileobj(io.BytesIO(body), side.bucket, key, Config=config)
        sink = io.BytesIO()
        side.s3.download_fileobj(side.bucket, key, sink, Config=config)
        assert sink.getvalue() == body
        seen.append(side.s3.head_object(Bucket=side.bucket, Key=key))
        side.s3.delete_object(Bucket=side.bucket, Key=key)
    return seen


def multipart_calls(side):
    seen = []
    names = {"Bucket": side.bucket, "Key": "parts/of it"}
    begun = side.s3.create_multipart_upload(**names, Metadata={"why": "test"})
    seen.append(side.s3.list_multipart_uploads(Bucket=side.bucket))
    upload = {**names, "UploadId": begun["UploadId"]}
    etags = []
    for number, size in ((1, 5 * MIB), (2, 5 * MIB), (3, 17)):
        part = side.s3.upload_part(**upload, PartNumber=number, Body=pattern(size, seed=number))
        etags.append({"PartNumber": number, "ETag": part["ETag"]})
        seen.append(part)
    seen.append(side.s3.list_parts(**upload))
    seen.append(
        outcome(
            side.s3.complete_multipart_upload,
            **upload,
            MultipartUpload={"Parts": list(reversed(etags))},
        )
    )
    seen.append(side.s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": etags}))
    seen.append(side.s3.head_object(**names))
    dropped = side.s3.create_multipart_upload(Bucket=side.bucket, Key="dropped")
    upload = {"Bucket": side.bucket, "Key": "dropped", "UploadId": dropped["UploadId"]}
    side.s3.upload_part(**upload, PartNumber=1, Body=b"x")
    seen.append(side.s3.abort_multipart_upload(**upload))
    seen.append(side.s3.list_multipart_uploads(Bucket=side.bucket))
    return seen


def copies(side):
    side.s3.put_object(
        Bucket=side.bucket,
        Key="source",
        Body=pattern(70000),
        Metadata={"one": "1"},
        ContentType="text/x-one",
    )
    source = {"Bucket": side.bucket, "Key": "source"}
    return [
        side.s3.copy_object(Bucket=side.bucket, Key="copy-1", CopySource=source),
        side.s3.copy_object(
            Bucket=side.bucket,
            Key="copy-2",
            CopySource=source,
            MetadataDirective="REPLACE",
            Metadata={"two": "2"},
            ContentType="text/x-two",
        ),
        side.s3.head_object(Bucket=side.bucket, Key="copy-1"),
        side.s3.head_object(Bucket=side.bucket, Key="copy-2"),
        outcome(
            side.s3.copy_object,
            Bucket=side.bucket,
            Key="copy-3",
            CopySource={"Bucket": side.bucket, "Key": "no"},
        ),
    ]


def listings(side):
    for name in ("a/1", "a/2", "b/1", "b/c/1", "d", "e+f", "e f", "g%h", "ключ/1"):
        side.s3.put_object(Bucket=side.bucket, Key=f"list/{name}", Body=b"")
    seen = []
    for extra in (
        {},
        {"Delimiter": "/"},
        {"EncodingType": "url"},
        {"Delimiter": "/", "EncodingType": "url"},
        {"MaxKeys": 3},
        {"Delimiter": "1"},
    ):
        seen.append(side.s3.list_objects(Bucket=side.bucket, Prefix="list/", **extra))
        seen.append(side.s3.list_objects_v2(Bucket=side.bucket, Prefix="list/", **extra))
    for page in side.s3.get_paginator("list_objects_v2").paginate(
        Bucket=side.bucket, Prefix="list/", PaginationConfig={"PageSize": 2}
    ):
        seen.append(page)
    doomed = [{"Key": f"list/{name}"} for name in ("a/1", "e+f", "e f", "g%h", "ключ/1")]
    answer = side.s3.delete_objects(Bucket=side.bucket, Delete={"Objects": doomed})
    answer["Deleted"].sort(key=lambda item: item["Key"])  # the server processes them in parallel
    seen.append(answer)
    return seen


def metadata(side):
    """Many proxies drop names with '_' and '.'; the value is raw UTF-8."""
    seen = [
        outcome(
            side.s3.put_object,
            Bucket=side.bucket,
            Key="meta",
            Body=b"m",
            Metadata={
                "original_file_name": "a b.txt",
                "dot.name": "x",
                "spaces": "a  b   c",
                "plain": "v",
            },
            CacheControl="no-transform, max-age=5",
            ContentDisposition='attachment; filename="x y.txt"',
            ContentLanguage="de, en",
        )
    ]
    seen.append(side.s3.head_object(Bucket=side.bucket, Key="meta"))
    fields = {"x-amz-meta-utf8": "grün ключ 键", "X-Amz-Meta-Mixed-Case": "Value"}
    seen.append(side.signed("PUT", "meta-utf8", body=b"u", headers=fields))
    seen.append(side.signed("HEAD", "meta-utf8"))
    return seen


def stored_encodings(side):
    packed = gzip.compress(pattern(5000), mtime=0)
    side.s3.put_object(
        Bucket=side.bucket,
        Key="packed",
        Body=packed,
        ContentEncoding="gzip",
        ContentType="text/plain",
    )
    side.s3.put_object(
        Bucket=side.bucket, Key="text", Body="grün\n".encode() * 1000, ContentType="text/plain"
    )
    side.s3.put_object(
        Bucket=side.bucket, Key="xml", Body=b"<x/>" * 1000, ContentType="application/xml"
    )
    seen = []
    for key in ("packed", "text", "xml"):
        for fields in (
            {},
            {"Accept-Encoding": "gzip"},
            {"Accept-Encoding": "identity"},
            {"Accept-Encoding": "gzip, br;q=0.5"},
        ):
            seen.append(side.signed("GET", key, headers=fields))
    return seen


def conditional(side):
    etag = side.s3.put_object(Bucket=side.bucket, Key="cond", Body=b"conditional")["ETag"]
    when = side.s3.head_object(Bucket=side.bucket, Key="cond")["LastModified"]
    ask = {"Bucket": side.bucket, "Key": "cond"}
    return [
        outcome(side.s3.get_object, **ask, IfMatch=etag),
        outcome(side.s3.get_object, **ask, IfMatch='"no"'),
        outcome(side.s3.get_object, **ask, IfNoneMatch=etag),
        outcome(side.s3.get_object, **ask, IfNoneMatch='"no"'),
        outcome(side.s3.get_object, **ask, IfModifiedSince=when),
        outcome(side.s3.get_object, **ask, IfUnmodifiedSince=when),
        outcome(side.s3.head_object, **ask, IfNoneMatch=etag),
    ]


def errors(side):
    wrong = side.client(secret="not-the-secret")
    return [
        outcome(side.s3.get_object, Bucket=side.bucket, Key="absent"),
        outcome(side.s3.head_object, Bucket=side.bucket, Key="absent"),
        outcome(side.s3.list_objects_v2, Bucket="no-such-bucket-anywhere"),
        outcome(wrong.get_object, Bucket=side.bucket, Key="absent"),
        outcome(wrong.put_object, Bucket=side.bucket, Key="x", Body=io.BytesIO(b"data")),
        outcome(
            side.s3.upload_part,
            Bucket=side.bucket,
            Key="x",
            UploadId="2~none",
            PartNumber=1,
            Body=b"x",
        ),
        outcome(side.s3.delete_bucket, Bucket=side.bucket),
        outcome(side.s3.get_bucket_policy, Bucket=side.bucket),
    ]


def bucket_calls(side):
    s3, bucket = side.s3, side.bucket
    s3.put_object(Bucket=bucket, Key="tagged", Body=b"t", Tagging="a=1&b=2")
    return [
        s3.head_bucket(Bucket=bucket),
        s3.get_bucket_location(Bucket=bucket),
        s3.get_object_tagging(Bucket=bucket, Key="tagged"),
        outcome(
            s3.put_bucket_versioning, Bucket=bucket, VersioningConfiguration={"Status": "Suspended"}
        ),
        s3.get_bucket_versioning(Bucket=bucket),
        outcome(
            s3.put_bucket_cors,
            Bucket=bucket,
            CORSConfiguration={
                "CORSRules": [
                    {"AllowedMethods": ["GET"], "AllowedOrigins": ["http://example.test"]}
                ]
            },
        ),
        outcome(s3.get_bucket_cors, Bucket=bucket),
        side.raw(
            "OPTIONS",
            side.path("tagged"),
            {
                "Host": side.address,
                "Origin": "http://example.test",
                "Access-Control-Request-Method": "GET",
            },
        ),
        s3.get_object_acl(Bucket=bucket, Key="tagged")["Grants"],
    ]


def presigned(side):
    body = pattern(20000, seed=3)
    seen = []
    for key in ("presigned", "pre signed/+~%/ключ", "pre//signed"):
        put = side.signer.presigned_target("PUT", side.address, side.path(key))
        seen.append(
            side.raw("PUT", put, {"Host": side.address, "Content-Length": str(len(body))}, body)
        )
        get = side.signer.presigned_target("GET", side.address, side.path(key))
        seen.append(side.raw("GET", get, {"Host": side.address}))
        # The client's own sessionid is signed too.
        get = side.signer.presigned_target(
            "GET", side.address, side.path(key), query=[("sessionid", "abc def")]
        )
        seen.append(side.raw("GET", get, {"Host": side.address, "Range": "bytes=0-9"}))
        seen.append(side.raw("GET", get + "&sessionid=added", {"Host": side.address}))
        url = side.s3.generate_presigned_url(
            "get_object", Params={"Bucket": side.bucket, "Key": key}
        )
        seen.append(side.raw("GET", url.split(side.address, 1)[1], {"Host": side.address}))
    return seen


def expect_good_signature(side):
    body = pattern(100000, seed=4)
    fields = side.signer.headers(
        "PUT", side.address, side.path("expected"), payload_hash=hashlib.sha256(body).hexdigest()
    )
    fields |= {"Content-Length": str(len(body)), "Expect": "100-continue"}
    with RawClient(side.address) as client:
        client.send(request_head("PUT", side.path("expected"), fields))
        interim = client.read_head()
        client.send(body)
        return [interim.status, interim.fields, client.read_response("PUT")]


def expect_bad_signature(side):
    """The refusal must come without a 100: after a 100 the client would send its body in vain."""
    fields = side.signer.headers(
        "PUT",
        side.address,
        side.path("refused"),
        payload_hash=hashlib.sha256(b"x" * 1000).hexdigest(),
    )
    fields["Authorization"] = fields["Authorization"][:-4] + "0000"
    fields |= {"Content-Length": "1000", "Expect": "100-continue"}
    with RawClient(side.address) as client:
        client.send(request_head("PUT", side.path("refused"), fields))
        answer = client.read_response("PUT")
    assert (answer.status, answer.interim) == (
        403,
        [],
    ), f"{side.name}: {answer.interim} then {answer.status}"
    return answer


def expect_signed(side):
    """Expect is among the signed fields: it must reach the server unchanged."""
    body = b"signed expectation"
    fields = side.signer.headers(
        "PUT",
        side.address,
        side.path("expect-signed"),
        headers={"Expect": "100-continue"},
        payload_hash=hashlib.sha256(body).hexdigest(),
    )
    fields["Content-Length"] = str(len(body))
    with RawClient(side.address) as client:
        client.send(request_head("PUT", side.path("expect-signed"), fields))
        interim = client.read_head()
        client.send(body)
        return [interim.status, interim.fields, client.read_response("PUT")]


def expect_not_awaited(side):
    """A client that announces Expect and sends the body at once (RFC 9110 §10.1.1 allows it)."""
    body = pattern(3000, seed=5)
    answer = side.signed("PUT", "eager", body=body, headers={"Expect": "100-continue"})
    return [answer.status, answer.reason, side.signed("GET", "eager")]


def aws_chunked(side):
    seen = []
    for number, chunks in enumerate(
        ([pattern(65536, 6), pattern(65536, 7), b"rest"], [b"one byte short of nothing"], [])
    ):
        key = f"chunked-{number}"
        fields, body = side.signer.aws_chunked("PUT", side.address, side.path(key), chunks)
        seen.append(side.raw("PUT", side.path(key), fields, body))
        seen.append(side.signed("GET", key))
        if chunks:
            assert seen[-1].data == b"".join(chunks)
    fields, body = side.signer.aws_chunked(
        "PUT", side.address, side.path("forged"), [pattern(65536, 8)]
    )
    seen.append(
        side.raw(
            "PUT", side.path("forged"), fields, body.replace(body[200:204], b"\0\0\0\0", 1)
        ).status
    )
    return seen


def kept_alive(side):
    """Many requests on one connection, with and without bodies in both directions."""
    seen = []
    with RawClient(side.address) as client:
        for method, key, body in (
            ("PUT", "k1", b"1" * 10),
            ("GET", "k1", b""),
            ("HEAD", "k1", b""),
            ("GET", "absent", b""),
            ("PUT", "k2", pattern(300000)),
            ("GET", "k2", b""),
            ("DELETE", "k1", b""),
            ("GET", "k1", b""),
        ):
            fields = side.signer.headers(
                method, side.address, side.path(key), payload_hash=hashlib.sha256(body).hexdigest()
            )
            if method == "PUT":
                fields["Content-Length"] = str(len(body))
            client.send(request_head(method, side.path(key), fields) + body)
            seen.append(client.read_response(method))
    return seen


def escaped_tilde(side):
    """Some clients write the uploadId's tilde as %7E; server and routing must treat both alike."""
    upload_id = side.s3.create_multipart_upload(Bucket=side.bucket, Key="tilde")["UploadId"]
    assert "~" in upload_id
    query = [("partNumber", "1"), ("uploadId", upload_id)]
    target = side.path("tilde") + f"?partNumber=1&uploadId={upload_id.replace('~', '%7E')}"
    seen = [side.signed("PUT", "tilde", body=b"part one", query=query, target=target)]
    side.s3.abort_multipart_upload(Bucket=side.bucket, Key="tilde", UploadId=upload_id)
    return seen


STEPS = [
    sizes,
    file_uploads,
    ranges,
    odd_keys,
    raw_keys,
    multipart_sizes,
    multipart_calls,
    copies,
    listings,
    metadata,
    stored_encodings,
    conditional,
    errors,
    bucket_calls,
    presigned,
    expect_good_signature,
    expect_bad_signature,
    expect_signed,
    expect_not_awaited,
    aws_chunked,
    kept_alive,
]
