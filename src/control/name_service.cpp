#include "name_service.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/error_code.hpp>
#include <chrono>

#include "name_messages.hpp"

namespace s3gate::control {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using std::chrono::seconds;

// A longer look-up keeps a thread from other names. The next one of its name runs on the fewer
// threads of the slow lane.
constexpr base::Duration kSlow = seconds{1};
// After a new configuration the names that stay are looked up within this time: soon, and not all
// at once.
constexpr base::Duration kSoon = seconds{1};

base::Duration age_of(base::TimePoint then, base::TimePoint now) {
    return std::chrono::duration_cast<base::Duration>(now - then);
}

LookupResult no_answer() {
    return {{}, "no answer in time", policy::LookupFailure::timeout};
}

}  // namespace

template <class Call>
auto NameService::while_alive(Call call) {
    return [alive = std::weak_ptr(alive_), call = std::move(call)](auto... arguments) mutable {
        if (!alive.expired()) {
            call(arguments...);
        }
    };
}

NameService::NameService(asio::io_context& context, state::ControlCounters& counters,
                         RepeatedLines& lines, OnChange on_change, Lookup lookup)
    : context_(context),
      counters_(counters),
      lines_(lines),
      on_change_(std::move(on_change)),
      alarm_timer_(context),
      change_timer_(context),
      random_(std::random_device{}()),
      pool_(std::move(lookup), [this, &context, alive = std::weak_ptr(alive_)] {
          asio::post(context, [this, alive] {
              if (!alive.expired()) {
                  take_answers();
              }
          });
      }) {}

NameService::~NameService() = default;

std::map<std::string, NameService::Wish> NameService::wishes_of(const config::Config& config) {
    std::map<std::string, Wish> wishes;
    for (const std::string& host : host_names(config)) {
        wishes[host];
    }
    for (const config::Site& site : config.sites) {
        for (const config::Server& server : site.backends.servers) {
            const auto found = wishes.find(server.host);
            if (found == wishes.end()) {
                continue;  // an address
            }
            Wish& wish = found->second;
            wish.users.push_back({site.backends.name, server});
            if (site.resolve.enabled) {
                wish.timeout = wish.interval ? std::min(wish.timeout, site.resolve.timeout)
                                             : site.resolve.timeout;
                wish.interval =
                    std::min(wish.interval.value_or(site.resolve.interval), site.resolve.interval);
            }
        }
    }
    return wishes;
}

void NameService::use(const config::Config& config, Unused unused) {
    is_unused_ = false;  // the configuration serves with all addresses
    std::map<std::string, Wish> wishes = wishes_of(config);
    for (auto& [host, name] : names_) {
        if (!wishes.contains(host)) {
            set_aside(host, name);
        }
    }
    for (auto& [host, wish] : wishes) {
        const auto [found, is_new] = names_.try_emplace(host);
        Name& name = found->second;
        const bool was_used = name.is_used();
        name.wish = std::move(wish);
        if (is_new) {
            ask(host, name);
            continue;
        }
        if (!under_way_.contains(host)) {  // otherwise its end schedules the next one
            was_used ? look_up_soon(host, name) : schedule(host, name, base::Clock::now());
        }
        if (!name.known.is_known() && name.has_outcome()) {
            for (const User& user : name.wish.users) {
                spdlog::warn("{}", unresolved_message(user.group, user.server, name.reason));
            }
        }
    }
    if (unused == Unused::forget) {
        forget_unused();
    }
}

void NameService::forget_unused() {
    for (auto name = names_.begin(); name != names_.end();) {
        name = name->second.is_used() ? std::next(name) : forget(name);
    }
}

void NameService::remember(const state::Resolution& addresses) {
    for (auto& [host, name] : names_) {
        const auto found = addresses.find(host);
        if (found != addresses.end() && !name.has_outcome()) {
            name.known.on_answer(found->second, base::Clock::now());
            addresses_[host] = name.known.addresses();
        }
    }
}

void NameService::resolve_first(base::Duration limit) {
    const base::TimePoint deadline = base::Clock::now() + limit;
    const auto is_open = [](const Names::value_type& item) { return !item.second.has_outcome(); };
    while (std::ranges::any_of(names_, is_open) && pool_.wait_until(deadline)) {
        take_answers();
    }
    std::set<std::string> open;
    for (const auto& [host, name] : names_) {
        if (!name.has_outcome()) {
            open.insert(host);
        }
    }
    time_out_all(open);
    is_change_due_ = false;  // the caller uses addresses() from the beginning
}

void NameService::when_known(const std::set<std::string>& hosts, base::Duration limit,
                             std::function<void()> done) {
    const auto waiter =
        std::make_shared<Waiter>(Waiter{{}, Timer(context_, limit), std::move(done)});
    waiters_.push_back(waiter);
    for (const std::string& host : hosts) {
        const auto [found, is_new] = names_.try_emplace(host);
        if (is_new) {
            ask(host, found->second);
        }
        if (!found->second.has_outcome()) {
            waiter->missing.insert(host);
        }
    }
    waiter->limit.async_wait(while_alive([this, waiting = std::weak_ptr(waiter)](error_code error) {
        if (const auto late = waiting.lock(); late && !error) {
            time_out_all(std::set(late->missing));
        }
    }));
    settle({});
}

asio::awaitable<void> NameService::known(std::set<std::string> hosts, base::Duration limit) {
    const auto waiting = std::make_shared<Timer>(context_, base::TimePoint::max());
    when_known(hosts, limit, [waiting] { waiting->expires_at({}); });
    co_await waiting->async_wait(asio::as_tuple(asio::use_awaitable));
}

std::vector<std::string> NameService::unresolved(const config::Config& config) const {
    std::vector<std::string> out;
    for (const config::Site& site : config.sites) {
        for (const config::Server& server : site.backends.servers) {
            const auto name = names_.find(server.host);
            if (name != names_.end() && !name->second.known.is_known()) {
                const std::string& reason = name->second.reason;
                out.push_back(unresolved_message(site.backends.name, server,
                                                 reason.empty() ? no_answer().error : reason));
            }
        }
    }
    return out;
}

std::vector<NameStatus> NameService::status(base::TimePoint now) const {
    std::vector<NameStatus> out;
    for (const auto& [host, name] : names_) {
        if (!name.is_used()) {
            continue;
        }
        NameStatus& status = out.emplace_back();
        status.host = host;
        status.addresses = name.known.addresses();
        status.interval = name.wish.interval;
        if (const auto answer = name.known.last_answer()) {
            status.answer_age = age_of(*answer, now);
        }
        if (const auto since = name.known.failing_since()) {
            status.failing_for = age_of(*since, now);
        }
        if (const auto failure = name.known.last_failure()) {
            status.last_failure = failure->kind;
            status.failure_age = age_of(failure->when, now);
        }
        status.reason = name.reason;
        status.failures = name.known.failures();
    }
    return out;
}

void NameService::stop() {
    is_stopped_ = true;
    is_change_due_ = false;
    alarms_.clear();
    for (const std::shared_ptr<Waiter>& waiter : waiters_) {
        waiter->missing.clear();
    }
    settle({});
    alarm_timer_.cancel();
    change_timer_.cancel();
}

NameService::Names::iterator NameService::forget(Names::iterator name) {
    const std::string& host = name->first;
    set_alarm(host, name->second, std::nullopt);
    if (pool_.withdraw(host)) {
        under_way_.erase(host);
    }
    addresses_.erase(host);
    settle(host);
    return names_.erase(name);
}

void NameService::set_aside(const std::string& host, Name& name) {
    name.wish = {};
    if (!under_way_.contains(host)) {
        set_alarm(host, name, std::nullopt);
    }
}

// At most one look-up of a name is under way. If the name is forgotten and used again meanwhile,
// that look-up answers for both.
void NameService::ask(const std::string& host, Name& name) {
    if (is_stopped_) {
        return;
    }
    name.asked = base::Clock::now();
    name.is_late = false;
    set_alarm(host, name, name.asked + name.wish.timeout);
    if (under_way_.insert(host).second) {
        pool_.ask(host, name.is_slow ? LookupPool::Lane::slow : LookupPool::Lane::quick);
    }
}

void NameService::look_up_soon(const std::string& host, Name& name) {
    name.is_spread = false;
    set_alarm(host, name,
              base::Clock::now() +
                  std::chrono::duration_cast<base::TimePoint::duration>(kSoon * share_(random_)));
}

void NameService::schedule(const std::string& host, Name& name, base::TimePoint now) {
    std::optional<base::Duration> interval = name.wish.interval;
    const bool is_known = name.known.is_known();
    if (!is_known) {
        interval = std::min(interval.value_or(kUnknownInterval), kUnknownInterval);
    }
    if (!interval || !name.is_used()) {
        set_alarm(host, name, std::nullopt);
        return;
    }
    const policy::LookupPace pace{*interval, is_known && !std::exchange(name.is_spread, true)};
    set_alarm(host, name, policy::next_lookup(pace, name.asked, now, share_(random_)));
}

void NameService::set_alarm(const std::string& host, Name& name,
                            std::optional<base::TimePoint> when) {
    if (name.alarm) {
        alarms_.erase({*name.alarm, host});
    }
    name.alarm = is_stopped_ ? std::nullopt : when;
    if (name.alarm) {
        alarms_.insert({*name.alarm, host});
    }
    arm();
}

void NameService::arm() {
    if (alarms_.empty() || alarms_.begin()->first == armed_) {
        return;
    }
    armed_ = alarms_.begin()->first;
    alarm_timer_.expires_at(*armed_);
    alarm_timer_.async_wait(while_alive([this](error_code error) {
        if (!error) {
            armed_.reset();
            on_alarms();
        }
    }));
}

void NameService::on_alarms() {
    const base::TimePoint now = base::Clock::now();
    while (!alarms_.empty() && alarms_.begin()->first <= now) {
        const std::string host = alarms_.begin()->second;
        Name& name = names_.at(host);
        set_alarm(host, name, std::nullopt);
        if (under_way_.contains(host)) {
            time_out(host, name, now);
        } else {
            ask(host, name);
        }
    }
    arm();
}

void NameService::take_answers() {
    const base::TimePoint now = base::Clock::now();
    for (LookupPool::Answer& answer : pool_.take()) {
        on_answer(answer, now);
    }
}

void NameService::on_answer(LookupPool::Answer& answer, base::TimePoint now) {
    under_way_.erase(answer.host);
    const auto found = names_.find(answer.host);
    if (found == names_.end() || is_stopped_) {
        return;
    }
    Name& name = found->second;
    name.is_slow = answer.took > kSlow;
    // A late answer counts: no look-up of the name began since. Otherwise a resolver that is always
    // slow would be useless.
    if (!answer.result.addresses.empty()) {
        accept(answer.host, name, answer.result, now);
    } else if (!name.is_late) {
        fail(answer.host, name, answer.result, now);
    }
    schedule(answer.host, name, now);
}

void NameService::accept(const std::string& host, Name& name, const LookupResult& result,
                         base::TimePoint now) {
    const bool was_known = name.known.is_known();
    const auto failing_since = name.known.failing_since();
    const std::size_t surplus = name.known.surplus();
    state::bump(counters_.lookups[0]);
    const policy::AddressChange change = name.known.on_answer(result.addresses, now);
    if (!change.is_empty()) {
        addresses_[host] = name.known.addresses();
    }
    if (was_known) {
        tell_change_of(host, name, change, failing_since, now);
    } else if (failing_since) {
        for (const User& user : name.wish.users) {
            lines_.note({.topic = Topic::names,
                         .subject = state::label_of(user.group, user.server, {}),
                         .is_end = true,
                         .level = spdlog::level::info,
                         .text = resolved_message(user.group, user.server, addresses_[host])},
                        now);
        }
    }
    if (name.is_used() && surplus == 0 && name.known.surplus() > 0) {
        lines_.note({.topic = Topic::addresses,
                     .subject = host,
                     .text = surplus_message(host, name.known.surplus())},
                    now);
    }
    if (name.is_used() && (!change.is_empty() || is_unused_)) {
        tell_change();
    }
    settle(host);
}

void NameService::fail(const std::string& host, Name& name, const LookupResult& result,
                       base::TimePoint now) {
    state::bump(counters_.lookups_failed);
    state::bump(counters_.lookups[1 + static_cast<std::size_t>(result.kind)]);
    name.reason = result.error;
    if (name.known.on_failure(result.kind, now) && name.is_used()) {
        tell_failure(host, name, result.kind, now);
    }
    settle(host);
}

void NameService::tell_change_of(const std::string& host, const Name& name,
                                 const policy::AddressChange& change,
                                 std::optional<base::TimePoint> failing_since,
                                 base::TimePoint now) {
    if (failing_since) {
        lines_.note({.topic = Topic::names,
                     .subject = host,
                     .is_end = true,
                     .level = spdlog::level::info,
                     .text = recovered_message(host, age_of(*failing_since, now))},
                    now);
    }
    for (const User& user : name.wish.users) {
        for (const std::string& text : change_messages(user.group, user.server, change)) {
            lines_.note({.topic = Topic::addresses,
                         .subject = text,
                         .level = spdlog::level::info,
                         .text = text},
                        now);
        }
    }
}

void NameService::tell_failure(const std::string& host, const Name& name,
                               policy::LookupFailure kind, base::TimePoint now) {
    static_assert(policy::kLookupFailures <= RepeatedLine::kVariants);
    const auto variant = static_cast<std::size_t>(kind);
    if (const auto answered = name.known.last_answer()) {
        lines_.note({.topic = Topic::names,
                     .subject = host,
                     .variant = variant,
                     .text = kept_message(host, name.reason, name.known.addresses(),
                                          age_of(*answered, now))},
                    now);
        return;
    }
    for (const User& user : name.wish.users) {
        lines_.note({.topic = Topic::names,
                     .subject = state::label_of(user.group, user.server, {}),
                     .variant = variant,
                     .text = unresolved_message(user.group, user.server, name.reason)},
                    now);
    }
}

void NameService::time_out(const std::string& host, Name& name, base::TimePoint now) {
    name.is_late = true;
    fail(host, name, no_answer(), now);
}

void NameService::time_out_all(const std::set<std::string>& hosts) {
    const base::TimePoint now = base::Clock::now();
    for (const std::string& host : hosts) {
        Name& name = names_.at(host);
        set_alarm(host, name, std::nullopt);
        time_out(host, name, now);
    }
}

// Call it when the name has an outcome or is forgotten: ends the waits that lacked only this name.
void NameService::settle(const std::string& host) {
    std::erase_if(waiters_, [&](const std::shared_ptr<Waiter>& waiter) {
        waiter->missing.erase(host);
        if (!waiter->missing.empty()) {
            return false;
        }
        asio::post(context_, while_alive(std::move(waiter->done)));
        return true;
    });
}

void NameService::tell_change() {
    if (std::exchange(is_change_due_, true)) {
        return;
    }
    change_timer_.expires_after(kSettle);
    change_timer_.async_wait(while_alive([this](error_code error) {
        if (!error && std::exchange(is_change_due_, false)) {
            is_unused_ = !on_change_(addresses_);
        }
    }));
}

}  // namespace s3gate::control
