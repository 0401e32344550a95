// Names in the background, with a resolver that says what the test wants: who is asked how often,
// what a failure changes (nothing), and that a resolver that hangs holds up nobody.

#include "name_service.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "scripted_lookup.hpp"

namespace s3gate::control {
namespace {

using policy::LookupFailure;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;

constexpr base::Duration kOften{10};

config::Site site_of(const std::string& group, const std::vector<std::string>& hosts,
                     config::Resolve resolve = {true, kOften, seconds{20}}) {
    config::Site site;
    site.backends.name = group;
    site.resolve = resolve;
    for (const std::string& host : hosts) {
        config::Server& server = site.backends.servers.emplace_back();
        server.host = host;
        server.text = host + ":9000";
        server.port = 9000;
    }
    return site;
}

config::Config config_of_sites(const std::vector<config::Site>& sites) {
    config::Config config;
    config.sites = sites;
    return config;
}

config::Config config_of(const std::vector<std::string>& hosts,
                         config::Resolve resolve = {true, kOften, seconds{20}}) {
    return config_of_sites({site_of("group", hosts, resolve)});
}

class NameServiceTest : public testing::Test {
  protected:
    NameServiceTest() {
        auto logger = std::make_shared<spdlog::logger>(
            "test", std::make_shared<spdlog::sinks::ostream_sink_st>(log));
        logger->set_pattern("%l %v");
        before_ = spdlog::default_logger();
        spdlog::set_default_logger(logger);
    }
    ~NameServiceTest() override { spdlog::set_default_logger(before_); }

    // Runs the loop until the condition holds; false after a generous deadline.
    bool run_until(const std::function<bool()>& condition) {
        const base::TimePoint deadline = base::Clock::now() + seconds{20};
        while (!condition()) {
            if (base::Clock::now() > deadline) {
                return false;
            }
            context.restart();
            context.run_one_for(milliseconds{5});
        }
        return true;
    }
    // Until the name has been asked for so many times more.
    bool run_rounds(const std::string& host, std::size_t count) {
        const std::size_t goal = names.asked(host) + count;
        return run_until([&] { return names.asked(host) >= goal; });
    }
    void start(const config::Config& config) {
        service->use(config);
        service->resolve_first(seconds{20});
    }
    NameStatus status_of(const std::string& host) {
        for (NameStatus& status : service->status(base::Clock::now())) {
            if (status.host == host) {
                return status;
            }
        }
        ADD_FAILURE() << "no status of " << host;
        return {};
    }
    std::uint64_t failures(const std::string& host, LookupFailure kind) {
        return status_of(host).failures[static_cast<std::size_t>(kind)];
    }
    std::vector<base::IpAddress> known(const std::string& host) {
        const auto found = service->addresses().find(host);
        return found == service->addresses().end() ? std::vector<base::IpAddress>{} : found->second;
    }
    std::string take_log() {
        std::string text = log.str();
        log.str({});
        return text;
    }

    std::ostringstream log;
    boost::asio::io_context context;
    state::ControlCounters counters;
    RepeatedLines lines{[](spdlog::level::level_enum level, const std::string& text) {
        spdlog::log(level, "{}", text);
    }};
    ScriptedLookup names;
    std::vector<state::Resolution> changes;
    bool are_used = true;
    std::unique_ptr<NameService> service = std::make_unique<NameService>(
        context, counters, lines,
        [this](const state::Resolution& addresses) {
            changes.push_back(addresses);
            return are_used;
        },
        names.lookup());

  private:
    std::shared_ptr<spdlog::logger> before_;
};

TEST_F(NameServiceTest, StartsWithWhatIsKnown) {
    names.set("a", found({"10.0.0.1", "10.0.0.2"}));
    start(config_of({"a", "b", "10.0.0.9", "a"}));
    EXPECT_THAT(known("a"), ElementsAre(ip("10.0.0.1"), ip("10.0.0.2")));
    EXPECT_EQ(service->addresses().size(), 1u) << "numbers need no entry";
    EXPECT_EQ(names.asked("a"), 1u);
    EXPECT_EQ(take_log(), "warning group: b:9000 is down: cannot resolve b: no such name\n");
    EXPECT_EQ(counters.lookups_failed, 1u);
    EXPECT_THAT(service->unresolved(config_of({"a", "b"})),
                ElementsAre("group: b:9000 is down: cannot resolve b: no such name"));
    EXPECT_EQ(status_of("b").last_failure, LookupFailure::unknown_name);
    EXPECT_EQ(status_of("b").answer_age, std::nullopt);
}

TEST_F(NameServiceTest, AStartWaitsNoLongerThanItsLimit) {
    names.hang("mute");
    names.set("a", found({"10.0.0.1"}));
    service->use(config_of({"a", "mute"}));
    service->resolve_first(milliseconds{100});
    EXPECT_THAT(known("a"), ElementsAre(ip("10.0.0.1")));
    EXPECT_THAT(take_log(), HasSubstr("cannot resolve mute: no answer in time"));
    EXPECT_EQ(failures("mute", LookupFailure::timeout), 1u);
    // The answer that comes later is used: nobody has asked since.
    names.set("mute", found({"10.0.0.3"}));
    names.release("mute");
    ASSERT_TRUE(run_until([&] { return !changes.empty(); }));
    EXPECT_THAT(changes[0].at("mute"), ElementsAre(ip("10.0.0.3")));
    EXPECT_THAT(take_log(), HasSubstr("info group: mute:9000 (10.0.0.3) is resolved\n"));
    EXPECT_EQ(failures("mute", LookupFailure::timeout), 1u);
}

TEST_F(NameServiceTest, AnUnknownNameIsAskedForUntilItIsKnown) {
    start(config_of({"a"}));
    ASSERT_TRUE(run_rounds("a", 3));
    EXPECT_EQ(take_log(), "warning group: a:9000 is down: cannot resolve a: no such name\n")
        << "once, not with every try";
    names.set("a", found({"10.0.0.1"}));
    ASSERT_TRUE(run_until([&] { return !changes.empty(); }));
    EXPECT_THAT(changes[0].at("a"), ElementsAre(ip("10.0.0.1")));
    EXPECT_EQ(take_log(), "info group: a:9000 (10.0.0.1) is resolved\n");
}

TEST_F(NameServiceTest, OffAsksNotAgainForWhatIsKnown) {
    names.set("off", found({"10.0.0.1"}));
    names.set("on", found({"10.0.0.2"}));
    start(config_of_sites(
        {site_of("g", {"off"}, {false, kOften, seconds{20}}), site_of("h", {"on"})}));
    ASSERT_TRUE(run_rounds("on", 20));
    EXPECT_EQ(names.asked("off"), 1u);
    EXPECT_EQ(status_of("off").interval, std::nullopt);
}

TEST_F(NameServiceTest, TheLeastIntervalAndTimeoutOfASiteCount) {
    names.set("both", found({"10.0.0.1"}));
    names.set("rare", found({"10.0.0.2"}));
    start(config_of_sites({site_of("g", {"both", "rare"}, {true, hours{1}, seconds{20}}),
                           site_of("h", {"both"}, {true, kOften, milliseconds{50}}),
                           site_of("i", {"both"}, {false, milliseconds{1}, milliseconds{1}})}));
    ASSERT_TRUE(run_rounds("both", 10));
    EXPECT_EQ(names.asked("rare"), 1u);
    EXPECT_EQ(status_of("both").interval, kOften);
    EXPECT_FALSE(names.has_overlapped()) << "one query for all sites";
    names.hang("both");
    ASSERT_TRUE(run_until([&] { return failures("both", LookupFailure::timeout) == 1; }));
}

TEST_F(NameServiceTest, ChangesOfAddressesAreTold) {
    names.set("a", found({"10.0.0.1"}));
    start(config_of({"a"}));
    names.set("a", found({"10.0.0.2"}));
    ASSERT_TRUE(run_until([&] { return changes.size() == 1; }));
    EXPECT_THAT(changes[0].at("a"), ElementsAre(ip("10.0.0.2")));
    EXPECT_EQ(take_log(), "info group: a:9000 (10.0.0.2) has moved: it was 10.0.0.1\n");
    names.set("a", found({"10.0.0.3", "10.0.0.2"}));
    ASSERT_TRUE(run_until([&] { return changes.size() == 2; }));
    EXPECT_THAT(changes[1].at("a"), ElementsAre(ip("10.0.0.2"), ip("10.0.0.3")));
    EXPECT_EQ(take_log(), "info group: a:9000 (10.0.0.3) is a new address\n");
    names.set("a", found({"10.0.0.3"}));
    ASSERT_TRUE(run_until([&] { return changes.size() == 3; }));
    EXPECT_THAT(changes[2].at("a"), ElementsAre(ip("10.0.0.3")));
    EXPECT_EQ(take_log(), "info group: a:9000 (10.0.0.2) is no longer an address of it\n");
}

TEST_F(NameServiceTest, AChangeThatCannotBeUsedIsTriedAgainWithTheNextAnswer) {
    names.set("a", found({"10.0.0.1"}));
    start(config_of({"a"}));
    are_used = false;
    names.set("a", found({"10.0.0.2"}));
    ASSERT_TRUE(run_until([&] { return changes.size() == 3; }));
    are_used = true;
    ASSERT_TRUE(run_until([&] { return changes.size() == 4; }));
    EXPECT_THAT(changes.back().at("a"), ElementsAre(ip("10.0.0.2")));
    ASSERT_TRUE(run_rounds("a", 20));
    EXPECT_EQ(changes.size(), 4u);
    EXPECT_EQ(take_log(), "info group: a:9000 (10.0.0.2) has moved: it was 10.0.0.1\n");
}

TEST_F(NameServiceTest, AnotherOrderIsNoChange) {
    names.set("a", found({"10.0.0.1", "10.0.0.2"}));
    start(config_of({"a"}));
    names.set("a", found({"10.0.0.2", "10.0.0.1"}));
    ASSERT_TRUE(run_rounds("a", 20));
    EXPECT_THAT(changes, IsEmpty());
    EXPECT_EQ(take_log(), "");
}

TEST_F(NameServiceTest, ChangesInShortSuccessionAreToldTogether) {
    std::vector<std::string> hosts;
    for (int i = 0; i < 20; ++i) {
        hosts.push_back("n" + std::to_string(i));
        names.set(hosts.back(), found({"10.0.0.1"}));
    }
    start(config_of(hosts));
    for (const std::string& host : hosts) {
        names.set(host, found({"10.0.0.2"}));
    }
    ASSERT_TRUE(run_until([&] {
        return std::ranges::all_of(
            hosts, [&](const std::string& host) { return known(host)[0] == ip("10.0.0.2"); });
    }));
    ASSERT_TRUE(run_until(
        [&] { return !changes.empty() && changes.back().at("n19")[0] == ip("10.0.0.2"); }));
    EXPECT_LE(changes.size(), 10u) << "20 names that changed within some 10 ms";
}

TEST_F(NameServiceTest, FailuresOfEveryKindKeepTheAddresses) {
    names.set("a", found({"10.0.0.1", "10.0.0.2"}));
    start(config_of({"a"}));
    const std::vector<std::pair<LookupFailure, std::string>> kinds = {
        {LookupFailure::unavailable, "try again"},
        {LookupFailure::unknown_name, "no such name"},
        {LookupFailure::no_address, "no address"},
        {LookupFailure::other, "broken"}};
    for (const auto& [kind, text] : kinds) {
        names.set("a", failed(kind, text));
        ASSERT_TRUE(run_until([&, k = kind] { return failures("a", k) >= 5; }));
        EXPECT_THAT(take_log(),
                    MatchesRegex("warning cannot resolve a: " + text +
                                 "; the answer of [0-9]+ s ago is kept: 10.0.0.1, 10.0.0.2\n"))
            << "once for each kind";
        EXPECT_EQ(status_of("a").last_failure, kind);
        EXPECT_EQ(status_of("a").reason, text);
        EXPECT_TRUE(status_of("a").failing_for);
        EXPECT_THAT(status_of("a").addresses, ElementsAre(ip("10.0.0.1"), ip("10.0.0.2")));
    }
    EXPECT_GE(counters.lookups_failed, 20u);
    EXPECT_THAT(changes, IsEmpty());
    names.set("a", found({"10.0.0.1", "10.0.0.2"}));
    ASSERT_TRUE(run_until([&] { return !status_of("a").failing_for; }));
    EXPECT_THAT(take_log(), MatchesRegex("info a is resolved again, after [0-9]+ s\n"));
    EXPECT_THAT(changes, IsEmpty());
    EXPECT_EQ(status_of("a").last_failure, LookupFailure::other) << "the last one is remembered";
}

TEST_F(NameServiceTest, ANameThatHangsHoldsUpNoOther) {
    names.set("a", found({"10.0.0.1"}));
    names.set("stuck", found({"10.0.0.2"}));
    start(config_of({"a", "stuck"}, {true, kOften, milliseconds{30}}));
    names.hang("stuck");
    ASSERT_TRUE(run_until([&] { return failures("stuck", LookupFailure::timeout) == 1; }));
    const std::size_t asked = names.asked("stuck");
    ASSERT_TRUE(run_rounds("a", 20));
    EXPECT_EQ(names.asked("stuck"), asked) << "no second query while one is out";
    EXPECT_EQ(failures("stuck", LookupFailure::timeout), 1u);
    EXPECT_THAT(known("stuck"), ElementsAre(ip("10.0.0.2")));
    EXPECT_THAT(take_log(),
                HasSubstr("warning cannot resolve stuck: no answer in time; the answer"));
    names.release("stuck");
    ASSERT_TRUE(run_rounds("stuck", 3));
    EXPECT_THAT(take_log(), HasSubstr("info stuck is resolved again, after"));
    EXPECT_FALSE(names.has_overlapped());
}

TEST_F(NameServiceTest, AFailureThatComesLateWasCountedBefore) {
    start(config_of({"a"}, {true, kOften, milliseconds{20}}));
    for (std::uint64_t turn = 1; turn <= 5; ++turn) {
        names.hang("a");
        ASSERT_TRUE(run_until([&] { return failures("a", LookupFailure::timeout) == turn; }));
        names.release("a");
        ASSERT_TRUE(run_rounds("a", 2));
    }
    EXPECT_LE(counters.lookups_failed, names.asked("a"));
}

TEST_F(NameServiceTest, WhenAllThreadsHangNothingElseBreaks) {
    std::vector<std::string> hosts;
    for (std::size_t i = 0; i < LookupPool::kMaxThreads + 8; ++i) {
        hosts.push_back("n" + std::to_string(i));
        names.set(hosts.back(), found({"10.0.0.1"}));
    }
    start(config_of(hosts, {true, kOften, milliseconds{100}}));
    for (const std::string& host : hosts) {
        names.hang(host);
    }
    const auto have_failed = [&] {
        return std::ranges::all_of(hosts, [&](const std::string& host) {
            return status_of(host).failing_for.has_value();
        });
    };
    ASSERT_TRUE(run_until(have_failed)) << "also those that wait for a thread";
    EXPECT_EQ(names.most_running(), LookupPool::kMaxThreads);
    EXPECT_EQ(service->addresses().size(), hosts.size());
    for (const std::string& host : hosts) {
        names.set(host, found({"10.0.0.2"}));
    }
    names.release_all();
    ASSERT_TRUE(run_until([&] {
        return std::ranges::all_of(hosts, [&](const std::string& host) {
            return !status_of(host).failing_for && known(host)[0] == ip("10.0.0.2");
        });
    }));
    EXPECT_FALSE(names.has_overlapped());
}

TEST_F(NameServiceTest, NamesSpreadOverTheInterval) {
    constexpr base::Duration interval{600};
    std::vector<std::string> hosts;
    for (int i = 0; i < 100; ++i) {
        hosts.push_back("n" + std::to_string(i));
        names.set(hosts.back(), found({"10.0.0.1"}));
    }
    start(config_of(hosts, {true, interval, seconds{20}}));
    ASSERT_TRUE(run_until([&] {
        return std::ranges::all_of(hosts,
                                   [&](const std::string& host) { return names.asked(host) >= 2; });
    }));
    std::vector<base::TimePoint> second;
    for (const std::string& host : hosts) {
        second.push_back(names.times(host)[1]);
    }
    std::ranges::sort(second);
    EXPECT_GT(second[75] - second[25], interval / 6) << "evenly spread it is half of the interval";
}

TEST_F(NameServiceTest, ANewConfigurationKeepsWhatStaysAndForgetsWhatIsGone) {
    names.set("stays", found({"10.0.0.1"}));
    names.set("goes", found({"10.0.0.2"}));
    const config::Resolve rarely{true, hours{1}, seconds{20}};
    start(config_of({"stays", "goes"}, rarely));
    names.set("stays", failed(LookupFailure::unavailable));
    names.set("comes", found({"10.0.0.3"}));
    service->use(config_of({"stays", "comes"}, rarely));
    EXPECT_THAT(known("goes"), IsEmpty());
    EXPECT_THAT(known("stays"), ElementsAre(ip("10.0.0.1")));
    ASSERT_TRUE(run_until([&] { return !known("comes").empty(); }));
    ASSERT_TRUE(run_until([&] { return names.asked("stays") == 2; })) << "names are read again";
    ASSERT_TRUE(run_until([&] { return status_of("stays").failing_for.has_value(); }));
    EXPECT_THAT(known("stays"), ElementsAre(ip("10.0.0.1"))) << "a dead resolver changes nothing";
    EXPECT_EQ(names.asked("goes"), 1u);
    EXPECT_EQ(service->status(base::Clock::now()).size(), 2u);
    ASSERT_TRUE(run_until([&] { return !changes.empty(); }));
    EXPECT_EQ(changes[0].count("goes"), 0u);
}

// The configuration before may come back when nobody confirms the new one, also with a resolver
// that is dead by then.
TEST_F(NameServiceTest, NamesCanBeKeptForAConfigurationThatMayComeBack) {
    names.set("old", found({"10.0.0.1"}));
    names.set("new", found({"10.0.0.2"}));
    const config::Config before = config_of({"old"});
    start(before);
    service->use(config_of({"new"}), Unused::keep);
    ASSERT_TRUE(run_rounds("new", 1));
    const std::size_t asked = names.asked("old");
    names.set("old", failed(LookupFailure::unavailable));
    ASSERT_TRUE(run_rounds("new", 20));
    EXPECT_LE(names.asked("old"), asked + 1) << "at most the one that was under way";
    EXPECT_EQ(service->status(base::Clock::now()).size(), 1u);
    EXPECT_THAT(known("old"), ElementsAre(ip("10.0.0.1")));
    service->use(before, Unused::keep);
    EXPECT_THAT(known("old"), ElementsAre(ip("10.0.0.1")));
    ASSERT_TRUE(run_rounds("old", 3));
    EXPECT_THAT(known("old"), ElementsAre(ip("10.0.0.1")));
    EXPECT_THAT(known("new"), ElementsAre(ip("10.0.0.2")));
    service->forget_unused();
    EXPECT_THAT(known("new"), IsEmpty());
    EXPECT_THAT(known("old"), ElementsAre(ip("10.0.0.1")));
}

TEST_F(NameServiceTest, AFailureOfANameThatNoSiteHasIsNotLogged) {
    names.set("old", found({"10.0.0.1"}));
    start(config_of({"old"}, {true, kOften, milliseconds{30}}));
    names.hang("old");
    ASSERT_TRUE(run_until([&] { return names.running() == 1; }));
    service->use(config_of({}), Unused::keep);
    ASSERT_TRUE(run_until([&] { return counters.lookups_failed == 1; }));
    EXPECT_EQ(take_log(), "");
}

TEST_F(NameServiceTest, EveryConfigurationWarnsOfItsUnknownNames) {
    start(config_of({"a"}, {true, hours{1}, seconds{20}}));
    take_log();
    service->use(config_of_sites({site_of("one", {"a"}), site_of("two", {"a"})}));
    EXPECT_EQ(take_log(),
              "warning one: a:9000 is down: cannot resolve a: no such name\n"
              "warning two: a:9000 is down: cannot resolve a: no such name\n");
}

TEST_F(NameServiceTest, ANameThatComesBackWaitsForTheQueryThatIsOut) {
    names.hang("a");
    names.set("a", found({"10.0.0.1"}));
    names.set("b", found({"10.0.0.2"}));
    service->use(config_of({"a", "b"}));
    ASSERT_TRUE(run_until([&] { return names.running() == 1; }));
    service->use(config_of({"b"}));
    service->use(config_of({"a", "b"}));
    ASSERT_TRUE(run_rounds("b", 10));
    EXPECT_EQ(names.asked("a"), 1u);
    names.release("a");
    ASSERT_TRUE(run_until([&] { return !known("a").empty(); }));
    EXPECT_FALSE(names.has_overlapped());
}

TEST_F(NameServiceTest, AConfigurationToComeIsAskedForInAdvance) {
    names.set("a", found({"10.0.0.1"}));
    names.set("b", found({"10.0.0.2"}));
    const config::Resolve rarely{true, hours{1}, seconds{20}};
    start(config_of({"a"}, rarely));
    const config::Config next = config_of({"a", "b", "c"}, rarely);
    bool is_done = false;
    service->when_known(host_names(next), seconds{20}, [&] { is_done = true; });
    EXPECT_FALSE(is_done) << "never inside of the call";
    ASSERT_TRUE(run_until([&] { return is_done; }));
    EXPECT_EQ(names.asked("a"), 1u);
    EXPECT_THAT(known("b"), ElementsAre(ip("10.0.0.2")));
    EXPECT_THAT(service->unresolved(next),
                ElementsAre("group: c:9000 is down: cannot resolve c: no such name"));
    EXPECT_EQ(take_log(), "") << "it does not serve yet";
    EXPECT_EQ(service->status(base::Clock::now()).size(), 1u);
    service->use(next);
    EXPECT_EQ(take_log(), "warning group: c:9000 is down: cannot resolve c: no such name\n");
    ASSERT_TRUE(run_until([&] { return names.asked("a") == 2; }));
    EXPECT_EQ(names.asked("b"), 1u) << "its answer is fresh";
    EXPECT_THAT(changes, IsEmpty());
}

TEST_F(NameServiceTest, AConfigurationThatIsRefusedLeavesNothingBehind) {
    names.set("a", found({"10.0.0.1"}));
    names.set("b", found({"10.0.0.2"}));
    start(config_of({"a"}));
    bool is_done = false;
    service->when_known({"b", "c"}, seconds{20}, [&] { is_done = true; });
    ASSERT_TRUE(run_until([&] { return is_done; }));
    ASSERT_TRUE(run_rounds("a", 20));
    EXPECT_EQ(names.asked("b") + names.asked("c"), 2u) << "nobody uses them yet";
    service->use(config_of({"a"}));
    EXPECT_EQ(service->addresses().size(), 1u);
    ASSERT_TRUE(run_rounds("a", 20));
    EXPECT_EQ(names.asked("b") + names.asked("c"), 2u);
    EXPECT_THAT(changes, IsEmpty());
}

TEST_F(NameServiceTest, WaitingForNamesHasALimit) {
    names.hang("mute");
    start(config_of({}));
    bool is_done = false;
    service->when_known({"mute"}, milliseconds{50}, [&] { is_done = true; });
    ASSERT_TRUE(run_until([&] { return is_done; }));
    EXPECT_THAT(service->unresolved(config_of({"mute"})),
                ElementsAre(HasSubstr("cannot resolve mute: no answer in time")));
    is_done = false;
    service->when_known({}, hours{1}, [&] { is_done = true; });
    ASSERT_TRUE(run_until([&] { return is_done; })) << "nothing to wait for";
}

TEST_F(NameServiceTest, ACoroutineCanWaitForNames) {
    names.set("b", found({"10.0.0.2"}));
    start(config_of({}));
    std::vector<base::IpAddress> seen;
    const std::set<std::string> hosts = {"b"};
    const auto reload = [&]() -> boost::asio::awaitable<void> {
        co_await service->known(hosts, seconds{20});
        seen = known("b");
    };
    boost::asio::co_spawn(context, reload(), boost::asio::detached);
    ASSERT_TRUE(run_until([&] { return !seen.empty(); }));
    EXPECT_THAT(seen, ElementsAre(ip("10.0.0.2")));
}

TEST_F(NameServiceTest, WhoWaitsForAForgottenNameIsNotForgotten) {
    names.hang("mute");
    start(config_of({}));
    bool is_done = false;
    service->when_known({"mute"}, hours{1}, [&] { is_done = true; });
    service->use(config_of({}));
    ASSERT_TRUE(run_until([&] { return is_done; }));
}

TEST_F(NameServiceTest, TooManyAddressesAreSaidOnce) {
    std::vector<std::string> many;
    for (int i = 0; i < 70; ++i) {
        many.push_back("10.0.1." + std::to_string(i));
    }
    names.set("a", found(many));
    start(config_of({"a"}));
    ASSERT_TRUE(run_rounds("a", 5));
    EXPECT_EQ(known("a").size(), 64u);
    EXPECT_EQ(take_log(), "warning a has 70 addresses; 64 of them are used\n");
}

TEST_F(NameServiceTest, AfterTheStopNothingIsToldOrAsked) {
    names.set("a", found({"10.0.0.1"}));
    names.set("b", found({"10.0.0.1"}));
    start(config_of({"a", "b"}));
    names.hang("a");
    ASSERT_TRUE(run_until([&] { return names.running() == 1; }));
    const std::size_t asked = names.asked("b");
    bool is_done = false;
    service->when_known({"c"}, hours{1}, [&] { is_done = true; });
    service->stop();
    names.set("a", found({"10.0.0.2"}));
    names.release("a");
    ASSERT_TRUE(run_until([&] { return names.running() == 0; }));
    while (context.poll() > 0) {
    }
    EXPECT_THAT(known("a"), ElementsAre(ip("10.0.0.1")));
    EXPECT_LE(names.asked("b"), asked + 1) << "at most the one that was under way";
    EXPECT_EQ(take_log(), "");
    EXPECT_THAT(changes, IsEmpty());
    EXPECT_TRUE(is_done) << "nobody waits any longer";
    EXPECT_EQ(context.run(), 0u) << "no timer is left";
}

// What the loop and the threads still hold of it touches nothing (address sanitizer).
TEST_F(NameServiceTest, CanBeDestroyedAtAnyTime) {
    for (int turn = 0; turn < 20; ++turn) {
        names.set("a", found({"10.0.0." + std::to_string(turn + 1)}));
        names.hang("mute");
        service = std::make_unique<NameService>(
            context, counters, lines, [](const state::Resolution&) { return true; },
            names.lookup());
        service->use(config_of({"a", "mute"}));
        service->when_known({"mute", "b"}, milliseconds{1}, [] {});
        if (turn % 2 == 0) {
            run_rounds("a", 2);
        }
        service.reset();
        names.release("mute");
        while (context.poll() > 0) {
        }
        context.restart();
    }
}

}  // namespace
}  // namespace s3gate::control
