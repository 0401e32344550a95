#include "health_checker.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/post.hpp>
#include <cmath>
#include <deque>
#include <map>
#include <optional>
#include <utility>

#include "health_probe.hpp"
#include "s3gate/policy/health_state.hpp"

namespace s3gate::control {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using Timer = asio::basic_waitable_timer<base::Clock, asio::wait_traits<base::Clock>,
                                         asio::io_context::executor_type>;

struct Check;

// The checks of one group in one generation.
struct GroupChecks {
    std::shared_ptr<const ProbePlan> plan;
    base::Duration interval{};
    unsigned fall = 1;
    unsigned rise = 1;
    unsigned concurrency = 1;
    unsigned running = 0;
    std::deque<std::weak_ptr<Check>> waiting;  // due, but `concurrency` are running
};

// The checks of one backend, as long as some generation has the backend.
struct Check {
    explicit Check(asio::io_context& context, unsigned fall, unsigned rise_wanted)
        : timer(context), state(fall, rise_wanted), rise(rise_wanted) {}

    state::CellId id;
    std::string label;  // for messages
    base::SocketAddress address;
    std::shared_ptr<GroupChecks> group;
    base::Duration phase{};  // from the first check to the second; at most one interval
    base::TimePoint due{};   // of the last check that began or waits to begin
    Timer timer;
    bool is_waiting = false;
    std::shared_ptr<Probe> probe;              // null while none is running
    std::shared_ptr<GroupChecks> probe_group;  // the group that counts the running probe
    policy::HealthState state;
    unsigned rise;
    unsigned passed_while_marked = 0;  // in a row, since requests set the mark
};

// Time from a backend's first check to its second, as a share of the interval. The backends of a
// group are spread evenly. The golden ratio shifts the groups against each other, so no two checks
// coincide.
base::Duration phase_of(std::size_t group, std::size_t peer, std::size_t peers,
                        base::Duration interval) {
    constexpr double kGolden = 0.6180339887498949;
    const double share = static_cast<double>(peer + 1) / static_cast<double>(peers) +
                         static_cast<double>(group) * kGolden;
    const double fraction = share - std::floor(share);
    const auto count = static_cast<double>(interval.count()) * (fraction > 0 ? fraction : 1.0);
    return std::max(base::Duration(static_cast<std::int64_t>(count)), base::Duration(1));
}

}  // namespace

struct HealthChecker::Impl : std::enable_shared_from_this<HealthChecker::Impl> {
    Impl(asio::io_context& context_, state::Board& board_, OnDown on_down_)
        : context(context_), board(board_), on_down(std::move(on_down_)), round_timer(context_) {}

    void use(std::shared_ptr<const state::Snapshot> snapshot);
    void use_group(const state::Group& group, std::size_t group_index,
                   std::map<state::CellId, std::shared_ptr<Check>>& kept);
    std::shared_ptr<Check> take_over(state::CellId id, const std::shared_ptr<GroupChecks>& group);
    void become_due(const std::shared_ptr<Check>& check);
    void launch(const std::shared_ptr<Check>& check);
    void launch_waiting(GroupChecks& group);
    void on_result(const std::shared_ptr<Check>& check, std::uint64_t begun_in,
                   const ProbeResult& result);
    void record(Check& check, const ProbeResult& result);
    void take_down(const Check& check, const ProbeResult& result);
    void bring_up(const Check& check);
    void schedule_next(const std::shared_ptr<Check>& check);
    void drop(Check& check);
    void end_first_round();

    asio::io_context& context;
    state::Board& board;
    OnDown on_down;
    std::map<state::CellId, std::shared_ptr<Check>> checks;  // by cell
    std::uint64_t stalls = 0;  // results of checks that began before the last stall do not count
    bool is_stopped = false;
    std::function<void()> round_done;
    Timer round_timer;
};

void HealthChecker::Impl::use(std::shared_ptr<const state::Snapshot> snapshot) {
    std::map<state::CellId, std::shared_ptr<Check>> kept;
    std::size_t index = 0;
    for (const state::Group& group : state::groups_of(*snapshot)) {
        use_group(group, index++, kept);
    }
    for (auto& [id, check] : checks) {
        drop(*check);  // no group of the new generation has it
    }
    checks = std::move(kept);
    for (const auto& [id, check] : checks) {
        if (check->due == base::TimePoint{}) {
            check->due = base::Clock::now();
            become_due(check);
        }
    }
    end_first_round();
}

void HealthChecker::Impl::use_group(const state::Group& group, std::size_t group_index,
                                    std::map<state::CellId, std::shared_ptr<Check>>& kept) {
    const config::Health& health = *group.health;
    if (!health.enabled) {
        for (const state::Peer& peer : group.peers) {
            board.set_up(peer.slot, true);
        }
        return;
    }
    auto common = std::make_shared<GroupChecks>();
    common->plan = std::make_shared<const ProbePlan>(probe_plan_of(health));
    common->interval = std::max(health.interval, base::Duration(1));
    common->fall = health.fall;
    common->rise = health.rise;
    common->concurrency = std::max(health.concurrency, 1U);
    for (std::size_t i = 0; i < group.peers.size(); ++i) {
        const state::Peer& peer = group.peers[i];
        const std::shared_ptr<Check> check = take_over(peer.id(), common);
        check->id = peer.id();
        check->label = state::label_of(group, peer);
        check->address = peer.check_address;
        check->group = common;
        check->phase = phase_of(group_index, i, group.peers.size(), common->interval);
        kept.emplace(peer.id(), check);
        if (std::exchange(check->is_waiting, false)) {
            become_due(check);
        }
    }
}

// The check of a backend that an earlier generation had, with its verdict; otherwise a new one.
std::shared_ptr<Check> HealthChecker::Impl::take_over(state::CellId id,
                                                      const std::shared_ptr<GroupChecks>& group) {
    const auto known = checks.find(id);
    if (known == checks.end()) {
        return std::make_shared<Check>(context, group->fall, group->rise);
    }
    std::shared_ptr<Check> check = std::move(known->second);
    checks.erase(known);
    if (check->group->fall != group->fall || check->group->rise != group->rise) {
        policy::HealthState fresh(group->fall, group->rise);
        if (check->state.is_checked()) {
            fresh.on_check(check->state.is_up());  // the first result alone decides
        }
        check->state = fresh;
    }
    return check;
}

void HealthChecker::Impl::become_due(const std::shared_ptr<Check>& check) {
    if (check->group->running >= check->group->concurrency) {
        check->is_waiting = true;
        check->group->waiting.push_back(check);
        return;
    }
    launch(check);
}

void HealthChecker::Impl::launch(const std::shared_ptr<Check>& check) {
    check->probe_group = check->group;
    ++check->probe_group->running;
    check->probe = Probe::start(context, check->group->plan, check->address,
                                [self = shared_from_this(), weak = std::weak_ptr(check),
                                 begun_in = stalls](const ProbeResult& result) {
                                    if (const std::shared_ptr<Check> alive = weak.lock()) {
                                        self->on_result(alive, begun_in, result);
                                    }
                                });
}

void HealthChecker::Impl::launch_waiting(GroupChecks& group) {
    while (group.running < group.concurrency && !group.waiting.empty()) {
        const std::shared_ptr<Check> next = group.waiting.front().lock();
        group.waiting.pop_front();
        // The check may be gone, or in the queue of a newer generation.
        if (next && next->is_waiting && next->group.get() == &group) {
            next->is_waiting = false;
            launch(next);
        }
    }
}

void HealthChecker::Impl::on_result(const std::shared_ptr<Check>& check, std::uint64_t begun_in,
                                    const ProbeResult& result) {
    const std::shared_ptr<GroupChecks> group = std::exchange(check->probe_group, nullptr);
    --group->running;
    check->probe.reset();
    if (is_stopped) {
        return;
    }
    if (begun_in == stalls && result.end != ProbeEnd::inconclusive) {
        record(*check, result);
    } else {
        state::bump(board.control().discarded);
        spdlog::debug("{} had a check that says nothing: {}", check->label, result.reason);
    }
    schedule_next(check);
    launch_waiting(*group);
    end_first_round();
}

void HealthChecker::Impl::record(Check& check, const ProbeResult& result) {
    const bool has_passed = result.end == ProbeEnd::passed;
    state::bump(has_passed ? board.control().passed : board.control().failed);
    if (!has_passed) {
        spdlog::debug("{} failed a check: {}", check.label, result.reason);
    }
    // Passed checks clear a mark. A backend that failed fewer than `fall` checks never goes down,
    // so only this ends its mark before fail_timeout.
    const bool is_marked = policy::is_marked(board.passive(check.id.index));
    check.passed_while_marked = is_marked && has_passed ? check.passed_while_marked + 1 : 0;
    if (check.passed_while_marked >= check.rise) {
        check.passed_while_marked = 0;
        state::bump(board.control().marks_cleared);
        board.clear_passive(check.id.index);
        spdlog::info("{} is no longer passively marked: {} passed check{}", check.label, check.rise,
                     check.rise == 1 ? "" : "s");
    }
    if (has_passed && !check.state.is_checked() && !board.is_up(check.id.index)) {
        board.set_up(check.id.index, true);  // it joined a group in service
        spdlog::info("{} is up: its first check passed", check.label);
    }
    switch (check.state.on_check(has_passed)) {
        case policy::HealthFlip::went_down:
            take_down(check, result);
            break;
        case policy::HealthFlip::went_up:
            bring_up(check);
            break;
        case policy::HealthFlip::none:
            break;
    }
    board.set_recovering(check.id.index, has_passed && !check.state.is_up());
}

void HealthChecker::Impl::take_down(const Check& check, const ProbeResult& result) {
    board.set_up(check.id.index, false);
    state::bump(board.control().went_down);
    spdlog::warn("{} is down after {} failed check{}: {}", check.label, check.state.failures(),
                 check.state.failures() == 1 ? "" : "s", result.reason);
    if (on_down) {
        on_down(check.id, result.end == ProbeEnd::unreachable);
    }
}

void HealthChecker::Impl::bring_up(const Check& check) {
    // The marks are older than the recovery and say nothing about the backend now.
    if (policy::is_marked(board.passive(check.id.index))) {
        state::bump(board.control().marks_cleared);
    }
    board.clear_passive(check.id.index);
    board.set_up(check.id.index, true);
    state::bump(board.control().went_up);
    spdlog::info("{} is up after {} passed check{}", check.label, check.state.successes(),
                 check.state.successes() == 1 ? "" : "s");
}

// Each backend keeps its own rhythm: a check that was slow or had to wait does not shift the next
// one onto the checks of other backends.
void HealthChecker::Impl::schedule_next(const std::shared_ptr<Check>& check) {
    const base::TimePoint now = base::Clock::now();
    const base::Duration interval = check->group->interval;
    check->due += std::exchange(check->phase, interval);
    if (check->state.is_up() && check->state.failures() > 0) {
        // A backend that failed its last check is checked a little sooner. With interval 3 s,
        // timeout 1 s and fall 3, a node that freezes right after a passed check is down after 9.5
        // s, so its waiting requests move on in less than 10 s.
        check->due -= interval / 12;
    }
    if (check->due <= now) {
        check->due += ((now - check->due) / interval + 1) * interval;
    }
    check->timer.expires_at(check->due);
    check->timer.async_wait(
        [self = shared_from_this(), weak = std::weak_ptr(check)](error_code error) {
            const std::shared_ptr<Check> alive = weak.lock();
            if (!error && alive && !self->is_stopped && !alive->probe && !alive->is_waiting) {
                self->become_due(alive);
            }
        });
}

void HealthChecker::Impl::drop(Check& check) {
    check.timer.cancel();
    check.is_waiting = false;
    if (check.probe) {
        std::exchange(check.probe, nullptr)->cancel();
        --std::exchange(check.probe_group, nullptr)->running;
    }
}

void HealthChecker::Impl::end_first_round() {
    const auto is_open = [](const auto& item) { return !item.second->state.is_checked(); };
    if (!round_done || std::ranges::any_of(checks, is_open)) {
        return;
    }
    round_timer.cancel();
    std::exchange(round_done, nullptr)();
}

HealthChecker::HealthChecker(asio::io_context& context, state::Board& board, OnDown on_down)
    : impl_(std::make_shared<Impl>(context, board, std::move(on_down))) {}

HealthChecker::~HealthChecker() {
    stop();
}

void HealthChecker::use(std::shared_ptr<const state::Snapshot> snapshot) {
    impl_->use(std::move(snapshot));
}

void HealthChecker::when_first_round_done(std::function<void()> done, base::Duration limit) {
    impl_->round_done = std::move(done);
    impl_->round_timer.expires_after(limit);
    impl_->round_timer.async_wait([impl = impl_](error_code error) {
        if (!error && impl->round_done) {
            std::exchange(impl->round_done, nullptr)();
        }
    });
    asio::post(impl_->context, [impl = impl_] { impl->end_first_round(); });
}

void HealthChecker::discard_running() {
    ++impl_->stalls;
}

void HealthChecker::stop() {
    impl_->is_stopped = true;
    impl_->round_done = nullptr;
    impl_->round_timer.cancel();
    for (auto& [id, check] : impl_->checks) {
        impl_->drop(*check);
    }
    impl_->checks.clear();
}

}  // namespace s3gate::control
