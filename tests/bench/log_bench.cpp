// Cost of a line of the access log.
#include <benchmark/benchmark.h>

#include <chrono>
#include <string>

#include "s3gate/observe/access_log.hpp"
#include "s3gate/s3/operation.hpp"

namespace s3gate::observe {
namespace {

RequestRecord typical_record(std::string_view target) {
    RequestRecord record;
    record.site = "cluster01-minio";
    record.local_ip = "192.0.2.1";
    record.client_ip = "192.0.2.17";
    record.peer_ip = "192.0.2.17";
    record.method = "GET";
    record.target = target;
    record.host = "s3.example.test:9000";
    record.user_agent = "MinIO (linux; amd64) minio-go/v7.0.63";
    record.status = 200;
    record.bytes_out = 1024;
    record.ttfb_ms = 1;
    record.begin_attempt("minio3.example.test:9000", "192.0.2.33:9000");
    record.attempt().milliseconds = record.attempt().header_ms = 1;
    record.attempt().connect_ms = 0;
    record.attempt().status = 200;
    record.group = "cluster01-minio";
    record.key_source = "uploadid";
    record.session = "OGIwMmM4ZTUtZTY0Zi009e3779b1";
    record.request_id = "966D0FD9274F4C7C";
    record.backend_request_id = "17F3C1B0A1B2C3D4";
    return record;
}

void line(benchmark::State& state, std::string_view target) {
    AccessLine formatter("proxy-01");
    const RequestRecord record = typical_record(target);
    const auto now = std::chrono::system_clock::now();
    std::string out;
    for (auto _ : state) {
        out.clear();
        formatter.append(out, record, now);
        benchmark::DoNotOptimize(out.data());
    }
}
BENCHMARK_CAPTURE(line, plain, "/bucket17/dir/0a3f/obj-1k?sessionid=f3954ee2ea99e8f5");
BENCHMARK_CAPTURE(line, escaped_key, "/bucket17/a%20dir/%C3%A4/obj%2B1k?partNumber=17&uploadId=x");
BENCHMARK_CAPTURE(
    line, presigned,
    "/bucket17/obj?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2F20261120"
    "%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20261120T100000Z&X-Amz-Expires=600&"
    "X-Amz-SignedHeaders=host&X-Amz-Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f");

void operation(benchmark::State& state, std::string_view target) {
    for (auto _ : state) {
        benchmark::DoNotOptimize(
            s3gate::s3::operation_of("GET", s3gate::s3::path_of(target), false));
    }
}
BENCHMARK_CAPTURE(operation, list, "/bucket?list-type=2&prefix=a%2Fb&delimiter=%2F&max-keys=1000");
BENCHMARK_CAPTURE(operation, object, "/bucket/dir/key?versionId=8f4f3b");

}  // namespace
}  // namespace s3gate::observe
