#include "s3gate/base/host_name.hpp"

#include <gtest/gtest.h>

#include <string>

namespace s3gate::base {
namespace {

TEST(HostName, IsTheHostFieldWithoutPortAndFinalDot) {
    EXPECT_EQ(host_name_of("s3.lab"), "s3.lab");
    EXPECT_EQ(host_name_of("s3.lab:9000"), "s3.lab");
    EXPECT_EQ(host_name_of("s3.lab.:9000"), "s3.lab");
    EXPECT_EQ(host_name_of("S3.lab."), "S3.lab");
    EXPECT_EQ(host_name_of("s3.lab:"), "s3.lab");
    EXPECT_EQ(host_name_of(""), "");
}

TEST(HostName, HasOneForm) {
    EXPECT_EQ(canonical_host_name("S3.Example.NET."), "s3.example.net");
    EXPECT_EQ(canonical_host_name("lab"), "lab");
    EXPECT_EQ(canonical_host_name("a_b.x-1"), "a_b.x-1");
    EXPECT_EQ(canonical_host_name("10.0.0.x"), "10.0.0.x");
    EXPECT_EQ(canonical_host_name(std::string(63, 'a')), std::string(63, 'a'));
}

TEST(HostName, HasAPatternForAllNamesBelowIt) {
    EXPECT_EQ(canonical_host_pattern("*.S3.lab."), "*.s3.lab");
    EXPECT_EQ(canonical_host_pattern("S3.lab"), "s3.lab");
    EXPECT_EQ(canonical_host_pattern("10.0.0.1"), "10.0.0.1");
    EXPECT_EQ(canonical_host_pattern("[2001:DB8::0:1]"), "2001:db8::1");
    EXPECT_EQ(canonical_host_pattern("2001:DB8::0:1"), "2001:db8::1");
    for (const char* text : {"", "*", "*.", "**.a", "a.*", "*.*.a", "*.10.0.0.1", "*.[::1]", "[x]",
                             "a:80", "10.0.0.1:80", "[::1]:80", "http://a"}) {
        EXPECT_EQ(canonical_host_pattern(text), "") << text;
    }
}

TEST(HostName, IsNothingElse) {
    for (const std::string text : {"", ".", "..", "a..b", ".a", "a..", "-a", "a-", "a.-b", "*.a",
                                   "a:80", "a/b", "a b", "[::1]", "10.0.0.1", "1", "ä.net"}) {
        EXPECT_EQ(canonical_host_name(text), "") << text;
    }
    EXPECT_EQ(canonical_host_name(std::string(64, 'a')), "");
    std::string longest = "a";
    while (longest.size() < 253) {
        longest += longest.size() % 2 == 1 ? "." : "a";
    }
    EXPECT_EQ(canonical_host_name(longest), longest);
    EXPECT_EQ(canonical_host_name(longest + ".a"), "");
}

}  // namespace
}  // namespace s3gate::base
