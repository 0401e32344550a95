// Body length. A refused row is a message that two programs could read differently (request
// smuggling); an accepted row has exactly one reading.
#include "s3gate/http/framing.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "heads.hpp"

namespace s3gate::http {
namespace {

struct FramingRow {
    std::string fields;
    HeadError error;
    BodyKind kind = BodyKind::none;
    std::uint64_t length = 0;
};

constexpr HeadError kNone = HeadError::none;
constexpr HeadError kLength = HeadError::bad_content_length;
constexpr HeadError kCoding = HeadError::bad_transfer_encoding;
constexpr HeadError kBoth = HeadError::both_framings;
constexpr HeadError kLike = HeadError::framing_lookalike;

// The same rules hold for requests and responses of HTTP/1.1.
const std::vector<FramingRow>& framing_rows() {
    static const std::vector<FramingRow> rows = {
        // Content-Length (RFC 9110 §8.6)
        {"", kNone, BodyKind::none, 0},
        {"Content-Length: 0\r\n", kNone, BodyKind::length, 0},
        {"Content-Length: 1\r\n", kNone, BodyKind::length, 1},
        {"content-length:5\r\n", kNone, BodyKind::length, 5},
        {"CONTENT-LENGTH: \t 42 \t\r\n", kNone, BodyKind::length, 42},
        {"Content-Length: 5497558138880\r\n", kNone, BodyKind::length, 5497558138880u},
        {"Content-Length: 4294967296\r\n", kNone, BodyKind::length, 4294967296u},
        {"Content-Length: 9223372036854775807\r\n", kNone, BodyKind::length, 9223372036854775807u},
        {"Content-Length: 9223372036854775808\r\n", kLength},
        {"Content-Length: 9999999999999999999\r\n", kLength},
        {"Content-Length: 18446744073709551615\r\n", kLength},
        {"Content-Length: 18446744073709551616\r\n", kLength},
        {"Content-Length: 18446744073709551621\r\n", kLength},
        {"Content-Length: 100000000000000000005\r\n", kLength},
        {"Content-Length:\r\n", kLength},
        {"Content-Length: \t\r\n", kLength},
        {"Content-Length: +5\r\n", kLength},
        {"Content-Length: -5\r\n", kLength},
        {"Content-Length: -0\r\n", kLength},
        {"Content-Length: 05\r\n", kLength},
        {"Content-Length: 00\r\n", kLength},
        {"Content-Length: 0x5\r\n", kLength},
        {"Content-Length: 5.0\r\n", kLength},
        {"Content-Length: 5e1\r\n", kLength},
        {"Content-Length: 1_0\r\n", kLength},
        {"Content-Length: 5 5\r\n", kLength},
        {"Content-Length: 5\t5\r\n", kLength},
        {"Content-Length: 5,\r\n", kLength},
        {"Content-Length: ,5\r\n", kLength},
        {"Content-Length: 5, 5\r\n", kLength},
        {"Content-Length: 5,6\r\n", kLength},
        {"Content-Length: 5;a\r\n", kLength},
        {"Content-Length: \"5\"\r\n", kLength},
        {"Content-Length: '5'\r\n", kLength},
        {"Content-Length: five\r\n", kLength},
        {"Content-Length: a\r\n", kLength},
        {"Content-Length: 5a\r\n", kLength},
        {"Content-Length: \xd9\xa5\r\n", kLength},
        {"Content-Length: \xa0"
         "5\r\n",
         kLength},
        {"Content-Length: chunked\r\n", kLength},
        {"Content-Length: 5\r\nContent-Length: 5\r\n", kLength},
        {"Content-Length: 5\r\ncontent-length: 6\r\n", kLength},
        {"Content-Length: 5\r\nX: y\r\nContent-Length:\r\n", kLength},
        {"Content-Length:\r\nContent-Length: 5\r\n", kLength},
        {"Content-Length: 0\r\nContent-Length: 5\r\n", kLength},
        // Transfer-Encoding (RFC 9112 §6.1): exactly one, exactly chunked
        {"Transfer-Encoding: chunked\r\n", kNone, BodyKind::chunked, 0},
        {"transfer-encoding:CHUNKED\r\n", kNone, BodyKind::chunked, 0},
        {"Transfer-Encoding: \tChunked \r\n", kNone, BodyKind::chunked, 0},
        {"Transfer-Encoding:\r\n", kCoding},
        {"Transfer-Encoding: ,\r\n", kCoding},
        {"Transfer-Encoding: identity\r\n", kCoding},
        {"Transfer-Encoding: gzip\r\n", kCoding},
        {"Transfer-Encoding: gzip, chunked\r\n", kCoding},
        {"Transfer-Encoding: chunked, gzip\r\n", kCoding},
        {"Transfer-Encoding: chunked, identity\r\n", kCoding},
        {"Transfer-Encoding: identity, chunked\r\n", kCoding},
        {"Transfer-Encoding: chunked, chunked\r\n", kCoding},
        {"Transfer-Encoding: chunked,\r\n", kCoding},
        {"Transfer-Encoding: ,chunked\r\n", kCoding},
        {"Transfer-Encoding: , chunked\r\n", kCoding},
        {"Transfer-Encoding: xchunked\r\n", kCoding},
        {"Transfer-Encoding: chunkedx\r\n", kCoding},
        {"Transfer-Encoding: x-chunked\r\n", kCoding},
        {"Transfer-Encoding: chunke\r\n", kCoding},
        {"Transfer-Encoding: chunked;q=1\r\n", kCoding},
        {"Transfer-Encoding: chunked; a=b\r\n", kCoding},
        {"Transfer-Encoding: \"chunked\"\r\n", kCoding},
        {"Transfer-Encoding: 'chunked'\r\n", kCoding},
        {"Transfer-Encoding: chunked chunked\r\n", kCoding},
        {"Transfer-Encoding: chun ked\r\n", kCoding},
        {"Transfer-Encoding: chunked\tx\r\n", kCoding},
        {"Transfer-Encoding: cow\r\n", kCoding},
        {"Transfer-Encoding: chunke\xc4\x8f\r\n", kCoding},
        {"Transfer-Encoding: \xa0"
         "chunked\r\n",
         kCoding},
        {"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", kCoding},
        {"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", kCoding},
        {"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", kCoding},
        {"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", kCoding},
        {"Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n", kCoding},
        // both
        {"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", kBoth},
        {"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", kBoth},
        {"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", kBoth},
        {"Transfer-Encoding: chunked\r\nX: y\r\ncontent-length: 5\r\n", kBoth},
        {"Content-Length: 5\r\nTransfer-Encoding: identity\r\n", kCoding},
        {"Content-Length: x\r\nTransfer-Encoding: chunked\r\n", kLength},
        // names that only look like framing fields
        {"Content_Length: 5\r\n", kLike},
        {"content_length: 5\r\n", kLike},
        {"Transfer_Encoding: chunked\r\n", kLike},
        {"TRANSFER_ENCODING: chunked\r\n", kLike},
        {"Content.Length: 5\r\n", kLike},
        {"Content--Length: 5\r\n", kLike},
        {"Content-----------Length: 5\r\n", kLike},
        {"Content------------Length: 5\r\n", kNone},
        {"Content-Length-: 5\r\n", kLike},
        {"-Content-Length: 5\r\n", kLike},
        {"ContentLength: 5\r\n", kLike},
        {"TransferEncoding: chunked\r\n", kLike},
        {"Transfer-Encoding!: chunked\r\n", kLike},
        {"Transfer'Encoding: chunked\r\n", kLike},
        {"Transfer.Encoding: chunked\r\n", kLike},
        {"Content_Length: 5\r\nContent-Length: 5\r\n", kLike},
        {"Transfer_Encoding: chunked\r\nContent-Length: 5\r\n", kLike},
        // longer names that contain one are the client's own
        {"X-Content-Length: 5\r\n", kNone, BodyKind::none, 0},
        {"Content-Length2: 5\r\n", kNone, BodyKind::none, 0},
        {"x-amz-decoded-content-length: 5\r\n", kNone, BodyKind::none, 0},
        {"X-Transfer-Encoding: chunked\r\n", kNone, BodyKind::none, 0},
        {"Content-Encoding: aws-chunked\r\n", kNone, BodyKind::none, 0},
        {"x-amz-meta-content_length: 5\r\nContent-Length: 3\r\n", kNone, BodyKind::length, 3},
        {"TE: chunked\r\n", kNone, BodyKind::none, 0},
        {"Trailer: Content-Length\r\nTransfer-Encoding: chunked\r\n", kNone, BodyKind::chunked, 0},
    };
    return rows;
}

TEST(RequestFraming, FollowsTheTable) {
    for (const FramingRow& row : framing_rows()) {
        SCOPED_TRACE(row.fields);
        for (const std::string& raw : {"PUT /b/k HTTP/1.1\r\nHost: h\r\n" + row.fields + "\r\n",
                                       "PUT /b/k HTTP/1.1\r\n" + row.fields + "Host: h\r\n\r\n"}) {
            const RequestMeaning meaning = meaning_of(request(raw));
            ASSERT_EQ(meaning.error, row.error);
            if (row.error == HeadError::none) {
                EXPECT_EQ(meaning.body.kind, row.kind);
                EXPECT_EQ(meaning.body.length, row.length);
            }
        }
    }
}

TEST(RequestFraming, Http10KnowsNoTransferCodings) {
    for (const FramingRow& row : framing_rows()) {
        SCOPED_TRACE(row.fields);
        const std::string raw = "PUT /b/k HTTP/1.0\r\nHost: h\r\n" + row.fields + "\r\n";
        const RequestMeaning meaning = meaning_of(request(raw));
        if (row.error == HeadError::none && row.kind != BodyKind::chunked) {
            EXPECT_EQ(meaning.error, HeadError::none);
            EXPECT_EQ(meaning.body.kind, row.kind);
        } else if (row.kind == BodyKind::chunked) {
            EXPECT_EQ(meaning.error, HeadError::bad_transfer_encoding);
        } else {
            EXPECT_NE(meaning.error, HeadError::none);
        }
    }
}

TEST(RequestFraming, HoldsForAnyMethod) {
    for (const char* method : {"GET", "HEAD", "DELETE", "OPTIONS", "POST", "PATCH", "PROPFIND"}) {
        const std::string start = std::string(method) + " / HTTP/1.1\r\nHost: h\r\n";
        EXPECT_EQ(meaning_of(request(start + "\r\n")).body.kind, BodyKind::none) << method;
        EXPECT_EQ(meaning_of(request(start + "Content-Length: 3\r\n\r\n")).body.kind,
                  BodyKind::length)
            << method;
        EXPECT_EQ(meaning_of(request(start + "Transfer-Encoding: chunked\r\n\r\n")).body.kind,
                  BodyKind::chunked);
    }
}

TEST(ResponseFraming, FollowsTheTable) {
    for (const FramingRow& row : framing_rows()) {
        SCOPED_TRACE(row.fields);
        const ResponseMeaning meaning =
            meaning_of(response("HTTP/1.1 200 OK\r\n" + row.fields + "\r\n"), false);
        ASSERT_EQ(meaning.error, row.error);
        if (row.error == HeadError::none) {
            // RFC 9112 §6.3 rule 8: a response without framing lasts until the connection closes.
            EXPECT_EQ(meaning.body.kind,
                      row.kind == BodyKind::none ? BodyKind::until_close : row.kind);
            EXPECT_EQ(meaning.body.length, row.length);
            EXPECT_EQ(meaning.keep_alive, row.kind != BodyKind::none);
        }
    }
}

TEST(ResponseFraming, BodylessResponsesHaveNoneWhateverTheirFieldsSay) {
    for (const char* status : {"100 Continue", "101 Switching Protocols", "103 Early Hints",
                               "204 No Content", "304 Not Modified"}) {
        for (const char* fields : {"", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"}) {
            const ResponseMeaning meaning = meaning_of(
                response("HTTP/1.1 " + std::string(status) + "\r\n" + fields + "\r\n"), false);
            EXPECT_EQ(meaning.error, HeadError::none);
            EXPECT_EQ(meaning.body.kind, BodyKind::none) << status << fields;
            EXPECT_EQ(meaning.body.length, 0u);
            EXPECT_TRUE(meaning.keep_alive);
        }
    }
    for (const char* fields : {"", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"}) {
        const ResponseMeaning meaning =
            meaning_of(response("HTTP/1.1 200 OK\r\n" + std::string(fields) + "\r\n"), true);
        EXPECT_EQ(meaning.body.kind, BodyKind::none) << fields;
        EXPECT_TRUE(meaning.keep_alive) << "an answer to HEAD ends with its head";
    }
    EXPECT_EQ(meaning_of(response("HTTP/1.1 205 Reset Content\r\n\r\n"), false).body.kind,
              BodyKind::until_close);
}

struct BodylessRow {
    std::string line;
    bool to_head;
    bool may_state_length;
};

const std::vector<BodylessRow>& bodyless_rows() {
    static const std::vector<BodylessRow> rows = {
        {"HTTP/1.1 100 Continue\r\n", false, false},
        {"HTTP/1.1 101 Switching Protocols\r\n", false, false},
        {"HTTP/1.1 103 Early Hints\r\n", true, false},
        {"HTTP/1.1 204 No Content\r\n", false, false},
        {"HTTP/1.1 204 No Content\r\n", true, false},
        {"HTTP/1.1 304 Not Modified\r\n", false, true},
        {"HTTP/1.1 304 Not Modified\r\n", true, true},
        {"HTTP/1.1 200 OK\r\n", true, true},
        {"HTTP/1.1 404 Not Found\r\n", true, true},
        {"HTTP/1.1 503 Busy\r\n", true, true},
    };
    return rows;
}

TEST(ResponseFraming, OddFieldsOfABodylessResponseAreNoError) {
    for (const BodylessRow& answer : bodyless_rows()) {
        for (const FramingRow& row : framing_rows()) {
            SCOPED_TRACE(answer.line + row.fields);
            const std::string raw = answer.line + row.fields + "\r\n";
            const ResponseMeaning meaning = meaning_of(response(raw), answer.to_head);
            ASSERT_EQ(meaning.error, HeadError::none);
            EXPECT_EQ(meaning.body.kind, BodyKind::none);
            EXPECT_EQ(meaning.body.length, 0u);
            EXPECT_EQ(meaning.is_oddly_framed, row.error != HeadError::none);
            EXPECT_EQ(meaning.keep_alive, !meaning.is_oddly_framed)
                << "whoever frames nothing in two ways may also send what it frames";
            EXPECT_FALSE(meaning.stated_length && !meaning.is_oddly_framed);
        }
    }
    const std::string old = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n";
    EXPECT_TRUE(
        meaning_of(response(old + "Transfer-Encoding: chunked\r\n\r\n"), true).is_oddly_framed);
    const ResponseMeaning closing =
        meaning_of(response("HTTP/1.1 204 N\r\nConnection: close\r\n\r\n"), false);
    EXPECT_FALSE(closing.is_oddly_framed);
    EXPECT_FALSE(closing.keep_alive);
}

TEST(ResponseFraming, OneLengthOfAnOddlyFramedResponseIsTheObjects) {
    struct Row {
        std::string fields;
        std::optional<std::uint64_t> length;
    };
    const std::vector<Row> rows = {
        {"Content-Length: 5\r\nContent-Length: 5\r\n", 5},
        {"Content-Length: 5\r\nA: b\r\ncontent-length:5\r\nContent-Length:  5 \r\n", 5},
        {"Content-Length: 5, 5\r\n", 5},
        {"Content-Length: 5,5 ,\t5\r\nContent-Length: 5\r\n", 5},
        {"Content-Length: 5,\r\n", 5},
        {"Content-Length: 0, 0\r\n", 0},
        {"Content-Length: 9223372036854775807, 9223372036854775807\r\n", INT64_MAX},
        {"Content_Length: 7\r\nContent-Length: 5\r\n", 5},
        {"Content-Length: 5\r\nContent-Length: 6\r\n", std::nullopt},
        {"Content-Length: 5\r\nContent-Length: 6\r\nContent-Length: 5\r\n", std::nullopt},
        {"Content-Length: 5, 6\r\n", std::nullopt},
        {"Content-Length: 5, 05\r\n", std::nullopt},
        {"Content-Length: 5, abc\r\n", std::nullopt},
        {"Content-Length: abc, 5\r\n", std::nullopt},
        {"Content-Length: 0, abc\r\n", std::nullopt},
        {"Content-Length: abc, 0\r\n", std::nullopt},
        {"Content-Length: 5\r\nContent-Length:\r\n", std::nullopt},
        {"Content-Length:\r\nContent-Length: 5\r\n", std::nullopt},
        {"Content-Length: ,\r\n", std::nullopt},
        {"Content-Length:\r\n", std::nullopt},
        {"Content-Length: -1\r\n", std::nullopt},
        {"Content-Length: 05\r\n", std::nullopt},
        {"Content-Length: 9223372036854775808\r\n", std::nullopt},
        {"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", std::nullopt},
        {"Content-Length: 5, 5\r\nTransfer-Encoding: gzip\r\n", std::nullopt},
        {"Transfer-Encoding: gzip\r\n", std::nullopt},
        {"Content_Length: 5\r\n", std::nullopt},
    };
    for (const BodylessRow& answer : bodyless_rows()) {
        for (const Row& row : rows) {
            SCOPED_TRACE(answer.line + row.fields);
            const std::string raw = answer.line + row.fields + "\r\n";
            const ResponseMeaning meaning = meaning_of(response(raw), answer.to_head);
            ASSERT_TRUE(meaning.is_oddly_framed);
            EXPECT_EQ(meaning.stated_length, answer.may_state_length ? row.length : std::nullopt);
        }
    }
}

// A control byte in a framing field is no white space, so it is not trimmed.
TEST(ResponseFraming, StaysOddWhereControlsWereSoftened) {
    for (const char* fields :
         {"Content-Length: 5\x0b\r\n", "Content-Length:\x01\x35\r\n", "Content-Length: \x7f\r\n",
          "Transfer-Encoding: chunked\x0b\r\n", "Transfer-Encoding: \x01chunked\r\n",
          "Content-Length: 5\r\nTransfer-Encoding: \x01\r\n"}) {
        std::string raw = "HTTP/1.1 200 OK\r\n" + std::string(fields) + "\r\n";
        SCOPED_TRACE(escaped(raw));
        ResponseHead head;
        ASSERT_EQ(parse_response_head_softly(raw, head), HeadError::none);
        EXPECT_NE(meaning_of(head, false).error, HeadError::none);
        const ResponseMeaning to_head = meaning_of(head, true);
        EXPECT_EQ(to_head.error, HeadError::none);
        EXPECT_TRUE(to_head.is_oddly_framed);
        EXPECT_EQ(to_head.stated_length, std::nullopt);
    }
}

TEST(ResponseFraming, KeepsTheConnectionAsAgreed) {
    const auto keeps = [](const std::string& version, const std::string& connection) {
        return meaning_of(response("HTTP/" + version + " 200 OK\r\nContent-Length: 0\r\n" +
                                   connection + "\r\n"),
                          false)
            .keep_alive;
    };
    EXPECT_TRUE(keeps("1.1", ""));
    EXPECT_TRUE(keeps("1.1", "Connection: keep-alive\r\n"));
    EXPECT_FALSE(keeps("1.1", "Connection: close\r\n"));
    EXPECT_FALSE(keeps("1.1", "Connection: x, CLOSE\r\n"));
    EXPECT_FALSE(keeps("1.1", "Connection: keep-alive\r\nConnection: close\r\n"));
    EXPECT_FALSE(keeps("1.0", ""));
    EXPECT_TRUE(keeps("1.0", "Connection: Keep-Alive\r\n"));
    EXPECT_FALSE(keeps("1.0", "Connection: keep-alive, close\r\n"));
    EXPECT_EQ(
        meaning_of(response("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), false).error,
        HeadError::bad_transfer_encoding);
}

struct HostRow {
    std::string host;
    bool good;
};

const std::vector<HostRow>& host_rows() {
    static const std::vector<HostRow> rows = {
        {"h", true},
        {"s3.example.com", true},
        {"S3.Example.COM:9000", true},
        {"bucket.s3.local:9000", true},
        {"a_b-c.d", true},
        {"10.0.0.1", true},
        {"10.0.0.1:80", true},
        {"h:", true},
        {"h:0", true},
        {"h:65535", true},
        {"%41b", true},
        {"a!$&'()*+;=~", true},
        {"[::1]", true},
        {"[::1]:9000", true},
        {"[2001:DB8::1]:", true},
        {"[::ffff:10.0.0.1]", true},
        {"", false},
        {":80", false},
        {"h:65536", false},
        {"h:99999", false},
        {"h:000080", false},
        {"h:-1", false},
        {"h:+80", false},
        {"h:80:80", false},
        {"h:8o", false},
        {"h:80 ", true},  // OWS is not part of the value
        {"h: 80", false},
        {"h h", false},
        {"a,b", false},
        {"a, b", false},
        {"user@h", false},
        {"user:secret@h", false},
        {"h/", false},
        {"h/path", false},
        {"http://h", false},
        {"h?x", false},
        {"h#x", false},
        {"h\\x", false},
        {"%4", false},
        {"%", false},
        {"%zz", false},
        {"a%4gb", false},
        {"h\x80", false},
        {"\xc3\xbc.example", false},
        {"<h>", false},
        {"\"h\"", false},
        {"[::1", false},
        {"::1", false},
        {"[]", false},
        {"[:]", false},
        {"[::1]80", false},
        {"[::1]:x", false},
        {"[::1]:65536", false},
        {"[::1]]", false},
        {"[[::1]]", false},
        {"[10.0.0.1]", false},
        {"[1234]", false},
        {"[12345::]", false},
        {"[:::::]", false},
        {"[v1.x]", false},
        {"[fe80::1%25eth0]", false},
        {"[", false},
        {"]", false},
    };
    return rows;
}

TEST(Host, FollowsTheTable) {
    for (const HostRow& row : host_rows()) {
        SCOPED_TRACE(row.host);
        for (const char* version : {"1.0", "1.1"}) {
            const RequestMeaning meaning = meaning_of(request(
                "GET / HTTP/" + std::string(version) + "\r\nHost: " + row.host + "\r\n\r\n"));
            EXPECT_EQ(meaning.error, row.good ? HeadError::none : HeadError::bad_host);
            EXPECT_FALSE(meaning.needs_host && row.good);
        }
    }
}

TEST(Host, IsRequiredOnceWithHttp11) {
    EXPECT_EQ(meaning_of(request("GET / HTTP/1.1\r\n\r\n")).error, HeadError::bad_host);
    EXPECT_EQ(meaning_of(request("GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n")).error,
              HeadError::bad_host);
    EXPECT_EQ(meaning_of(request("GET / HTTP/1.1\r\nHost: h\r\nA: b\r\nhost:\r\n\r\n")).error,
              HeadError::bad_host);
    EXPECT_EQ(meaning_of(request("GET / HTTP/1.0\r\nHost: h\r\nHost: i\r\n\r\n")).error,
              HeadError::bad_host);
    const RequestMeaning old = meaning_of(request("GET / HTTP/1.0\r\n\r\n"));
    EXPECT_EQ(old.error, HeadError::none);
    EXPECT_TRUE(old.needs_host);
    EXPECT_EQ(meaning_of(request("GET / HTTP/1.1\r\nX-Host: h\r\n\r\n")).error,
              HeadError::bad_host);
}

struct TargetRow {
    std::string method;
    std::string target;
    HeadError error;
    std::string origin = {};  // the forwarded target, with the slash that may have to be added
    std::string path = {};
    std::string query = {};
};

TEST(Target, FollowsTheTable) {
    constexpr HeadError kBad = HeadError::bad_target;
    constexpr HeadError kOther = HeadError::authority_mismatch;
    const std::vector<TargetRow> rows = {
        {"GET", "/", kNone, "/", "/", ""},
        {"GET", "//", kNone, "//", "//", ""},
        {"GET", "/b//k%2F./../x", kNone, "/b//k%2F./../x", "/b//k%2F./../x", ""},
        {"GET", "/b?", kNone, "/b?", "/b", ""},
        {"GET", "/b?a=1&b=2", kNone, "/b?a=1&b=2", "/b", "a=1&b=2"},
        {"GET", "/b?a?b", kNone, "/b?a?b", "/b", "a?b"},
        {"GET", "/?http://x/", kNone, "/?http://x/", "/", "http://x/"},
        {"GET", "/http://h:9/", kNone, "/http://h:9/", "/http://h:9/", ""},
        {"GET", "*", kBad},
        {"PUT", "*", kBad},
        {"options", "*", kBad},
        {"OPTIONS", "*", kNone, "*", "*", ""},
        {"OPTIONS", "*?x", kBad},
        {"OPTIONS", "**", kBad},
        {"OPTIONS", "/b", kNone, "/b", "/b", ""},
        {"OPTIONS", "http://h:9", kNone, "*", "*", ""},
        {"OPTIONS", "http://h:9/", kNone, "/", "/", ""},
        {"OPTIONS", "http://h:9?x", kNone, "/?x", "/", "x"},
        {"GET", "http://h:9", kNone, "/", "/", ""},
        {"GET", "http://h:9/", kNone, "/", "/", ""},
        {"GET", "http://h:9/a/b?c", kNone, "/a/b?c", "/a/b", "c"},
        {"GET", "http://h:9//a", kNone, "//a", "//a", ""},
        {"GET", "http://h:9?c=d", kNone, "/?c=d", "/", "c=d"},
        {"GET", "HTTP://H:9/a", kNone, "/a", "/a", ""},
        {"GET", "https://h:9/a", kNone, "/a", "/a", ""},
        {"GET", "http://h/a", kOther},
        {"GET", "http://h:80/a", kOther},
        {"GET", "http://other:9/a", kOther},
        {"GET", "http://u@h:9/a", kOther},
        {"GET", "http://h:9.evil/a", kOther},
        {"GET", "http://h:9\\@evil/a", kOther},
        {"GET", "http:///a", kBad},
        {"GET", "http://", kBad},
        {"GET", "http://?x", kBad},
        {"GET", "http:/h:9/a", kBad},
        {"GET", "http:h:9", kBad},
        {"GET", "ftp://h:9/a", kBad},
        {"GET", "h:9", kBad},
        {"GET", "h", kBad},
        {"GET", "?a", kBad},
        {"GET", "a/b", kBad},
        {"GET", "%2Fa", kBad},
        {"GET", "\\a", kBad},
        {"CONNECT", "h:9", HeadError::connect_method},
        {"CONNECT", "/", HeadError::connect_method},
    };
    for (const TargetRow& row : rows) {
        SCOPED_TRACE(row.method + " " + row.target);
        const std::string raw = row.method + " " + row.target + " HTTP/1.1\r\nHost: h:9\r\n\r\n";
        const RequestMeaning meaning = meaning_of(request(raw));
        ASSERT_EQ(meaning.error, row.error);
        if (row.error == HeadError::none) {
            EXPECT_EQ((meaning.missing_slash ? "/" : "") + std::string(meaning.origin_target),
                      row.origin);
            EXPECT_EQ(meaning.path, row.path);
            EXPECT_EQ(meaning.query, row.query);
            EXPECT_EQ(meaning.host, "h:9");
        }
    }
}

TEST(Target, AMissingPortIsTheDefaultOfTheScheme) {
    struct Row {
        std::string target;
        std::string host;
        bool same;
    };
    const std::vector<Row> rows = {
        {"http://h/", "h", true},
        {"http://h:80/", "h", true},
        {"http://h/", "h:80", true},
        {"http://h:/", "h", true},
        {"http://h/", "h:", true},
        {"http://H:/", "h:80", true},
        {"https://h/", "h:443", true},
        {"https://h:443/", "h", true},
        {"http://[::1]:80/", "[::1]", true},
        {"http://[::1]/", "[::1]:80", true},
        {"http://[::1]/", "[::1]", true},
        {"http://h:443/", "h", false},
        {"https://h:80/", "h", false},
        {"http://h/", "h:443", false},
        {"http://h:080/", "h", false},
        {"http://h:80:80/", "h", false},
        {"http://u@h:80/", "h", false},
        {"http://h:80x/", "h", false},
        {"http://[::1]:81/", "[::1]", false},
        {"http://[::1]x/", "[::1]", false},
        {"http://[::2]/", "[::1]", false},
        {"http://::1:80/", "[::1]", false},
        {"http://h.:80/", "h", false},
        {"http://:80/", "h", false},
    };
    for (const Row& row : rows) {
        const RequestMeaning meaning = meaning_of(
            request("GET " + row.target + " HTTP/1.1\r\nHost: " + row.host + "\r\n\r\n"));
        EXPECT_EQ(meaning.error, row.same ? kNone : HeadError::authority_mismatch)
            << row.target << " to " << row.host;
    }
}

TEST(Target, AnAuthorityNeedsItsHost) {
    // HTTP/1.0 may omit Host, but then an absolute target names a server that nothing confirms.
    EXPECT_EQ(meaning_of(request("GET http://h/a HTTP/1.0\r\n\r\n")).error,
              HeadError::authority_mismatch);
    EXPECT_EQ(meaning_of(request("GET http:///a HTTP/1.0\r\n\r\n")).error, HeadError::bad_target);
    EXPECT_EQ(meaning_of(request("GET http:// HTTP/1.0\r\n\r\n")).error, HeadError::bad_target);
    EXPECT_EQ(meaning_of(request("GET https://?x HTTP/1.0\r\n\r\n")).error, HeadError::bad_target);
}

struct ConnectionRow {
    std::string version;
    std::string fields;
    bool keep_alive;
    bool expects_continue;
    bool wants_upgrade;
};

TEST(RequestConnection, FollowsTheTable) {
    const std::vector<ConnectionRow> rows = {
        {"1.1", "", true, false, false},
        {"1.1", "Connection: close\r\n", false, false, false},
        {"1.1", "Connection: Close\r\n", false, false, false},
        {"1.1", "connection: keep-alive , close\r\n", false, false, false},
        {"1.1", "Connection: keep-alive\r\nConnection: close\r\n", false, false, false},
        {"1.1", "Connection: closed\r\n", true, false, false},
        {"1.1", "Connection: x-close\r\n", true, false, false},
        {"1.1", "Connection: \"close\"\r\n", true, false, false},
        {"1.1", "Connection:\r\n", true, false, false},
        {"1.1", "Proxy-Connection: close\r\n", true, false, false},
        {"1.0", "", false, false, false},
        {"1.0", "Connection: keep-alive\r\n", true, false, false},
        {"1.0", "Connection: Keep-Alive, x\r\n", true, false, false},
        {"1.0", "Connection: keep-alive\r\nConnection: close\r\n", false, false, false},
        {"1.0", "Proxy-Connection: keep-alive\r\n", false, false, false},
        {"1.0", "Keep-Alive: timeout=5\r\n", false, false, false},
        {"1.1", "Expect: 100-continue\r\n", true, true, false},
        {"1.1", "expect: 100-Continue\r\n", true, true, false},
        {"1.1", "Expect:\r\n", true, false, false},
        {"1.1", "Expect: 100-continue\r\nExpect:\r\n", true, true, false},
        {"1.0", "Expect: x\r\n", false, false, false},
        {"1.0", "Expect: 100-continue\r\n", false, false, false},
        {"1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\n", true, false, true},
        {"1.1", "Upgrade: websocket\r\nConnection: keep-alive, upgrade\r\n", true, false, true},
        {"1.1", "Upgrade: websocket\r\n", true, false, false},
        {"1.1", "Connection: Upgrade\r\n", true, false, false},
        {"1.0", "Connection: Upgrade\r\nUpgrade: websocket\r\n", false, false, false},
        {"1.1", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n",
         true, false, true},
    };
    for (const ConnectionRow& row : rows) {
        SCOPED_TRACE(row.version + " " + row.fields);
        const RequestMeaning meaning = meaning_of(
            request("GET / HTTP/" + row.version + "\r\nHost: h\r\n" + row.fields + "\r\n"));
        ASSERT_EQ(meaning.error, HeadError::none);
        EXPECT_EQ(meaning.keep_alive, row.keep_alive);
        EXPECT_EQ(meaning.expects_continue, row.expects_continue);
        EXPECT_EQ(meaning.wants_upgrade, row.wants_upgrade);
    }
}

TEST(Expectation, IsOne100ContinueOrRefused) {
    for (const std::string fields :
         {"Expect: 100-continue, x=y\r\n", "Expect: 100-continue\r\nExpect: other\r\n",
          "Expect: other\r\nExpect: 100-continue\r\n", "Expect: 100-continued\r\n",
          "Expect: 100\r\n", "Expect: y 100-continue\r\n", "Expect: 100-continue,\r\n",
          "Expect: 100-continue\r\nExpect: 100-continue\r\n", "Expect: ,\r\n",
          "Expect: 100-continue;a=b\r\n"}) {
        EXPECT_EQ(meaning_of(request("PUT / HTTP/1.1\r\nHost: h\r\n" + fields + "\r\n")).error,
                  HeadError::bad_expectation)
            << fields;
    }
}

TEST(ConnectionOptions, AreBounded) {
    // Each option may nominate a field; without a bound a head costs options × fields comparisons.
    std::string most = "Connection: close\r\nConnection: ";
    for (std::size_t i = 1; i < kMaxConnectionOptions; ++i) {
        most += "x,,";
    }
    EXPECT_EQ(meaning_of(request("GET / HTTP/1.1\r\nHost: h\r\n" + most + "\r\n\r\n")).error,
              HeadError::none);
    EXPECT_EQ(meaning_of(request("GET / HTTP/1.1\r\nHost: h\r\n" + most + "y\r\n\r\n")).error,
              HeadError::too_many_fields);
    EXPECT_EQ(meaning_of(response("HTTP/1.1 200 OK\r\n" + most + "\r\n\r\n"), false).error,
              HeadError::none);
    EXPECT_EQ(meaning_of(response("HTTP/1.1 200 OK\r\n" + most + "y\r\n\r\n"), false).error,
              HeadError::too_many_fields);
}

}  // namespace
}  // namespace s3gate::http
