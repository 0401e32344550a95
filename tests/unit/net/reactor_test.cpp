// Ticks last 250 ms, so these tests take a second or two. Order and exactness are asserted in
// ticks, never in wall time.
#include "s3gate/net/reactor.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "loop.hpp"
#include "s3gate/net/task.hpp"

namespace s3gate::net {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(Ticks, CoverADurationRoundedUp) {
    EXPECT_EQ(ticks_of(milliseconds(0)), 1u);
    EXPECT_EQ(ticks_of(milliseconds(1)), 1u);
    EXPECT_EQ(ticks_of(milliseconds(250)), 1u);
    EXPECT_EQ(ticks_of(milliseconds(251)), 2u);
    EXPECT_EQ(ticks_of(seconds(1)), 4u);
    EXPECT_EQ(ticks_of(seconds(300)), 1200u);
    EXPECT_EQ(ticks_of(seconds(-5)), 1u);
    EXPECT_EQ(ticks_of(std::chrono::hours(24) * 365 * 100), 1u << 30);
}

struct Counted final : EventTarget {
    void on_events(std::uint32_t) override { ++count; }
    int count = 0;
};

// As systemd holds a copy of each listening socket: the close alone leaves it in the set.
TEST(ReactorDescriptors, OneThatIsRemovedReportsNoMoreThoughACopyIsOpen) {
    for (const bool is_removed : {false, true}) {
        Loop loop;
        Counted target;
        TcpPair pair;
        const Fd copy(::dup(pair.ours.get()));
        ASSERT_TRUE(loop.reactor.add(pair.ours.get(), target));
        loop.settle();
        if (is_removed) {
            loop.reactor.remove(pair.ours.get());
        }
        pair.ours.close();
        const int before = target.count;
        std::string_view news = "news";
        send_some(pair.theirs, news);
        loop.settle();
        EXPECT_EQ(target.count > before, !is_removed);
    }
}

struct Timer final : TimerNode {
    Timer(Reactor& in_reactor, std::vector<int>& in_order, int in_id)
        : reactor(in_reactor), order(in_order), id(in_id) {}
    void on_deadline() override {
        fired_at = reactor.now();
        ++count;
        order.push_back(id);
        if (action) {
            action();
        }
    }
    Reactor& reactor;
    std::vector<int>& order;
    int id;
    int count = 0;
    Tick fired_at = 0;
    std::function<void()> action;
};

struct ReactorTimers : testing::Test {
    // Turns the loop until `tick` is over.
    void pass(Tick tick) {
        ASSERT_TRUE(loop.run_until([&] { return loop.reactor.now() > tick; }));
    }
    Loop loop;
    std::vector<int> order;
};

TEST_F(ReactorTimers, FireInTheOrderOfTheirDeadlines) {
    Timer late(loop.reactor, order, 3);
    Timer early(loop.reactor, order, 1);
    Timer middle(loop.reactor, order, 2);
    loop.reactor.arm(late, 3);
    loop.reactor.arm(early, 1);
    loop.reactor.arm(middle, 2);
    ASSERT_TRUE(loop.run_until([&] { return order.size() == 3; }));
    EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
    // One tick more than asked: the tick of arming had partly passed, and a deadline must be late
    // rather than early.
    EXPECT_EQ(early.fired_at, 2u);
    EXPECT_EQ(middle.fired_at, 3u);
    EXPECT_EQ(late.fired_at, 4u);
    pass(6);
    EXPECT_EQ(order.size(), 3u) << "each once";
}

TEST_F(ReactorTimers, DeadlinesMoveBothWays) {
    Timer later(loop.reactor, order, 1);
    Timer earlier(loop.reactor, order, 2);
    loop.reactor.arm(later, 1);
    loop.reactor.arm(later, 4);  // stays in its old slot, is checked there and moved on
    loop.reactor.arm(earlier, 40);
    loop.reactor.arm(earlier, 2);
    ASSERT_TRUE(loop.run_until([&] { return order.size() == 2; }));
    EXPECT_EQ(earlier.fired_at, 3u);
    EXPECT_EQ(later.fired_at, 5u);
    EXPECT_EQ(later.count, 1);
}

TEST_F(ReactorTimers, DisarmedTimersStaySilentAndCanBeArmedAnew) {
    Timer gone(loop.reactor, order, 1);
    Timer again(loop.reactor, order, 2);
    loop.reactor.arm(gone, 1);
    Reactor::disarm(gone);
    EXPECT_TRUE(gone.is_linked()) << "lazy: it leaves the wheel when its slot comes up";
    loop.reactor.arm(again, 1);
    Reactor::disarm(again);
    loop.reactor.arm(again, 2);
    pass(4);
    EXPECT_EQ(order, std::vector<int>{2});
    EXPECT_FALSE(gone.is_linked());
    EXPECT_EQ(again.fired_at, 3u);
}

TEST_F(ReactorTimers, MayBeDestroyedWhileLinked) {
    Timer stays(loop.reactor, order, 1);
    {
        Timer goes(loop.reactor, order, 2);
        loop.reactor.arm(goes, 1);
        loop.reactor.arm(stays, 1);
    }
    pass(3);
    EXPECT_EQ(order, std::vector<int>{1});
}

TEST_F(ReactorTimers, HandlersMayDestroyDisarmAndArmOthersOfTheSameSlot) {
    auto destroyed = std::make_unique<Timer>(loop.reactor, order, 2);
    Timer disarmed(loop.reactor, order, 3);
    Timer moved(loop.reactor, order, 4);
    Timer first(loop.reactor, order, 1);
    loop.reactor.arm(first, 1);
    loop.reactor.arm(*destroyed, 1);
    loop.reactor.arm(disarmed, 1);
    loop.reactor.arm(moved, 1);
    first.action = [&] {
        destroyed.reset();
        Reactor::disarm(disarmed);
        loop.reactor.arm(moved, 2);
        if (first.count == 1) {
            loop.reactor.arm(first, 1);
        }
    };
    pass(6);
    EXPECT_EQ(order, (std::vector<int>{1, 1, 4}));
    EXPECT_EQ(moved.fired_at, first.fired_at + 3);
}

detached turn(Reactor& reactor, std::vector<int>& order, int id, int rounds) {
    for (int i = 0; i < rounds; ++i) {
        order.push_back(id);
        co_await reactor.yield();
    }
    order.push_back(-id);
}

TEST_F(ReactorTimers, YieldingCoroutinesTakeTurns) {
    turn(loop.reactor, order, 1, 3);
    turn(loop.reactor, order, 2, 3);
    ASSERT_TRUE(loop.run_until([&] { return order.size() == 8; }));
    EXPECT_EQ(order, (std::vector<int>{1, 2, 1, 2, 1, 2, -1, -2}));
}

detached relay(Reactor& reactor, std::vector<int>& order, int id, std::size_t bytes) {
    for (int i = 0; i < 2; ++i) {
        co_await reactor.yield();
        order.push_back(id);
        reactor.note_relayed(bytes);
    }
}

TEST_F(ReactorTimers, RelaysGoOnUntilSoMuchIsOutInARound) {
    for (const int id : {1, 2, 3}) {
        relay(loop.reactor, order, id, Reactor::kRelayedPerRound / 2);
    }
    std::vector<std::size_t> after;
    for (int round = 0; round < 4; ++round) {
        loop.reactor.turn(seconds(60));
        after.push_back(order.size());
    }
    EXPECT_EQ(order, (std::vector<int>{1, 2, 3, 1, 2, 3}));
    EXPECT_EQ(after, (std::vector<std::size_t>{2, 4, 6, 6}));
}

TEST_F(ReactorTimers, ARelayBehindALongTurnOfAnotherGoesOnInTheNextRound) {
    relay(loop.reactor, order, 1, 3 * Reactor::kRelayedPerRound);
    relay(loop.reactor, order, 2, 0);
    loop.reactor.turn(seconds(60));
    EXPECT_EQ(order, std::vector<int>{1});
    loop.reactor.turn(seconds(60));
    EXPECT_EQ(order, (std::vector<int>{1, 2, 1}));
    loop.settle();
}

detached begin(Reactor& reactor, std::vector<int>& order, int id) {
    co_await reactor.begin_work();
    order.push_back(id);
}

TEST_F(ReactorTimers, OnlySoManyBeginInOneRoundInTheOrderTheyCame) {
    int many = 5 * Reactor::kBeginsPerRound / 2;
    std::vector<int> begun;
    std::vector<int> all;
    for (int id = 0; id < many; ++id) {
        begin(loop.reactor, begun, id);
        all.push_back(id);
    }
    turn(loop.reactor, order, 1, 3);  // in progress: continues in every round
    for (unsigned round = 1; round <= 3; ++round) {
        loop.reactor.turn(seconds(60));
        EXPECT_EQ(begun.size(), std::min<std::size_t>(round * Reactor::kBeginsPerRound, many));
        EXPECT_EQ(order.size(), 1u + round);
        if (round == 1) {
            begin(loop.reactor, begun, many++);  // after those that wait
            all.push_back(many - 1);
        }
    }
    EXPECT_EQ(begun, all);
}

TEST_F(ReactorTimers, WhatMayBeginDoesNotWait) {
    loop.reactor.submit([&] {
        begin(loop.reactor, order, 1);
        order.push_back(2);
    });
    loop.reactor.turn(seconds(60));
    EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

detached begin_often(Reactor& reactor, std::vector<int>& order, int times) {
    for (int i = 0; i < times; ++i) {
        co_await reactor.begin_work();
        order.push_back(i);
    }
}

TEST_F(ReactorTimers, OneThatBeginsAgainAndAgainIsBoundByTheRoundToo) {
    begin_often(loop.reactor, order, 3 * Reactor::kBeginsPerRound);
    for (unsigned round = 1; round <= 3; ++round) {
        loop.reactor.turn(seconds(60));
        EXPECT_EQ(order.size(), round * Reactor::kBeginsPerRound);
    }
}

TEST_F(ReactorTimers, AYieldingCoroutineDoesNotKeepTimersFromFiring) {
    Timer timer(loop.reactor, order, 1);
    loop.reactor.arm(timer, 1);
    struct Busy {
        static detached run(Reactor& reactor, const bool& stop, bool& ended) {
            while (!stop) {
                co_await reactor.yield();
            }
            ended = true;
        }
    };
    bool stop = false;
    bool ended = false;
    Busy::run(loop.reactor, stop, ended);
    EXPECT_TRUE(loop.run_until([&] { return timer.count == 1; }));
    stop = true;
    EXPECT_TRUE(loop.run_until([&] { return ended; }));
}

TEST_F(ReactorTimers, MessagesComeInTheOrderOfSubmissionAndMaySubmitOthers) {
    for (const int id : {1, 2, 3}) {
        loop.reactor.submit([this, id] {
            order.push_back(id);
            loop.reactor.submit([this, id] { order.push_back(10 * id); });
        });
    }
    loop.reactor.turn(seconds(60));
    EXPECT_EQ(order, (std::vector<int>{1, 2, 3})) << "what they submit waits for the next round";
    loop.reactor.turn(seconds(60));
    EXPECT_EQ(order, (std::vector<int>{1, 2, 3, 10, 20, 30}));
}

TEST(ReactorMessages, OfAnotherThreadEndTheWait) {
    Reactor reactor;  // not started: no tick ends a wait
    for (int i = 0; i < 200; ++i) {
        bool arrived = false;
        std::thread sender([&] {
            std::this_thread::sleep_for(std::chrono::microseconds(i % 4 * 50));
            reactor.submit([&] { arrived = true; });
        });
        // The bell may still ring for a message that the previous round has taken. A round that
        // waits for its full patience would find the message too, but a minute late.
        const auto begun = std::chrono::steady_clock::now();
        for (int round = 0; round < 3 && !arrived; ++round) {
            reactor.turn(kPatience);
        }
        sender.join();
        ASSERT_TRUE(arrived) << i;
        ASSERT_LT(std::chrono::steady_clock::now() - begun, kPatience) << i;
    }
}

TEST(ReactorMessages, AreNeitherLostNorReordered) {
    constexpr int kMessages = 20'000;
    Reactor reactor;
    int arrived = 0;
    bool in_order = true;
    std::thread sender([&] {
        for (int i = 0; i < kMessages; ++i) {
            reactor.submit([&arrived, &in_order, i] {
                in_order = in_order && arrived == i;
                ++arrived;
            });
        }
    });
    const auto begun = std::chrono::steady_clock::now();
    for (int round = 0; round < 2 * kMessages && arrived < kMessages; ++round) {
        reactor.turn(kPatience);
    }
    sender.join();
    EXPECT_EQ(arrived, kMessages);
    EXPECT_LT(std::chrono::steady_clock::now() - begun, kPatience) << "no wait is sat out";
    EXPECT_TRUE(in_order);
}

TEST_F(ReactorTimers, AStoppedLoopDeliversNothingMore) {
    loop.reactor.submit([&] {
        order.push_back(1);
        loop.reactor.stop();
    });
    loop.reactor.submit([&] { order.push_back(2); });
    loop.reactor.run();
    EXPECT_TRUE(loop.reactor.is_stopped());
    EXPECT_EQ(order, std::vector<int>{1});
}

TEST_F(ReactorTimers, RelaysGetTheirShareOfABusyRound) {
    constexpr std::size_t kCount = 64;  // four turns of work
    static_assert(kCount * Reactor::kRelayedPerEvent == 4 * Reactor::kRelayedPerRound);
    std::vector<TcpPair> pairs(kCount);
    std::vector<std::unique_ptr<Stream>> streams;
    for (TcpPair& pair : pairs) {
        streams.push_back(std::make_unique<Stream>(loop.reactor));
        ASSERT_TRUE(streams.back()->open(pair.ours.release()));
    }
    loop.settle();
    for (const int id : {1, 2, 3, 4, 5, 6, 7, 8}) {
        relay(loop.reactor, order, id, Reactor::kRelayedPerRound);
    }
    const auto end = std::chrono::steady_clock::now() + kPatience;
    for (std::size_t i = 0; i < kCount; ++i) {
        ASSERT_EQ(::send(pairs[i].theirs.get(), "x", 1, 0), 1);
        while (!streams[i]->has_unread() && std::chrono::steady_clock::now() < end) {
        }
    }
    loop.reactor.turn(seconds(60));
    EXPECT_EQ(order, (std::vector<int>{1, 2, 3, 4}));
    loop.reactor.turn(seconds(60));
    EXPECT_EQ(order, (std::vector<int>{1, 2, 3, 4, 5})) << "a quiet round";
    loop.settle();
}

detached read_within(Stream& stream, Tick limit, Wake& wake) {
    wake = co_await stream.readable(limit);
}

// More descriptors than one epoll_wait reports.
TEST_F(ReactorTimers, WhatArrivedDuringAStallIsSeenBeforeAnybodyIsLate) {
    constexpr std::size_t kCount = 600;
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
    std::vector<TcpPair> pairs(kCount);
    std::vector<std::unique_ptr<Stream>> streams;
    std::vector<Wake> wakes(kCount, Wake::interrupted);
    for (TcpPair& pair : pairs) {
        streams.push_back(std::make_unique<Stream>(loop.reactor));
        ASSERT_TRUE(streams.back()->open(pair.ours.release()));
    }
    loop.settle();
    for (std::size_t i = 0; i < kCount; ++i) {
        read_within(*streams[i], 0, wakes[i]);  // late at the next tick
    }
    for (const TcpPair& pair : pairs) {
        ASSERT_EQ(::send(pair.theirs.get(), "x", 1, 0), 1);
    }
    std::this_thread::sleep_for(milliseconds(2100));  // the stall itself
    ASSERT_TRUE(loop.run_until([&] {
        return std::none_of(wakes.begin(), wakes.end(),
                            [](Wake wake) { return wake == Wake::interrupted; });
    }));
    EXPECT_EQ(std::count(wakes.begin(), wakes.end(), Wake::ready), std::ptrdiff_t{kCount});
}

struct Observer final : StreamObserver {
    void on_stream_event() override {
        ++events;
        if (action) {
            action();
        }
    }
    int events = 0;
    std::function<void()> action;
};

TEST_F(ReactorTimers, EventsOfOneRoundDoNotReachWhatAnEarlierOneEnded) {
    TcpPair a;
    TcpPair b;
    auto first = std::make_unique<Stream>(loop.reactor);
    auto second = std::make_unique<Stream>(loop.reactor);
    Observer observer_a;
    Observer observer_b;
    ASSERT_TRUE(first->open(a.ours.release()));
    ASSERT_TRUE(second->open(b.ours.release()));
    loop.settle();
    first->set_observer(&observer_a);
    second->set_observer(&observer_b);
    observer_a.action = [&] { second.reset(); };
    observer_b.action = [&] { first.reset(); };
    ASSERT_EQ(::send(a.theirs.get(), "x", 1, 0), 1);
    ASSERT_EQ(::send(b.theirs.get(), "x", 1, 0), 1);
    ASSERT_TRUE(loop.run_until([&] { return observer_a.events + observer_b.events > 0; }));
    loop.settle();
    EXPECT_EQ(observer_a.events + observer_b.events, 1);
}

}  // namespace
}  // namespace s3gate::net
