#include "hand_over.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>

namespace s3gate::control {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

HandOver example() {
    HandOver state;
    state.version = "0.1.0";
    state.is_on_standby = true;
    state.log_level = {"debug", "info", milliseconds{1500}};
    state.alarms = {{"minio", "n3:9000", "errors", 77, {40, 52}, "minio: n3:9000 answers 5xx"},
                    {"minio", "", "broken", 78, {5, 5}, "Group minio fails"}};
    state.names["node1.lab"] = {*base::IpAddress::parse("10.0.0.1"),
                                *base::IpAddress::parse("2001:db8::1")};
    state.closing.push_back({*base::SocketAddress::parse("[::1]:9000"), 4711});
    state.backends.push_back(
        {"minio / \"x\"", "node1.lab:9000", "10.0.0.1:9000", false, true, 3, milliseconds{1500}});
    state.buckets.push_back(
        {"site \"b\"", *base::IpAddress::parse("2001:db8::"), 1'800'000'000'000});
    state.processes = {"{\"pid\": 1}", "of another version"};
    state.backends.back().back_for = milliseconds{2500};
    state.sessions.push_back({"minio / \"x\"", {{7, 0xffff'ffff'ffff'ffffULL}, {4095, 1}}});
    state.overrides.push_back({{"group", "g"}, {"server", "n:1"}, {"state", "drained"}});
    return state;
}

TEST(HandOver, IsReadAsItWasWritten) {
    const auto [state, ignored] = read_hand_over(text_of(example()));

    EXPECT_EQ(ignored, 0u);
    EXPECT_EQ(state.version, "0.1.0");
    EXPECT_TRUE(state.is_on_standby);
    EXPECT_EQ(state.log_level, example().log_level);
    EXPECT_EQ(state.alarms, example().alarms);
    EXPECT_EQ(state.names, example().names);
    EXPECT_EQ(state.closing, example().closing);
    EXPECT_EQ(state.buckets, example().buckets);
    EXPECT_EQ(state.processes, example().processes);
    ASSERT_THAT(state.backends, SizeIs(1));
    const HandOver::Backend& backend = state.backends.front();
    EXPECT_EQ(backend.group, "minio / \"x\"");
    EXPECT_EQ(backend.server, "node1.lab:9000");
    EXPECT_EQ(backend.address, "10.0.0.1:9000");
    EXPECT_FALSE(backend.is_up);
    EXPECT_TRUE(backend.is_marked);
    EXPECT_EQ(backend.failures, 3u);
    EXPECT_EQ(backend.failing_for, milliseconds{1500});
    EXPECT_EQ(backend.back_for, milliseconds{2500});
    ASSERT_THAT(state.sessions, SizeIs(1));
    EXPECT_EQ(state.sessions.front().group, example().sessions.front().group);
    EXPECT_EQ(state.sessions.front().words, example().sessions.front().words);
    EXPECT_EQ(state.overrides, example().overrides);
}

TEST(HandOver, OfAnotherVersionGivesWhatIsKnown) {
    std::string text = text_of(example());
    text.insert(0, "{\"quota\":{\"bucket\":\"a\"}}\n");
    text.insert(text.find("\"host\""), "\"color\":\"red\",");

    const auto [state, ignored] = read_hand_over(text);

    EXPECT_EQ(ignored, 1u);
    EXPECT_EQ(state.names, example().names);
    EXPECT_THAT(state.backends, SizeIs(1));
}

TEST(HandOver, OfGarbageIsEmpty) {
    const auto [state, ignored] = read_hand_over(
        "\x01\xff\xfe\n"
        "[]\n"
        "{\"backend\":{\"group\":\"a\"}}\n"
        "{\"backend\":{\"group\":\"a\",\"server\":\"b\",\"address\":\"c\",\"up\":1,"
        "\"marked\":false,\"failures\":0,\"failing_for_ms\":0}}\n"
        "{\"standby\":\"yes\"}\n"
        "{\"name\":{\"host\":\"n\",\"addresses\":\"10.0.0.1\"}}\n"
        "{\"name\":{\"host\":\"n\",\"addresses\":[\"no address\"]}}\n"
        "{\"closing\":{\"address\":\"no address\",\"inode\":1}}\n"
        "half a li");

    EXPECT_EQ(ignored, 8u);
    EXPECT_FALSE(state.is_on_standby);
    EXPECT_THAT(state.backends, IsEmpty());
    EXPECT_TRUE(state.names.empty());
}

TEST(HandOver, KeepsFiguresInTheirRange) {
    const auto [state, ignored] = read_hand_over(
        "{\"backend\":{\"group\":\"a\",\"server\":\"b\",\"address\":\"c\",\"up\":true,"
        "\"marked\":true,\"failures\":70000,\"failing_for_ms\":-5}}\n");

    EXPECT_EQ(ignored, 0u);
    ASSERT_THAT(state.backends, SizeIs(1));
    EXPECT_EQ(state.backends.front().failures, 255u);
    EXPECT_EQ(state.backends.front().failing_for, milliseconds{0});
}

TEST(SealedFile, IsReadFromItsBeginning) {
    const base::Descriptor file = sealed_file("content");

    EXPECT_EQ(read_sealed_file(file.get()), "content");
    EXPECT_EQ(read_sealed_file(file.get()), "content");
}

TEST(SealedFile, CannotBeChanged) {
    const base::Descriptor file = sealed_file("content");

    EXPECT_LT(::pwrite(file.get(), "x", 1, 0), 0);
    EXPECT_NE(::ftruncate(file.get(), 0), 0);
}

TEST(SealedFile, IsRefusedWhereItCanBeChanged) {
    const base::Descriptor open(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));

    EXPECT_EQ(read_sealed_file(open.get()), std::nullopt);
    EXPECT_EQ(read_sealed_file(-1), std::nullopt);
}

}  // namespace
}  // namespace s3gate::control
