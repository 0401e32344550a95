// Finds the end of a head and parses it. A refused head never reaches a backend, so each row here
// closes one way to smuggle a request.
#include "s3gate/http/head.hpp"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "heads.hpp"

namespace s3gate::http {
namespace {

using State = HeadScanner::State;
using Kind = HeadScanner::Kind;
using std::string_literals::operator""s;

struct Scanned {
    State state = State::incomplete;
    std::size_t begin = 0;
    std::size_t end = 0;
    HeadError error = HeadError::none;
    std::size_t fed = 0;  // bytes fed at the verdict
};

// Feeds `bytes` in steps that end at the given positions. Each step is a new copy, because the
// caller's buffer may move.
Scanned scan_in_steps(Kind kind, const std::string& bytes, const std::vector<std::size_t>& steps) {
    HeadScanner scanner(kind);
    Scanned result;
    for (const std::size_t end : steps) {
        const std::string part = bytes.substr(0, end);
        result.state = scanner.scan(part);
        result.fed = end;
        if (result.state != State::incomplete) {
            break;
        }
    }
    result.begin = scanner.begin();
    result.end = scanner.end();
    result.error = scanner.error();
    return result;
}

std::vector<std::size_t> every_position(std::size_t size) {
    std::vector<std::size_t> steps(size);
    for (std::size_t i = 0; i < size; ++i) {
        steps[i] = i + 1;
    }
    return steps;
}

struct ScanRow {
    Kind kind;
    std::string bytes;
    HeadError error;        // none = complete
    std::size_t decided;    // bytes needed for the verdict
    std::size_t begin = 0;  // where the head begins
};

const std::vector<ScanRow>& scan_rows() {
    static const std::vector<ScanRow> rows = {
        {Kind::request, "GET / HTTP/1.1\r\n\r\n", HeadError::none, 18},
        {Kind::request, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", HeadError::none, 27},
        {Kind::request, "GET / HTTP/1.0\r\nHost: h\r\n\r\nbody\r\n\r\n", HeadError::none, 27},
        {Kind::request, "\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", HeadError::none, 29, 2},
        {Kind::request, "\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", HeadError::none, 31, 4},
        {Kind::request, "\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n", HeadError::bad_first_byte, 5, 4},
        {Kind::request, "GET / HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\n\r\n", HeadError::none,
         27},
        // The parser judges the rest of such a head; the scanner must find its end.
        {Kind::request, "GET / HTTP/1.1\r\n folded\r\n\r\n", HeadError::none, 27},
        // Line ends that are not CRLF are refused at the LF.
        {Kind::request, "GET / HTTP/1.1\nHost: h\n\n", HeadError::bad_line_end, 15},
        {Kind::request, "GET / HTTP/1.1\r\nHost: h\n\r\n", HeadError::bad_line_end, 24},
        {Kind::request, "GET / HTTP/1.1\r\nHost: h\r\n\n", HeadError::bad_line_end, 26},
        {Kind::request, "\nGET / HTTP/1.1\r\n\r\n", HeadError::bad_first_byte, 1},
        {Kind::request, "\r\n\nGET / HTTP/1.1\r\n\r\n", HeadError::bad_first_byte, 3, 2},
        {Kind::request, "\rGET / HTTP/1.1\r\n\r\n", HeadError::bad_line_end, 2},
        {Kind::request, "\r\r\nGET / HTTP/1.1\r\n\r\n", HeadError::bad_line_end, 2},
        // A CR without a possible LF is refused at once.
        {Kind::request, "GET / HTTP/1.1\rHost: h\r\r", HeadError::bad_line_end, 16},
        {Kind::request, "GET / HTTP/1.1\r\nA: b\rc: d", HeadError::bad_line_end, 22},
        {Kind::request, "GET / HTTP/1.1\r\nA: b\r\n\r\r", HeadError::bad_line_end, 24},
        {Kind::response, "HTTP/1.1 200 OK\rX", HeadError::bad_line_end, 17},
        // Other protocols.
        {Kind::request, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"s, HeadError::bad_first_byte,
         1},
        {Kind::request, "\x80\x2e\x01\x03\x01"s, HeadError::bad_first_byte, 1},
        {Kind::request, "\0GET / HTTP/1.1\r\n\r\n"s, HeadError::bad_first_byte, 1},
        {Kind::request, " GET / HTTP/1.1\r\n\r\n", HeadError::bad_first_byte, 1},
        {Kind::request, "\xef\xbb\xbfGET / HTTP/1.1\r\n\r\n", HeadError::bad_first_byte, 1},
        {Kind::request, "GET /\r\n", HeadError::bad_version, 7},
        {Kind::request, "GET / HTTP/0.9\r\nHost: h\r\n\r\n", HeadError::bad_version, 16},
        {Kind::request, "GET / HTTP/1.2\r\nHost: h\r\n\r\n", HeadError::bad_version, 16},
        {Kind::request, "GET / http/1.1\r\nHost: h\r\n\r\n", HeadError::bad_version, 16},
        {Kind::request, "GET / HTTP/1.1 \r\nHost: h\r\n\r\n", HeadError::bad_version, 17},
        {Kind::request, "GET / HTTP/1.10\r\nHost: h\r\n\r\n", HeadError::bad_version, 17},
        {Kind::request, "GET /\tHTTP/1.1\r\nHost: h\r\n\r\n", HeadError::bad_version, 16},
        {Kind::request, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HeadError::bad_version, 16},
        {Kind::request, "PROXY TCP4 10.0.0.1 10.0.0.2 5 6\r\nGET / HTTP/1.1\r\n\r\n",
         HeadError::bad_version, 34},
        {Kind::request, "HTTP/1.1\r\n\r\n", HeadError::bad_version, 10},
        {Kind::response, "HTTP/1.1 200 OK\r\n\r\n", HeadError::none, 19},
        {Kind::response, "HTTP/1.0 200\r\nA: b\r\n\r\nrest", HeadError::none, 22},
        {Kind::response, "HTTP/2 200\r\n\r\n", HeadError::bad_status_line, 12},
        {Kind::response, "HTTP 200 OK\r\n\r\n", HeadError::bad_status_line, 13},
        {Kind::response, "Hello\r\n", HeadError::bad_status_line, 7},
        {Kind::response, "\r\nHTTP/1.1 200 OK\r\n\r\n", HeadError::bad_first_byte, 1},
        {Kind::response, "<html>", HeadError::bad_first_byte, 1},
        {Kind::response, "\x15\x03\x01", HeadError::bad_first_byte, 1},
        {Kind::response, "HTTP/1.1 200 OK\nA: b\n\n", HeadError::bad_line_end, 16},
        {Kind::response, "HTTP/1.1 200 OK\r\nA: b\r\n\n", HeadError::bad_line_end, 24},
    };
    return rows;
}

TEST(HeadScanner, VerdictComesAsSoonAsTheBytesDecideWhateverTheSplit) {
    for (const ScanRow& row : scan_rows()) {
        SCOPED_TRACE(escaped(row.bytes));
        const auto check = [&](const Scanned& scanned, std::size_t fed) {
            EXPECT_EQ(scanned.error, row.error);
            EXPECT_EQ(scanned.state, row.error == HeadError::none ? State::complete : State::bad);
            EXPECT_EQ(scanned.fed, fed);
            EXPECT_EQ(scanned.begin, row.begin);
            if (row.error == HeadError::none) {
                EXPECT_EQ(scanned.end, row.decided) << "bytes behind the head are not its own";
            }
        };
        check(scan_in_steps(row.kind, row.bytes, {row.bytes.size()}), row.bytes.size());
        check(scan_in_steps(row.kind, row.bytes, every_position(row.bytes.size())), row.decided);
        for (std::size_t split = 1; split < row.bytes.size(); ++split) {
            SCOPED_TRACE(split);
            check(scan_in_steps(row.kind, row.bytes, {split, row.bytes.size()}),
                  split >= row.decided ? split : row.bytes.size());
        }
    }
}

TEST(HeadScanner, ACrInsideALineIsRefusedHereOrByTheParser) {
    // In complete lines only the parser looks for CR: its byte classes exclude it.
    const std::string raw = "GET / HTTP/1.1\r\nHost: h\r\nA: b\rc\r\n\r\n";
    EXPECT_EQ(scan_in_steps(Kind::request, raw, {raw.size()}).error, HeadError::none);
    RequestHead head;
    EXPECT_EQ(parse_request_head(raw, head), HeadError::bad_field_value);
    EXPECT_EQ(scan_in_steps(Kind::request, raw, every_position(raw.size())).error,
              HeadError::bad_line_end);
}

TEST(HeadScanner, TellsALongTargetFromManyFields) {
    HeadScanner scanner(Kind::request);
    EXPECT_EQ(scanner.scan("\r\nGET /" + std::string(1000, 'a')), State::incomplete);
    EXPECT_FALSE(scanner.has_start_line());
    EXPECT_EQ(scanner.scan("\r\nGET /" + std::string(1000, 'a') + " HTTP/1.1\r\nA: "),
              State::incomplete);
    EXPECT_TRUE(scanner.has_start_line());
}

TEST(HeadScanner, StartsAnewAfterReset) {
    HeadScanner scanner(Kind::response);
    EXPECT_EQ(scanner.scan("GET"), State::bad);
    scanner.reset();
    EXPECT_EQ(scanner.error(), HeadError::none);
    EXPECT_EQ(scanner.scan("HTTP/1.1 200 OK\r\n\r\n"), State::complete);
    scanner.reset();
    EXPECT_EQ(scanner.end(), 0u);
    EXPECT_EQ(scanner.scan("HTTP/1.1 204 No Content\r\n\r\n"), State::complete)
        << "still for responses";
    EXPECT_EQ(scanner.end(), 27u);
}

TEST(HeadScanner, NothingIsIncomplete) {
    HeadScanner scanner(Kind::request);
    EXPECT_EQ(scanner.scan(""), State::incomplete);
    EXPECT_FALSE(scanner.has_start_line());
    EXPECT_EQ(scanner.scan("\r"), State::incomplete);
    EXPECT_EQ(scanner.scan("\r\n"), State::incomplete);
    EXPECT_EQ(scanner.begin(), 2u);
}

TEST(RequestHead, KeepsEveryByteAndItsPlace) {
    const std::string raw =
        "PUT //b//a%2Fb%2b/./x/../y?b=2&a=%20+~&a= HTTP/1.1\r\n"
        "hOsT:  s3.Example.com:9000 \r\n"
        "x-amz-meta-a_b.c:\tvalue  with   gaps\t \r\n"
        "x-amz-meta-empty:\r\n"
        "x-amz-meta-utf8: gr\xc3\xbc\xc3\x9f"
        "e \xff\r\n"
        "Content-Length: 0\r\n"
        "x-amz-meta-a_b.c: again\r\n"
        "\r\n";
    RequestHead head;
    ASSERT_EQ(parse_request_head(raw, head), HeadError::none);
    EXPECT_EQ(head.raw, raw);
    EXPECT_EQ(head.line, "PUT //b//a%2Fb%2b/./x/../y?b=2&a=%20+~&a= HTTP/1.1\r\n");
    EXPECT_EQ(head.method, "PUT");
    EXPECT_EQ(head.target, "//b//a%2Fb%2b/./x/../y?b=2&a=%20+~&a=");
    EXPECT_EQ(head.minor, 1);
    ASSERT_EQ(head.fields.size(), 6u);
    EXPECT_EQ(head.fields[0].name, "hOsT");
    EXPECT_EQ(head.fields[0].value, "s3.Example.com:9000");
    EXPECT_EQ(head.fields[0].line, "hOsT:  s3.Example.com:9000 \r\n");
    EXPECT_EQ(head.fields[0].id, FieldId::host);
    EXPECT_EQ(head.fields[1].name, "x-amz-meta-a_b.c");
    EXPECT_EQ(head.fields[1].value, "value  with   gaps");
    EXPECT_EQ(head.fields[1].id, FieldId::other);
    EXPECT_EQ(head.fields[2].value, "");
    EXPECT_EQ(head.fields[3].value,
              "gr\xc3\xbc\xc3\x9f"
              "e \xff");
    EXPECT_EQ(head.fields[4].id, FieldId::content_length);
    // The lines are adjacent without gaps, so the received bytes can be forwarded.
    const char* next = raw.data() + head.line.size();
    for (const Field& field : head.fields) {
        EXPECT_EQ(field.line.data(), next);
        next += field.line.size();
    }
    EXPECT_EQ(next + 2, raw.data() + raw.size());
    EXPECT_EQ(head.find(FieldId::host), "s3.Example.com:9000");
    EXPECT_EQ(head.find(FieldId::cookie).data(), nullptr);
    EXPECT_EQ(head.count(FieldId::other), 4u);
    EXPECT_EQ(head.count(FieldId::cookie), 0u);
}

TEST(RequestHead, IsParsedAnewInTheSameMemory) {
    RequestHead head;
    ASSERT_EQ(parse_request_head("GET /1 HTTP/1.0\r\nHost: a\r\nCookie: b\r\n\r\n", head),
              HeadError::none);
    EXPECT_EQ(head.minor, 0);
    ASSERT_EQ(parse_request_head("GET /2 HTTP/1.1\r\nHost: c\r\n\r\n", head), HeadError::none);
    EXPECT_EQ(head.minor, 1);
    EXPECT_EQ(head.target, "/2");
    ASSERT_EQ(head.fields.size(), 1u);
    EXPECT_EQ(head.fields[0].value, "c");
}

struct ParseRow {
    std::string raw;
    HeadError error;
};

TEST(RequestHead, RefusesEverythingThatTwoReadersCouldTakeDifferently) {
    const std::string line = "GET / HTTP/1.1\r\n";
    const std::vector<ParseRow> rows = {
        // request line
        {"GET / HTTP/1.1\r\n\r\n", HeadError::none},
        {"G / HTTP/1.1\r\n\r\n", HeadError::none},
        {"M-SEARCH!#$%&'*+.^_`|~ / HTTP/1.1\r\n\r\n", HeadError::none},
        {"get / HTTP/1.1\r\n\r\n", HeadError::none},
        {"G(T / HTTP/1.1\r\n\r\n", HeadError::bad_method},
        {"G\xc3\x89T / HTTP/1.1\r\n\r\n", HeadError::bad_method},
        {"GET\t/ HTTP/1.1\r\n\r\n", HeadError::bad_method},
        {"GET: / HTTP/1.1\r\n\r\n", HeadError::bad_method},
        {"GET\r\n\r\n", HeadError::bad_method},
        {"\r\n\r\n", HeadError::bad_method},
        {"GET  / HTTP/1.1\r\n\r\n", HeadError::bad_target},
        {"GET /  HTTP/1.1\r\n\r\n", HeadError::bad_target},
        {"GET /a b HTTP/1.1\r\n\r\n", HeadError::bad_target},
        {"GET /a\tb HTTP/1.1\r\n\r\n", HeadError::bad_target},
        {"GET /a\rb HTTP/1.1\r\n\r\n", HeadError::bad_target},
        {"GET /a\x01 HTTP/1.1\r\n\r\n", HeadError::bad_target},
        {"GET /a\x7f HTTP/1.1\r\n\r\n", HeadError::bad_target},
        {"GET /a\0b HTTP/1.1\r\n\r\n"s, HeadError::bad_target},
        {"GET /a#fragment HTTP/1.1\r\n\r\n", HeadError::bad_target},
        {"GET # HTTP/1.1\r\n\r\n", HeadError::bad_target},
        {"GET /\xc3\xbc?\xff HTTP/1.1\r\n\r\n", HeadError::none},  // unescaped, but no delimiter
        {"GET /%zz%2 HTTP/1.1\r\n\r\n", HeadError::none},          // opaque to us
        {"GET /{}|\\^`\"<> HTTP/1.1\r\n\r\n", HeadError::none},
        {"GET / HTTP/1.0\r\n\r\n", HeadError::none},
        {"GET  HTTP/1.1\r\n\r\n", HeadError::bad_request_line},
        {"GET /\r\n\r\n", HeadError::bad_request_line},
        {"GET /HTTP/1.1\r\n\r\n", HeadError::bad_request_line},
        {"GET / HTTP/1.1x\r\n\r\n", HeadError::bad_request_line},
        {"GET / HTTP/11\r\n\r\n", HeadError::bad_request_line},
        {"GET / HTTP/2.0\r\n\r\n", HeadError::bad_version},
        {"GET / HTTP/1.2\r\n\r\n", HeadError::bad_version},
        {"GET / HTTP/0.9\r\n\r\n", HeadError::bad_version},
        {"GET / http/1.1\r\n\r\n", HeadError::bad_version},
        {"GET / HTTP/1,1\r\n\r\n", HeadError::bad_version},
        {"GET / HTTP/1.\xb9\r\n\r\n", HeadError::bad_version},
        // field names
        {line + "A:b\r\n\r\n", HeadError::none},
        {line + "A: \r\n\r\n", HeadError::none},
        {line + "!#$%&'*+-.^_`|~09azAZ: b\r\n\r\n", HeadError::none},
        {line + "A : b\r\n\r\n", HeadError::bad_field_name},
        {line + "A\t: b\r\n\r\n", HeadError::bad_field_name},
        {line + ": b\r\n\r\n", HeadError::bad_field_name},
        {line + "A\r\n\r\n", HeadError::bad_field_name},
        {line + "A b: c\r\n\r\n", HeadError::bad_field_name},
        {line + "A(b): c\r\n\r\n", HeadError::bad_field_name},
        {line + "A,b: c\r\n\r\n", HeadError::bad_field_name},
        {line + "A\x00: c\r\n\r\n"s, HeadError::bad_field_name},
        {line + "A\0: c\r\n\r\n"s, HeadError::bad_field_name},
        {line + "\xc3\x84: c\r\n\r\n", HeadError::bad_field_name},
        {line + "\"A\": c\r\n\r\n", HeadError::bad_field_name},
        {line + "A\r: c\r\n\r\n", HeadError::bad_field_name},
        {line + "A: b\r\nGET / HTTP/1.1\r\n\r\n", HeadError::bad_field_name},
        // folding
        {line + " A: b\r\n\r\n", HeadError::obs_fold},
        {line + "A: b\r\n c\r\n\r\n", HeadError::obs_fold},
        {line + "A: b\r\n\tc\r\n\r\n", HeadError::obs_fold},
        {line + "Content-Length:\r\n 5\r\n\r\n", HeadError::obs_fold},
        {line + "A: b\r\n \r\n\r\n", HeadError::obs_fold},
        // values
        {line + "A: b\tc\r\n\r\n", HeadError::none},
        {line + "A: \x80\xff\r\n\r\n", HeadError::none},
        {line + "A: b\x01\r\n\r\n", HeadError::bad_field_value},
        {line + "A: b\0c\r\n\r\n"s, HeadError::bad_field_value},
        {line + "A: b\x7f\r\n\r\n", HeadError::bad_field_value},
        {line + "A: b\x1b[31m\r\n\r\n", HeadError::bad_field_value},
        {line + "A: b\rc\r\n\r\n", HeadError::bad_field_value},
        {line + "A: b\r\r\n\r\n", HeadError::bad_field_value},
        {line + "A: b\r \r\n\r\n", HeadError::bad_field_value},
        {line + "A: b\vc\r\n\r\n", HeadError::bad_field_value},
        {line + "A: b\fc\r\n\r\n", HeadError::bad_field_value},
        // the scanner finds line end faults first; the parser must not rely on it
        {line + "A: b\n\r\n", HeadError::bad_line_end},
        {line + "A:\n\r\n", HeadError::bad_line_end},
        {line + "A: b", HeadError::bad_line_end},
        {line + "A: b\r\n", HeadError::bad_line_end},
        {line + "A: b\r\n\r", HeadError::bad_line_end},
        {line + "A: b\r\n\rx", HeadError::bad_line_end},
        {line + "A: b\r\n\r\nC: d\r\n\r\n", HeadError::bad_line_end},
        {line, HeadError::bad_line_end},
    };
    for (const ParseRow& row : rows) {
        RequestHead head;
        EXPECT_EQ(parse_request_head(row.raw, head), row.error) << escaped(row.raw);
    }
}

TEST(RequestHead, BoundsTheNumberOfFields) {
    std::string raw = "GET / HTTP/1.1\r\n";
    for (std::size_t i = 0; i < kMaxFields; ++i) {
        raw += "a: b\r\n";
    }
    RequestHead head;
    EXPECT_EQ(parse_request_head(raw + "\r\n", head), HeadError::none);
    EXPECT_EQ(head.fields.size(), kMaxFields);
    EXPECT_EQ(parse_request_head(raw + "a: b\r\n\r\n", head), HeadError::too_many_fields);
}

TEST(ResponseHead, ReadsStatusAndReason) {
    struct Row {
        std::string_view line;
        HeadError error;
        int status;
        int minor;
        std::string_view reason;
    };
    const std::vector<Row> rows = {
        {"HTTP/1.1 200 OK", HeadError::none, 200, 1, "OK"},
        {"HTTP/1.0 404 Not Found", HeadError::none, 404, 0, "Not Found"},
        {"HTTP/1.1 403 ", HeadError::none, 403, 1, ""},
        {"HTTP/1.1 403", HeadError::none, 403, 1, ""},
        {"HTTP/1.1 299 Odd \xc3\xbc\treason", HeadError::none, 299, 1, "Odd \xc3\xbc\treason"},
        {"HTTP/1.1 100 Continue", HeadError::none, 100, 1, "Continue"},
        {"HTTP/1.1 599 Limit", HeadError::none, 599, 1, "Limit"},
        {"HTTP/1.1 099 Low", HeadError::bad_status_line, 0, 0, ""},
        {"HTTP/1.1 600 High", HeadError::bad_status_line, 0, 0, ""},
        {"HTTP/1.1 20 OK", HeadError::bad_status_line, 0, 0, ""},
        {"HTTP/1.1 2000 OK", HeadError::bad_status_line, 0, 0, ""},
        {"HTTP/1.1  200 OK", HeadError::bad_status_line, 0, 0, ""},
        {"HTTP/1.1\t200 OK", HeadError::bad_status_line, 0, 0, ""},
        {"HTTP/1.1 200\tOK", HeadError::bad_status_line, 0, 0, ""},
        {"HTTP/1.1 200OK", HeadError::bad_status_line, 0, 0, ""},
        {"HTTP/1.1 2x0 OK", HeadError::bad_status_line, 0, 0, ""},
        {"HTTP/1.1 +20 OK", HeadError::bad_status_line, 0, 0, ""},
        {"HTTP/1.1 -200 OK", HeadError::bad_status_line, 0, 0, ""},
        {"HTTP/1.1", HeadError::bad_status_line, 0, 0, ""},
        {"HTTP/1.1 ", HeadError::bad_status_line, 0, 0, ""},
        {"HTTP/1.2 200 OK", HeadError::bad_status_line, 0, 0, ""},
        {"HTTP/2.0 200 OK", HeadError::bad_status_line, 0, 0, ""},
        {"HTTP/2 200", HeadError::bad_status_line, 0, 0, ""},
        {"http/1.1 200 OK", HeadError::bad_status_line, 0, 0, ""},
        {"ICY 200 OK and more", HeadError::bad_status_line, 0, 0, ""},
        {"HTTP/1.1 200 bell\x07", HeadError::bad_status_line, 0, 0, ""},
        {"HTTP/1.1 200 a\rb", HeadError::bad_status_line, 0, 0, ""},
        {"", HeadError::bad_status_line, 0, 0, ""},
    };
    for (const Row& row : rows) {
        SCOPED_TRACE(escaped(row.line));
        const std::string raw = std::string(row.line) + "\r\nETag: \"x\"\r\n\r\n";
        ResponseHead head;
        ASSERT_EQ(parse_response_head(raw, head), row.error);
        if (row.error == HeadError::none) {
            EXPECT_EQ(head.status, row.status);
            EXPECT_EQ(head.minor, row.minor);
            EXPECT_EQ(head.reason, row.reason);
            EXPECT_EQ(head.line, std::string(row.line) + "\r\n");
            EXPECT_EQ(head.raw, raw);
            ASSERT_EQ(head.fields.size(), 1u);
            EXPECT_EQ(head.fields[0].value, "\"x\"");
        }
    }
}

TEST(ResponseHead, HasTheSameRulesForFields) {
    ResponseHead head;
    const std::string line = "HTTP/1.1 200 OK\r\n";
    EXPECT_EQ(parse_response_head(line + "A : b\r\n\r\n", head), HeadError::bad_field_name);
    EXPECT_EQ(parse_response_head(line + "A: b\r\n c\r\n\r\n", head), HeadError::obs_fold);
    EXPECT_EQ(parse_response_head(line + "A: b\0\r\n\r\n"s, head), HeadError::bad_field_value);
    EXPECT_EQ(parse_response_head(line + "A: b\n\r\n", head), HeadError::bad_line_end);
    const std::string twice = line + "x-AMZ-request-ID: 1\r\nX-Amz-Request-Id: 2\r\n\r\n";
    EXPECT_EQ(parse_response_head(twice, head), HeadError::none);
    EXPECT_EQ(head.count(FieldId::x_amz_request_id), 2u);
    EXPECT_EQ(head.find(FieldId::x_amz_request_id), "1") << "the first one";
}

struct SoftRow {
    std::string fields;
    HeadError error;
    std::string softened = {};  // the same when empty
};

const std::vector<SoftRow>& soft_rows() {
    constexpr HeadError kGood = HeadError::none;
    static const std::vector<SoftRow> rows = {
        {"A: b\r\nB:\tc\t\r\n", kGood},
        {"A: \x01\x02\x03\x04\x05\x06\x07\x08\x0b\x0c\x0e\x0f\r\n", kGood, "A:             \r\n"},
        {"A: \x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x7f\r\n", kGood,
         "A:                  \r\n"},
        {"A: b\x01"
         "c\r\nx-amz-meta-b:\x7f\xc3\xa4\t\x1b[31m\r\n",
         kGood, "A: b c\r\nx-amz-meta-b: \xc3\xa4\t [31m\r\n"},
        {"A: b:\x01:c\r\n", kGood, "A: b: :c\r\n"},
        {"Set-Cookie:\x01\r\nSet-Cookie: a=b\x02\r\n", kGood,
         "Set-Cookie: \r\nSet-Cookie: a=b \r\n"},
        // must not vanish in framing fields
        {"Content-Length: 5\x0b\r\n", kGood, "Content-Length: 5?\r\n"},
        {"CONTENT-LENGTH:\x01"
         "5\r\n",
         kGood, "CONTENT-LENGTH:?5\r\n"},
        {"Transfer-Encoding: chunked\x7f\r\n", kGood, "Transfer-Encoding: chunked?\r\n"},
        {"transfer-encoding: gzip\x01,chunked\r\n", kGood, "transfer-encoding: gzip?,chunked\r\n"},
        {"x-amz-meta-content-length: 5\x0b\r\n", kGood, "x-amz-meta-content-length: 5 \r\n"},
        // bytes that other readers take for an end, and invalid values
        {"A: b\0c\r\n"s, HeadError::bad_field_value},
        {"A: b\rc\r\n", HeadError::bad_field_value},
        {"A: b\r\r\n", HeadError::bad_field_value},
        {"A: b\x01\0\r\n"s, HeadError::bad_field_value, "A: b \0\r\n"s},
        {"A: b\x01\rc\r\n", HeadError::bad_field_value, "A: b \rc\r\n"},
        {"A: b\x01\r\nB: c\0\r\n"s, HeadError::bad_field_value, "A: b \r\nB: c\0\r\n"s},
        {"A: b\nB: c\x01\r\n", HeadError::bad_line_end},
        {"A: b\x01\nB: c\r\n", HeadError::bad_line_end},
        {"A: b\x01\r\n c\r\n", HeadError::obs_fold, "A: b \r\n c\r\n"},
        {"A: b\x01\r\n\x0b"
         "c: d\r\n",
         HeadError::bad_field_name,
         "A: b \r\n\x0b"
         "c: d\r\n"},
        {"\x0b"
         "A: b\x01\r\n",
         HeadError::bad_field_name},
        {"A\x01: b\r\n", HeadError::bad_field_name},
        {"A\x7f"
         "B: c\x01\r\n",
         HeadError::bad_field_name},
        {"A: b\x01\r\n: c\x01\r\n", HeadError::bad_field_name, "A: b \r\n: c\x01\r\n"},
        {"A: b\x01\r\nc\x01\r\n", HeadError::bad_field_name, "A: b \r\nc\x01\r\n"},
    };
    return rows;
}

TEST(ResponseHead, ControlsInValuesBecomeSpaces) {
    const std::string line = "HTTP/1.1 200 OK\r\n";
    for (const SoftRow& row : soft_rows()) {
        SCOPED_TRACE(escaped(row.fields));
        std::string raw = line + row.fields + "\r\n";
        ResponseHead head;
        ASSERT_EQ(parse_response_head_softly(raw, head), row.error);
        const bool is_read = row.error == HeadError::none;
        if (is_read || row.error == HeadError::bad_field_value) {
            EXPECT_EQ(raw, line + (row.softened.empty() ? row.fields : row.softened) + "\r\n");
        }
        if (!is_read) {
            continue;
        }
        ResponseHead strict;
        ASSERT_EQ(parse_response_head(raw, strict), HeadError::none);
        EXPECT_EQ(head.raw, raw);
        EXPECT_EQ(head.seen, strict.seen);
        ASSERT_EQ(head.fields.size(), strict.fields.size());
        for (std::size_t i = 0; i < head.fields.size(); ++i) {
            EXPECT_EQ(head.fields[i].name, strict.fields[i].name);
            EXPECT_EQ(head.fields[i].value, strict.fields[i].value);
            EXPECT_EQ(head.fields[i].line, strict.fields[i].line);
        }
    }
}

TEST(ResponseHead, ControlsElsewhereAreRefused) {
    for (std::string raw :
         {"HTTP/1.1 200 O\x01K\r\nA: b\x01\r\n\r\n"s, "HTTP/1.1 200 O\x7fK\r\n\r\n"s,
          "HTTP/1.1\x0b"
          "200 OK\r\n\r\n"s,
          "HTTP/1.1 200\x01OK\r\n\r\n"s}) {
        SCOPED_TRACE(escaped(raw));
        const std::string before = raw;
        ResponseHead head;
        EXPECT_EQ(parse_response_head_softly(raw, head), HeadError::bad_status_line);
        EXPECT_EQ(raw, before);
    }
}

TEST(SoftenControls, TakesLinesAsTheyAre) {
    for (const std::string& bytes : {""s, "\n"s, ":"s, ":\x01"s, "\x01"s, "\x01\r\n"s, "a\x01:"s,
                                     "\n\n:\x01\n"s, "a:\0\r\n"s}) {
        std::string softened = bytes;
        soften_controls(softened);
        EXPECT_EQ(softened, bytes) << escaped(bytes);
    }
    std::string unfinished = "a:\x01";
    soften_controls(unfinished);
    EXPECT_EQ(unfinished, "a: ");
}

TEST(FieldLines, ParseOnTheirOwn) {
    std::vector<Field> fields;
    EXPECT_EQ(parse_fields("\r\n", fields), HeadError::none);
    EXPECT_TRUE(fields.empty());
    EXPECT_EQ(parse_fields("a: 1\r\nb: 2\r\n\r\n", fields), HeadError::none);
    ASSERT_EQ(fields.size(), 2u);
    EXPECT_EQ(fields[1].line, "b: 2\r\n");
    EXPECT_EQ(parse_fields("", fields), HeadError::bad_line_end);
    EXPECT_EQ(parse_fields("a: 1\r\n", fields), HeadError::bad_line_end);
}

TEST(FieldId, IsFoundByNameInAnyCaseAndByNothingElse) {
    const std::vector<std::pair<std::string, FieldId>> known = {
        {"Accept-Language", FieldId::accept_language},
        {"Authorization", FieldId::authorization},
        {"Connection", FieldId::connection},
        {"Content-Length", FieldId::content_length},
        {"Cookie", FieldId::cookie},
        {"Date", FieldId::date},
        {"Expect", FieldId::expect},
        {"Forwarded", FieldId::forwarded},
        {"Host", FieldId::host},
        {"HTTP2-Settings", FieldId::http2_settings},
        {"If-Match", FieldId::if_match},
        {"If-None-Match", FieldId::if_none_match},
        {"Keep-Alive", FieldId::keep_alive},
        {"Proxy-Authenticate", FieldId::proxy_authenticate},
        {"Proxy-Authorization", FieldId::proxy_authorization},
        {"Proxy-Connection", FieldId::proxy_connection},
        {"Referer", FieldId::referer},
        {"TE", FieldId::te},
        {"Trailer", FieldId::trailer},
        {"Transfer-Encoding", FieldId::transfer_encoding},
        {"Upgrade", FieldId::upgrade},
        {"User-Agent", FieldId::user_agent},
        {"X-Amz-Copy-Source", FieldId::x_amz_copy_source},
        {"X-Amz-Request-Id", FieldId::x_amz_request_id},
        {"X-Forwarded-For", FieldId::x_forwarded_for},
        {"X-Forwarded-Proto", FieldId::x_forwarded_proto},
        {"X-Minio-Error-Code", FieldId::x_minio_error_code},
        {"X-Real-IP", FieldId::x_real_ip},
    };
    for (const auto& [name, id] : known) {
        std::string lower = name;
        std::string upper = name;
        for (std::size_t i = 0; i < name.size(); ++i) {
            lower[i] = static_cast<char>(std::tolower(static_cast<unsigned char>(name[i])));
            upper[i] = static_cast<char>(std::toupper(static_cast<unsigned char>(name[i])));
        }
        EXPECT_EQ(field_id_of(name), id) << name;
        EXPECT_EQ(field_id_of(lower), id) << name;
        EXPECT_EQ(field_id_of(upper), id) << name;
        for (std::size_t i = 0; i < name.size(); ++i) {
            std::string other = name;
            other[i] = other[i] == '_' ? '.' : '_';
            EXPECT_EQ(field_id_of(other), FieldId::other) << other;
        }
        EXPECT_EQ(field_id_of(name + "x"), FieldId::other);
        EXPECT_EQ(field_id_of(name.substr(1)), FieldId::other);
    }
    EXPECT_EQ(field_id_of("x"), FieldId::other);
    EXPECT_EQ(field_id_of(std::string(5000, 'h')), FieldId::other);
}

TEST(ListMembers, AreSplitAtCommasAndTrimmed) {
    const auto members = [](std::string_view list) {
        std::vector<std::string> out;
        for_each_list_member(list, [&](std::string_view member) { out.emplace_back(member); });
        return out;
    };
    using List = std::vector<std::string>;
    EXPECT_EQ(members("close"), List{"close"});
    EXPECT_EQ(members("a,b"), (List{"a", "b"}));
    EXPECT_EQ(members(" a \t,\t b c ,,  , d"), (List{"a", "b c", "d"}));
    EXPECT_EQ(members(""), List{});
    EXPECT_EQ(members(",, ,"), List{});
    EXPECT_EQ(members(",x,"), List{"x"});
}

TEST(Reason, IsNeverEmpty) {
    for (int status = 0; status < 1000; ++status) {
        EXPECT_FALSE(reason_of(status).empty()) << status;
    }
    EXPECT_EQ(reason_of(200), "OK");
    EXPECT_EQ(reason_of(403), "Forbidden");
    EXPECT_EQ(reason_of(408), "Request Timeout");
    EXPECT_EQ(reason_of(431), "Request Header Fields Too Large");
    EXPECT_EQ(reason_of(503), "Service Unavailable");
    EXPECT_EQ(reason_of(299), "Unknown");
}

TEST(HeadErrors, HaveTexts) {
    for (int i = 0; i <= static_cast<int>(HeadError::framing_lookalike); ++i) {
        EXPECT_NE(to_string(static_cast<HeadError>(i)), "unknown") << i;
        EXPECT_FALSE(to_string(static_cast<HeadError>(i)).empty());
    }
}

}  // namespace
}  // namespace s3gate::http
