// The forwarded head. Signatures must still verify, so end-to-end lines keep every byte. Fields for
// one connection must not pass. No client may use Connection to remove a field that a signature or
// an access rule needs.
#include "s3gate/http/header_rules.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "heads.hpp"
#include "s3gate/base/text.hpp"

namespace s3gate::http {
namespace {

char as_it_is(char c) {
    return c;
}

char to_upper(char c) {
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
}

ForwardRules plain_rules() {
    ForwardRules rules;
    rules.client_ip = "192.0.2.7";
    rules.source_ip = "192.0.2.7";
    rules.scheme = "http";
    rules.local_host = "10.0.0.1:9000";
    return rules;
}

const std::string kForwarded =
    "X-Forwarded-For: 192.0.2.7\r\nX-Real-IP: 192.0.2.7\r\nX-Forwarded-Proto: http\r\n";

std::string joined(const Pieces& pieces) {
    std::string out;
    for (const std::string_view piece : pieces) {
        out += piece;
    }
    return out;
}

std::string forwarded(const std::string& raw, const ForwardRules& rules = plain_rules()) {
    const RequestHead head = request(raw);
    const RequestMeaning meaning = meaning_of(head);
    EXPECT_EQ(meaning.error, HeadError::none) << escaped(raw);
    Pieces pieces = {"left over"};
    std::string own = "left over";
    forward_request(head, meaning, rules, pieces, own);
    return joined(pieces);
}

// The forwarded fields after "GET /x HTTP/1.1" and Host, without the empty line.
std::string forwarded_fields(const std::string& fields, const ForwardRules& rules = plain_rules()) {
    const std::string start = "GET /x HTTP/1.1\r\nHost: h\r\n";
    const std::string out = forwarded(start + fields + "\r\n", rules);
    EXPECT_EQ(out.substr(0, start.size()), start);
    EXPECT_EQ(out.substr(out.size() - 4), "\r\n\r\n");
    return out.substr(start.size(), out.size() - start.size() - 2);
}

TEST(ForwardRequest, KeepsEndToEndLinesByteForByteInOrder) {
    const std::string kept =
        "PUT //b//a%2Fb%2b/./x/../y?b=2&a=%20+~&a=&sessionid=x HTTP/1.1\r\n"
        "hOsT:s3.Example.com:9000\r\n"
        "x-amz-meta-a_b.c:\tvalue  with   gaps\t \r\n"
        "AUTHORIZATION:   AWS4-HMAC-SHA256 Credential=x, SignedHeaders=host;x-amz-date, "
        "Signature=y\r\n"
        "x-amz-meta-empty:\r\n"
        "x-amz-meta-utf8: gr\xc3\xbc\xc3\x9f"
        "e \xff\r\n"
        "Accept-Encoding: identity\r\n"
        "Content-Length:  5\r\n"
        "Expect: 100-continue\r\n"
        "x-amz-meta-a_b.c: again\r\n"
        "X-Forwarded-By: kept\r\n"
        "Via: 1.1 somebody\r\n"
        "Trailer: x\r\n"
        "Cookie: a=b\r\n";
    EXPECT_EQ(forwarded(kept + "\r\n"), kept + kForwarded + "\r\n");
}

TEST(ForwardRequest, WritesRunsOfKeptLinesAsOnePiece) {
    const std::string raw = "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\nC: d\r\n\r\n";
    const RequestHead head = request(raw);
    Pieces pieces;
    std::string own;
    forward_request(head, meaning_of(head), plain_rules(), pieces, own);
    ASSERT_EQ(pieces.size(), 2u);
    EXPECT_EQ(pieces[0].data(), raw.data()) << "the received bytes themselves";
    EXPECT_EQ(pieces[0].size(), raw.size() - 2);
    EXPECT_EQ(pieces[1].data(), own.data());
}

TEST(ForwardRequest, DropsWhatIsForThisConnection) {
    EXPECT_EQ(forwarded_fields("A: 1\r\nConnection: keep-alive\r\nB: 2\r\nKeep-Alive: "
                               "timeout=5\r\nProxy-Connection: close\r\n"
                               "Proxy-Authorization: Basic x\r\nProxy-Authenticate: Basic\r\nTE: "
                               "trailers\r\nUpgrade: h2c\r\n"
                               "HTTP2-Settings: AAA\r\nC: 3\r\nconnection: close\r\n"),
              "A: 1\r\nB: 2\r\nC: 3\r\n" + kForwarded);
}

TEST(ForwardRequest, DropsNominatedFields) {
    EXPECT_EQ(
        forwarded_fields(
            "X-Foo: 1\r\nConnection: close, x-FOO ,, bar\r\nBar: 2\r\nX-Foo-Bar: 3\r\nBaz: 4\r\n"),
        "X-Foo-Bar: 3\r\nBaz: 4\r\n" + kForwarded);
    EXPECT_EQ(
        forwarded_fields("X-Foo: 1\r\nX-Foo: 2\r\nConnection: close\r\nConnection: x-foo\r\n"),
        kForwarded);
    EXPECT_EQ(forwarded_fields("Close: 1\r\nConnection: close\r\n"), "Close: 1\r\n" + kForwarded)
        << "an option is a nomination only of a field that exists for it";
}

TEST(ForwardRequest, NominationsCannotStripWhatMatters) {
    for (const std::string name : {"Host",
                                   "Authorization",
                                   "Content-Length",
                                   "Content-Type",
                                   "Content-MD5",
                                   "Content-Encoding",
                                   "x-amz-date",
                                   "X-Amz-Content-Sha256",
                                   "x-amz-meta-a",
                                   "x-amz-security-token",
                                   "X-Minio-Source",
                                   "X-Forwarded-Host",
                                   "X-Forwarded-Port",
                                   "Date",
                                   "Range",
                                   "If-Match",
                                   "If-None-Match",
                                   "If-Modified-Since",
                                   "Expect",
                                   "Cookie",
                                   "Accept-Encoding",
                                   "Accept",
                                   "User-Agent",
                                   "Origin",
                                   "Access-Control-Request-Method",
                                   "Sec-WebSocket-Key",
                                   "Referer",
                                   "Trailer",
                                   "amz-sdk-request",
                                   "Cache-Control",
                                   "Via"}) {
        EXPECT_FALSE(may_be_nominated(name)) << name;
        const std::string value = name == "Content-Length" ? "0"
                                  : name == "Host"         ? "h"
                                  : name == "Expect"       ? "100-continue"
                                                           : "v";
        const std::string line = name + ": " + value + "\r\n";
        const std::string host = name == "Host" ? "" : "Host: h\r\n";
        const std::string start = "GET /x HTTP/1.1\r\n" + host;
        ForwardRules rules = plain_rules();
        rules.append = name.starts_with("X-Forwarded-");  // only a trusted source may say it
        EXPECT_EQ(forwarded(start + "Connection: " + name + "\r\n" + line + "\r\n", rules),
                  start + line + kForwarded + "\r\n")
            << name;
        EXPECT_EQ(forwarded(start + line + "Connection: a, " + name + ", b\r\n\r\n", rules),
                  start + line + kForwarded + "\r\n");
    }
    for (const char* name :
         {"X-Foo", "x-am", "Hosts", "Ho", "Content", "Pragma", "Keep-Alive", "Upgrade"}) {
        EXPECT_TRUE(may_be_nominated(name)) << name;
    }
    // Our fields and the framing are written whatever is nominated.
    EXPECT_EQ(forwarded_fields("Connection: x-real-ip, x-forwarded-for, x-forwarded-proto, "
                               "transfer-encoding, forwarded\r\n"
                               "Transfer-Encoding: chunked\r\n"),
              kForwarded + "Transfer-Encoding: chunked\r\n");
}

TEST(ForwardRequest, SetModeReplacesWhatTheClientClaims) {
    EXPECT_EQ(forwarded_fields("X-Forwarded-For: 1.1.1.1\r\nx-forwarded-for: 2.2.2.2, "
                               "3.3.3.3\r\nX-Real-Ip: 1.1.1.1\r\n"
                               "X-Forwarded-Proto: https\r\nForwarded: for=1.1.1.1\r\nA: b\r\n"),
              "A: b\r\n" + kForwarded);
    ForwardRules rules = plain_rules();
    rules.scheme = "https";
    rules.client_ip = "2001:db8::1";
    rules.source_ip = "2001:db8::1";
    EXPECT_EQ(
        forwarded_fields("", rules),
        "X-Forwarded-For: 2001:db8::1\r\nX-Real-IP: 2001:db8::1\r\nX-Forwarded-Proto: https\r\n");
}

// The names that the client may not say, nominated or not, and their lookalikes.
TEST(ForwardRequest, SetModeRemovesWhatOnlyAProxyMaySay) {
    for (const std::string name :
         {"X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Server"}) {
        for (const auto change : {&as_it_is, &base::to_lower, &to_upper}) {
            for (const char sign : {'-', '_', '.', '~'}) {
                std::string spelled = name;
                std::ranges::transform(spelled, spelled.begin(), change);
                std::ranges::replace(spelled, '-', sign);
                EXPECT_EQ(forwarded_fields(spelled + ": a\r\nA: b\r\n" + spelled + ": c\r\n"),
                          "A: b\r\n" + kForwarded);
                EXPECT_EQ(forwarded_fields("Connection: " + spelled + "\r\n" + spelled +
                                           ": a\r\nA: b\r\n"),
                          "A: b\r\n" + kForwarded);
            }
        }
        const std::string others = name + "s: 1\r\n" + name.substr(0, name.size() - 1) +
                                   ": 2\r\nY" + name.substr(1) + ": 3\r\n";
        EXPECT_EQ(forwarded_fields(others), others + kForwarded);
    }
}

TEST(ForwardRequest, DropsNamesThatReadLikeOurFields) {
    for (const bool append : {false, true}) {
        ForwardRules rules = plain_rules();
        rules.append = append;
        EXPECT_EQ(forwarded_fields("X_Forwarded_For: 1.1.1.1\r\nX-Forwarded_For: 1.1.1.1\r\n"
                                   "x_real-ip: 1.1.1.1\r\nX.Forwarded.Proto: https\r\n"
                                   "X_Forwarded_Host: a\r\nX-Forwarded_Port: 1\r\n"
                                   "x.forwarded.prefix: /\r\nX_FORWARDED_SERVER: a\r\n"
                                   "X_Forwarded_Fob: 1\r\nXaReal-IP: 2\r\nX_Real_IPs: 3\r\n",
                                   rules),
                  "X_Forwarded_Fob: 1\r\nXaReal-IP: 2\r\nX_Real_IPs: 3\r\n" + kForwarded);
    }
}

TEST(ForwardRequest, AppendModeKeepsWhatATrustedPeerSent) {
    ForwardRules rules = plain_rules();
    rules.append = true;
    rules.client_ip = "203.0.113.5";
    const std::string client = "X-Real-IP: 203.0.113.5\r\n";
    EXPECT_EQ(forwarded_fields("X-Forwarded-For: 1.1.1.1\r\nA: b\r\nForwarded: "
                               "for=1.1.1.1\r\nX-Forwarded-Proto: https\r\n"
                               "x-forwarded-for:2.2.2.2, 3.3.3.3\r\nX-Real-IP: 1.1.1.1\r\n",
                               rules),
              "A: b\r\nForwarded: for=1.1.1.1\r\nX-Forwarded-Proto: https\r\n"
              "X-Forwarded-For: 1.1.1.1, 2.2.2.2, 3.3.3.3, 192.0.2.7\r\n" +
                  client);
    EXPECT_EQ(forwarded_fields("", rules),
              "X-Forwarded-For: 192.0.2.7\r\n" + client + "X-Forwarded-Proto: http\r\n")
        << "nothing to append to";
    EXPECT_EQ(forwarded_fields("X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http\r\n", rules),
              "X-Forwarded-Proto: https\r\nX-Forwarded-For: 192.0.2.7\r\n" + client)
        << "one scheme only";
    EXPECT_EQ(forwarded_fields("X-Real-IP: 1.1.1.1\r\nx-real-ip: 2.2.2.2\r\n", rules),
              "X-Forwarded-For: 192.0.2.7\r\n" + client + "X-Forwarded-Proto: http\r\n")
        << "the client is the one that X-Forwarded-For names";
    // A nomination by the client of a trusted peer does not remove them either.
    EXPECT_EQ(
        forwarded_fields("Connection: X-Forwarded-For, X-Forwarded-Proto, Forwarded, X-Real-IP\r\n"
                         "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\n"
                         "Forwarded: for=x\r\nX-Real-IP: 1.1.1.1\r\n",
                         rules),
        "X-Forwarded-Proto: https\r\nForwarded: for=x\r\n"
        "X-Forwarded-For: 1.1.1.1, 192.0.2.7\r\n" +
            client);
    // Names that only a trusted source may say go on as they came.
    const std::string said =
        "X-Forwarded-Host: a\r\nx-forwarded-port: 443\r\nX-FORWARDED-PREFIX: /a\r\n"
        "X-Forwarded-Server: b\r\n";
    EXPECT_EQ(forwarded_fields(said, rules),
              said + "X-Forwarded-For: 192.0.2.7\r\n" + client + "X-Forwarded-Proto: http\r\n");
}

TEST(ForwardRequest, AppendModeIsNotConfusedByEmptyValues) {
    ForwardRules rules = plain_rules();
    rules.append = true;
    const std::string rest = "X-Real-IP: 192.0.2.7\r\nX-Forwarded-Proto: http\r\n";
    EXPECT_EQ(forwarded_fields("X-Forwarded-For:\r\n", rules),
              "X-Forwarded-For: 192.0.2.7\r\n" + rest);
    EXPECT_EQ(forwarded_fields("X-Forwarded-For:\r\nX-Forwarded-For: 1.1.1.1\r\n", rules),
              "X-Forwarded-For: 1.1.1.1, 192.0.2.7\r\n" + rest);
    EXPECT_EQ(forwarded_fields("X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: \r\n", rules),
              "X-Forwarded-For: 1.1.1.1, 192.0.2.7\r\n" + rest);
}

TEST(ForwardRequest, MakesHttp10AnHttp11Request) {
    EXPECT_EQ(forwarded("GET /a?b HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\nA: b\r\n\r\n"),
              "GET /a?b HTTP/1.1\r\nHost: h\r\nA: b\r\n" + kForwarded + "\r\n");
    EXPECT_EQ(
        forwarded("PUT /a HTTP/1.0\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"),
        "PUT /a HTTP/1.1\r\nContent-Length: 3\r\n" + kForwarded + "Host: 10.0.0.1:9000\r\n\r\n")
        << "the missing Host is the address it connected to; its expectation is ignored (RFC 9110 "
           "§10.1.1)";
}

TEST(ForwardRequest, WritesAbsoluteTargetsInOriginForm) {
    const std::string rest = " HTTP/1.1\r\nHost: h:9\r\n" + kForwarded + "\r\n";
    const auto line = [&](const std::string& start) {
        return forwarded(start + " HTTP/1.1\r\nHost: h:9\r\n\r\n");
    };
    EXPECT_EQ(line("GET http://h:9/a%2Fb//c?d=e"), "GET /a%2Fb//c?d=e" + rest);
    EXPECT_EQ(line("GET HTTP://H:9"), "GET /" + rest);
    EXPECT_EQ(line("GET http://h:9?x=/y"), "GET /?x=/y" + rest);
    EXPECT_EQ(line("OPTIONS http://h:9"), "OPTIONS *" + rest);
    EXPECT_EQ(line("OPTIONS *"), "OPTIONS *" + rest);
    EXPECT_EQ(line("GET /http://h:9/"), "GET /http://h:9/" + rest);
}

TEST(ForwardRequest, WritesTheCodingAnew) {
    EXPECT_EQ(forwarded_fields("TRANSFER-ENCODING:\t Chunked \r\nA: b\r\n"),
              "A: b\r\n" + kForwarded + "Transfer-Encoding: chunked\r\n");
    EXPECT_EQ(forwarded_fields("Content-Length: 0\r\n"), "Content-Length: 0\r\n" + kForwarded)
        << "an empty body stays announced";
    EXPECT_EQ(forwarded_fields("A: b\r\n"), "A: b\r\n" + kForwarded)
        << "no body: none is announced";
}

TEST(ForwardRequest, RelaysUpgradesWhereAllowed) {
    const std::string fields =
        "Connection: keep-alive, Upgrade, x-foo\r\nUpgrade: websocket\r\nSec-WebSocket-Key: "
        "k\r\nX-Foo: 1\r\n";
    EXPECT_EQ(forwarded_fields(fields), "Sec-WebSocket-Key: k\r\n" + kForwarded);
    ForwardRules rules = plain_rules();
    rules.relay_upgrade = true;
    EXPECT_EQ(forwarded_fields(fields, rules), "Upgrade: websocket\r\nSec-WebSocket-Key: k\r\n" +
                                                   kForwarded + "Connection: upgrade\r\n");
}

TEST(ForwardRequest, AddsTheFieldsOfTheSite) {
    const std::vector<std::string> names = {"x-nginx-proxy", "user-agent", "cookie"};
    ForwardRules rules = plain_rules();
    rules.extra_lines = "X-NginX-Proxy: true\r\nUser-Agent: site\r\nCookie: c=d\r\n";
    rules.replaced = &names;
    // Known fields are replaced like unknown ones: with two User-Agent lines the backend would
    // choose.
    EXPECT_EQ(
        forwarded_fields(
            "x-nginx-PROXY: false\r\nA: b\r\nuser-agent: client\r\nCookie: a=b\r\nX-NginX: 1\r\n",
            rules),
        "A: b\r\nX-NginX: 1\r\n" + kForwarded + std::string(rules.extra_lines));
}

TEST(ForwardRequest, CanBeRepeatedInTheSameMemory) {
    const std::string old_raw = "GET /a HTTP/1.0\r\n\r\n";
    const std::string new_raw = "GET /b HTTP/1.1\r\nHost: h\r\n\r\n";
    const RequestHead old_head = request(old_raw);
    const RequestHead new_head = request(new_raw);
    Pieces pieces;
    std::string own;
    forward_request(old_head, meaning_of(old_head), plain_rules(), pieces, own);
    forward_request(new_head, meaning_of(new_head), plain_rules(), pieces, own);
    EXPECT_EQ(joined(pieces), "GET /b HTTP/1.1\r\nHost: h\r\n" + kForwarded + "\r\n");
}

// Random heads, as from clients and attackers. The same strict parser must read the forwarded head
// as the same request with the same body, without hop-by-hop fields except ours.
TEST(ForwardRequest, ReparsesToTheSameRequest) {
    static constexpr std::string_view kMethods[] = {"GET",    "HEAD",    "PUT",  "POST",
                                                    "DELETE", "OPTIONS", "X-ODD"};
    static constexpr std::string_view kTargets[] = {
        "/", "/b/k", "//", "/a%2Fb?x=y&z", "http://h:9/a", "http://h:9", "https://h:9?q", "*"};
    static constexpr std::string_view kLines[] = {
        "Connection: close",
        "Connection: keep-alive, x-foo",
        "Connection: host, content-length, transfer-encoding",
        "connection: upgrade",
        "Upgrade: websocket",
        "TE: trailers",
        "Keep-Alive: 5",
        "Proxy-Connection: x",
        "X-Foo: bar",
        "X-Forwarded-For: 1.2.3.4",
        "x-forwarded-for:",
        "X-Forwarded-Proto: https",
        "Forwarded: for=x",
        "X-Real-IP: x",
        "Expect: 100-continue",
        "x-amz-date: y",
        "Authorization: z",
        "Cookie: a",
        "HTTP2-Settings: b",
        "Content-Type: c",
        "\xff"
        "not",
        "A:",
        "User-Agent:\tcurl "};
    static constexpr std::string_view kFramings[] = {"",
                                                     "Content-Length: 0",
                                                     "Content-Length: 17",
                                                     "Transfer-Encoding: chunked",
                                                     "transfer-encoding:\tCHUNKED",
                                                     "content-length:5497558138880"};
    std::mt19937_64 random(11);
    const auto pick = [&](const auto& list) {
        return std::string(list[random() % std::size(list)]);
    };
    int accepted = 0;
    for (int round = 0; round < 20000; ++round) {
        std::vector<std::string> lines;
        for (std::size_t i = random() % 8; i > 0; --i) {
            lines.push_back(pick(kLines));
        }
        lines.insert(lines.begin() + static_cast<std::ptrdiff_t>(random() % (lines.size() + 1)),
                     "Host: h:9");
        if (const std::string framing = pick(kFramings); !framing.empty()) {
            lines.insert(lines.begin() + static_cast<std::ptrdiff_t>(random() % (lines.size() + 1)),
                         framing);
        }
        std::string raw = pick(kMethods) + " " + pick(kTargets) +
                          (random() % 4 == 0 ? " HTTP/1.0\r\n" : " HTTP/1.1\r\n");
        for (const std::string& line : lines) {
            raw += line + "\r\n";
        }
        raw += "\r\n";
        RequestHead head;
        if (parse_request_head(raw, head) != HeadError::none) {
            continue;
        }
        const RequestMeaning meaning = meaning_of(head);
        if (meaning.error != HeadError::none) {
            continue;
        }
        ++accepted;
        ForwardRules rules = plain_rules();
        rules.append = random() % 2 == 0;
        rules.relay_upgrade = meaning.wants_upgrade && random() % 2 == 0;
        Pieces pieces;
        std::string own;
        forward_request(head, meaning, rules, pieces, own);
        const std::string out = joined(pieces);
        SCOPED_TRACE(escaped(raw) + "  ->  " + escaped(out));
        HeadScanner scanner(HeadScanner::Kind::request);
        ASSERT_EQ(scanner.scan(out + "rest"), HeadScanner::State::complete);
        ASSERT_EQ(scanner.end(), out.size());
        RequestHead second;
        ASSERT_EQ(parse_request_head(out, second), HeadError::none);
        const RequestMeaning again = meaning_of(second);
        ASSERT_EQ(again.error, HeadError::none);
        EXPECT_EQ(second.minor, 1);
        EXPECT_EQ(second.method, head.method);
        EXPECT_EQ(second.target,
                  (meaning.missing_slash ? "/" : "") + std::string(meaning.origin_target));
        EXPECT_EQ(again.body.kind, meaning.body.kind);
        EXPECT_EQ(again.body.length, meaning.body.length);
        EXPECT_EQ(again.path, meaning.path);
        EXPECT_EQ(again.query, meaning.query);
        EXPECT_EQ(again.host, meaning.host);
        EXPECT_EQ(again.expects_continue, meaning.expects_continue);
        EXPECT_EQ(again.wants_upgrade, rules.relay_upgrade);
        EXPECT_TRUE(again.keep_alive);
        EXPECT_EQ(second.count(FieldId::connection), rules.relay_upgrade ? 1u : 0u);
        EXPECT_EQ(second.count(FieldId::te) + second.count(FieldId::keep_alive) +
                      second.count(FieldId::proxy_connection) +
                      second.count(FieldId::http2_settings),
                  0u);
        EXPECT_EQ(second.count(FieldId::x_forwarded_for), 1u);
        EXPECT_EQ(second.count(FieldId::x_real_ip), 1u);
        EXPECT_EQ(second.count(FieldId::x_forwarded_proto), 1u);
        EXPECT_TRUE(second.find(FieldId::x_forwarded_for).ends_with("192.0.2.7"));
        if (HasFailure()) {
            return;
        }
    }
    EXPECT_GT(accepted, 5000);
}

std::string forwarded_response(const std::string& raw, const ResponseRules& rules) {
    const ResponseHead head = response(raw);
    Pieces pieces = {"left over"};
    std::string own = "left over";
    forward_response(head, rules, pieces, own);
    return joined(pieces);
}

TEST(ForwardResponse, KeepsEndToEndLinesByteForByte) {
    const std::string raw =
        "HTTP/1.1 206 Some own  reason\r\n"
        "server:MinIO\r\n"
        "ETag:   \"x\" \r\n"
        "Content-Length: 17\r\n"
        "Content-Range: bytes 0-16/17\r\n"
        "Vary: Origin\r\nVary: Accept-Encoding\r\n"
        "Set-Cookie: a\r\nSet-Cookie: b\r\n"
        "Strict-Transport-Security: x\r\n"
        "x-amz-request-id: 1\r\n"
        "Retry-After: 60\r\n"
        "Trailer: x\r\n"
        "X-Accel-Buffering: no\r\n"
        "\r\n";
    EXPECT_EQ(forwarded_response(raw, {}), raw);
}

TEST(ForwardResponse, DropsWhatIsForThisConnection) {
    EXPECT_EQ(forwarded_response("HTTP/1.1 200 OK\r\nA: 1\r\nConnection: keep-alive, "
                                 "x-foo\r\nKeep-Alive: timeout=5\r\nX-Foo: 1\r\n"
                                 "Proxy-Connection: x\r\nProxy-Authenticate: Basic\r\nTE: "
                                 "x\r\nUpgrade: h2c\r\nContent-Length: 0\r\nB: 2\r\n\r\n",
                                 {}),
              "HTTP/1.1 200 OK\r\nA: 1\r\nContent-Length: 0\r\nB: 2\r\n\r\n");
    EXPECT_EQ(forwarded_response("HTTP/1.1 200 OK\r\nConnection: content-length, etag, "
                                 "x-amz-id-2\r\nContent-Length: 3\r\nETag: x\r\n"
                                 "x-amz-id-2: y\r\n\r\n",
                                 {}),
              "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nETag: x\r\nx-amz-id-2: y\r\n\r\n");
}

TEST(ForwardResponse, NeverLeavesTheReasonEmpty) {
    const std::string rest = "\r\nContent-Length: 0\r\n\r\n";
    for (const char* line :
         {"HTTP/1.1 403", "HTTP/1.1 403 ", "HTTP/1.1 403   ", "HTTP/1.1 403 \t", "HTTP/1.0 403 "}) {
        EXPECT_EQ(forwarded_response(line + rest, {}), "HTTP/1.1 403 Forbidden" + rest) << line;
    }
    EXPECT_EQ(forwarded_response("HTTP/1.1 299" + rest, {}), "HTTP/1.1 299 Unknown" + rest);
    EXPECT_EQ(forwarded_response("HTTP/1.0 200 Own reason" + rest, {}),
              "HTTP/1.1 200 Own reason" + rest);
}

TEST(ForwardResponse, WritesConnectionFields) {
    const std::string raw = "HTTP/1.1 200 OK\r\nConnection: x\r\nContent-Length: 0\r\n\r\n";
    const std::string kept = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n";
    ResponseRules rules;
    rules.close = true;
    EXPECT_EQ(forwarded_response(raw, rules), kept + "Connection: close\r\n\r\n");
    rules.keep_alive_10 = true;
    EXPECT_EQ(forwarded_response(raw, rules), kept + "Connection: close\r\n\r\n") << "close wins";
    rules.close = false;
    EXPECT_EQ(forwarded_response(raw, rules), kept + "Connection: keep-alive\r\n\r\n");
}

TEST(ForwardResponse, ChangesFramingOnlyWhenTold) {
    ResponseRules chunked;
    chunked.chunked = true;
    EXPECT_EQ(forwarded_response("HTTP/1.1 200 OK\r\nA: b\r\n\r\n", chunked),
              "HTTP/1.1 200 OK\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n");
    EXPECT_EQ(forwarded_response("HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\nA: b\r\n\r\n",
                                 chunked),
              "HTTP/1.1 200 OK\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n")
        << "never twice";
    EXPECT_EQ(forwarded_response("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", {}),
              "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    ResponseRules drop;
    drop.drop_framing = true;
    EXPECT_EQ(
        forwarded_response("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nA: b\r\n\r\n", drop),
        "HTTP/1.1 204 No Content\r\nA: b\r\n\r\n");
    EXPECT_EQ(
        forwarded_response("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n", drop),
        "HTTP/1.1 200 OK\r\nA: b\r\n\r\n");
    EXPECT_EQ(forwarded_response("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", {}),
              "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n")
        << "the length of the object is not that of the message";
}

TEST(ForwardResponse, LeavesNothingOfOddFraming) {
    const std::string raw =
        "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 5\r\ncontent-length: 6\r\n"
        "Transfer-Encoding: gzip\r\nContent_Length: 7\r\nTransfer.Encoding: chunked\r\n"
        "x-amz-meta-content_length: 8\r\n\r\n";
    ResponseRules rules;
    rules.drop_framing = true;
    EXPECT_EQ(forwarded_response(raw, rules),
              "HTTP/1.1 200 OK\r\nA: b\r\nx-amz-meta-content_length: 8\r\n\r\n");
    rules.stated_length = 0;
    rules.close = true;
    EXPECT_EQ(forwarded_response(raw, rules),
              "HTTP/1.1 200 OK\r\nA: b\r\nx-amz-meta-content_length: 8\r\n"
              "Content-Length: 0\r\nConnection: close\r\n\r\n");
}

TEST(ForwardResponse, RelaysASwitchOfProtocols) {
    const std::string raw =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: "
        "Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n";
    ResponseRules rules;
    rules.relay_upgrade = true;
    EXPECT_EQ(forwarded_response(raw, rules),
              "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "
              "x\r\nConnection: upgrade\r\n\r\n");
}

TEST(ForwardResponse, AddsTheSessionAndRequestIds) {
    const std::string raw = "HTTP/1.0 200 OK\r\nx-session-id: theirs\r\nContent-Length: 0\r\n\r\n";
    ResponseRules rules;
    EXPECT_EQ(forwarded_response(raw, rules),
              "HTTP/1.1 200 OK\r\nx-session-id: theirs\r\nContent-Length: 0\r\n\r\n");
    rules.session_name = "X-Session-ID";
    rules.session_value = "key";
    rules.request_id = "42";
    EXPECT_EQ(
        forwarded_response(raw, rules),
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Session-ID: key\r\nx-amz-request-id: 42\r\n\r\n")
        << "the echo of our key replaces whatever a backend put there";
    rules.session_value = {};
    EXPECT_EQ(forwarded_response(raw, rules),
              "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nx-amz-request-id: 42\r\n\r\n");
    EXPECT_EQ(forwarded_response("HTTP/1.1 200 OK\r\nX-AMZ-Request-Id: theirs\r\n\r\n", rules),
              "HTTP/1.1 200 OK\r\nX-AMZ-Request-Id: theirs\r\n\r\n");
}

}  // namespace
}  // namespace s3gate::http
