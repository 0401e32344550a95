// Cost of choosing a backend, per request: the key, and the selection by it.
#include <benchmark/benchmark.h>

#include <ranges>
#include <span>
#include <string>
#include <vector>

#include "s3gate/base/digest.hpp"
#include "s3gate/policy/affinity_key.hpp"
#include "s3gate/policy/balance.hpp"
#include "s3gate/policy/ketama_ring.hpp"
#include "s3gate/policy/selection.hpp"

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

// Many keys, so neither the branch predictor nor the cache learns one path.
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

// A group of servers with one address each; every `step`-th server is well.
class BenchGroup {
  public:
    BenchGroup(const KetamaRing& ring, std::span<SmoothWeight> weights, std::uint32_t step)
        : ring_(&ring), weights_(weights), step_(step) {}

    config::BalanceMethod method() const { return config::BalanceMethod::ketama; }
    config::AllDown when_all_down() const { return config::AllDown::try_anyway; }
    const KetamaRing& ring() const { return *ring_; }
    std::size_t address_count() const { return weights_.size(); }
    auto addresses_of(std::uint32_t server) const { return std::views::iota(server, server + 1); }
    std::uint32_t server_of(std::uint32_t address) const { return address; }
    unsigned weight_of(std::uint32_t) const { return 1; }
    bool is_backup(std::uint32_t) const { return false; }
    bool is_out(std::uint32_t) const { return false; }
    bool is_well(std::uint32_t address) const { return address % step_ == 0; }
    bool may_be_recovering(std::uint32_t) const { return false; }
    bool has_room(std::uint32_t) const { return true; }
    std::int64_t in_flight(std::uint32_t) const { return 0; }
    unsigned share_of(std::uint32_t) const { return kFullShare; }
    std::span<SmoothWeight> weights() const { return weights_; }
    std::uint64_t random() const { return 0; }

  private:
    const KetamaRing* ring_;
    std::span<SmoothWeight> weights_;
    std::uint32_t step_;
};

// One request: a new selection, and its first server.
void select_by_key(benchmark::State& state) {
    const auto texts = server_texts(state.range(0));
    const KetamaRing ring(ring_servers(texts));
    std::vector<SmoothWeight> weights(texts.size());
    const BenchGroup group(ring, weights, static_cast<std::uint32_t>(state.range(1)));
    std::vector<std::uint32_t> hashes;
    for (const std::string& key : keys()) {
        hashes.push_back(base::crc32(key));
    }
    SelectionMemory memory;
    std::size_t i = 0;
    for (auto _ : state) {
        Selection<BenchGroup> selection(group, hashes[i++ % hashes.size()], memory);
        benchmark::DoNotOptimize(selection.select(Sent::nothing));
    }
}
BENCHMARK(select_by_key)->Args({6, 1})->Args({64, 1})->Args({1000, 1})->Args({6, 2});

void key_from_argument(benchmark::State& state, std::string_view query) {
    const std::vector<config::KeySource> sources = config::Balance{}.key;
    const KeyInput input = typical_input(query);
    FingerprintCache cache;
    AffinityKey key;
    for (auto _ : state) {
        find_affinity_key(sources, input, &cache, key);
        benchmark::DoNotOptimize(key);
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
