// Cost of parsing and rewriting heads, per request.
#include <benchmark/benchmark.h>

#include <string>

#include "heads.hpp"
#include "s3gate/http/framing.hpp"
#include "s3gate/http/head.hpp"
#include "s3gate/http/header_rules.hpp"

namespace s3gate::http {
namespace {

void find_end(benchmark::State& state, HeadScanner::Kind kind, std::string_view head) {
    HeadScanner scanner(kind);
    for (auto _ : state) {
        scanner.reset();
        benchmark::DoNotOptimize(scanner.scan(head));
    }
}
BENCHMARK_CAPTURE(find_end, request, HeadScanner::Kind::request, bench::kRequest);
BENCHMARK_CAPTURE(find_end, response, HeadScanner::Kind::response, bench::kResponse);

void parse_request(benchmark::State& state) {
    RequestHead head;
    for (auto _ : state) {
        benchmark::DoNotOptimize(parse_request_head(bench::kRequest, head));
        benchmark::DoNotOptimize(meaning_of(head));
    }
}
BENCHMARK(parse_request);

void parse_response(benchmark::State& state) {
    ResponseHead head;
    for (auto _ : state) {
        benchmark::DoNotOptimize(parse_response_head(bench::kResponse, head));
        benchmark::DoNotOptimize(meaning_of(head, false));
    }
}
BENCHMARK(parse_response);

void rules_of_request(benchmark::State& state) {
    RequestHead head;
    benchmark::DoNotOptimize(parse_request_head(bench::kRequest, head));
    const RequestMeaning meaning = meaning_of(head);
    ForwardRules rules;
    rules.client_ip = "192.0.2.17";
    rules.source_ip = "192.0.2.17";
    rules.scheme = "http";
    Pieces pieces;
    std::string own;
    for (auto _ : state) {
        forward_request(head, meaning, rules, pieces, own);
        benchmark::DoNotOptimize(pieces.data());
    }
}
BENCHMARK(rules_of_request);

void rules_of_response(benchmark::State& state) {
    ResponseHead head;
    benchmark::DoNotOptimize(parse_response_head(bench::kResponse, head));
    ResponseRules rules;
    rules.session_name = "X-Session-ID";
    rules.session_value = "f3954ee2ea99e8f527e429b3ae1013e5";
    Pieces pieces;
    std::string own;
    for (auto _ : state) {
        forward_response(head, rules, pieces, own);
        benchmark::DoNotOptimize(pieces.data());
    }
}
BENCHMARK(rules_of_response);

}  // namespace
}  // namespace s3gate::http
