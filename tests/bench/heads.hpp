// Messages of an S3 client and MinIO, for the benchmarks that parse heads.
#pragma once

#include <string_view>

namespace s3gate::bench {

inline constexpr std::string_view kRequest =
    "GET /bucket17/dir/0a3f/obj-1k?partNumber=17&uploadId=OGIwMmM4ZTUtZTY0Zi009e3779b1 HTTP/1.1\r\n"
    "Host: s3.example.test:9000\r\nUser-Agent: MinIO (linux; amd64) minio-go/v7.0.63\r\n"
    "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261120/us-east-1/s3/"
    "aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, "
    "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41\r\n"
    "X-Amz-Content-Sha256: UNSIGNED-PAYLOAD\r\nX-Amz-Date: 20261120T100000Z\r\n"
    "Accept-Encoding: identity\r\n\r\n";

inline constexpr std::string_view kResponse =
    "HTTP/1.1 200 OK\r\nAccept-Ranges: bytes\r\nContent-Length: 1024\r\n"
    "Content-Type: application/octet-stream\r\nETag: \"9b2cf535f27731c974343645a3985328\"\r\n"
    "Last-Modified: Fri, 13 Nov 2026 08:11:02 GMT\r\nServer: MinIO\r\n"
    "Strict-Transport-Security: max-age=31536000; includeSubDomains\r\nVary: Origin\r\n"
    "Vary: Accept-Encoding\r\n"
    "X-Amz-Id-2: dd9025bab4ad464b049177c95eb6ebf374d3b3fd1af9251148b658df7ac2e3e8\r\n"
    "X-Amz-Request-Id: 17F3C1B0A1B2C3D4\r\nX-Content-Type-Options: nosniff\r\n"
    "X-Xss-Protection: 1; mode=block\r\nDate: Fri, 20 Nov 2026 10:00:00 GMT\r\n\r\n";

}  // namespace s3gate::bench
