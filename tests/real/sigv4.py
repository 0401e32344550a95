"""AWS Signature Version 4 without an SDK: tests with raw bytes need signatures over exactly these
bytes.

Follows "Authenticating Requests (AWS Signature Version 4)" of the Amazon S3 API reference,
including its section on signature calculations for a payload in multiple chunks (aws-chunked).
"""

import dataclasses
import datetime
import hashlib
import hmac
import urllib.parse

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
STREAMING = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
UNSIGNED = "UNSIGNED-PAYLOAD"


def escape(text):
    """Percent-encodes all but the unreserved characters (RFC 3986 §2.3), the slash too."""
    return urllib.parse.quote(text, safe="-._~")


def escape_path(key):
    """An object key in the form of a request target: slashes stay, also doubled ones."""
    return urllib.parse.quote(key, safe="/-._~")


def _hmac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


@dataclasses.dataclass
class Signer:
    access_key: str
    secret_key: str
    region: str = "default"

    def _now(self):
        return datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")

    def _scope(self, stamp):
        return f"{stamp[:8]}/{self.region}/s3/aws4_request"

    def _key(self, stamp):
        key = _hmac(f"AWS4{self.secret_key}".encode(), stamp[:8])
        for part in (self.region, "s3", "aws4_request"):
            key = _hmac(key, part)
        return key

    def _signature(self, stamp, canonical):
        to_sign = "\n".join(
            [
                "AWS4-HMAC-SHA256",
                stamp,
                self._scope(stamp),
                hashlib.sha256(canonical.encode()).hexdigest(),
            ]
        )
        return hmac.new(self._key(stamp), to_sign.encode(), hashlib.sha256).hexdigest()

    @staticmethod
    def _canonical(method, path, query, headers, payload_hash):
        """`path` is already escaped; `query` holds (name, value) pairs; `headers` holds the signed
        fields."""
        fields = sorted(
            (name.lower(), " ".join(str(value).split())) for name, value in headers.items()
        )
        names = ";".join(name for name, _ in fields)
        pairs = sorted((escape(name), escape(value)) for name, value in query)
        text = "\n".join(
            [
                method,
                path,
                "&".join(f"{name}={value}" for name, value in pairs),
                "".join(f"{name}:{value}\n" for name, value in fields),
                names,
                payload_hash,
            ]
        )
        return text, names

    def headers(self, method, host, path, query=(), headers=None, payload_hash=EMPTY_SHA256):
        """The header fields to send, including Authorization; every given field is signed."""
        stamp = self._now()
        fields = {
            "Host": host,
            **(headers or {}),
            "x-amz-date": stamp,
            "x-amz-content-sha256": payload_hash,
        }
        canonical, names = self._canonical(method, path, query, fields, payload_hash)
        fields["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.access_key}/{self._scope(stamp)}, "
            f"SignedHeaders={names}, Signature={self._signature(stamp, canonical)}"
        )
        return fields

    def presigned_target(self, method, host, path, query=(), expires=600):
        """A request target with its signature; only Host is signed."""
        stamp = self._now()
        pairs = [
            *query,
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", f"{self.access_key}/{self._scope(stamp)}"),
            ("X-Amz-Date", stamp),
            ("X-Amz-Expires", str(expires)),
            ("X-Amz-SignedHeaders", "host"),
        ]
        canonical, _ = self._canonical(method, path, pairs, {"Host": host}, UNSIGNED)
        pairs.append(("X-Amz-Signature", self._signature(stamp, canonical)))
        return path + "?" + "&".join(f"{escape(name)}={escape(value)}" for name, value in pairs)

    def aws_chunked(self, method, host, path, chunks, headers=None):
        """Header fields and body of an upload in which every chunk carries a signature that covers
        the previous one."""
        encoded = 0
        for chunk in [*chunks, b""]:
            encoded += len(f"{len(chunk):x};chunk-signature=") + 64 + 2 + len(chunk) + 2
        fields = self.headers(
            method,
            host,
            path,
            headers={
                **(headers or {}),
                "Content-Encoding": "aws-chunked",
                "Content-Length": str(encoded),
                "x-amz-decoded-content-length": str(sum(map(len, chunks))),
            },
            payload_hash=STREAMING,
        )
        stamp = fields["x-amz-date"]
        previous = fields["Authorization"].rsplit("=", 1)[1]
        body = b""
        for chunk in [*chunks, b""]:
            to_sign = "\n".join(
                [
                    "AWS4-HMAC-SHA256-PAYLOAD",
                    stamp,
                    self._scope(stamp),
                    previous,
                    EMPTY_SHA256,
                    hashlib.sha256(chunk).hexdigest(),
                ]
            )
            previous = hmac.new(self._key(stamp), to_sign.encode(), hashlib.sha256).hexdigest()
            body += f"{len(chunk):x};chunk-signature={previous}\r\n".encode() + chunk + b"\r\n"
        return fields, body


def request_head(method, target, fields):
    """The bytes of a request head with these fields, in order."""
    lines = [
        f"{method} {target} HTTP/1.1",
        *(f"{name}: {value}" for name, value in fields.items()),
        "",
        "",
    ]
    return "\r\n".join(lines).encode("utf-8")
