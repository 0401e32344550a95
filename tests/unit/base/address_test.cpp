#include "s3gate/base/address.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace s3gate::base {
namespace {

IpAddress ip(std::string_view text) {
    const auto parsed = IpAddress::parse(text);
    EXPECT_TRUE(parsed) << text;
    return parsed.value_or(IpAddress());
}

TEST(IpAddress, ParsesAndPrintsV4) {
    EXPECT_EQ(ip("10.0.0.1").to_string(), "10.0.0.1");
    EXPECT_EQ(ip("0.0.0.0").to_string(), "0.0.0.0");
    EXPECT_EQ(ip("255.255.255.255").to_string(), "255.255.255.255");
    EXPECT_EQ(ip("192.168.0.100").to_string(), "192.168.0.100");
    EXPECT_FALSE(ip("10.0.0.1").is_v6());
    const std::array<std::uint8_t, 16> expected = {10, 0, 0, 1};
    EXPECT_EQ(ip("10.0.0.1").bytes(), expected);
    EXPECT_EQ(IpAddress(), ip("0.0.0.0"));
}

TEST(IpAddress, ParsesAndPrintsV6) {
    EXPECT_EQ(ip("2001:DB8:0:0::1").to_string(), "2001:db8::1");
    EXPECT_TRUE(ip("::").is_v6());
    EXPECT_NE(ip("::"), ip("0.0.0.0"));
    EXPECT_EQ(ip("::1").bytes()[15], 1);
}

TEST(IpAddress, FoldsMappedAddresses) {
    EXPECT_EQ(ip("::ffff:10.1.2.3"), ip("10.1.2.3"));
    EXPECT_EQ(ip("::ffff:a01:203"), ip("10.1.2.3"));
    EXPECT_TRUE(ip("::10.1.2.3").is_v6()) << "the deprecated compatible form is not mapped";
    EXPECT_TRUE(ip("1::ffff:10.1.2.3").is_v6());
}

TEST(IpAddress, MapsV4ForThoseWhoWantV6) {
    const auto mapped = ip("192.0.2.1").v6_bytes();
    EXPECT_EQ(std::vector(mapped.begin() + 10, mapped.end()),
              (std::vector<std::uint8_t>{0xff, 0xff, 192, 0, 2, 1}));
    EXPECT_TRUE(std::all_of(mapped.begin(), mapped.begin() + 10, [](int b) { return b == 0; }));
    EXPECT_EQ(ip("2001:db8::1").v6_bytes(), ip("2001:db8::1").bytes());
}

TEST(IpAddress, RefusesAllElse) {
    for (const char* bad :
         {"",           "1.2.3",    "1.2.3.4.5",
          "256.1.1.1",  "01.2.3.4", "0x1.2.3.4",
          "1.2.3.4 ",   " 1.2.3.4", "127.1",
          "2130706433", "[::1]",    "::1%lo",
          "fe80::1%1",  ":::",      "1:2:3:4:5:6:7",
          "12345::",    "g::",      "localhost",
          "1.2.3.4:80", "::1/128",  "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000"}) {
        EXPECT_FALSE(IpAddress::parse(bad)) << bad;
    }
    EXPECT_FALSE(IpAddress::parse(std::string_view("1.2.3.4\0x", 9)));
    EXPECT_FALSE(IpAddress::parse(std::string_view("1.2.3.4\0", 8)));
}

TEST(IpAddress, ParsesWithAPort) {
    for (const char* text : {"1.2.3.4", "1.2.3.4:80", "1.2.3.4:0", "1.2.3.4:65535",
                             "::ffff:1.2.3.4", "[::ffff:1.2.3.4]", "[::ffff:102:304]:1"}) {
        EXPECT_EQ(IpAddress::parse_with_port(text), ip("1.2.3.4")) << text;
    }
    for (const char* text : {"2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:80"}) {
        EXPECT_EQ(IpAddress::parse_with_port(text), ip("2001:db8::1")) << text;
    }
    for (const char* bad :
         {"",           ":",         ":80",           "1.2.3.4:",  "1.2.3.4:65536",
          "1.2.3.4:01", "1.2.3.4:x", "1.2.3.4:80:80", "[1.2.3.4]", "[1.2.3.4]:80",
          "[::1",       "::1]",      "[::1]:",        "[::1]80",   "[::1]:65536",
          "[]",         "[]:1",      "[::1%1]",       "localhost", "localhost:80"}) {
        EXPECT_FALSE(IpAddress::parse_with_port(bad)) << bad;
    }
}

TEST(IpText, IsTheTextOfTheAddress) {
    for (const char* text : {"0.0.0.0", "255.255.255.255", "::", "2001:db8::1",
                             "1234:5678:9abc:def0:1234:5678:9abc:def0"}) {
        EXPECT_EQ(IpText(ip(text)).view(), text);
        EXPECT_EQ(ip(text).to_string(), text);
    }
}

TEST(SocketAddress, ParsesAndPrints) {
    const auto v4 = SocketAddress::parse("1.2.3.4:80");
    ASSERT_TRUE(v4);
    EXPECT_EQ(v4->ip(), ip("1.2.3.4"));
    EXPECT_EQ(v4->port(), 80);
    EXPECT_EQ(v4->to_string(), "1.2.3.4:80");
    const auto v6 = SocketAddress::parse("[::1]:65535");
    ASSERT_TRUE(v6);
    EXPECT_EQ(v6->port(), 65535);
    EXPECT_EQ(v6->to_string(), "[::1]:65535");
    ASSERT_TRUE(SocketAddress::parse("127.0.0.1:0")) << "0 = any port, for listening";
    EXPECT_EQ(SocketAddress::parse("[::ffff:1.2.3.4]:80"), v4);
}

TEST(SocketAddress, RefusesAllElse) {
    for (const char* bad : {"",
                            ":80",
                            "1.2.3.4",
                            "1.2.3.4:",
                            "1.2.3.4:65536",
                            "1.2.3.4:-1",
                            "1.2.3.4:+1",
                            "1.2.3.4:080",
                            "1.2.3.4:80 ",
                            "1.2.3.4:80:80",
                            "::1:80",
                            "::1",
                            "[::1]",
                            "[::1]:",
                            "[::1]80",
                            "[::1:80",
                            "[1.2.3.4]:80",
                            "[]:80",
                            "*:80",
                            "localhost:80",
                            "[::1]:80]",
                            "1.2.3.4:99999999999999999999"}) {
        EXPECT_FALSE(SocketAddress::parse(bad)) << bad;
    }
}

TEST(SocketAddress, GoesThroughSockaddr) {
    for (const char* text : {"1.2.3.4:80", "[2001:db8::1]:9000", "0.0.0.0:0", "[::]:65535"}) {
        const auto address = SocketAddress::parse(text);
        ASSERT_TRUE(address) << text;
        sockaddr_storage storage;
        std::memset(&storage, 0xaa, sizeof storage);
        const socklen_t length = address->to_sockaddr(storage);
        EXPECT_EQ(length, address->ip().is_v6() ? sizeof(sockaddr_in6) : sizeof(sockaddr_in));
        const auto* const raw = reinterpret_cast<const sockaddr*>(&storage);
        EXPECT_EQ(SocketAddress::from_sockaddr(raw, length), address);
        EXPECT_FALSE(SocketAddress::from_sockaddr(raw, length - 1)) << "cut short";
    }
}

TEST(SocketAddress, SockaddrIsWhatTheKernelWants) {
    sockaddr_storage storage{};
    SocketAddress(ip("1.2.3.4"), 0x1234).to_sockaddr(storage);
    sockaddr_in v4{};
    std::memcpy(&v4, &storage, sizeof v4);
    EXPECT_EQ(v4.sin_family, AF_INET);
    EXPECT_EQ(v4.sin_port, htons(0x1234));
    EXPECT_EQ(v4.sin_addr.s_addr, htonl(0x01020304));
}

TEST(SocketAddress, FromSockaddrFoldsMappedPeers) {
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(7);
    ASSERT_EQ(inet_pton(AF_INET6, "::ffff:10.0.0.9", &v6.sin6_addr), 1);
    const auto folded = SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&v6), sizeof v6);
    ASSERT_TRUE(folded);
    EXPECT_EQ(folded->to_string(), "10.0.0.9:7");
}

TEST(SocketAddress, FromSockaddrRefusesOtherFamilies) {
    sockaddr_storage storage{};
    storage.ss_family = AF_UNIX;
    const auto* const raw = reinterpret_cast<const sockaddr*>(&storage);
    EXPECT_FALSE(SocketAddress::from_sockaddr(raw, sizeof storage));
    EXPECT_FALSE(SocketAddress::from_sockaddr(raw, 0));
    EXPECT_FALSE(SocketAddress::from_sockaddr(nullptr, sizeof storage));
}

bool contains(std::string_view block, std::string_view address) {
    const auto cidr = Cidr::parse(block);
    EXPECT_TRUE(cidr) << block;
    return cidr && cidr->contains(ip(address));
}

TEST(Cidr, Contains) {
    EXPECT_TRUE(contains("10.0.0.0/8", "10.255.255.255"));
    EXPECT_FALSE(contains("10.0.0.0/8", "11.0.0.0"));
    EXPECT_TRUE(contains("10.10.128.0/17", "10.10.255.1"));
    EXPECT_FALSE(contains("10.10.128.0/17", "10.10.127.255"));
    EXPECT_TRUE(contains("192.168.1.4/30", "192.168.1.7"));
    EXPECT_FALSE(contains("192.168.1.4/30", "192.168.1.8"));
    EXPECT_TRUE(contains("127.0.0.1", "127.0.0.1"));
    EXPECT_FALSE(contains("127.0.0.1", "127.0.0.2"));
    EXPECT_TRUE(contains("0.0.0.0/0", "255.1.2.3"));
    EXPECT_TRUE(contains("::1/128", "::1"));
    EXPECT_FALSE(contains("::1", "::2"));
    EXPECT_TRUE(contains("2001:db8::/33", "2001:db8:7fff::1"));
    EXPECT_FALSE(contains("2001:db8::/33", "2001:db8:8000::1"));
}

TEST(Cidr, FamiliesNeverMix) {
    EXPECT_FALSE(contains("0.0.0.0/0", "::"));
    EXPECT_FALSE(contains("::/0", "0.0.0.0"));
    EXPECT_TRUE(contains("10.0.0.0/8", "::ffff:10.1.1.1")) << "a mapped address is IPv4";
    EXPECT_TRUE(contains("::ffff:10.0.0.0/104", "10.1.1.1"));
    EXPECT_TRUE(contains("::ffff:10.0.0.1", "10.0.0.1"));
    EXPECT_TRUE(contains("::ffff:0:0/96", "1.2.3.4"));
}

TEST(Cidr, RefusesAllElse) {
    for (const char* bad : {"",
                            "/",
                            "/8",
                            "10.0.0.0/",
                            "10.0.0.0/33",
                            "10.0.0.0/-1",
                            "10.0.0.0/+8",
                            "10.0.0.0/08",
                            "10.0.0.0/8 ",
                            "10.0.0.0/8/8",
                            "10.0.0.1/8",
                            "10.0.0.0/6",
                            "10.0.0.0/255.0.0.0",
                            "10/8",
                            "::1/129",
                            "::1/127",
                            "2001:db8::1/64",
                            "1::/128x",
                            "::ffff:0:0/95",
                            "::ffff:10.0.0.0/8",
                            "::ffff:10.0.0.1/104",
                            "name/8",
                            "[::1]/128",
                            "1.2.3.4/a",
                            "10.0.0.0/99999999999999999999"}) {
        EXPECT_FALSE(Cidr::parse(bad)) << bad;
    }
}

TEST(Cidr, Prints) {
    EXPECT_EQ(Cidr::parse("10.0.0.0/8")->to_string(), "10.0.0.0/8");
    EXPECT_EQ(Cidr::parse("10.0.0.1")->to_string(), "10.0.0.1/32");
    EXPECT_EQ(Cidr::parse("::1")->to_string(), "::1/128");
    EXPECT_EQ(Cidr::parse("::ffff:10.0.0.0/104")->to_string(), "10.0.0.0/8");
}

TEST(Cidr, AgreesWithMasks) {
    for (std::uint32_t seed = 0; seed < 300; ++seed) {
        std::mt19937 random(seed);
        const auto prefix = static_cast<unsigned>(random() % 33);
        const std::uint32_t mask = prefix == 0 ? 0 : ~std::uint32_t{0} << (32 - prefix);
        const std::uint32_t base = static_cast<std::uint32_t>(random()) & mask;
        const auto text = [](std::uint32_t host) {
            return IpAddress(in_addr{htonl(host)}).to_string();
        };
        const auto cidr = Cidr::parse(text(base) + "/" + std::to_string(prefix));
        ASSERT_TRUE(cidr) << seed;
        for (int i = 0; i < 20; ++i) {
            // Near misses matter most: one bit of the base is flipped.
            const std::uint32_t other = base ^ (1u << random() % 32);
            EXPECT_EQ(cidr->contains(ip(text(other))), (other & mask) == base) << seed;
        }
        if (prefix < 32) {
            const std::string host_bit = text(base | 1u << random() % (32 - prefix));
            EXPECT_FALSE(Cidr::parse(host_bit + "/" + std::to_string(prefix))) << seed;
        }
    }
}

TEST(Port, HasOneSpelling) {
    EXPECT_EQ(parse_port("0"), 0);
    EXPECT_EQ(parse_port("65535"), 65535);
    for (const char* bad : {"", "00", "080", "65536", "-1", "+1", " 1", "1 ", "0x1", "1e1"}) {
        EXPECT_FALSE(parse_port(bad)) << bad;
    }
}

TEST(HostPort, Parses) {
    const auto check = [](std::string_view text, std::string_view host,
                          std::optional<std::uint16_t> port) {
        const auto parsed = parse_host_port(text);
        ASSERT_TRUE(parsed) << text;
        EXPECT_EQ(parsed->host, host);
        EXPECT_EQ(parsed->port, port);
    };
    check("name", "name", std::nullopt);
    check("Cluster01-1.minio_x.in:9000", "Cluster01-1.minio_x.in", 9000);
    check("1.2.3.4", "1.2.3.4", std::nullopt);
    check("1.2.3.4:80", "1.2.3.4", 80);
    check("[::1]", "::1", std::nullopt);
    check("[2001:db8::1]:65535", "2001:db8::1", 65535);
    check(std::string(253, 'a'), std::string(253, 'a'), std::nullopt);
}

TEST(HostPort, RefusesAllElse) {
    for (const char* bad : {"",           ":",         ":80",       "name:",       "name:0",
                            "name:65536", "name:080",  "name:8o",   "name:80:80",  "::1",
                            "[]",         "[]:80",     "[::1",      "[::1]:",      "[::1]x",
                            "[::1]:0",    "[1.2.3.4]", "[name]:80", "[fe80::1%1]", "na me",
                            "name/",      "user@name", "na\tme",    "n\xc3\xa4me", "http://name",
                            "name:-1",    "name:+1"}) {
        EXPECT_FALSE(parse_host_port(bad)) << bad;
    }
    EXPECT_FALSE(parse_host_port(std::string(254, 'a')));
    EXPECT_FALSE(parse_host_port(std::string_view("na\0me", 5)));
}

}  // namespace
}  // namespace s3gate::base
