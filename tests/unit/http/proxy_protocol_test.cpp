// Headers of the PROXY protocol. A good one has one reading in any segments and takes no byte of
// what follows. A bad one is refused with its reason, whole or byte by byte: a source that is taken
// from a bad header would be somebody else's.
#include "s3gate/http/proxy_protocol.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "heads.hpp"

namespace s3gate::http {
namespace {

using State = ProxyHeaderReader::State;
using enum ProxyHeaderError;
using std::string_literals::operator""s;

struct Outcome {
    State state = State::incomplete;
    ProxyHeaderError error = none;
    std::size_t taken = 0;
    std::optional<ProxyAddresses> addresses;
    bool operator==(const Outcome&) const = default;
};

void PrintTo(const Outcome& outcome, std::ostream* out) {
    *out << "state " << static_cast<int>(outcome.state) << " error " << to_string(outcome.error)
         << " taken " << outcome.taken;
    if (outcome.addresses) {
        *out << " " << outcome.addresses->source.to_string() << " "
             << outcome.addresses->destination.to_string();
    }
}

// Feeds the bytes in segments of `step`, the first one of `first`.
Outcome read(std::string_view bytes, std::size_t step, std::size_t first) {
    ProxyHeaderReader reader;
    std::size_t taken = 0;
    for (std::size_t given = 0; given < bytes.size() && reader.state() == State::incomplete;) {
        const std::string_view segment = bytes.substr(given, given == 0 ? first : step);
        given += segment.size();
        taken += reader.take(segment);
    }
    return {reader.state(), reader.error(), taken, reader.addresses()};
}

Outcome read(std::string_view bytes) {
    return read(bytes, bytes.size(), bytes.size());
}

// A header of version 2 with a length that fits the rest.
std::string block(unsigned command, unsigned family, const std::string& rest) {
    std::string out = "\r\n\r\n\0\r\nQUIT\n"s;
    out += static_cast<char>(command);
    out += static_cast<char>(family);
    out += static_cast<char>(rest.size() >> 8);
    out += static_cast<char>(rest.size() & 0xff);
    return out + rest;
}

std::string tlv(unsigned type, const std::string& value) {
    std::string out;
    out += static_cast<char>(type);
    out += static_cast<char>(value.size() >> 8);
    out += static_cast<char>(value.size() & 0xff);
    return out + value;
}

ProxyAddresses pair_of(std::string_view source, std::string_view destination) {
    return {*base::SocketAddress::parse(source), *base::SocketAddress::parse(destination)};
}

const std::string kInet = "\xc0\x00\x02\x01\xc6\x33\x64\x02\xdb\xa0\x23\x28"s;
const ProxyAddresses kInetPair = pair_of("192.0.2.1:56224", "198.51.100.2:9000");
const std::string kInet6 =
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\xdb\xa0\x23\x28"s;
const ProxyAddresses kInet6Pair = pair_of("[2001:db8::1]:56224", "[2001:db8::2]:9000");
const std::string kMapped =
    "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x01"
    "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc6\x33\x64\x02\xdb\xa0\x23\x28"s;

struct Good {
    std::string name;
    std::string bytes;
    std::optional<ProxyAddresses> addresses;
};

std::vector<Good> good_lines() {
    return {
        {"TCP4", "PROXY TCP4 192.0.2.1 198.51.100.2 56224 9000\r\n", kInetPair},
        {"TCP4, as long as it can be", "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
         pair_of("255.255.255.255:65535", "255.255.255.255:65535")},
        {"TCP4, port 0", "PROXY TCP4 192.0.2.1 198.51.100.2 0 0\r\n",
         pair_of("192.0.2.1:0", "198.51.100.2:0")},
        {"TCP6", "PROXY TCP6 2001:db8::1 2001:db8::2 56224 9000\r\n", kInet6Pair},
        {"TCP6, upper case", "PROXY TCP6 2001:DB8::1 2001:DB8::2 56224 9000\r\n", kInet6Pair},
        {"TCP6, as long as it can be",
         "PROXY TCP6 2001:0db8:0000:0000:0000:0000:0000:0001 "
         "2001:0db8:0000:0000:0000:0000:0000:0002 56224 9000\r\n",
         kInet6Pair},
        {"TCP6 of a socket for both families",
         "PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.2 56224 9000\r\n", kInetPair},
        {"UNKNOWN", "PROXY UNKNOWN\r\n", std::nullopt},
        {"UNKNOWN with a space", "PROXY UNKNOWN \r\n", std::nullopt},
        {"UNKNOWN with addresses", "PROXY UNKNOWN 192.0.2.1 198.51.100.2 1 2\r\n", std::nullopt},
        {"UNKNOWN with anything", "PROXY UNKNOWN \x01\xff\0 \"${}"s + "\r\n", std::nullopt},
        {"UNKNOWN, as long as it can be", "PROXY UNKNOWN " + std::string(91, 'f') + "\r\n",
         std::nullopt},
    };
}

std::vector<Good> good_blocks() {
    return {
        {"INET", block(0x21, 0x11, kInet), kInetPair},
        {"INET6", block(0x21, 0x21, kInet6), kInet6Pair},
        {"INET6 of a socket for both families", block(0x21, 0x21, kMapped), kInetPair},
        {"INET with vectors",
         block(0x21, 0x11, kInet + tlv(0x01, "h2") + tlv(0x02, "s3.example.net") + tlv(0x04, "")),
         kInetPair},
        {"INET with a wrong checksum", block(0x21, 0x11, kInet + tlv(0x03, "\1\2\3\4")), kInetPair},
        {"INET of a cloud's balancer", block(0x21, 0x11, kInet + tlv(0xea, "\1vpce-0a1b2c3d4e5f")),
         kInetPair},
        {"INET with a certificate", block(0x21, 0x11, kInet + tlv(0x20, std::string(4000, 'c'))),
         kInetPair},
        {"INET with bytes that are no vectors", block(0x21, 0x11, kInet + "\xff"), kInetPair},
        {"INET6 with vectors", block(0x21, 0x21, kInet6 + tlv(0x05, "id")), kInet6Pair},
        {"as long as it can be", block(0x21, 0x11, kInet + std::string(65535 - kInet.size(), '\n')),
         kInetPair},
        {"LOCAL", block(0x20, 0x00, ""), std::nullopt},
        {"LOCAL with a family", block(0x20, 0x11, kInet), std::nullopt},
        {"LOCAL with a family that nobody knows", block(0x20, 0xff, "x"), std::nullopt},
        {"LOCAL with a family and no addresses", block(0x20, 0x21, ""), std::nullopt},
        {"LOCAL with vectors", block(0x20, 0x00, tlv(0x04, "")), std::nullopt},
        {"UNSPEC", block(0x21, 0x00, ""), std::nullopt},
        {"UNSPEC with bytes", block(0x21, 0x00, kInet), std::nullopt},
        {"INET without a transport", block(0x21, 0x10, kInet), std::nullopt},
        {"a transport without a family", block(0x21, 0x01, kInet), std::nullopt},
        {"UNIX", block(0x21, 0x31, std::string(216, '/')), std::nullopt},
        {"UNIX datagrams with vectors", block(0x21, 0x32, std::string(216, '/') + tlv(0x04, "")),
         std::nullopt},
        {"UDP", block(0x21, 0x12, kInet), std::nullopt},
        {"UDP over IPv6", block(0x21, 0x22, kInet6), std::nullopt},
    };
}

void expect_good(const Good& good) {
    SCOPED_TRACE(good.name);
    const Outcome expected{State::complete, none, good.bytes.size(), good.addresses};
    const std::string bytes = good.bytes + "GET / HTTP/1.1\r\n";
    EXPECT_EQ(read(good.bytes), expected) << "alone";
    EXPECT_EQ(read(bytes), expected) << "with what follows";
    EXPECT_EQ(read(bytes, 1, 1), expected) << "byte by byte";
    // Every split of the part that is read; of a long rest only some.
    for (std::size_t first = 1; first < good.bytes.size(); first += first < 300 ? 1 : 997) {
        EXPECT_EQ(read(bytes, bytes.size(), first), expected) << "split at " << first;
        ProxyHeaderReader reader;
        EXPECT_EQ(reader.take(std::string_view(bytes).substr(0, first)), first);
        EXPECT_EQ(reader.state(), State::incomplete) << "cut at " << first;
        EXPECT_EQ(reader.addresses(), std::nullopt) << "cut at " << first;
    }
}

TEST(ProxyHeaderReader, ReadsLinesInAnySegments) {
    for (const Good& good : good_lines()) {
        expect_good(good);
    }
}

TEST(ProxyHeaderReader, ReadsBlocksInAnySegments) {
    for (const Good& good : good_blocks()) {
        expect_good(good);
    }
}

struct Bad {
    std::string bytes;
    ProxyHeaderError error;
};
using Table = std::vector<Bad>;

// Beginnings of other things than a header.
void add_strangers(Table& table) {
    for (const std::string& other : {"GET / HTTP/1.1\r\n"s,
                                     "PUT /b/k HTTP/1.1\r\n"s,
                                     "POST / HTTP/1.1\r\n"s,
                                     "PATCH / HTTP/1.1\r\n"s,
                                     "PROPFIND / HTTP/1.1\r\n"s,
                                     "PROPPATCH / HTTP/1.1\r\n"s,
                                     "PRI * HTTP/2.0\r\n"s,
                                     "PURGE / HTTP/1.1\r\n"s,
                                     "P"s + "\r\n"s,
                                     "HEAD / HTTP/1.1\r\n"s,
                                     "DELETE / HTTP/1.1\r\n"s,
                                     "OPTIONS * HTTP/1.1\r\n"s,
                                     "CONNECT a:1 HTTP/1.1\r\n"s,
                                     "\r\nGET / HTTP/1.1\r\n"s,
                                     "\r\n\r\nGET / HTTP/1.1\r\n"s,
                                     "\n"s,
                                     "\r\r"s,
                                     "\0"s,
                                     "\xff"s,
                                     " PROXY TCP4"s,
                                     "\tPROXY"s,
                                     "\"PROXY TCP4"s,
                                     "proxy TCP4 192.0.2.1"s,
                                     "Proxy TCP4"s,
                                     "PROXY\tTCP4"s,
                                     "PROXY\r\n"s,
                                     "PROXY\n"s,
                                     "PROXY-TCP4"s,
                                     "PROXY\0TCP4"s,
                                     "PROXYv1"s,
                                     "PROXY2 "s,
                                     "PROTO "s,
                                     "\xef\xbb\xbfPROXY "s,
                                     "\x16\x03\x01\x02\x00\x01"s,
                                     "\x80\x2e\x01\x00\x02"s,
                                     "SSH-2.0-OpenSSH_9.2\r\n"s,
                                     "EHLO example.net\r\n"s,
                                     "USER anonymous\r\n"s,
                                     "{\"source\":\"192.0.2.1\"}"s,
                                     "QUIT\n"s,
                                     "\0\r\nQUIT\n"s}) {
        table.push_back({other, not_a_header});
    }
    const std::string signature = block(0, 0, "").substr(0, 12);
    for (std::size_t i = 1; i < signature.size(); ++i) {  // another first byte is above
        for (const char wrong : {'\0', '\xff', '\x20'}) {
            std::string bytes = block(0x21, 0x11, kInet);
            bytes[i] = bytes[i] == wrong ? '\x01' : wrong;
            table.push_back({bytes, not_a_header});
        }
    }
}

void add_protocols(Table& table) {
    for (const std::string& protocol :
         {"tcp4"s,  "Tcp6"s,     "TCP"s,     "TCP5"s,     "TCP46"s,     "TCP44"s,  "4"s,
          "UDP4"s,  "UDP6"s,     "unknown"s, "UNKNOWNX"s, "UNKNOWN\t"s, "UNKNOW"s, "UNIX"s,
          "INET"s,  "IPV4"s,     ""s,        " TCP4"s,    "TCP4\t"s,    "TCP4\0"s, "TCP 4"s,
          "SCTP4"s, "\"TCP4\""s, "*"s,       "/"s}) {
        table.push_back({"PROXY " + protocol + " 192.0.2.1 198.51.100.2 1 2\r\n", bad_protocol});
    }
    for (const std::string& line :
         {"PROXY \r\n"s, "PROXY / HTTP/1.1\r\n"s, "PROXY UNKNOWNS\r\n"s}) {
        table.push_back({line, bad_protocol});
    }
}

const std::vector<std::string> kBadV4 = {"256.0.0.1",
                                         "192.0.2.256",
                                         "192.0.2.999",
                                         "01.2.3.4",
                                         "1.02.3.4",
                                         "1.2.3.00",
                                         "1.2.3",
                                         "1.2.3.4.5",
                                         "1.2.3.",
                                         "1..2.3",
                                         ".1.2.3",
                                         "1.2.3.4.",
                                         "0x7f.0.0.1",
                                         "127.1",
                                         "2130706433",
                                         "0x7f000001",
                                         "1.2.3.-4",
                                         "+1.2.3.4",
                                         "1.2.3.4/32",
                                         "1.2.3.4:80",
                                         "1.2.3.a",
                                         "1,2,3,4",
                                         "localhost",
                                         "1.2.3.4%lo",
                                         "::1",
                                         "::ffff:1.2.3.4",
                                         "[1.2.3.4]",
                                         "*",
                                         "",
                                         "1.2.3.4\t",
                                         "\xef\xbc\x91.2.3.4",
                                         "1.2.3.4\x01",
                                         "1.2.3.1e1"};
const std::vector<std::string> kBadV6 = {"1.2.3.4",
                                         "::1%lo",
                                         "[::1]",
                                         "1:2:3:4:5:6:7",
                                         "1:2:3:4:5:6:7:8:9",
                                         ":::",
                                         "1::2::3",
                                         "12345::",
                                         "g::",
                                         "::1.2.3",
                                         "::1.2.3.256",
                                         "::1.2.3.4:5",
                                         ":1:2:3:4:5:6:7:8",
                                         "1:2:3:4:5:6:7:8:",
                                         "1:2:3:4:5:6:7:",
                                         "::ffff:01.2.3.4",
                                         "1.2.3.4::",
                                         "::1/128",
                                         "0x1::",
                                         ":",
                                         "-1::",
                                         "+1::",
                                         "::1\t",
                                         "1::2:3:4:5:6:7:8",
                                         "::ffff:1.2.3",
                                         "localhost",
                                         "",
                                         "::1:80:x",
                                         "1:2:3:4:5:6:1.2.3.4.5",
                                         "\xef\xbc\x91::"};

void add_addresses(Table& table) {
    for (const std::string& text : kBadV4) {
        table.push_back({"PROXY TCP4 " + text + " 198.51.100.2 1 2\r\n", bad_source});
        table.push_back({"PROXY TCP4 192.0.2.1 " + text + " 1 2\r\n", bad_destination});
    }
    for (const std::string& text : kBadV6) {
        table.push_back({"PROXY TCP6 " + text + " 2001:db8::2 1 2\r\n", bad_source});
        table.push_back({"PROXY TCP6 2001:db8::1 " + text + " 1 2\r\n", bad_destination});
    }
    table.push_back({"PROXY TCP4 192.0.2.1\0 198.51.100.2 1 2\r\n"s, bad_source});
    table.push_back({"PROXY TCP4\r\n", bad_source});
    table.push_back({"PROXY TCP4  192.0.2.1 198.51.100.2 1 2\r\n", bad_source});
    table.push_back({"PROXY TCP4 192.0.2.1\r\n", bad_destination});
    table.push_back({"PROXY TCP4 192.0.2.1  198.51.100.2 1 2\r\n", bad_destination});
    table.push_back({"PROXY TCP4 192.0.2.1 1 2\r\n", bad_destination});
}

void add_ports(Table& table) {
    const std::string both = "PROXY TCP4 192.0.2.1 198.51.100.2 ";
    for (const std::string& port : {""s,
                                    "00"s,
                                    "01"s,
                                    "080"s,
                                    "65536"s,
                                    "99999"s,
                                    "100000"s,
                                    "4294967376"s,
                                    "18446744073709551617"s,
                                    "-1"s,
                                    "+80"s,
                                    "0x50"s,
                                    "8o"s,
                                    "80."s,
                                    "80,"s,
                                    "http"s,
                                    "80\t"s,
                                    "1e3"s,
                                    "80\0"s,
                                    "\xef\xbc\x98"s,
                                    "80/tcp"s,
                                    "*"s,
                                    "-"s,
                                    "0."s}) {
        table.push_back({both + port + " 2\r\n", bad_source_port});
        table.push_back({both + "1 " + port + "\r\n", bad_destination_port});
    }
    table.push_back({both.substr(0, both.size() - 1) + "\r\n", bad_source_port});
    table.push_back({both + " 1 2\r\n", bad_source_port});
    table.push_back({both + "1\r\n", bad_destination_port});
    table.push_back({both + "1  2\r\n", bad_destination_port});
    table.push_back({both + "1 2 \r\n", bad_destination_port});
    table.push_back({both + "1 2 3\r\n", bad_destination_port});
    table.push_back({both + "1 2 PROXY TCP4\r\n", bad_destination_port});
}

void add_line_ends(Table& table) {
    const std::string line = "PROXY TCP4 192.0.2.1 198.51.100.2 1 2";
    for (const std::string& end : {"\n"s, "\r\r\n"s, "\rG"s, "\n\r\n"s, "\r\0\n"s, "\r \n"s}) {
        table.push_back({line + end, bad_line_end});
    }
    for (std::size_t at = line.find(' ', 6); at != std::string::npos; at = line.find(' ', at + 1)) {
        for (const char end : {'\r', '\n'}) {
            std::string broken = line + "\r\n";
            broken[at] = end;
            table.push_back({broken, bad_line_end});
        }
    }
    for (const std::string& rest :
         {"\n"s, " \n"s, "\rX"s, " a\nGET / HTTP/1.1\r\n"s, " a\rb\r\n"s}) {
        table.push_back({"PROXY UNKNOWN" + rest, bad_line_end});
    }
    table.push_back({"PROXY \nTCP4", bad_line_end});
    table.push_back({"PROXY UNKNOWN " + std::string(92, 'f') + "\r\n", line_too_long});
    table.push_back({"PROXY UNKNOWN " + std::string(93, 'f') + "\r\n", line_too_long});
    table.push_back({"PROXY UNKNOWN " + std::string(5000, 'f'), line_too_long});
    table.push_back({"PROXY " + std::string(200, ' '), line_too_long});
    table.push_back({line + std::string(100, ' ') + "\r\n", line_too_long});
    table.push_back({"PROXY TCP4 " + std::string(100, '1') + ".2.3.4", line_too_long});
    table.push_back({"PROXY TCP6 " + std::string(100, ':'), line_too_long});
    table.push_back(
        {"PROXY TCP4 192.0.2.1 198.51.100.2 " + std::string(80, '0') + "1 2\r\n", line_too_long});
}

void add_blocks(Table& table) {
    for (unsigned byte = 0; byte < 256; byte += 16) {
        if (byte != 0x20) {
            table.push_back({block(byte | 1, 0x11, kInet), bad_version});
            table.push_back({block(byte, 0x00, ""), bad_version});
        }
    }
    for (unsigned command = 2; command < 16; ++command) {
        table.push_back({block(0x20 | command, 0x11, kInet), bad_command});
    }
    for (unsigned family = 4; family < 16; ++family) {
        table.push_back({block(0x21, family << 4 | 1, kInet6), bad_family});
        table.push_back({block(0x21, family << 4, ""), bad_family});
    }
    for (unsigned transport = 3; transport < 16; ++transport) {
        table.push_back({block(0x21, 0x10 | transport, kInet), bad_transport});
        table.push_back({block(0x21, 0x20 | transport, kInet6), bad_transport});
        table.push_back({block(0x21, transport, ""), bad_transport});
        table.push_back({block(0x21, 0x30 | transport, std::string(216, '/')), bad_transport});
    }
    for (const unsigned transport : {0, 1, 2}) {
        for (std::size_t size = 0; size < 36; ++size) {
            table.push_back({block(0x21, 0x20 | transport, kInet6.substr(0, size)), too_short});
        }
        for (std::size_t size = 0; size < 12; ++size) {
            table.push_back({block(0x21, 0x10 | transport, kInet.substr(0, size)), too_short});
        }
        for (const std::size_t size : {0, 1, 12, 36, 107, 108, 215}) {
            table.push_back({block(0x21, 0x30 | transport, std::string(size, '/')), too_short});
        }
    }
}

Table bad_headers() {
    Table table;
    add_strangers(table);
    add_protocols(table);
    add_addresses(table);
    add_ports(table);
    add_line_ends(table);
    add_blocks(table);
    return table;
}

TEST(ProxyHeaderReader, RefusesMalformedHeaders) {
    const Table table = bad_headers();
    std::set<std::string> distinct;
    for (const Bad& bad : table) {
        SCOPED_TRACE(escaped(bad.bytes.substr(0, 150)));
        EXPECT_TRUE(distinct.insert(bad.bytes).second) << "twice in the table";
        const Outcome whole = read(bad.bytes);
        EXPECT_EQ(whole, (Outcome{State::malformed, bad.error, 0, std::nullopt}));
        const Outcome bytewise = read(bad.bytes, 1, 1);
        EXPECT_EQ(bytewise.state, State::malformed);
        EXPECT_EQ(bytewise.error, bad.error);
        EXPECT_LT(bytewise.taken, std::min<std::size_t>(bad.bytes.size(), 107));
        EXPECT_EQ(bytewise.addresses, std::nullopt);
        for (const std::size_t first : {2, 6, 7, 12, 13, 15, 16}) {
            EXPECT_EQ(read(bad.bytes, bad.bytes.size(), first).error, bad.error);
        }
    }
    EXPECT_GE(distinct.size(), 250u);
}

// The bytes before a stranger shows itself are given back: they begin a request, for example.
TEST(ProxyHeaderReader, KeepsWhatBelongsToAnotherProtocol) {
    ProxyHeaderReader reader;
    EXPECT_EQ(reader.take("P"), 1u);
    EXPECT_EQ(reader.take("RO"), 2u);
    EXPECT_EQ(reader.take("PFIND / HTTP/1.1\r\n"), 0u);
    EXPECT_EQ(reader.error(), not_a_header);
    EXPECT_EQ(reader.received(), "PRO");
}

TEST(ProxyHeaderReader, EveryErrorHasAText) {
    for (int error = 1; error <= static_cast<int>(too_short); ++error) {
        EXPECT_NE(to_string(static_cast<ProxyHeaderError>(error)), "") << error;
    }
}

TEST(BeginsLikeProxyHeader, TellsHeadersFromRequests) {
    for (const Good& good : good_lines()) {
        EXPECT_TRUE(begins_like_proxy_header(good.bytes)) << good.name;
    }
    for (const Good& good : good_blocks()) {
        EXPECT_TRUE(begins_like_proxy_header(good.bytes)) << good.name;
    }
    for (const std::string& other :
         {""s, "P"s, "PROXY"s, "PROXY "s, "PROXY / HTTP/1.1\r\n"s, "PUT / HTTP/1.1\r\n"s, "\r\n"s,
          "\r\n\r\n"s, "\r\n\r\nGET / HTTP/1.1\r\n"s, "\0"s}) {
        EXPECT_FALSE(begins_like_proxy_header(other)) << escaped(other);
    }
}

// What is written is what is read.
TEST(ProxyHeader, NamesBothEnds) {
    EXPECT_EQ(ProxyHeader(kInetPair).bytes(), block(0x21, 0x11, kInet));
    EXPECT_EQ(ProxyHeader(kInet6Pair).bytes(), block(0x21, 0x21, kInet6));
    const std::string mapped_destination = kInet6.substr(0, 16) + kMapped.substr(16);
    EXPECT_EQ(ProxyHeader(pair_of("[2001:db8::1]:56224", "198.51.100.2:9000")).bytes(),
              block(0x21, 0x21, mapped_destination));
    for (const ProxyAddresses& pair :
         {kInetPair, kInet6Pair, pair_of("[2001:db8::1]:1", "198.51.100.2:2"),
          pair_of("192.0.2.1:1", "[2001:db8::2]:65535"), pair_of("0.0.0.0:0", "[::]:0")}) {
        const ProxyHeader header(pair);
        EXPECT_EQ(read(header.bytes()),
                  (Outcome{State::complete, none, header.bytes().size(), pair}));
    }
}

TEST(ProxyHeader, LocalHasNoAddresses) {
    EXPECT_EQ(kLocalProxyHeader, block(0x20, 0x00, ""));
    EXPECT_EQ(read(kLocalProxyHeader), (Outcome{State::complete, none, 16, std::nullopt}));
}

}  // namespace
}  // namespace s3gate::http
