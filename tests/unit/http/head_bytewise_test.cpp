// Compares the parser, which works on sixteen bytes at a time, with a reader that follows the rules
// byte by byte. Both must agree when any byte of several heads is replaced by any value, and when
// the bytes are cut at any place.
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "s3gate/base/text.hpp"
#include "s3gate/http/head.hpp"

namespace s3gate::http {
namespace {

bool is_value_byte(char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte == '\t' || (byte >= 0x20 && byte != 0x7f);
}

bool is_target_byte(char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte > 0x20 && byte != 0x7f && byte != '#';
}

struct PlainField {
    std::string_view name;
    std::string_view value;
    std::string_view line;
};

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) {
        text.remove_prefix(1);
    }
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) {
        text.remove_suffix(1);
    }
    return text;
}

HeadError read_fields(std::string_view rest, std::vector<PlainField>& fields) {
    while (!rest.empty()) {
        if (rest.front() == '\r') {
            return rest == "\r\n" ? HeadError::none : HeadError::bad_line_end;
        }
        if (rest.front() == ' ' || rest.front() == '\t') {
            return HeadError::obs_fold;
        }
        std::size_t colon = 0;
        while (colon < rest.size() && base::is_tchar(rest[colon])) {
            ++colon;
        }
        if (colon == 0 || colon == rest.size() || rest[colon] != ':') {
            return HeadError::bad_field_name;
        }
        const std::size_t lf = rest.find('\n', colon);
        if (lf == std::string_view::npos || rest[lf - 1] != '\r') {
            return HeadError::bad_line_end;
        }
        const std::string_view value = rest.substr(colon + 1, lf - 1 - (colon + 1));
        for (const char c : value) {
            if (!is_value_byte(c)) {
                return HeadError::bad_field_value;
            }
        }
        fields.push_back({rest.substr(0, colon), trimmed(value), rest.substr(0, lf + 1)});
        rest.remove_prefix(lf + 1);
    }
    return HeadError::bad_line_end;
}

struct Verdict {
    HeadScanner::State state = HeadScanner::State::incomplete;
    HeadError error = HeadError::none;
    std::size_t begin = 0;
    std::size_t end = 0;
};

// The correct verdict on `bytes`, line by line.
Verdict scan_plainly(HeadScanner::Kind kind, std::string_view bytes) {
    const bool is_request = kind == HeadScanner::Kind::request;
    Verdict verdict;
    std::size_t at = 0;
    const auto refuse = [&](HeadError error) {
        verdict.state = HeadScanner::State::bad;
        verdict.error = error;
        return verdict;
    };
    while (is_request && verdict.begin < 4 && at < bytes.size() && bytes[at] == '\r') {
        if (at + 1 == bytes.size()) {
            return verdict;
        }
        if (bytes[at + 1] != '\n') {
            return refuse(HeadError::bad_line_end);
        }
        verdict.begin = at += 2;
    }
    if (at == bytes.size()) {
        return verdict;
    }
    if (is_request ? !base::is_tchar(bytes[at]) : bytes[at] != 'H') {
        return refuse(HeadError::bad_first_byte);
    }
    for (bool is_first = true;; is_first = false) {
        const std::size_t lf = bytes.find('\n', at);
        if (lf == std::string_view::npos) {
            // A CR that is already followed by another byte than LF.
            const std::size_t cr = bytes.find('\r', at);
            return cr != std::string_view::npos && cr + 1 < bytes.size()
                       ? refuse(HeadError::bad_line_end)
                       : verdict;
        }
        if (lf == at || bytes[lf - 1] != '\r') {
            return refuse(HeadError::bad_line_end);
        }
        const std::string_view line = bytes.substr(at, lf - 1 - at);
        if (is_first && is_request &&
            !(line.size() > 9 && (line.ends_with(" HTTP/1.1") || line.ends_with(" HTTP/1.0")))) {
            return refuse(HeadError::bad_version);
        }
        if (is_first && !is_request && !line.starts_with("HTTP/1.")) {
            return refuse(HeadError::bad_status_line);
        }
        at = lf + 1;
        if (line.empty()) {
            verdict.state = HeadScanner::State::complete;
            verdict.end = at;
            return verdict;
        }
    }
}

// One pass accepts exactly the heads that two passes accept without an empty line before them, with
// the same result. For all other bytes the verdicts are equal.
template <class Head>
void expect_same_at_once(HeadScanner::Kind kind, std::string_view bytes, std::size_t first_piece,
                         HeadError (*parse)(std::string_view, Head&)) {
    HeadScanner scanner(kind);
    HeadScanner at_once(kind);
    Head head;
    HeadScanner::State state = scanner.scan(bytes.substr(0, first_piece));
    ASSERT_EQ(at_once.scan(bytes.substr(0, first_piece), head), state);
    // Only the first call may use one pass; on later calls it would read all earlier bytes again.
    bool is_first = true;
    if (state == HeadScanner::State::incomplete) {
        is_first = scanner.end() == 0;
        state = scanner.scan(bytes);
        ASSERT_EQ(at_once.scan(bytes, head), state);
    }
    Head expected;
    const bool is_good = state == HeadScanner::State::complete && is_first &&
                         scanner.begin() == 0 &&
                         parse(bytes.substr(0, scanner.end()), expected) == HeadError::none;
    ASSERT_EQ(at_once.error(), scanner.error());
    ASSERT_EQ(at_once.begin(), scanner.begin());
    ASSERT_EQ(at_once.end(), scanner.end());
    ASSERT_EQ(at_once.has_start_line(), scanner.has_start_line());
    ASSERT_EQ(head.raw, is_good ? expected.raw : std::string_view());
    ASSERT_EQ(head.line, is_good ? expected.line : std::string_view());
    ASSERT_EQ(head.seen, is_good ? expected.seen : 0);
    ASSERT_EQ(head.fields.size(), is_good ? expected.fields.size() : 0);
    for (std::size_t i = 0; i < head.fields.size(); ++i) {
        ASSERT_EQ(head.fields[i].name, expected.fields[i].name);
        ASSERT_EQ(head.fields[i].value, expected.fields[i].value);
        ASSERT_EQ(head.fields[i].line, expected.fields[i].line);
        ASSERT_EQ(head.fields[i].id, expected.fields[i].id);
    }
}

void expect_same(HeadScanner::Kind kind, const std::string& bytes, std::size_t first_piece) {
    // A copy that ends with its last byte, so the sanitizer sees reads beyond it.
    std::vector<char> exact(bytes.begin(), bytes.end());
    const std::string_view all(exact.data(), exact.size());
    if (kind == HeadScanner::Kind::request) {
        expect_same_at_once(kind, all, first_piece, &parse_request_head);
    } else {
        expect_same_at_once(kind, all, first_piece, &parse_response_head);
    }
    if (::testing::Test::HasFatalFailure()) {
        return;
    }
    HeadScanner scanner(kind);
    HeadScanner::State state = scanner.scan(all.substr(0, first_piece));
    if (state == HeadScanner::State::incomplete) {
        state = scanner.scan(all);
    }
    Verdict expected = scan_plainly(kind, all.substr(0, first_piece));
    if (expected.state == HeadScanner::State::incomplete) {
        expected = scan_plainly(kind, all);
    }
    ASSERT_EQ(state, expected.state);
    ASSERT_EQ(scanner.error(), expected.error);
    if (state != HeadScanner::State::complete) {
        return;
    }
    ASSERT_EQ(scanner.begin(), expected.begin);
    ASSERT_EQ(scanner.end(), expected.end);
    const std::string_view raw = all.substr(scanner.begin(), scanner.end() - scanner.begin());
    const std::string_view behind_line = raw.substr(raw.find('\n') + 1);
    std::vector<PlainField> fields;
    const HeadError fields_error = read_fields(behind_line, fields);
    RequestHead request;
    ResponseHead response;
    const bool is_request = kind == HeadScanner::Kind::request;
    const HeadError error =
        is_request ? parse_request_head(raw, request) : parse_response_head(raw, response);
    if (error == HeadError::bad_method || error == HeadError::bad_request_line ||
        error == HeadError::bad_target || error == HeadError::bad_status_line) {
        return;  // covered by the tests of the start line
    }
    ASSERT_EQ(error, fields_error);
    if (is_request) {
        for (const char c : request.target) {
            ASSERT_TRUE(is_target_byte(c));
        }
    }
    if (error != HeadError::none) {
        return;
    }
    const std::vector<Field>& parsed = is_request ? request.fields : response.fields;
    ASSERT_EQ(parsed.size(), fields.size());
    for (std::size_t i = 0; i < fields.size(); ++i) {
        ASSERT_EQ(parsed[i].name, fields[i].name);
        ASSERT_EQ(parsed[i].value, fields[i].value);
        ASSERT_EQ(parsed[i].line, fields[i].line);
        ASSERT_EQ(parsed[i].id, field_id_of(fields[i].name));
        ASSERT_TRUE(is_request ? request.has(parsed[i].id) : response.has(parsed[i].id));
    }
}

const std::string kRequest =
    "GET /bucket/a%20key?uploadId=1 HTTP/1.1\r\nHost: h:9000\r\nX-Amz-Content-Sha256-And_More: "
    "x\r\n"
    "A:\r\nE: \t \r\nUser-Agent: twenty and more bytes\t of value \r\nConnection:close\r\n\r\n";
const std::string kResponse =
    "HTTP/1.1 200 OK\r\nETag: \"0123456789abcdef\"\r\nVary:Origin\r\nContent-Length: 12\r\n\r\n";

void expect_same_with_every_byte(HeadScanner::Kind kind, const std::string& head) {
    for (std::size_t at = 0; at < head.size(); ++at) {
        for (int value = 0; value < 256; ++value) {
            std::string changed = head;
            changed[at] = static_cast<char>(value);
            SCOPED_TRACE(::testing::Message() << "byte " << at << " is " << value);
            expect_same(kind, changed, changed.size());
            if (::testing::Test::HasFatalFailure()) {
                return;
            }
        }
    }
}

TEST(HeadBytewise, SaysTheSameOfARequestWithAnyByteChanged) {
    expect_same_with_every_byte(HeadScanner::Kind::request, kRequest);
}

TEST(HeadBytewise, SaysTheSameOfAResponseWithAnyByteChanged) {
    expect_same_with_every_byte(HeadScanner::Kind::response, kResponse);
}

// Readers disagree about line ends and folds, so every pair of neighbouring bytes becomes one of
// these.
TEST(HeadBytewise, SaysTheSameWithOddBytesPutInAnywhere) {
    using namespace std::string_literals;
    for (const std::string& odd : {"\r"s, "\n"s, "\r\n"s, "\n\r"s, "\r\r\n"s, "\r\n "s, "\r\n\t"s,
                                   "\r\n\r\n"s, "\0"s, " :"s, ": "s, "\x7f"s, "\x80"s}) {
        for (const auto& [kind, head] : {std::pair{HeadScanner::Kind::request, kRequest},
                                         std::pair{HeadScanner::Kind::response, kResponse}}) {
            for (std::size_t at = 0; at <= head.size(); ++at) {
                for (const std::size_t removed : {0U, 1U, 2U}) {
                    std::string changed = head;
                    changed.replace(at, removed, odd);
                    SCOPED_TRACE(::testing::Message() << "at " << at << " removed " << removed);
                    expect_same(kind, changed, changed.size());
                    expect_same(kind, changed, at);
                    if (HasFatalFailure()) {
                        return;
                    }
                }
            }
        }
    }
}

TEST(HeadBytewise, SaysTheSameWhereverTheBytesAreCut) {
    for (const std::string& head : {kRequest, "\r\n" + kRequest, "\r\n\r\n" + kRequest,
                                    "\r\n\r\n\r\n" + kRequest, kRequest + kRequest}) {
        for (std::size_t cut = 0; cut <= head.size(); ++cut) {
            SCOPED_TRACE(cut);
            expect_same(HeadScanner::Kind::request, head, cut);
        }
    }
}

}  // namespace
}  // namespace s3gate::http
