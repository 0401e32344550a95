#include "inherited_sockets.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "s3gate/net/listen_socket.hpp"

namespace s3gate::control {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(SocketName, IsOneForEachAddressAndPlace) {
    EXPECT_EQ(socket_name("0.0.0.0:9000", 0), "s3gate-listen-0.0.0.0;9000-0");
    EXPECT_EQ(socket_name("[::1]:9000", 12), "s3gate-listen-[;;1];9000-12");
    std::set<std::string> names;
    const std::vector<std::string> identities = {
        "127.0.0.1:1",       "127.0.0.1:11",     "127.0.0.1:0 a 0",   "127.0.0.1:0 a 1",
        "[::1]:1",           "[::]:1",           "127.0.0.1:0 a:b 0", "127.0.0.1:0 a.b 0",
        "127.0.0.1:0 a 0-1", "127.0.0.1:0 a-1 0"};
    for (const std::string& identity : identities) {
        for (const std::size_t place : {0, 1, 10, 11}) {
            names.insert(socket_name(identity, place));
        }
    }
    EXPECT_EQ(names.size(), identities.size() * 4);
}

// sd_listen_fds_with_names(3): at most 255 characters, no control character, no ':'.
TEST(SocketName, FitsWhateverIsConfigured) {
    const std::string longest = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:0 " +
                                std::string(64, ':') + std::string(64, '_') + " 4294967295";
    const std::string name = socket_name(longest, 1023);
    EXPECT_LE(name.size(), 255u);
    EXPECT_TRUE(std::ranges::all_of(name, [](char c) { return c > ' ' && c <= '~' && c != ':'; }))
        << name;
}

struct Inherited : testing::Test {
    Inherited() {
        sockets = net::bind_listeners(bound, 4);
        net::start_listening(sockets);
    }

    state::Address address(const std::string& identity) const {
        state::Address made;
        made.address = bound;
        made.text = bound.to_string();
        made.identity = identity;
        return made;
    }
    void pass(const std::string& name, std::size_t socket) {
        passed.push_back({name, std::move(sockets[socket])});
    }
    // What an address with that identity gets of the passed sockets.
    std::vector<base::Descriptor> take(const std::string& identity) {
        state::Snapshot snapshot;
        snapshot.addresses.push_back(address(identity));
        InheritedSockets inherited(std::move(passed));
        inherited.close_unusable(snapshot);
        warnings = inherited.warnings();
        return inherited.take(snapshot.addresses.front());
    }

    base::SocketAddress bound = *base::SocketAddress::parse("127.0.0.1:0");
    std::vector<base::Descriptor> sockets;
    std::vector<PassedSocket> passed;
    std::vector<std::string> warnings;
};

TEST_F(Inherited, GoToTheirPlaces) {
    const int last = sockets[2].get();
    pass(socket_name("a", 3), 2);
    pass(socket_name("a", 1), 0);
    const auto taken = take("a");
    ASSERT_EQ(taken.size(), 4u);
    EXPECT_FALSE(taken[0]);
    EXPECT_TRUE(taken[1]);
    EXPECT_FALSE(taken[2]);
    EXPECT_EQ(taken[3].get(), last);
    EXPECT_THAT(warnings, ElementsAre(HasSubstr("taken over: " + bound.to_string())));
}

TEST_F(Inherited, GoToAnAddressOfOperatorsAsToOneOfASite) {
    pass(socket_name("admin a", 0), 0);
    state::Snapshot snapshot;
    snapshot.addresses.push_back(address("a"));
    snapshot.admin_addresses.push_back(address("admin a"));
    InheritedSockets inherited(std::move(passed));
    inherited.close_unusable(snapshot);
    EXPECT_THAT(inherited.take(snapshot.addresses.front()), IsEmpty());
    EXPECT_EQ(inherited.take(snapshot.admin_addresses.front()).size(), 1u);
    EXPECT_THAT(inherited.unused(), IsEmpty());
}

TEST_F(Inherited, AreNotTakenTwice) {
    pass(socket_name("a", 0), 0);
    state::Snapshot snapshot;
    snapshot.addresses.push_back(address("a"));
    InheritedSockets inherited(std::move(passed));
    inherited.close_unusable(snapshot);
    EXPECT_EQ(inherited.take(snapshot.addresses.front()).size(), 1u);
    EXPECT_THAT(inherited.take(snapshot.addresses.front()), IsEmpty());
}

TEST_F(Inherited, OfAnotherIdentityAreClosed) {
    const int socket = sockets[0].get();
    pass(socket_name("b", 0), 0);
    EXPECT_THAT(take("a"), IsEmpty());
    EXPECT_EQ(net::inode_of(socket), 0u) << "it is closed";
    EXPECT_THAT(warnings, ElementsAre(HasSubstr("they are closed: " + bound.to_string())));
}

TEST_F(Inherited, WithNamesOfOthersAreClosed) {
    const std::vector<std::string> names = {"", "s3gate-listen-", "s3gate-listen-0",
                                            "s3gate-listen-a-1024"};
    for (std::size_t i = 0; i < names.size(); ++i) {
        pass(names[i], i);
    }
    EXPECT_THAT(take("a"), IsEmpty());
    EXPECT_THAT(warnings, ElementsAre(HasSubstr("ignored")));
}

TEST_F(Inherited, NamesOfOthersAreShownInPlainText) {
    pass("a\x1b[31m", 0);
    take("a");
    EXPECT_THAT(warnings, ElementsAre(HasSubstr("a?[31m")));
}

TEST_F(Inherited, OfTheSameNameOnlyOneIsKept) {
    pass(socket_name("a", 0), 0);
    pass(socket_name("a", 0), 1);
    EXPECT_EQ(take("a").size(), 1u);
}

TEST_F(Inherited, CountAsOursWhenTheyAreClosedToo) {
    const std::uint64_t inode = net::inode_of(sockets[0].get());
    pass(socket_name("b", 0), 0);
    InheritedSockets inherited(std::move(passed));
    inherited.close_unusable({});
    EXPECT_THAT(inherited.overlapping(bound), ElementsAre(inode));
    const auto wildcard = *base::SocketAddress::parse("0.0.0.0:" + std::to_string(bound.port()));
    EXPECT_THAT(inherited.overlapping(wildcard), ElementsAre(inode));
    EXPECT_THAT(inherited.overlapping(*base::SocketAddress::parse("127.0.0.1:1")), IsEmpty());
}

class RecordingStore final : public SocketStore {
  public:
    void keep(const std::string& name, int) override { calls.push_back("keep " + name); }
    void drop(const std::string& name) override { calls.push_back("drop " + name); }
    base::Descriptor fence() override { return {}; }
    std::vector<std::string> calls;
};

TEST_F(Inherited, LeaveTheStoreUntilTheyAreServed) {
    pass(socket_name("a", 0), 0);
    pass("web", 1);
    RecordingStore store;
    claim(passed, store);
    EXPECT_THAT(store.calls, ElementsAre("drop " + socket_name("a", 0)));
}

}  // namespace
}  // namespace s3gate::control
