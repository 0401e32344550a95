// The proxy's own answers: SDKs must find a code in them, and no part of the request may break out
// of the document.
#include "s3gate/http/local_reply.hpp"

#include <gtest/gtest.h>

#include <ctime>
#include <random>
#include <string>
#include <vector>

#include "heads.hpp"
#include "s3gate/base/text.hpp"
#include "s3gate/http/head.hpp"

namespace s3gate::http {
namespace {

constexpr std::string_view kDate = "Sun, 06 Nov 1994 08:49:37 GMT";

LocalReply sample() {
    LocalReply reply;
    reply.status = 503;
    reply.error.code = "SlowDown";
    reply.error.message = "Please reduce your request rate.";
    reply.error.resource = "/bucket/key";
    reply.error.request_id = "17A1B2C3D4E5F607";
    reply.error.host_id = "proxy-1";
    reply.retry_after = 1;
    return reply;
}

std::string text_of(const LocalReply& reply) {
    std::string out;
    append_local_reply(out, reply, kDate);
    return out;
}

TEST(LocalReply, IsTheDocumentSdksRead) {
    EXPECT_EQ(text_of(sample()),
              "HTTP/1.1 503 Service Unavailable\r\n"
              "x-amz-request-id: 17A1B2C3D4E5F607\r\n"
              "Retry-After: 1\r\n"
              "Content-Type: application/xml\r\n"
              "Content-Length: 221\r\n"
              "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
              "Connection: close\r\n"
              "\r\n"
              "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
              "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message>"
              "<Resource>/bucket/key</Resource><RequestId>17A1B2C3D4E5F607</"
              "RequestId><HostId>proxy-1</HostId></Error>");
}

TEST(LocalReply, IsASmallPageForABrowser) {
    LocalReply reply = sample();
    reply.page = true;
    reply.error.message = "Less, <please> & \"soon\".";
    EXPECT_EQ(text_of(reply),
              "HTTP/1.1 503 Service Unavailable\r\n"
              "x-amz-request-id: 17A1B2C3D4E5F607\r\n"
              "Retry-After: 1\r\n"
              "Cache-Control: no-store\r\n"
              "X-Content-Type-Options: nosniff\r\n"
              "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n"
              "Content-Type: text/html; charset=utf-8\r\n"
              "Content-Length: 258\r\n"
              "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
              "Connection: close\r\n"
              "\r\n"
              "<!DOCTYPE html>\n"
              "<html lang=\"en\"><head><meta charset=\"utf-8\">"
              "<title>503 Service Unavailable</title></head>\n"
              "<body><h1>503 Service Unavailable</h1>\n"
              "<p>Less, &lt;please&gt; &amp; &#34;soon&#34;.</p>\n"
              "<p>Request id: <code>17A1B2C3D4E5F607</code></p></body></html>\n");
    const std::string full = text_of(reply);
    reply.head = true;
    EXPECT_EQ(text_of(reply), full.substr(0, full.find("\r\n\r\n") + 4));
}

TEST(LocalReply, ThePageHoldsNothingOfTheRequest) {
    LocalReply reply = sample();
    reply.page = true;
    reply.error.resource = "/FOREIGN<script>";
    reply.error.host_id = "FOREIGN";
    EXPECT_EQ(text_of(reply).find("FOREIGN"), std::string::npos);
}

bool asks(const std::string& fields) {
    const std::string raw = "GET / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n";
    RequestHead head;
    EXPECT_EQ(parse_request_head(raw, head), HeadError::none);
    return asks_for_page(head);
}

TEST(LocalReply, APageIsForWhoNamesHtmlWithAWeight) {
    for (const char* accept : {
             "text/html",
             "TEXT/Html",
             "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
             "application/json, text/html ; q=0.1",
             "text/html;q=1.000",
             "text/html;level=1",
             "text/html;a=\"x,y;q=0\";q=0.001",
             "text/html;q=0, text/html;level=2",
             ",, text/html",
         }) {
        EXPECT_TRUE(asks("accept: " + std::string(accept) + "\r\n")) << accept;
    }
    EXPECT_TRUE(asks("Accept: application/json\r\nAccept: text/html\r\n"));
    for (const char* accept : {
             "",
             "*/*",
             "text/*",
             "application/xml",
             "text/html;q=0",
             "text/html; Q=0.000",
             "text/html;q=",
             "text/html;q=2",
             "text/html;q=-1",
             "text/html;q=0.0001",
             "text/htmlx",
             "xtext/html",
             "application/json;a=\"text/html\"",
             "a/b;c=\"x, text/html",
             "a/b;c=\"\\",
             ";",
         }) {
        EXPECT_FALSE(asks("Accept: " + std::string(accept) + "\r\n")) << accept;
    }
    EXPECT_FALSE(asks(""));
    EXPECT_FALSE(asks("X-Accept: text/html\r\nAccept-Language: text/html\r\n"));
}

TEST(LocalReply, RedirectsAreKeptByNobody) {
    std::string out;
    append_redirect(out, "/upstream/health/?a=b", false, kDate);
    EXPECT_EQ(out,
              "HTTP/1.1 301 Moved Permanently\r\n"
              "Location: /upstream/health/?a=b\r\n"
              "Cache-Control: no-store\r\n"
              "Content-Type: text/plain; charset=utf-8\r\n"
              "Content-Length: 0\r\n"
              "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n");
}

TEST(LocalReply, HeadGetsTheSameHeadAndNoBody) {
    LocalReply reply = sample();
    const std::string full = text_of(reply);
    reply.head = true;
    EXPECT_EQ(text_of(reply), full.substr(0, full.find("\r\n\r\n") + 4));
}

TEST(LocalReply, AppendsBehindWhatIsThere) {
    std::string out = "HTTP/1.1 100 Continue\r\n\r\n";
    append_local_reply(out, sample(), kDate);
    EXPECT_EQ(out, "HTTP/1.1 100 Continue\r\n\r\n" + text_of(sample()));
}

TEST(LocalReply, LeavesOutWhatIsNotAsked) {
    LocalReply reply = sample();
    reply.close = false;
    reply.retry_after = 0;
    const std::string text = text_of(reply);
    EXPECT_EQ(text.find("Connection"), std::string::npos);
    EXPECT_EQ(text.find("Retry-After"), std::string::npos);
}

TEST(LocalReply, ParsesStrictlyWithAnyStatusAndResource) {
    for (const int status :
         {400, 403, 404, 405, 408, 411, 413, 414, 417, 431, 500, 501, 502, 503, 504, 505, 599}) {
        LocalReply reply = sample();
        reply.status = status;
        reply.error.resource = "/b/<a href=\"x\">&'\r\n\r\n\x80\xff\xc3\xbc\x01</Resource>";
        const std::string text = text_of(reply);
        const std::size_t end = text.find("\r\n\r\n") + 4;
        const std::string raw = text.substr(0, end);
        const ResponseHead head = response(raw);
        EXPECT_EQ(head.status, status);
        EXPECT_FALSE(head.reason.empty()) << "SDKs lose errors without a reason phrase";
        const ResponseMeaning meaning = meaning_of(head, false);
        EXPECT_EQ(meaning.error, HeadError::none);
        EXPECT_EQ(meaning.body.kind, BodyKind::length);
        EXPECT_EQ(meaning.body.length, text.size() - end)
            << "the length is that of the escaped text";
        EXPECT_FALSE(meaning.keep_alive);
        EXPECT_NE(text.find("<Resource>/b/&lt;a href=&#34;x&#34;&gt;&amp;&#39;"),
                  std::string::npos);
        EXPECT_NE(text.find("\xc3\xbc?&lt;/Resource&gt;</Resource>"), std::string::npos);
    }
}

TEST(PlainReply, HasTypeLengthAndBody) {
    std::string out;
    append_plain_reply(out, "text/plain", "up\n", false, false, kDate);
    EXPECT_EQ(out,
              "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nDate: Sun, 06 "
              "Nov 1994 08:49:37 GMT\r\n\r\nup\n");
    out.clear();
    append_plain_reply(out, "text/plain", "up\n", true, true, kDate);
    EXPECT_EQ(out,
              "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nDate: Sun, 06 "
              "Nov 1994 08:49:37 GMT\r\n"
              "Connection: close\r\n\r\n");
}

TEST(ImfFixdate, FollowsTheRfc) {
    EXPECT_EQ(imf_fixdate(784111777), "Sun, 06 Nov 1994 08:49:37 GMT");  // RFC 9110 §5.6.7
    EXPECT_EQ(imf_fixdate(0), "Thu, 01 Jan 1970 00:00:00 GMT");
    EXPECT_EQ(imf_fixdate(951782399), "Mon, 28 Feb 2000 23:59:59 GMT");
    EXPECT_EQ(imf_fixdate(951782400), "Tue, 29 Feb 2000 00:00:00 GMT");
    EXPECT_EQ(imf_fixdate(1704067199), "Sun, 31 Dec 2023 23:59:59 GMT");
    EXPECT_EQ(imf_fixdate(4102444800), "Fri, 01 Jan 2100 00:00:00 GMT");
}

TEST(ImfFixdate, AgreesWithTheLibraryInItsLocale) {
    std::mt19937_64 random(7);
    for (int i = 0; i < 500; ++i) {
        const auto seconds =
            static_cast<std::int64_t>(random() % 253402300800u);  // until the year 9999
        const std::time_t time = static_cast<std::time_t>(seconds);
        std::tm parts{};
        gmtime_r(&time, &parts);
        char text[64];
        std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts);  // no setlocale: "C"
        ASSERT_EQ(imf_fixdate(seconds), text);
        ASSERT_EQ(imf_fixdate(seconds).size(), 29u);
    }
}

}  // namespace
}  // namespace s3gate::http
