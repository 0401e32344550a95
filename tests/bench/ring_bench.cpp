// What choosing a backend costs a request: the key, and the ring's answer to it.
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "s3gate/policy/affinity_key.hpp"
#include "s3gate/policy/balance.hpp"
#include "s3gate/policy/ketama_ring.hpp"

namespace s3gate::policy {
namespace {

std::vector<std::string> server_texts(std::int64_t count) {
    std::vector<std::string> out;
    for (std::int64_t i = 1; i <= count; ++i) {
        out.push_back("cluster01-" + std::to_string(i) + ".example.net:9000");
    }
    return out;
}

std::vector<RingServer> ring_servers(const std::vector<std::string>& texts) {
    std::vector<RingServer> out;
    for (const std::string& text : texts) {
        out.push_back({text, 1});
    }
    return out;
}

// Many keys, so that neither the branch predictor nor the cache learns the one path.
std::vector<std::string> keys() {
    std::vector<std::string> out;
    for (int i = 0; i < 4096; ++i) {
        out.push_back("2~sessionid-" + std::to_string(i * 7919));
    }
    return out;
}

KeyInput typical_input(std::string_view query) {
    KeyInput input;
    input.query = query;
    input.client_ip = "192.0.2.17";
    input.user_agent = "aws-sdk-java/2.20.26 Linux/5.10 OpenJDK_64-Bit_Server_VM/17.0.6";
    input.salt = "0123456789abcdef";
    return input;
}

void ring_build(benchmark::State& state) {
    const auto texts = server_texts(state.range(0));
    const auto servers = ring_servers(texts);
    for (auto _ : state) {
        benchmark::DoNotOptimize(KetamaRing(servers));
    }
}
BENCHMARK(ring_build)->Arg(6)->Arg(64);

void ring_lookup(benchmark::State& state) {
    const auto texts = server_texts(state.range(0));
    const KetamaRing ring(ring_servers(texts));
    const auto all = keys();
    std::size_t i = 0;
    for (auto _ : state) {
        RingWalk walk = start_walk(ring, all[i++ % all.size()]);
        benchmark::DoNotOptimize(walk_to_usable(ring, walk, [](std::uint32_t) { return true; }));
    }
}
BENCHMARK(ring_lookup)->Arg(6)->Arg(64)->Arg(1000);

void ring_walk_past_half(benchmark::State& state) {
    const auto texts = server_texts(state.range(0));
    const KetamaRing ring(ring_servers(texts));
    const auto all = keys();
    std::size_t i = 0;
    for (auto _ : state) {
        RingWalk walk = start_walk(ring, all[i++ % all.size()]);
        benchmark::DoNotOptimize(
            walk_to_usable(ring, walk, [](std::uint32_t server) { return server % 2 == 0; }));
    }
}
BENCHMARK(ring_walk_past_half)->Arg(6);

void key_from_argument(benchmark::State& state, std::string_view query) {
    const std::vector<config::KeySource> sources = config::Balance{}.key;
    const KeyInput input = typical_input(query);
    for (auto _ : state) {
        benchmark::DoNotOptimize(affinity_key_of(sources, input));
    }
}
BENCHMARK_CAPTURE(key_from_argument, sessionid, "sessionid=f3954ee2ea99e8f527e429b3ae1013e5");
BENCHMARK_CAPTURE(key_from_argument, uploadid_behind_others,
                  "partNumber=17&x-id=UploadPart&uploadId=ZjFkMzk1NGVlMmVhOTllOGY1MjdlNDI5YjNhZTE");
BENCHMARK_CAPTURE(key_from_argument, fingerprint, "list-type=2&prefix=a%2Fb&max-keys=1000");

void fingerprint_only(benchmark::State& state) {
    const KeyInput input = typical_input("");
    for (auto _ : state) {
        benchmark::DoNotOptimize(fingerprint(input));
    }
}
BENCHMARK(fingerprint_only);

void least_conn(benchmark::State& state) {
    std::vector<Candidate> candidates;
    for (std::uint32_t i = 0; i < state.range(0); ++i) {
        candidates.push_back({i, 1, i % 3});
    }
    std::vector<SmoothWeight> weights(candidates.size());
    std::uint64_t random = 1;
    for (auto _ : state) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        benchmark::DoNotOptimize(pick_least_conn(candidates, weights, random));
    }
}
BENCHMARK(least_conn)->Arg(6)->Arg(16)->Arg(64);

}  // namespace
}  // namespace s3gate::policy
