#include "health_checker.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/experimental/channel.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>
#include <cmath>
#include <exception>
#include <limits>
#include <map>
#include <string>
#include <utility>

#include "health_probe.hpp"
#include "s3gate/policy/health_state.hpp"
#include "timer.hpp"

namespace s3gate::control {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using Executor = asio::io_context::executor_type;
constexpr asio::use_awaitable_t<Executor> kAwait{};

// Bounds the checks of a group that run at a time, in all generations together.
class Places {
  public:
    explicit Places(asio::io_context& context)
        : free_(context, std::numeric_limits<std::size_t>::max()) {}

    void set_limit(unsigned limit) {
        while (limit_ < limit) {
            ++limit_;
            give_back();
        }
        while (limit_ > limit) {
            --limit_;
            surplus_ += free_.try_receive([](error_code) {}) ? 0 : 1;
        }
    }
    // Checks that wait get a place in the order in which they came. The place is lost unless
    // give_back() follows.
    Task<void> take() {
        for (bool is_taken = false; !is_taken;) {
            // A coroutine that is cancelled here ends at its next wait.
            const auto [error] = co_await free_.async_receive(asio::as_tuple(kAwait));
            is_taken = !error;
        }
    }
    void give_back() {
        if (surplus_ > 0) {
            --surplus_;
        } else {
            free_.try_send(error_code{});
        }
    }

  private:
    unsigned limit_ = 0;
    unsigned surplus_ = 0;  // checks that run beyond the limit since it fell
    asio::experimental::channel<Executor, void(error_code)> free_;  // a message for each free place
};

// The checks of one group in one generation.
struct GroupChecks {
    GroupChecks(const config::Health& health, const config::Backends& backends,
                std::shared_ptr<Places> common)
        : plan(std::make_shared<const ProbePlan>(probe_plan_of(health, backends))),
          interval(std::max(health.interval, base::Duration(1))),
          fall(health.fall),
          rise(health.rise),
          places(std::move(common)) {
        places->set_limit(std::max(health.concurrency, 1U));
    }

    const std::shared_ptr<const ProbePlan> plan;
    const base::Duration interval;
    const unsigned fall;
    const unsigned rise;
    const std::shared_ptr<Places> places;
};

// The checks of one backend, as long as some generation has the backend.
struct Check {
    explicit Check(const GroupChecks& common) : state(common.fall, common.rise) {}

    state::CellId id;
    std::uint32_t server = 0;  // the cell of its server's figures
    std::string label;         // for messages
    base::SocketAddress address;
    bool is_own_port = true;             // the address takes requests too
    std::shared_ptr<GroupChecks> group;  // of the present generation
    base::Duration phase{};              // from the first check to the second; at most one interval
    base::TimePoint due{};               // of the last check that began or waits to begin
    policy::HealthState state;
    unsigned passed_while_marked = 0;  // in a row, since requests set the mark
    asio::cancellation_signal gone;    // ends the coroutine
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

// When the next check is due. Each backend keeps its own rhythm: a check that was slow or had to
// wait does not shift the next one onto the checks of other backends.
base::TimePoint next_due(Check& check) {
    const base::TimePoint now = base::Clock::now();
    const base::Duration interval = check.group->interval;
    check.due += std::exchange(check.phase, interval);
    if (check.state.is_up() && check.state.failures() > 0) {
        // A backend that failed its last check is checked a little sooner. With interval 3 s,
        // timeout 1 s and fall 3, a node that freezes right after a passed check is down after 9.5
        // s, so its waiting requests move on in less than 10 s.
        check.due -= interval / 12;
    }
    if (check.due <= now) {
        check.due += ((now - check.due) / interval + 1) * interval;
    }
    return check.due;
}

// A coroutine that is cancelled ends with operation_aborted. Every other exception is a bug and
// ends the process.
void rethrow_unless_cancelled(const std::exception_ptr& error) {
    try {
        if (error) {
            std::rethrow_exception(error);
        }
    } catch (const boost::system::system_error& cancelled) {
        if (cancelled.code() != asio::error::operation_aborted) {
            throw;
        }
    }
}

}  // namespace

struct HealthChecker::Impl : std::enable_shared_from_this<HealthChecker::Impl> {
    Impl(asio::io_context& context_, state::Board& board_, RepeatedLines& lines_, OnDown on_down_)
        : context(context_),
          board(board_),
          lines(lines_),
          on_down(std::move(on_down_)),
          round_timer(context_) {}

    void use(const state::Snapshot& snapshot);
    void use_group(const state::Group& group, std::size_t group_index,
                   std::map<state::CellId, std::shared_ptr<Check>>& kept);
    std::shared_ptr<Check> take_over(state::CellId id, const GroupChecks& group);
    void begin(const std::shared_ptr<Check>& check);
    Task<void> keep_checking(Check& check);
    Task<void> check_once(Check& check);
    void record(Check& check, const ProbeResult& result);
    void take_down(const Check& check, const ProbeResult& result);
    void let_in(const Check& check);
    void bring_up(const Check& check);
    void count_cleared_mark(const Check& check);
    // A line about the server.
    void tell(Topic topic, const Check& check, bool is_end, std::string_view what);
    void end_first_round();

    asio::io_context& context;
    state::Board& board;
    RepeatedLines& lines;
    OnDown on_down;
    std::map<state::CellId, std::shared_ptr<Check>> checks;  // by cell
    std::map<std::string, std::shared_ptr<Places>> places;   // by name of the group
    std::uint64_t stalls = 0;  // results of checks that began before the last stall do not count
    std::function<void()> round_done;
    Timer round_timer;
};

void HealthChecker::Impl::use(const state::Snapshot& snapshot) {
    std::map<state::CellId, std::shared_ptr<Check>> kept;
    const std::map<std::string, std::shared_ptr<Places>> before = std::exchange(places, {});
    std::size_t index = 0;
    for (const state::Group& group : state::groups_of(snapshot)) {
        const auto known = before.find(group.name);
        places.emplace(group.name,
                       known != before.end() ? known->second : std::make_shared<Places>(context));
        use_group(group, index++, kept);
    }
    for (const auto& [id, check] : checks) {  // no group of the new generation has these
        check->gone.emit(asio::cancellation_type::terminal);
    }
    checks = std::move(kept);
    for (const auto& [id, check] : checks) {
        if (check->due == base::TimePoint{}) {
            begin(check);
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
    const auto common =
        std::make_shared<GroupChecks>(health, *group.backends, places.at(group.name));
    for (std::size_t i = 0; i < group.peers.size(); ++i) {
        const state::Peer& peer = group.peers[i];
        const std::shared_ptr<Check> check = take_over(peer.id(), *common);
        check->id = peer.id();
        check->server = group.servers[peer.server].figures.index;
        check->label = state::label_of(group, peer);
        check->address = peer.check_address;
        check->is_own_port = peer.check_address == peer.address;
        check->group = common;
        check->phase = phase_of(group_index, i, group.peers.size(), common->interval);
        kept.emplace(peer.id(), check);
    }
}

// The check of a backend that an earlier generation had, with its verdict; otherwise a new one.
std::shared_ptr<Check> HealthChecker::Impl::take_over(state::CellId id, const GroupChecks& group) {
    const auto known = checks.find(id);
    if (known == checks.end()) {
        return std::make_shared<Check>(group);
    }
    std::shared_ptr<Check> check = std::move(known->second);
    checks.erase(known);
    if (check->group->fall != group.fall || check->group->rise != group.rise) {
        policy::HealthState fresh(group.fall, group.rise);
        if (check->state.is_checked()) {
            fresh.on_check(check->state.is_up());  // the first result alone decides
        }
        check->state = fresh;
    }
    return check;
}

void HealthChecker::Impl::begin(const std::shared_ptr<Check>& check) {
    check->due = base::Clock::now();
    // The handler keeps alive what the coroutine uses. The coroutine may end after the checker.
    const auto at_end = [self = shared_from_this(), check](const std::exception_ptr& error) {
        rethrow_unless_cancelled(error);
    };
    asio::co_spawn(context, keep_checking(*check),
                   asio::bind_cancellation_slot(check->gone.slot(), at_end));
}

Task<void> HealthChecker::Impl::keep_checking(Check& check) {
    Timer beat(context);
    for (;;) {
        co_await check_once(check);
        beat.expires_at(next_due(check));
        co_await beat.async_wait(kAwait);
    }
}

Task<void> HealthChecker::Impl::check_once(Check& check) {
    const std::shared_ptr<Places> its_places = check.group->places;
    co_await its_places->take();
    const std::uint64_t begun_in = stalls;
    ProbeResult result;
    try {
        result = co_await probe(check.group->plan, check.address, check.is_own_port);
    } catch (...) {  // cancelled
        its_places->give_back();
        throw;
    }
    its_places->give_back();
    if ((co_await asio::this_coro::cancellation_state).cancelled() !=
        asio::cancellation_type::none) {
        co_return;
    }
    if (begun_in == stalls && result.end != ProbeEnd::inconclusive) {
        record(check, result);
    } else {
        state::bump(board.control().discarded);
        spdlog::debug("{} had a check that says nothing: {}", check.label, result.reason);
    }
    end_first_round();
}

void HealthChecker::Impl::record(Check& check, const ProbeResult& result) {
    const bool has_passed = result.end == ProbeEnd::passed;
    state::bump(has_passed ? board.control().passed : board.control().failed);
    state::bump(board.check_figures(check.server).checks[has_passed ? 0 : 1]);
    if (!has_passed) {
        spdlog::debug("{} failed a check: {}", check.label, result.reason);
    }
    // Passed checks clear a mark. A backend that failed fewer than `fall` checks never goes down,
    // so only this ends its mark before fail_timeout.
    const bool is_marked = policy::is_marked(board.passive(check.id.index));
    check.passed_while_marked = is_marked && has_passed ? check.passed_while_marked + 1 : 0;
    if (check.passed_while_marked >= check.group->rise) {
        check.passed_while_marked = 0;
        count_cleared_mark(check);
        board.clear_passive(check.id.index);
        tell(Topic::marks, check, true,
             fmt::format("is no longer passively marked: {} passed check{}", check.group->rise,
                         check.group->rise == 1 ? "" : "s"));
    }
    if (has_passed && !check.state.is_checked() && !board.is_up(check.id.index)) {
        let_in(check);  // it joined a group in service
        tell(Topic::health, check, true, "is up: its first check passed");
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

void HealthChecker::Impl::count_cleared_mark(const Check& check) {
    state::bump(board.control().marks_cleared);
    state::bump(board.check_figures(check.server).marks[1]);
}

void HealthChecker::Impl::take_down(const Check& check, const ProbeResult& result) {
    board.set_up(check.id.index, false);
    state::bump(board.control().went_down);
    const auto reason = result.end == ProbeEnd::unreachable ? state::DownReason::unreachable
                                                            : state::DownReason::failed;
    state::bump(board.check_figures(check.server).downs[static_cast<std::size_t>(reason)]);
    tell(Topic::health, check, false,
         fmt::format("is down after {} failed check{}: {}", check.state.failures(),
                     check.state.failures() == 1 ? "" : "s", result.reason));
    if (on_down) {
        on_down(check.id, result.end == ProbeEnd::unreachable);
    }
}

// Its share grows from now on (backends.slow_start).
void HealthChecker::Impl::let_in(const Check& check) {
    board.set_back_since(check.id.index, base::milliseconds_of(base::Clock::now()));
    board.set_up(check.id.index, true);
}

void HealthChecker::Impl::bring_up(const Check& check) {
    // The marks are older than the recovery and say nothing about the backend now.
    if (policy::is_marked(board.passive(check.id.index))) {
        count_cleared_mark(check);
    }
    board.clear_passive(check.id.index);
    let_in(check);
    state::bump(board.control().went_up);
    state::bump(board.check_figures(check.server).ups[0]);
    tell(Topic::health, check, true,
         fmt::format("is up after {} passed check{}", check.state.successes(),
                     check.state.successes() == 1 ? "" : "s"));
}

void HealthChecker::Impl::tell(Topic topic, const Check& check, bool is_end,
                               std::string_view what) {
    lines.note({.topic = topic,
                .subject = check.label,
                .is_end = is_end,
                .level = is_end ? spdlog::level::info : spdlog::level::warn,
                .text = fmt::format("{} {}", check.label, what)},
               base::Clock::now());
}

void HealthChecker::Impl::end_first_round() {
    const auto is_open = [](const auto& item) { return !item.second->state.is_checked(); };
    if (!round_done || std::ranges::any_of(checks, is_open)) {
        return;
    }
    round_timer.cancel();
    std::exchange(round_done, nullptr)();
}

HealthChecker::HealthChecker(asio::io_context& context, state::Board& board, RepeatedLines& lines,
                             OnDown on_down)
    : impl_(std::make_shared<Impl>(context, board, lines, std::move(on_down))) {}

HealthChecker::~HealthChecker() {
    stop();
}

void HealthChecker::use(std::shared_ptr<const state::Snapshot> snapshot) {
    impl_->use(*snapshot);
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

bool HealthChecker::has_checked(state::CellId peer) const {
    const auto found = impl_->checks.find(peer);
    return found != impl_->checks.end() && found->second->state.is_checked();
}

void HealthChecker::discard_running() {
    ++impl_->stalls;
}

void HealthChecker::stop() {
    impl_->round_done = nullptr;
    impl_->round_timer.cancel();
    for (const auto& [id, check] : impl_->checks) {
        check->gone.emit(asio::cancellation_type::terminal);
    }
    impl_->checks.clear();
}

}  // namespace s3gate::control
