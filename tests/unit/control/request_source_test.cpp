#include "request_source.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace s3gate::control {
namespace {

using Texts = std::vector<std::string_view>;

const OwnNames kOwn{*base::IpAddress::parse("10.0.0.5"), "gw1.example.com"};

unsigned status_of(const RequestSource& source, const OwnNames& own = kOwn) {
    const auto refusal = find_foreign(source, own);
    return refusal ? refusal->status : 200;
}

unsigned status_of_host(std::string_view host, const OwnNames& own = kOwn) {
    return status_of({.hosts = {host}}, own);
}

unsigned status_of_origin(std::string_view host, const Texts& origins) {
    return status_of({.hosts = {host}, .origins = origins});
}

TEST(RequestSource, TheHostIsOneOfThisHostsNames) {
    for (const char* host :
         {"10.0.0.5", "10.0.0.5:9180", "10.0.0.5:1", "localhost", "LOCALHOST:9180", "localhost.",
          "127.0.0.1", "127.9.9.9:80", "[::1]", "[::1]:9180", "gw1.example.com", "GW1.Example.COM",
          "gw1.example.com.:9180", "gw1", "gw1.", "gw1:9180"}) {
        EXPECT_EQ(status_of_host(host), 200U) << host;
    }
}

TEST(RequestSource, AnyOtherHostIsForeign) {
    for (const char* host : {"evil.example",
                             "10.0.0.6",
                             "10.0.0.5.evil.example",
                             "localhost.evil.example",
                             "evil.localhost",
                             "gw1.evil.example",
                             "gw1.example.com.evil",
                             "example.com",
                             "gw",
                             "gw1..",
                             "gw1.example.com..",
                             "[2001:db8::1]",
                             "0.0.0.0",
                             "[::]",
                             "",
                             ".",
                             ":9180",
                             "localhost:",
                             "localhost:0",
                             "localhost:99999",
                             "localhost,evil",
                             "a@localhost",
                             "localhost/",
                             "::1",
                             "[::1",
                             "0x7f.0.0.1",
                             "127.1"}) {
        EXPECT_EQ(status_of_host(host), 403U) << host;
    }
}

TEST(RequestSource, TheAddressIsThatOfTheConnection) {
    const OwnNames six{*base::IpAddress::parse("2001:db8::1"), "gw1"};
    EXPECT_EQ(status_of_host("[2001:db8::1]:9180", six), 200U);
    EXPECT_EQ(status_of_host("[2001:DB8:0::1]", six), 200U);
    EXPECT_EQ(status_of_host("[2001:db8::2]", six), 403U);
    EXPECT_EQ(status_of_host("10.0.0.5", six), 403U);
}

TEST(RequestSource, AHostWithoutANameHasNone) {
    for (const char* name : {"", "."}) {
        const OwnNames own{*base::IpAddress::parse("10.0.0.5"), name};
        EXPECT_EQ(status_of_host("", own), 403U) << name;
        EXPECT_EQ(status_of_host(".", own), 403U) << name;
        EXPECT_EQ(status_of_host("localhost", own), 200U) << name;
    }
}

TEST(RequestSource, OneHostUnlessTheVersionIsOlder) {
    EXPECT_EQ(status_of({.needs_host = true}), 400U);
    EXPECT_EQ(status_of({.needs_host = false}), 200U);
    EXPECT_EQ(status_of({.needs_host = false, .hosts = {"evil.example"}}), 403U);
    EXPECT_EQ(status_of({.hosts = {"localhost", "localhost"}}), 400U);
    EXPECT_EQ(status_of({.hosts = {"localhost", "evil.example"}}), 400U);
}

TEST(RequestSource, TheOriginIsTheHost) {
    EXPECT_EQ(status_of_origin("localhost:9180", {"http://localhost:9180"}), 200U);
    EXPECT_EQ(status_of_origin("localhost:9180", {"http://LocalHost:9180"}), 200U);
    EXPECT_EQ(status_of_origin("localhost", {"http://localhost:80"}), 200U);
    EXPECT_EQ(status_of_origin("[::1]:9180", {"http://[::1]:9180"}), 200U);
    for (const char* origin :
         {"http://evil.example", "http://localhost", "http://localhost:9181", "null", "",
          "https://localhost:9180", "http://127.0.0.1:9180", "http://localhost:9180.evil.example",
          "http://evil@localhost:9180", "http://", "localhost:9180", "http://localhost:9180/",
          "file://", "HTTP://localhost:9180"}) {
        EXPECT_EQ(status_of_origin("localhost:9180", {origin}), 403U) << origin;
    }
    EXPECT_EQ(status_of_origin("localhost:9180", {"http://localhost:9180", "null"}), 403U);
    EXPECT_EQ(status_of({.needs_host = false, .origins = {"http://localhost"}}), 403U)
        << "without a Host nothing is the same";
}

}  // namespace
}  // namespace s3gate::control
