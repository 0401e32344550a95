#include "simulated_worker.hpp"

#include <spdlog/spdlog.h>
#include <map>
#include <string>
#include <utility>

#include "exchange.hpp"
#include "fuzz_target.hpp"
#include "worker_impl.hpp"

namespace s3gate::fuzz {
namespace {

std::shared_ptr<const config::Config> make_config(unsigned options) {
    using std::chrono::milliseconds;
    auto made = std::make_shared<config::Config>();
    config::Site& site = made->sites.emplace_back();
    const auto has = [&](Option option) { return (options & option) != 0; };
    site.name = "site";
    site.type = has(kHttp) ? config::SiteType::http : config::SiteType::s3;
    site.backends.name = "group";
    for (const char* host : {"10.1.0.1", "10.1.0.2", "two.example"}) {
        config::Server& server = site.backends.servers.emplace_back();
        server.host = host;
        server.port = 9000;
        server.text = std::string(host) + ":9000";
    }
    site.backends.servers[1].backup = has(kBackup);
    site.backends.keepalive = has(kNoKeepalive) ? 0 : 2;
    site.backends.idle_timeout = milliseconds{1500};
    site.balance.method = has(kLeastConn)    ? config::BalanceMethod::least_conn
                          : has(kRoundRobin) ? config::BalanceMethod::round_robin
                                             : config::BalanceMethod::ketama;
    if (has(kRetryNothing)) {
        site.retry.on = {false, false, false, false, false, false};
    } else if (has(kRetryNoStatus)) {
        site.retry.on = {true, true, false, false, false, false};
    }
    site.retry.max_tries = has(kTwoTries) ? 2 : 3;
    site.retry.max_time = milliseconds{4000};
    site.retry.replay_buffer = has(kSmallReplay) ? 64 : 64 * 1024;
    site.upgrade = has(kUpgrade);
    site.expect_empty_body =
        has(kExpectClose) ? config::EmptyExpect::close : config::EmptyExpect::synth100;
    site.when_all_down =
        has(kRefuseAllDown) ? config::AllDown::refuse : config::AllDown::try_anyway;
    if (has(kSmallLimits)) {
        site.limits.head = site.limits.response_head = 1024;
    }
    site.limits.connections = has(kConnectionLimit) ? 2 : 0;
    site.passive.max_fails = has(kQuickMarks) ? 1 : 3;
    site.passive.fail_timeout = milliseconds{2000};
    site.session_header = has(kSession) ? "X-Session-ID" : "";
    site.timeouts.connect = milliseconds{500};
    site.timeouts.client_head = milliseconds{1000};
    site.timeouts.client_idle = milliseconds{1500};
    site.timeouts.client_body = milliseconds{1000};
    site.timeouts.client_write = milliseconds{1000};
    site.timeouts.backend_head = milliseconds{1500};
    site.timeouts.backend_body = milliseconds{1000};
    site.timeouts.tunnel_idle = milliseconds{2000};
    return made;
}

// Generations are made once per set of options; slots are the same in all.
std::shared_ptr<const proxy::Snapshot> snapshot_of(unsigned options) {
    static std::map<unsigned, std::shared_ptr<const proxy::Snapshot>> made;
    static proxy::SlotDirectory directory(16, 2);
    std::shared_ptr<const proxy::Snapshot>& snapshot = made[options];
    if (!snapshot) {
        const proxy::Resolution resolution = {
            {"two.example",
             {*base::IpAddress::parse("10.1.0.3"), *base::IpAddress::parse("10.1.0.4")}}};
        snapshot = proxy::build_snapshot(make_config(options), resolution, directory);
    }
    return snapshot;
}

net::PipeBudget& pipe_budget() {
    static net::PipeBudget budget(64);
    return budget;
}

}  // namespace

static_assert(kTick == net::kTickLength);

struct SimulatedWorker::Parts {
    proxy::Board board{1, 16, 2};
    proxy::Shared shared;
    std::unique_ptr<proxy::Worker::Impl> worker;
};

SimulatedWorker::SimulatedWorker(unsigned options, int listener)
    : parts_(std::make_unique<Parts>()) {
    spdlog::set_level(spdlog::level::off);
    static observe::LogWriter no_log("off");
    proxy::Shared& shared = parts_->shared;
    shared.board = &parts_->board;
    shared.access_log = &no_log;
    shared.pipes = &pipe_budget();
    shared.hostname = "fuzz-proxy";
    shared.connection_limit = 100;
    shared.parked_limit = 3;
    shared.replay_memory = 100 * 1024;
    std::vector<proxy::ListenSocket> sockets(1);
    sockets[0].descriptor = listener;
    parts_->worker =
        std::make_unique<proxy::Worker::Impl>(0, shared, snapshot_of(options), std::move(sockets));
    // A handful of clients: so that things happen to those that wait for their turn.
    parts_->worker->reactor.limit_begins(1);
    parts_->worker->begin();
}

SimulatedWorker::~SimulatedWorker() {
    parts_.reset();
    FUZZ_CHECK(pipe_budget().in_use() == 0);
}

void SimulatedWorker::turn() {
    parts_->worker->reactor.turn(std::chrono::milliseconds{0});
}

bool SimulatedWorker::is_busy() const {
    return parts_->worker->reactor.is_busy();
}

void SimulatedWorker::use_options(unsigned options) {
    parts_->worker->use_snapshot(snapshot_of(options));
}

void SimulatedWorker::set_up(std::size_t backend, bool up) {
    parts_->board.set_up(static_cast<std::uint32_t>(backend), up);
}

void SimulatedWorker::take_down(std::size_t backend) {
    parts_->worker->backend_down(static_cast<std::uint32_t>(backend));
}

void SimulatedWorker::drain() {
    parts_->worker->drain();
}

void SimulatedWorker::stop() {
    parts_->worker->stop_now();
}

std::size_t SimulatedWorker::clients() const {
    return parts_->worker->client_count;
}

bool SimulatedWorker::is_finished() const {
    return parts_->worker->reactor.is_stopped();
}

void SimulatedWorker::check_idle() const {
    const proxy::Worker::Impl& worker = *parts_->worker;
    const proxy::Board& board = parts_->board;
    FUZZ_CHECK(worker.active == nullptr);
    FUZZ_CHECK(worker.lingering == 0);
    FUZZ_CHECK(worker.replay_used == 0);
    FUZZ_CHECK(worker.buffers.in_use() == 0);
    FUZZ_CHECK(worker.generation->users == 0);
    FUZZ_CHECK(board.connections() == 0);
    for (std::uint32_t slot = 0; slot < board.slot_count(); ++slot) {
        FUZZ_CHECK(board.in_flight(slot) == 0);
    }
    for (std::uint32_t group = 0; group < board.group_count(); ++group) {
        FUZZ_CHECK(board.group_requests(group) == 0);
        FUZZ_CHECK(board.group_retries(group) == 0);
        FUZZ_CHECK(board.site_connections(group) == 0);
    }
}

}  // namespace s3gate::fuzz
