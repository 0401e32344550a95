// Looks up the names of servers in the background, again and again while the daemon runs. Known
// addresses survive every failure; changes are reported. Only the control thread calls it; the
// look-ups run on threads of a LookupPool. No request waits for a look-up.
#pragma once

#include <array>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "lookup_pool.hpp"
#include "repeated_lines.hpp"
#include "s3gate/base/clock.hpp"
#include "s3gate/config/model.hpp"
#include "s3gate/control/resolver.hpp"
#include "s3gate/policy/known_addresses.hpp"
#include "s3gate/state/counters.hpp"
#include "s3gate/state/snapshot.hpp"
#include "timer.hpp"

namespace s3gate::control {

// What is known about one name, for the status.
struct NameStatus {
    std::string host;
    std::vector<base::IpAddress> addresses;     // empty = not known yet
    std::optional<base::Duration> interval;     // between look-ups; nullopt = off
    std::optional<base::Duration> answer_age;   // of the last answer; nullopt = there was none
    std::optional<base::Duration> failing_for;  // nullopt = the last look-up had an answer
    // The last failure, also after an answer; nullopt = there was none.
    std::optional<policy::LookupFailure> last_failure;
    base::Duration failure_age{};
    std::string reason;  // of the last failure, in the resolver's words
    std::array<std::uint64_t, policy::kLookupFailures> failures{};  // by kind
};

// The treatment of a name that the new configuration does not have.
enum class Unused : std::uint8_t {
    forget,
    keep,  // with its addresses, without look-ups: the old configuration may come back
};

class NameService {
  public:
    // Called in the loop with all addresses after addresses of names in use changed. Changes within
    // kSettle cause one call. False if they cannot be used now: the next answer to a look-up causes
    // a further call.
    using OnChange = std::function<bool(const state::Resolution&)>;
    static constexpr base::Duration kSettle{100};
    // Interval of a name that is not known, unless `resolve.interval` is shorter.
    static constexpr base::Duration kUnknownInterval{10'000};

    // The references must outlive this object.
    NameService(boost::asio::io_context& context, state::ControlCounters& counters,
                RepeatedLines& lines, OnChange on_change, Lookup lookup = look_up);
    ~NameService();
    NameService(const NameService&) = delete;
    NameService& operator=(const NameService&) = delete;

    // Looks up and reports these sites' names from now on. Call it at the start and for each
    // configuration that begins to serve. A name that stays keeps its addresses and its history,
    // and is looked up again within a second. A new name is looked up at once. `unused` decides
    // about names that no site has any more. Warns of every server whose name was looked up without
    // success.
    void use(const config::Config& config, Unused unused = Unused::forget);
    // Forgets the names that use() kept.
    void forget_unused();
    // Begins with these addresses, which another process knew: they hold until an answer, as known
    // ones do. For the start, after the first use().
    void remember(const state::Resolution& addresses);
    // Blocks until every name has an answer, for at most `limit`. A name without an answer by then
    // has failed. For the start, before the loop runs; reports no change.
    void resolve_first(base::Duration limit);
    // Looks up those of `hosts` that are new. Calls `done` in the loop when all have an answer,
    // after `limit` at the latest; a name without an answer by then has failed. For a configuration
    // that does not serve yet: the results are in addresses() and unresolved(), are not reported,
    // and are forgotten like other names that no site has.
    void when_known(const std::set<std::string>& hosts, base::Duration limit,
                    std::function<void()> done);

    // The addresses of every name that is known. Valid until the next event of the loop.
    const state::Resolution& addresses() const { return addresses_; }
    // One message for each server of `config` whose name is not known, as use() logs it.
    std::vector<std::string> unresolved(const config::Config& config) const;
    // The state of every name in use, in alphabetical order.
    std::vector<NameStatus> status(base::TimePoint now) const;

    // when_known() for a coroutine of the loop.
    boost::asio::awaitable<void> known(std::set<std::string> hosts, base::Duration limit);

    // Ends all look-ups and the waits for them: nothing is reported, logged or counted any more.
    void stop();

  private:
    // A server with the name, and its group.
    struct User {
        std::string group;
        config::Server server;
    };
    // The settings for a name, from all sites that have it.
    struct Wish {
        std::vector<User> users;
        std::optional<base::Duration> interval;  // nullopt = every site says off
        base::Duration timeout = config::Resolve().timeout;
    };
    struct Name {
        Wish wish;
        policy::KnownAddresses known;
        std::string reason;  // of the last failure
        base::TimePoint asked{};
        std::optional<base::TimePoint> alarm;  // its entry in alarms_
        bool is_late = false;    // the look-up under way has failed already: it took too long
        bool is_slow = false;    // the last one that ended took longer than kSlow
        bool is_spread = false;  // its look-ups no longer coincide with those of other names

        bool is_used() const { return !wish.users.empty(); }
        bool has_outcome() const { return known.last_answer() || known.last_failure(); }
    };
    using Names = std::map<std::string, Name>;
    // A call of when_known() that waits for the first outcome of these names.
    struct Waiter {
        std::set<std::string> missing;
        Timer limit;
        std::function<void()> done;
    };

    static std::map<std::string, Wish> wishes_of(const config::Config& config);
    // `call` as a handler that does nothing once this object is gone.
    template <class Call>
    auto while_alive(Call call);

    Names::iterator forget(Names::iterator name);
    void set_aside(const std::string& host, Name& name);
    void ask(const std::string& host, Name& name);
    void look_up_soon(const std::string& host, Name& name);
    void schedule(const std::string& host, Name& name, base::TimePoint now);
    void set_alarm(const std::string& host, Name& name, std::optional<base::TimePoint> when);
    void arm();
    void on_alarms();
    void take_answers();
    void on_answer(LookupPool::Answer& answer, base::TimePoint now);
    void accept(const std::string& host, Name& name, const LookupResult& result,
                base::TimePoint now);
    void fail(const std::string& host, Name& name, const LookupResult& result, base::TimePoint now);
    void time_out(const std::string& host, Name& name, base::TimePoint now);
    void time_out_all(const std::set<std::string>& hosts);
    // The lines about an answer after others.
    void tell_change_of(const std::string& host, const Name& name,
                        const policy::AddressChange& change,
                        std::optional<base::TimePoint> failing_since, base::TimePoint now);
    // The lines about the first failure after an answer, or ever.
    void tell_failure(const std::string& host, const Name& name, policy::LookupFailure kind,
                      base::TimePoint now);
    void settle(const std::string& host);
    void tell_change();

    boost::asio::io_context& context_;
    state::ControlCounters& counters_;
    RepeatedLines& lines_;
    OnChange on_change_;
    Names names_;
    state::Resolution addresses_;
    std::set<std::string> under_way_;  // look-ups in the pool, also of names that are forgotten
    std::set<std::pair<base::TimePoint, std::string>> alarms_;  // one a name: ask, or give up
    Timer alarm_timer_;
    std::optional<base::TimePoint> armed_;  // when alarm_timer_ ends
    Timer change_timer_;
    bool is_change_due_ = false;
    bool is_unused_ = false;  // the last change was not used
    bool is_stopped_ = false;
    std::vector<std::shared_ptr<Waiter>> waiters_;
    std::minstd_rand random_;
    std::uniform_real_distribution<double> share_{0, 1};
    std::shared_ptr<const bool> alive_ = std::make_shared<const bool>(true);
    LookupPool pool_;  // last member: destroyed first, so its threads call no more
};

}  // namespace s3gate::control
