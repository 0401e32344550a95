#include "s3gate/s3/error_code.hpp"

#include "s3gate/s3/error_document.hpp"

#include <gtest/gtest.h>

#include <string>

namespace s3gate::s3 {

void PrintTo(CodeMeaning meaning, std::ostream* out) {
    constexpr const char* kNames[] = {"other", "load", "not_ready"};
    *out << kNames[static_cast<int>(meaning)];
}

namespace {

struct Row {
    const char* code;
    CodeMeaning meaning;
};

// Codes that MinIO (cmd/api-errors.go), Ceph (rgw_common.cc) and AWS (list of error codes) send
// with 503 or 429.
constexpr Row kRows[] = {
    {"SlowDown", CodeMeaning::load},
    {"TooManyRequests", CodeMeaning::load},
    {"ServerBusy", CodeMeaning::load},
    {"Busy", CodeMeaning::load},
    {"RequestTimeout", CodeMeaning::load},
    {"SlowDownRead", CodeMeaning::not_ready},
    {"SlowDownWrite", CodeMeaning::not_ready},
    {"XMinioServerNotInitialized", CodeMeaning::not_ready},
    {"XMinioIAMNotInitialized", CodeMeaning::not_ready},
    {"XMinioBucketMetadataNotInitialized", CodeMeaning::not_ready},
    {"STSNotInitialized", CodeMeaning::not_ready},
    {"STSIAMNotInitialized", CodeMeaning::not_ready},
    {"XMinioAdminConfigNoQuorum", CodeMeaning::not_ready},
    {"ServiceUnavailable", CodeMeaning::other},
    {"InternalError", CodeMeaning::other},
    {"XMinioSiteReplicationBackendIssue", CodeMeaning::other},
};

class ErrorCode : public testing::TestWithParam<Row> {};
INSTANTIATE_TEST_SUITE_P(Rows, ErrorCode, testing::ValuesIn(kRows),
                         [](const auto& row) { return std::string(row.param.code); });

TEST_P(ErrorCode, MeansOneThing) {
    EXPECT_EQ(meaning_of_code(GetParam().code), GetParam().meaning);
}

TEST_P(ErrorCode, IsComparedWholeAndWithItsCase) {
    std::string code = GetParam().code;
    EXPECT_EQ(meaning_of_code(code + "x"), CodeMeaning::other);
    EXPECT_EQ(meaning_of_code(" " + code), CodeMeaning::other);
    code[0] = 's';
    EXPECT_EQ(meaning_of_code(code), CodeMeaning::other);
}

TEST_P(ErrorCode, IsFoundInAnErrorDocument) {
    const std::string code = GetParam().code;
    EXPECT_EQ(error_code_in("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>" + code +
                            "</Code><Message>SlowDown</Message><Key>&lt;Code>SlowDown</Key>"),
              code);
    EXPECT_EQ(error_code_in("<ErrorResponse><Error><Type></Type><Code>" + code + "</Code>"), code);
    EXPECT_EQ(error_code_in("{\"Code\":\"" + code + "\",\"Message\":\"<Code>\"}"), code);
}

TEST_P(ErrorCode, IsNoneBeforeItsEnd) {
    const std::string code = GetParam().code;
    const std::string xml = "<Error><Code>" + code + "</Code>";
    const std::string json = "{\"Code\":\"" + code + "\"";
    for (const std::string& whole : {xml, json}) {
        for (std::size_t length = 0; length < whole.size(); ++length) {
            EXPECT_EQ(error_code_in(whole.substr(0, length)), "") << length;
        }
    }
}

TEST(ErrorCodeIn, OnlyTheFirstCodeCounts) {
    EXPECT_EQ(error_code_in("<Code>A</Code><Code>SlowDown</Code>"), "A");
    EXPECT_EQ(error_code_in("SlowDown"), "");
    EXPECT_EQ(error_code_in(""), "");
    EXPECT_EQ(meaning_of_code(""), CodeMeaning::other);
}

}  // namespace
}  // namespace s3gate::s3
