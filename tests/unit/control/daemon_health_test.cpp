#include "daemon_health.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "s3gate/state/counters.hpp"

namespace s3gate::control {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

constexpr HealthQuestion kPlain{};
constexpr HealthQuestion kLive{.is_live = true};
constexpr HealthQuestion kStrict{.is_strict = true};

TEST(HealthOf, FollowsThePhase) {
    const auto reason = [](Phase phase, bool is_on_standby, HealthQuestion question) {
        return health_of({.phase = phase, .is_on_standby = is_on_standby}, question).reason;
    };
    EXPECT_EQ(reason(Phase::serving, false, kPlain), "ok");
    EXPECT_THAT(reason(Phase::starting, false, kPlain), HasSubstr("starting"));
    EXPECT_EQ(reason(Phase::serving, true, kPlain), "standby");
    EXPECT_THAT(reason(Phase::leaving, false, kPlain), HasSubstr("stopping"));
    EXPECT_EQ(reason(Phase::draining, false, kPlain), "draining");
    EXPECT_EQ(reason(Phase::draining, true, kStrict), "draining");
    EXPECT_EQ(reason(Phase::stopping, false, kPlain), "stopping");
    for (const Phase phase :
         {Phase::starting, Phase::serving, Phase::leaving, Phase::draining, Phase::stopping}) {
        EXPECT_EQ(reason(phase, true, kLive), "ok");
    }
}

TEST(HealthOf, SeesThreadsAndListenersEvenOfALiveHost) {
    const HealthFacts silent{.phase = Phase::serving, .silence = "worker 1 has not moved for 2 s"};
    EXPECT_FALSE(health_of(silent, kPlain).is_healthy);
    EXPECT_EQ(health_of(silent, kLive).reason, silent.silence);
    const HealthFacts paused{.phase = Phase::serving, .paused_listeners = 2};
    EXPECT_THAT(health_of(paused, kPlain).reason, HasSubstr("do not accept"));
    EXPECT_FALSE(health_of(paused, kLive).is_healthy);
}

state::ClusterStatus cluster_of(std::vector<bool> groups) {
    state::SiteStatus site;
    for (const bool is_usable : groups) {
        state::ServerStatus down{.text = "down",
                                 .addresses = {{.address = "a", .is_usable = false}}};
        state::ServerStatus other{.text = "other",
                                  .addresses = {{.address = "b", .is_usable = is_usable}}};
        site.groups.push_back({.name = "g", .servers = {down, other}});
    }
    return {.sites = {site}};
}

TEST(HealthOf, AsksForServersOnlyWhereItIsStrict) {
    for (const bool is_usable : {true, false}) {
        const state::ClusterStatus cluster = cluster_of({true, is_usable});
        const HealthFacts facts{.phase = Phase::serving, .cluster = &cluster};
        EXPECT_TRUE(health_of(facts, kPlain).is_healthy);
        EXPECT_TRUE(health_of(facts, kLive).is_healthy);
        EXPECT_EQ(health_of(facts, kStrict).is_healthy, is_usable);
    }
}

class LifeSignsTest : public testing::Test {
  protected:
    void move(std::size_t worker) { state::bump(board_.counters(worker).ticks); }
    // Looks every kEvery for so long; the workers of `moving` move in between.
    void pass(milliseconds time, const std::vector<std::size_t>& moving) {
        for (const base::TimePoint end = now_ + time; now_ < end;) {
            now_ += LifeSigns::kEvery;
            for (const std::size_t worker : moving) {
                move(worker);
            }
            signs_.look(now_);
        }
    }
    std::string silence() const { return signs_.find_silence({}, now_); }

    state::Board board_{2};
    base::TimePoint now_ = base::TimePoint{} + std::chrono::hours{1};
    LifeSigns signs_{board_, now_};
};

TEST_F(LifeSignsTest, AreThereWhileAllMove) {
    EXPECT_EQ(silence(), "");
    pass(std::chrono::seconds{5}, {0, 1});
    EXPECT_EQ(silence(), "");
}

TEST_F(LifeSignsTest, TellTheWorkerThatDoesNot) {
    pass(milliseconds{1000}, {0});
    EXPECT_EQ(silence(), "");  // not longer than a second
    pass(milliseconds{250}, {0});
    EXPECT_THAT(silence(), HasSubstr("worker 1 has not moved"));
    pass(milliseconds{250}, {0, 1});
    EXPECT_EQ(silence(), "");
}

TEST_F(LifeSignsTest, TellTheControlLoop) {
    now_ += milliseconds{1001};
    EXPECT_THAT(silence(), HasSubstr("the control loop has not moved"));
}

TEST_F(LifeSignsTest, BlameNoWorkerForAStandstillOfAll) {
    now_ += std::chrono::seconds{10};
    signs_.look(now_);
    EXPECT_EQ(silence(), "");
    pass(milliseconds{1250}, {0});
    EXPECT_THAT(silence(), HasSubstr("worker 1"));
}

}  // namespace
}  // namespace s3gate::control
