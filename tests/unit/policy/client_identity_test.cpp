// Who the client is: whose fields are believed, and which element of X-Forwarded-For is the client
// in every form that proxies and liars write.

#include "s3gate/policy/client_identity.hpp"

#include <gtest/gtest.h>

#include <ranges>
#include <string>
#include <utility>
#include <vector>

namespace s3gate::policy {
namespace {

base::IpAddress ip(const std::string& text) {
    return base::IpAddress::parse(text).value();
}

std::vector<base::Cidr> blocks(const std::vector<std::string>& texts) {
    std::vector<base::Cidr> out;
    for (const std::string& text : texts) {
        out.push_back(base::Cidr::parse(text).value());
    }
    return out;
}

const std::vector<base::Cidr> kTrusted = blocks({"127.0.0.1", "10.0.0.0/8", "2001:db8:aa::/48"});

// The client of a request that 127.0.0.1 sent with these lines.
Client client_of(const std::vector<std::string>& lines) {
    ForwardedWalk walk(ip("127.0.0.1"), kTrusted);
    for (const std::string& line : lines | std::views::reverse) {
        if (!walk.take(line)) {
            break;
        }
    }
    return walk.client();
}

Client known(const std::string& text) {
    return {ip(text), true};
}

// The trusted proxy at `text` asked for somebody whom nobody names.
Client nobody(const std::string& text) {
    return {ip(text), false};
}

std::string shown(const Client& client) {
    return client.ip.to_string() + (client.is_known ? "" : " for nobody");
}

void expect_client(const std::vector<std::string>& lines, const Client& wanted) {
    std::string joined;
    for (const std::string& line : lines) {
        joined += "[" + line.substr(0, 80) + "]";
    }
    EXPECT_EQ(shown(client_of(lines)), shown(wanted)) << joined;
}

TEST(ClientIdentity, OnlyATrustedSourceUnderAppendIsBelieved) {
    config::Forwarded rules;
    rules.trusted = kTrusted;
    rules.mode = config::ForwardedMode::append;
    EXPECT_TRUE(is_believed(rules, ip("127.0.0.1")));
    EXPECT_TRUE(is_believed(rules, ip("10.200.0.1")));
    EXPECT_TRUE(is_believed(rules, ip("::ffff:10.0.0.1"))) << "mapped addresses are IPv4";
    EXPECT_FALSE(is_believed(rules, ip("127.0.0.2")));
    EXPECT_FALSE(is_believed(rules, ip("::1")));
    rules.mode = config::ForwardedMode::set;
    EXPECT_FALSE(is_believed(rules, ip("127.0.0.1")));
    rules = {};
    rules.mode = config::ForwardedMode::append;
    EXPECT_FALSE(is_believed(rules, ip("127.0.0.1"))) << "nobody is trusted";
}

TEST(ForwardedWalk, TheLastUntrustedElementIsTheClient) {
    expect_client({"192.0.2.1"}, known("192.0.2.1"));
    expect_client({"198.51.100.9, 192.0.2.1"}, known("192.0.2.1"));
    expect_client({"192.0.2.1, 10.0.0.5"}, known("192.0.2.1"));
    expect_client({"198.51.100.9, 192.0.2.1, 10.0.0.5,10.1.2.3"}, known("192.0.2.1"));
    // What stands before the client is the client's own claim: also a trusted address.
    expect_client({"10.0.0.5, 192.0.2.1"}, known("192.0.2.1"));
    expect_client({"127.0.0.1, 192.0.2.1"}, known("192.0.2.1"));
    expect_client({"junk, 192.0.2.1, 10.0.0.5"}, known("192.0.2.1"));
}

TEST(ForwardedWalk, LinesJoinInTheirOrder) {
    expect_client({"198.51.100.9", "192.0.2.1"}, known("192.0.2.1"));
    expect_client({"192.0.2.1", "10.0.0.5"}, known("192.0.2.1"));
    expect_client({"198.51.100.9, 192.0.2.1", "10.0.0.5", "10.0.0.6, 10.0.0.7"},
                  known("192.0.2.1"));
    expect_client({"10.0.0.5", "192.0.2.1"}, known("192.0.2.1"));
}

TEST(ForwardedWalk, ReadsEveryFormOfAnAddress) {
    const std::vector<std::pair<std::string, std::string>> forms = {
        {"192.0.2.1", "192.0.2.1"},
        {" \t192.0.2.1\t ", "192.0.2.1"},
        {"192.0.2.1:80", "192.0.2.1"},
        {"192.0.2.1:65535", "192.0.2.1"},
        {"192.0.2.1:0", "192.0.2.1"},
        {"::ffff:192.0.2.1", "192.0.2.1"},
        {"::FFFF:c000:0201", "192.0.2.1"},
        {"[::ffff:192.0.2.1]:443", "192.0.2.1"},
        {"2001:db8::1", "2001:db8::1"},
        {"2001:DB8:0:0:0:0:0:1", "2001:db8::1"},
        {"[2001:db8::1]", "2001:db8::1"},
        {"[2001:db8::1]:443", "2001:db8::1"},
        {"2001:db8::1:443", "2001:db8::1:443"},
        {"::1", "::1"},
        {"255.255.255.255", "255.255.255.255"},
    };
    for (const auto& [form, wanted] : forms) {
        expect_client({form}, known(wanted));
        expect_client({"198.51.100.9, " + form + ",10.0.0.5"}, known(wanted));
    }
    // A trusted hop is one in every form too.
    for (const char* hop : {"10.0.0.5:1234", "::ffff:10.0.0.5", "[::ffff:a00:5]:1",
                            "2001:db8:aa::1", "[2001:db8:aa::1]", "[2001:db8:aa:0::1]:9"}) {
        expect_client({std::string("192.0.2.1, ") + hop}, known("192.0.2.1"));
    }
}

const std::vector<std::string> kUnreadable = {
    "",
    "unknown",
    "_hidden",
    "_SEVKISEK",
    "-",
    "localhost",
    "example.net",
    "192.0.2",
    "192.0.2.1.5",
    "192.0.2.256",
    "192.0.02.1",
    "0300.0.2.1",
    "3221225985",
    "0xc0000201",
    "192.0.2.1:",
    "192.0.2.1:65536",
    "192.0.2.1:080",
    "192.0.2.1:http",
    "192.0.2.1:-1",
    "192.0.2.1 :80",
    "192.0.2.1 10.0.0.1",
    "192.0.2.1;10.0.0.1",
    "192.0.2.0/24",
    "[192.0.2.1]",
    "[192.0.2.1]:80",
    "[2001:db8::1",
    "2001:db8::1]",
    "[2001:db8::1]443",
    "[2001:db8::1]:",
    "[2001:db8::1]:99999",
    "[]",
    "[]:80",
    "[::1]]",
    "[[::1]]",
    "2001:db8:::1",
    "1:2:3:4:5:6:7:8:9",
    "fe80::1%eth0",
    "[fe80::1%25eth0]:80",
    "fe80::1%1",
    "\"192.0.2.1\"",
    "\"[2001:db8::1]:443\"",
    "for=192.0.2.1",
    "unix:",
    "unix:/run/x.sock",
    "<script>",
    "127.0.0.1\x7f",
    "\xc3\xa9",
    "192.0.2.1\xc2\xa0",
    std::string("192.0.2.1\0", 10),
    std::string(46, '1'),
    std::string(4000, ':'),
    std::string(4000, '['),
};

TEST(ForwardedWalk, AnElementThatIsNoAddressEndsTheWalk) {
    for (const std::string& junk : kUnreadable) {
        expect_client({junk}, nobody("127.0.0.1"));
        expect_client({"192.0.2.1, " + junk}, nobody("127.0.0.1"));
        expect_client({"192.0.2.1", junk}, nobody("127.0.0.1"));
        expect_client({"192.0.2.1, " + junk + ", 10.0.0.5"}, nobody("10.0.0.5"));
        expect_client({"192.0.2.1", junk, "10.0.0.6, 10.0.0.5"}, nobody("10.0.0.6"));
        // Behind the client it changes nothing.
        expect_client({junk + ", 192.0.2.1, 10.0.0.5"}, known("192.0.2.1"));
    }
}

TEST(ForwardedWalk, NobodyIsNamed) {
    expect_client({}, nobody("127.0.0.1"));
    expect_client({""}, nobody("127.0.0.1"));
    expect_client({"", ""}, nobody("127.0.0.1"));
    expect_client({","}, nobody("127.0.0.1"));
    expect_client({"192.0.2.1,"}, nobody("127.0.0.1"));
    expect_client({" , ,, \t,"}, nobody("127.0.0.1"));
    expect_client({"192.0.2.1,,10.0.0.5"}, nobody("10.0.0.5"));
}

TEST(ForwardedWalk, IfAllAreTrustedTheFirstIsTheClientButNoListContainsIt) {
    expect_client({"10.0.0.5"}, nobody("10.0.0.5"));
    expect_client({"10.0.0.7, 10.0.0.6", "10.0.0.5"}, nobody("10.0.0.7"));
    expect_client({"127.0.0.1"}, nobody("127.0.0.1"));
    expect_client({"127.0.0.1, 127.0.0.1"}, nobody("127.0.0.1"));
    expect_client({"2001:db8:aa::7, 127.0.0.1"}, nobody("2001:db8:aa::7"));
}

TEST(ForwardedWalk, TakesLongFields) {
    std::string claims;
    while (claims.size() < 10 * 1024) {
        claims += "10.0.0.5, ";
    }
    expect_client({claims + "192.0.2.1"}, known("192.0.2.1"));
    expect_client({claims + "192.0.2.1, 10.0.0.5"}, known("192.0.2.1"));
    expect_client({"192.0.2.1, " + claims + "10.0.0.6"}, known("192.0.2.1"));
    expect_client({claims + "10.0.0.6"}, nobody("10.0.0.5"));
    expect_client({std::string(10 * 1024, ',')}, nobody("127.0.0.1"));
    expect_client({std::string(10 * 1024, 'a')}, nobody("127.0.0.1"));
    expect_client(std::vector<std::string>(1000, "10.0.0.5"), nobody("10.0.0.5"));
}

}  // namespace
}  // namespace s3gate::policy
