#include "s3gate/http/upgrade.hpp"

#include <gtest/gtest.h>

#include <string>

namespace s3gate::http {
namespace {

RequestHead request(std::string& text, const std::string& fields) {
    text = "GET /ws HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n";
    RequestHead head;
    EXPECT_EQ(parse_request_head(text, head), HeadError::none);
    return head;
}

ResponseHead answer(std::string& text, const std::string& fields) {
    text = "HTTP/1.1 101 Switching Protocols\r\n" + fields + "\r\n";
    ResponseHead head;
    EXPECT_EQ(parse_response_head(text, head), HeadError::none);
    return head;
}

bool relayable(const std::string& fields) {
    std::string text;
    return is_offer_relayable(request(text, fields));
}

bool accepted(const std::string& offer, const std::string& fields) {
    std::string request_text;
    std::string answer_text;
    return is_offer_accepted(request(request_text, offer), answer(answer_text, fields));
}

TEST(Upgrade, OffersThatAreRelayed) {
    EXPECT_TRUE(relayable("Upgrade: websocket\r\n"));
    EXPECT_TRUE(relayable("Upgrade: WebSocket\r\n"));
    EXPECT_TRUE(relayable("Upgrade: foo/2, websocket\r\n"));
    EXPECT_TRUE(relayable("Upgrade: foo\r\nUpgrade: websocket\r\n"));
}

TEST(Upgrade, OffersThatAreDropped) {
    EXPECT_FALSE(relayable(""));
    EXPECT_FALSE(relayable("Upgrade:\r\n"));
    EXPECT_FALSE(relayable("Upgrade: ,\r\n"));
    EXPECT_FALSE(relayable("Upgrade: h2c\r\n"));
    EXPECT_FALSE(relayable("Upgrade: H2C\r\n"));
    EXPECT_FALSE(relayable("Upgrade: websocket, h2c\r\n")) << "a backend could choose h2c";
    EXPECT_FALSE(relayable("Upgrade: websocket\r\nUpgrade: h2c\r\n"));
    EXPECT_FALSE(relayable("Upgrade: HTTP/2.0\r\n"));
    EXPECT_FALSE(relayable("Upgrade: TLS/1.0\r\n")) << "RFC 2817: bytes that only one side reads";
    EXPECT_FALSE(relayable("Upgrade: web socket\r\n"));
    EXPECT_FALSE(relayable("Upgrade: websocket/\r\n"));
    EXPECT_FALSE(relayable("Upgrade: a/b/c\r\n"));
}

TEST(Upgrade, AnswersThatAccept) {
    const std::string offer = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    EXPECT_TRUE(accepted(offer, "Connection: Upgrade\r\nUpgrade: websocket\r\n"));
    EXPECT_TRUE(accepted(offer, "Connection: keep-alive, upgrade\r\nUpgrade: WebSocket\r\n"));
    EXPECT_TRUE(accepted("Upgrade: foo/1, bar\r\n", "Connection: upgrade\r\nUpgrade: foo/1\r\n"));
}

TEST(Upgrade, AnswersThatAcceptNothingOffered) {
    const std::string offer = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    EXPECT_FALSE(accepted(offer, "Connection: Upgrade\r\n"));
    EXPECT_FALSE(accepted(offer, "Connection: Upgrade\r\nUpgrade:\r\n"));
    EXPECT_FALSE(accepted(offer, "Connection: Upgrade\r\nUpgrade: h2c\r\n"));
    EXPECT_FALSE(accepted(offer, "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n"));
    EXPECT_FALSE(accepted(offer, "Connection: Upgrade\r\nUpgrade: websocket/13\r\n"));
    EXPECT_FALSE(accepted(offer, "Upgrade: websocket\r\n")) << "RFC 9110 §7.8 asks for the option";
    EXPECT_FALSE(accepted(offer, "Connection: close\r\nUpgrade: websocket\r\n"));
}

}  // namespace
}  // namespace s3gate::http
