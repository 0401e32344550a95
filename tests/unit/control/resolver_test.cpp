// Name resolution: numeric hosts need no look-up, and a resolver that hangs delays the caller at
// most by the limit.

#include "s3gate/control/resolver.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <future>

namespace s3gate::control {
namespace {

using std::chrono::seconds;

base::IpAddress ip(const char* text) {
    return *base::IpAddress::parse(text);
}

config::Config config_of(const std::vector<std::string>& hosts) {
    config::Config out;
    out.sites.emplace_back();
    for (const std::string& host : hosts) {
        config::Server server;
        server.host = host;
        out.sites[0].backends.servers.push_back(server);
    }
    return out;
}

TEST(Resolver, NumericHostsAskNobody) {
    std::atomic<int> asked{0};
    const auto outcome =
        resolve_all(config_of({"10.0.0.1", "::1"}), seconds{10}, [&](const std::string&) {
            ++asked;
            return LookupResult{};
        });
    EXPECT_EQ(asked, 0);
    EXPECT_EQ(outcome.addresses.at("10.0.0.1"), std::vector{ip("10.0.0.1")});
    EXPECT_EQ(outcome.addresses.at("::1"), std::vector{ip("::1")});
    EXPECT_TRUE(outcome.errors.empty());
}

TEST(Resolver, EachNameIsAskedOnceAndErrorsAreKept) {
    std::atomic<int> asked{0};
    const auto outcome = resolve_all(
        config_of({"good", "bad", "good", "10.0.0.1"}), seconds{10}, [&](const std::string& host) {
            ++asked;
            return host == "good" ? LookupResult{.addresses = {ip("10.0.0.7"), ip("10.0.0.8")}}
                                  : LookupResult{.error = "no such name"};
        });
    EXPECT_EQ(asked, 2);
    EXPECT_EQ(outcome.addresses.at("good"), (std::vector{ip("10.0.0.7"), ip("10.0.0.8")}));
    EXPECT_EQ(outcome.errors.at("bad"), "no such name");
    EXPECT_EQ(outcome.addresses.count("bad"), 0u);
}

// An abandoned thread continues after its caller is gone and may use only its own memory (address
// sanitizer).
TEST(Resolver, AHangingLookupIsLeftBehind) {
    auto release = std::make_shared<std::promise<void>>();
    auto finished = std::make_shared<std::promise<void>>();
    auto is_finished = finished->get_future();
    {
        const auto gate = release->get_future().share();
        const auto outcome =
            resolve_all(config_of({"fast", "stuck"}), std::chrono::milliseconds{200},
                        [gate, finished](const std::string& host) {
                            if (host == "stuck") {
                                gate.wait();
                                finished->set_value();
                            }
                            return LookupResult{.addresses = {ip("10.0.0.1")}};
                        });
        EXPECT_EQ(outcome.addresses.count("fast"), 1u);
        EXPECT_EQ(outcome.errors.at("stuck"), "no answer in time");
    }
    release->set_value();
    EXPECT_EQ(is_finished.wait_for(seconds{30}), std::future_status::ready);
}

TEST(Resolver, NothingToAskIsDone) {
    EXPECT_TRUE(resolve_all(config_of({}), seconds{10}).errors.empty());
}

TEST(Resolver, TheSystemKnowsNumbers) {
    EXPECT_EQ(look_up("127.0.0.1").addresses, std::vector{ip("127.0.0.1")});
}

}  // namespace
}  // namespace s3gate::control
