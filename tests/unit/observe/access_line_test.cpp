// The access line: always JSON, always the same fields and types, byte for byte as the log
// pipelines for nginx expect.
#include "s3gate/observe/access_log.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <boost/json/src.hpp>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace s3gate::observe {
namespace {

namespace json = boost::json;
using std::chrono::milliseconds;
using std::chrono::system_clock;

system_clock::time_point at_milliseconds(std::int64_t value) {
    return system_clock::time_point(milliseconds(value));
}

class TimeZone {
  public:
    explicit TimeZone(const char* name) {
        ::setenv("TZ", name, 1);
        ::tzset();
    }
    ~TimeZone() {
        ::unsetenv("TZ");
        ::tzset();
    }
};

std::string line_of(RequestRecord record, std::int64_t wall = 1700000000123) {
    name_operation(record);
    AccessLine line("host-a");
    std::string out;
    line.append(out, record, at_milliseconds(wall));
    return out;
}

json::object fields_of(const RequestRecord& record) {
    const std::string line = line_of(record);
    EXPECT_EQ(line.back(), '\n');
    EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
    return json::parse(line).as_object();
}

RequestRecord full_record() {
    RequestRecord record;
    record.site = "cluster01-minio";
    record.local_ip = "10.0.0.1";
    record.client_ip = "10.10.3.4";
    record.peer_ip = "10.10.3.5";
    record.method = "PUT";
    record.target = "/photos/a%20b.jpg?partNumber=1&uploadId=2~x";
    record.host = "s3.example.com:9000";
    record.user_agent = "aws-cli/2.9";
    record.referer = "http://example.com/";
    record.forwarded_for = "1.2.3.4, 5.6.7.8";
    record.tls = true;
    record.status = 200;
    record.bytes_in = 5242880;
    record.bytes_out = 17;
    record.duration = base::Duration(1234);
    record.ttfb_ms = 12;
    record.queued_ms = 7;
    record.begin_attempt("node1.example:9000", "10.1.0.1:9000");
    record.attempt().ended_ns = 1999999;
    record.attempt().connected_ns = 0;
    record.attempt().error = "reset";
    record.begin_attempt("node2.example:9000", "10.1.0.2:9000");
    record.attempt().ended_ns = 4000000;
    record.attempt().connected_ns = 2999999;
    record.attempt().answered_ns = 3000000;
    record.attempt().status = 503;
    record.attempt().error = "status";
    record.blame = "backend";
    record.stage = "answer";
    record.group = "minio";
    record.access_key = "AKIAIOSFODNN7EXAMPLE";
    record.key_source = "uploadid";
    record.session = "2~x";
    record.error = "reset";
    record.request_id = "ABCDEF0123456789";
    record.backend_request_id = "17F1";
    return record;
}

TEST(AccessLine, PrintsEveryFieldInItsPlace) {
    const TimeZone zone("UTC0");
    EXPECT_EQ(
        line_of(full_record()),
        R"({"@timestamp":"2023-11-14T22:13:20+00:00","@msec":"1700000000.123",)"
        R"("@source":"10.0.0.1","hostname":"host-a","ip":"1.2.3.4, 5.6.7.8",)"
        R"("client":"10.10.3.4","request_method":"PUT","scheme":"https",)"
        R"("domain":"s3.example.com","referer":"http://example.com/",)"
        R"("request":"/photos/a%20b.jpg?partNumber=1&uploadId=2~x",)"
        R"("args":"partNumber=1&uploadId=2~x","size":17,"status":200,)"
        R"("responsetime":1.234,"upstreamtime":"0.001, 0.004",)"
        R"("upstreamaddr":"10.1.0.1:9000, 10.1.0.2:9000",)"
        R"("http_user_agent":"aws-cli/2.9","https":"on","site":"cluster01-minio",)"
        R"("op":"UploadPart","bucket":"photos","key_source":"uploadid",)"
        R"("session":"2~x","tries":2,"bytes_in":5242880,"ttfb":12,"queued":7,"error":"reset",)"
        R"("request_id":"ABCDEF0123456789","backend_request_id":"17F1",)"
        R"("log_version":2,"peer":"10.10.3.5",)"
        R"("upstreamname":"node1.example:9000, node2.example:9000",)"
        R"("upstreamstatus":"-, 503","upstreamerror":"reset, status",)"
        R"("upstreamconnect":"0.000, 0.002","upstreamheader":"-, 0.003",)"
        R"("blame":"backend","stage":"answer","group":"minio",)"
        R"("access_key":"AKIAIOSFODNN7EXAMPLE"})"
        "\n");
}

TEST(AccessLine, AbsentTextsAreDashesAndAbsentNumbersKeepTheirType) {
    const json::object fields = fields_of(RequestRecord());
    for (const char* name : {"@source",
                             "ip",
                             "client",
                             "request_method",
                             "domain",
                             "referer",
                             "request",
                             "args",
                             "upstreamtime",
                             "upstreamaddr",
                             "http_user_agent",
                             "https",
                             "site",
                             "op",
                             "bucket",
                             "key_source",
                             "session",
                             "error",
                             "request_id",
                             "backend_request_id",
                             "peer",
                             "upstreamname",
                             "upstreamstatus",
                             "upstreamerror",
                             "upstreamconnect",
                             "upstreamheader",
                             "blame",
                             "stage",
                             "group",
                             "access_key"}) {
        EXPECT_EQ(fields.at(name), "-") << name;
    }
    EXPECT_EQ(fields.at("scheme"), "http");
    EXPECT_EQ(fields.at("responsetime"), 0.0);
    for (const char* name : {"size", "status", "tries", "bytes_in"}) {
        EXPECT_EQ(fields.at(name), 0) << name;
    }
    EXPECT_TRUE(fields.at("ttfb").is_null());
    EXPECT_TRUE(fields.at("queued").is_null());
}

// Name and type of each field, in order. Log readers rely on all of them: a new field goes to the
// end, and the release with it raises kAccessLogVersion; the rest of the list never changes.
using FieldList = std::vector<std::pair<std::string, std::string>>;
const FieldList kFields = {
    {"@timestamp", "text"},
    {"@msec", "text"},
    {"@source", "text"},
    {"hostname", "text"},
    {"ip", "text"},
    {"client", "text"},
    {"request_method", "text"},
    {"scheme", "text"},
    {"domain", "text"},
    {"referer", "text"},
    {"request", "text"},
    {"args", "text"},
    {"size", "number"},
    {"status", "number"},
    {"responsetime", "number"},
    {"upstreamtime", "text"},
    {"upstreamaddr", "text"},
    {"http_user_agent", "text"},
    {"https", "text"},
    {"site", "text"},
    {"op", "text"},
    {"bucket", "text"},
    {"key_source", "text"},
    {"session", "text"},
    {"tries", "number"},
    {"bytes_in", "number"},
    {"ttfb", "number"},
    {"queued", "number"},
    {"error", "text"},
    {"request_id", "text"},
    {"backend_request_id", "text"},
    {"log_version", "number"},
    {"peer", "text"},
    {"upstreamname", "text"},
    {"upstreamstatus", "text"},
    {"upstreamerror", "text"},
    {"upstreamconnect", "text"},
    {"upstreamheader", "text"},
    {"blame", "text"},
    {"stage", "text"},
    {"group", "text"},
    {"access_key", "text"},
};

TEST(AccessLine, FieldsAreOnlyEverAdded) {
    FieldList seen;
    for (const auto& [name, value] : fields_of(full_record())) {
        seen.emplace_back(name, value.is_string()   ? "text"
                                : value.is_number() ? "number"
                                                    : "neither");
    }
    EXPECT_EQ(seen, kFields);
    EXPECT_EQ(fields_of(full_record()).at("log_version"), kAccessLogVersion);
    EXPECT_EQ(kAccessLogVersion, 2U) << "a field was added: put it at the end of the list above";
}

TEST(AccessLine, TheManualListsTheFieldsInTheirOrder) {
    std::ifstream manual(S3GATE_SOURCE_DIR "/docs/operations.md");
    FieldList listed;
    bool is_inside = false;
    for (std::string line; std::getline(manual, line);) {
        if (line.starts_with("## ")) {
            is_inside = line == "## Access log";
        }
        if (is_inside && line.starts_with("| `")) {
            const std::size_t name_end = line.find('`', 3);
            const std::size_t type_end = line.find(' ', name_end + 4);
            listed.emplace_back(line.substr(3, name_end - 3),
                                line.substr(name_end + 4, type_end - name_end - 4));
        }
    }
    EXPECT_EQ(listed, kFields);
}

// Milliseconds keep their three digits: the text equals nginx's.
TEST(AccessLine, TheResponseTimeIsANumberOfSeconds) {
    RequestRecord record;
    for (const auto& [duration, text] :
         {std::pair(0, "0.000"), std::pair(7, "0.007"), std::pair(1234, "1.234"),
          std::pair(86400000, "86400.000"), std::pair(-5, "0.000")}) {
        record.duration = base::Duration(duration);
        const std::string wanted = std::string(R"(,"responsetime":)") + text + ",";
        EXPECT_NE(line_of(record).find(wanted), std::string::npos) << line_of(record);
    }
}

TEST(AccessLine, TimestampCarriesTheLocalOffsetAndFollowsTheClock) {
    const TimeZone zone("XXX-05:30");
    AccessLine line("h");
    const RequestRecord record;
    std::string out;
    line.append(out, record, at_milliseconds(1700000000999));
    line.append(out, record, at_milliseconds(1700000001000));
    EXPECT_NE(out.find(R"("2023-11-15T03:43:20+05:30","@msec":"1700000000.999")"), out.npos) << out;
    EXPECT_NE(out.find(R"("2023-11-15T03:43:21+05:30","@msec":"1700000001.000")"), out.npos) << out;
    const TimeZone west("XXX+03:00");
    out.clear();
    AccessLine("h").append(out, record, at_milliseconds(1700000000000));
    EXPECT_NE(out.find("2023-11-14T19:13:20-03:00"), out.npos) << out;
}

TEST(AccessLine, AttemptThatNeverConnectedHasNoTime) {
    RequestRecord record = full_record();
    record.attempts[0].ended_ns = -1;
    EXPECT_EQ(fields_of(record).at("upstreamtime"), "-, 0.004");
}

TEST(AccessLine, AttemptsBeyondTheArrayAreCountedNotRead) {
    RequestRecord record = full_record();
    record.attempts.fill({"1.1.1.1:1", 0});
    record.attempt_count = 40;
    record.tries = 40;
    const json::object fields = fields_of(record);
    const std::string addresses(fields.at("upstreamaddr").as_string());
    EXPECT_EQ(std::count(addresses.begin(), addresses.end(), ','),
              static_cast<std::ptrdiff_t>(RequestRecord::kMaxAttempts - 1));
    EXPECT_EQ(fields.at("tries"), 40);
}

// Every list of a line has as many parts as there are attempts, so readers may zip them.
TEST(AccessLine, ListsOfAttemptsHaveTheSameLength) {
    RequestRecord record;
    for (std::size_t attempts = 1; attempts < 4; ++attempts) {
        record.begin_attempt("n:1", "10.0.0.1:1");
        const json::object fields = fields_of(record);
        for (const char* name : {"upstreamtime", "upstreamaddr", "upstreamname", "upstreamstatus",
                                 "upstreamerror", "upstreamconnect", "upstreamheader"}) {
            const std::string list(fields.at(name).as_string());
            EXPECT_EQ(std::count(list.begin(), list.end(), ',') + 1,
                      static_cast<std::ptrdiff_t>(attempts))
                << name << ": " << list;
        }
    }
}

TEST(AccessLine, BeyondTheArrayTheLastAttemptIsKept) {
    RequestRecord record;
    for (std::size_t i = 0; i < RequestRecord::kMaxAttempts; ++i) {
        record.begin_attempt("early:1", "10.0.0.1:1");
        record.attempt().error = "refused";
    }
    record.begin_attempt("last:1", "10.0.0.2:1");
    EXPECT_EQ(record.tries, RequestRecord::kMaxAttempts + 1);
    EXPECT_EQ(record.attempt_count, RequestRecord::kMaxAttempts);
    EXPECT_EQ(record.attempt().address, "10.0.0.2:1");
    EXPECT_EQ(record.attempt().error, "") << "nothing of the attempt before";
    EXPECT_EQ(record.attempts[0].name, "early:1");
}

TEST(AccessLine, PlainSitesHaveNoOperationAndNoBucket) {
    RequestRecord record = full_record();
    record.is_s3 = false;
    const json::object fields = fields_of(record);
    EXPECT_EQ(fields.at("op"), "-");
    EXPECT_EQ(fields.at("bucket"), "-");
}

TEST(AccessLine, CopiesAreNamed) {
    RequestRecord record = full_record();
    record.has_copy_source = true;
    EXPECT_EQ(fields_of(record).at("op"), "UploadPartCopy");
}

TEST(AccessLine, DomainIsTheHostWithoutItsPort) {
    RequestRecord record;
    for (const auto& [host, domain] :
         std::vector<std::pair<const char*, const char*>>{{"a.example", "a.example"},
                                                          {"a.example:9000", "a.example"},
                                                          {"10.0.0.1:80", "10.0.0.1"},
                                                          {"[::1]:9000", "[::1]"},
                                                          {"[::1]", "[::1]"},
                                                          {":80", "-"}}) {
        record.host = host;
        EXPECT_EQ(fields_of(record).at("domain"), domain) << host;
    }
}

TEST(AccessLine, AnyBytesGiveValidJsonAndSurvive) {
    for (unsigned seed = 0; seed < 500; ++seed) {
        std::mt19937 random(seed);
        const auto text = [&random] {
            std::string bytes(random() % 40, '\0');
            for (char& byte : bytes) {
                byte = static_cast<char>(random() % 3 == 0 ? random() % 128 : random() % 256);
            }
            return bytes;
        };
        std::vector<std::string> texts(17);
        std::generate(texts.begin(), texts.end(), text);
        RequestRecord record;
        record.site = texts[0];
        record.local_ip = texts[1];
        record.method = texts[3];
        record.target = texts[4];
        record.host = texts[5];
        record.user_agent = texts[6];
        record.referer = texts[7];
        record.forwarded_for = texts[8];
        record.begin_attempt(texts[14], texts[9]);
        record.group = texts[15];
        record.access_key = texts[16];
        record.session = texts[10];
        record.error = texts[11];
        record.request_id = texts[12];
        record.backend_request_id = texts[13];
        const std::string line = line_of(record);
        json::error_code error;
        const json::value value = json::parse(line, error);
        ASSERT_FALSE(error) << "seed " << seed << ": " << error.message() << "\n" << line;
        ASSERT_EQ(value.as_object().size(), kFields.size()) << "seed " << seed;
        ASSERT_EQ(std::count(line.begin(), line.end(), '\n'), 1) << "seed " << seed;
    }
}

TEST(AccessLine, TextThatIsUtf8StaysAndOtherBytesBecomeTheirEscape) {
    RequestRecord record;
    const auto agent_of = [&record](std::string_view bytes) {
        record.user_agent = bytes;
        return std::string(fields_of(record).at("http_user_agent").as_string());
    };
    EXPECT_EQ(agent_of("\"\\\x01\t\x7f"), "\"\\\x01\t\x7f");
    // U+00E9, U+20AC, U+1F600, U+10FFFF, U+D7FF, U+E000.
    for (const char* text : {"\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\xF4\x8F\xBF\xBF",
                             "\xED\x9F\xBF", "\xEE\x80\x80"}) {
        EXPECT_EQ(agent_of(text), text);
    }
    // Latin-1, overlong '/', a surrogate, above U+10FFFF, a lone continuation, cut sequences: each
    // byte is one U+00XX.
    for (const std::string_view bytes :
         {"\xE9", "\xC0\xAF", "\xE0\x80\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\x80",
          "\xE2\x82", "\xF0\x9F\x98", "\xFF\xFE"}) {
        std::string wanted;
        for (const char c : bytes) {
            const unsigned byte = static_cast<unsigned char>(c);
            wanted += static_cast<char>(0xC0 | (byte >> 6));
            wanted += static_cast<char>(0x80 | (byte & 0x3F));
        }
        EXPECT_EQ(agent_of(bytes), wanted);
    }
    EXPECT_EQ(agent_of("\xE2\x82z"), "\xC3\xA2\xC2\x82z");
}

TEST(AccessLine, SecretsAreInNoField) {
    RequestRecord record = full_record();
    record.target = "/b/k?X-Amz-Credential=SECRET&x%2Damz-signature=SECRET&sessionid=1";
    record.referer = "https://h/b/k?Signature=SECRET";
    EXPECT_EQ(line_of(record).find("SECRET"), std::string::npos) << line_of(record);
    EXPECT_EQ(fields_of(record).at("args"),
              "X-Amz-Credential=***&x%2Damz-signature=***&sessionid=1");
    record.target = "/b%3FX-Amz-Signature=SECRET";
    record.session = "a&Signature=SECRET";
    EXPECT_EQ(line_of(record).find("SECRET"), std::string::npos) << line_of(record);
}

struct RedactionRow {
    const char* url;
    const char* shown;
};

TEST(Redaction, ShowsNoSecret) {
    const std::vector<RedactionRow> rows = {
        {"", ""},
        {"/b/k", "/b/k"},
        {"/b/k?a=1&b=2", "/b/k?a=1&b=2"},
        // Each name, and the characters around it.
        {"/b/k?X-Amz-Signature=s", "/b/k?X-Amz-Signature=***"},
        {"/b/k?X-Amz-Credential=s%2Fus", "/b/k?X-Amz-Credential=***"},
        {"/b/k?X-Amz-Security-Token=s&x=1", "/b/k?X-Amz-Security-Token=***&x=1"},
        {"/b/k?Signature=s&Expires=9&AWSAccessKeyId=s",
         "/b/k?Signature=***&Expires=9&AWSAccessKeyId=***"},
        {"X-Amz-Signature=s&x=1", "X-Amz-Signature=***&x=1"},
        {"/?Signature=s=t?u&x", "/?Signature=***&x"},
        {"/?Signature=&x=1", "/?Signature=***&x=1"},
        {"/?Signature", "/?Signature"},
        {"/?Signature=s&Signature=s", "/?Signature=***&Signature=***"},
        // Case and escapes of the name.
        {"/?x-amz-signature=s", "/?x-amz-signature=***"},
        {"/?X%2DAmz%2dSignature=s", "/?X%2DAmz%2dSignature=***"},
        {"/?%53ignature=s", "/?%53ignature=***"},
        {"/?%58%2d%41%6d%7a%2d%53%69%67%6e%61%74%75%72%65=s",
         "/?%58%2d%41%6d%7a%2d%53%69%67%6e%61%74%75%72%65=***"},
        {"/?%2553ignature=s", "/?%2553ignature=***"},
        {"/?%25%35%33ignature=s", "/?%25%35%33ignature=***"},
        {"/?u=h%25%33%46Signature%25%33%44s%25%32%36y=1&z",
         "/?u=h%25%33%46Signature%25%33%44***%25%32%36y=1&z"},
        // A URL as the value of an argument, escaped once, twice and not at all.
        {"/?u=http%3A%2F%2Fh%2Fk%3FX-Amz-Signature%3Ds%26y%3D1&z=2",
         "/?u=http%3A%2F%2Fh%2Fk%3FX-Amz-Signature%3D***%26y%3D1&z=2"},
        {"/?u=h%253FSignature%253Ds%2526y&z", "/?u=h%253FSignature%253D***%2526y&z"},
        {"/?u=http://h/k?Signature=s&z=2", "/?u=http://h/k?Signature=***&z=2"},
        {"/?u=Signature%3Ds&z=2", "/?u=Signature%3D***&z=2"},
        // An escaped '&' belongs to the value of an argument whose '=' is plain.
        {"/?Signature=s%26t&z=2", "/?Signature=***&z=2"},
        {"/?a=1;Signature=s", "/?a=1;Signature=***"},
        {"/?a=1&amp;Signature=s", "/?a=1&amp;Signature=***"},
        {"/k#Signature=s", "/k#Signature=***"},
        {"/b%3FSignature=s", "/b%3FSignature=***"},
        // Customer keys, and the arguments of STS.
        {"/?X-Amz-Server-Side-Encryption-Customer-Key=s&x=1",
         "/?X-Amz-Server-Side-Encryption-Customer-Key=***&x=1"},
        {"/?x-amz-copy-source-server-side-encryption-customer-%6bey=s",
         "/?x-amz-copy-source-server-side-encryption-customer-%6bey=***"},
        {"/?Action=AssumeRoleWithLDAPIdentity&LDAPPassword=s&Version=1",
         "/?Action=AssumeRoleWithLDAPIdentity&LDAPPassword=***&Version=1"},
        {"/?WebIdentityToken=s", "/?WebIdentityToken=***"},
        {"/?Token=s&continuation-token=c", "/?Token=***&continuation-token=c"},
        {"/?Authorization=AWS4-HMAC-SHA256%20Credential%3Ds", "/?Authorization=***"},
        {"/?x-amz-server-side-encryption-customer-key-md5=d",
         "/?x-amz-server-side-encryption-customer-key-md5=d"},
        // A password before a host, plain and in a URL within a URL.
        {"http://user:s@h:9000/b/k?a=1", "http://***@h:9000/b/k?a=1"},
        {"http://user:s@s@h", "http://***@h"},
        {"/?u=https%3A%2F%2Fuser%3As%40h%2Fk&z=2", "/?u=https%3A%2F%2F***%40h%2Fk&z=2"},
        {"/?u=http://user:s@h&z=a@b", "/?u=http://***@h&z=a@b"},
        {"http://h/b/mail@example", "http://h/b/mail@example"},
        {"http://h?a@b", "http://h?a@b"},
        {"/?u=http://h&mail=a@b", "/?u=http://h&mail=a@b"},
        {"a:/b/u@h://", "a:/b/u@h://"},
        // Names that only look similar.
        {"/?X-Amz-SignedHeaders=host", "/?X-Amz-SignedHeaders=host"},
        {"/?XSignature=1", "/?XSignature=1"},
        {"/?Signatures=1", "/?Signatures=1"},
        {"/?X-Amz-Security-Tokens=1", "/?X-Amz-Security-Tokens=1"},
        {"/b/Signature=1", "/b/Signature=1"},
        // Broken escapes are kept.
        {"/?a=%&b=%4&Signature=s", "/?a=%&b=%4&Signature=***"},
        {"/?Signature=s%", "/?Signature=***"},
        {"/?%=%zz%2", "/?%=%zz%2"},
        {"/?a=\"\\&Signature=\"", "/?a=\\\"\\\\&Signature=***"},
    };
    for (const RedactionRow& row : rows) {
        std::string out;
        append_url_redacted(out, row.url);
        EXPECT_EQ(out, row.shown);
    }
}

TEST(Redaction, LongUrlsOfEscapesTakeLinearTime) {
    std::string url = "/?";
    while (url.size() < 1024 * 1024) {
        url += "=%2525252525252526";
    }
    std::string out;
    append_url_redacted(out, url);
    EXPECT_EQ(out, url);
    url.clear();
    while (url.size() < 1024 * 1024) {
        url += "://";
    }
    out.clear();
    append_url_redacted(out, url);
    EXPECT_EQ(out, url);
    url.clear();
    while (url.size() < 1024 * 1024) {
        url += "=%25";
        url += "%25%25%25%25";
    }
    out.clear();
    append_url_redacted(out, url);
    EXPECT_EQ(out, url);
}

}  // namespace
}  // namespace s3gate::observe
