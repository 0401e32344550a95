// The id of the key that signed a request: what servers take for it, and nothing that may be
// secret.
#include "s3gate/s3/access_key.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace s3gate::s3 {
namespace {

std::string id_of(const Credential& credential) {
    std::string memory = "left over";
    return std::string(access_key_of(credential, memory));
}

const std::string kScope = "/20260131/us-east-1/s3/aws4_request";

TEST(AccessKey, IsInTheHeader) {
    const std::string rest = ", SignedHeaders=host;x-amz-date, Signature=f00d";
    const std::vector<std::pair<std::string, const char*>> rows = {
        {"AWS4-HMAC-SHA256 Credential=AKIA" + kScope + rest, "AKIA"},
        {"AWS4-HMAC-SHA256 SignedHeaders=host,Credential=AKIA" + kScope + ",Signature=f", "AKIA"},
        {"AWS4-HMAC-SHA256 Credential=team/a/b" + kScope + rest, "team/a/b"},
        {"AWS4-ECDSA-P256-SHA256 Credential=AKIA/20260131/s3/aws4_request" + rest, "AKIA"},
        {"AWS AKIA:frJIUN8DYpKDtOLCwo//yllqDzg=", "AKIA"},
        {"AWS   AKIA:sig:nature", "AKIA"},
        // What is not a credential as servers take it may be anything, also a secret.
        {"", ""},
        {"AWS AKIA", ""},
        {"AWS :signature", ""},
        {"Bearer SECRET", ""},
        {"Basic U0VDUkVU", ""},
        {"AWS4-HMAC-SHA256 Credential=SECRET", ""},
        {"AWS4-HMAC-SHA256 Credential=SECRET/20260131/us-east-1/s3" + rest, ""},
        {"AWS4-HMAC-SHA256 Credential=SECRET/aws4_request" + rest, ""},
        {"AWS4-HMAC-SHA256 Credential=/aws4_request", ""},
        {"AWS4-HMAC-SHA256 Signature=SECRET", ""},
        {"AWS4-HMAC-SHA256", ""},
    };
    for (const auto& [header, id] : rows) {
        EXPECT_EQ(id_of({.header = header}), id) << header;
    }
}

TEST(AccessKey, IsInPresignedUrls) {
    EXPECT_EQ(id_of({.presigned = "AKIA%2F20260131%2Fus-east-1%2Fs3%2Faws4_request"}), "AKIA");
    EXPECT_EQ(id_of({.presigned = "AKIA" + kScope}), "AKIA");
    EXPECT_EQ(id_of({.presigned = "%41%22b%2f20260131%2feu%2fs3%2faws4_request"}), "A\"b");
    EXPECT_EQ(id_of({.presigned = "SECRET"}), "");
    EXPECT_EQ(id_of({.version2 = "AK%2BIA"}), "AK+IA");
}

TEST(AccessKey, TheHeaderComesFirst) {
    const std::string scope = "PRE" + kScope;
    EXPECT_EQ(id_of({.header = "AWS HEAD:s", .presigned = scope, .version2 = "TWO"}), "HEAD");
    EXPECT_EQ(id_of({.header = "Bearer x", .presigned = scope, .version2 = "TWO"}), "PRE");
}

TEST(AccessKey, HasABound) {
    const std::string longest(kMostOfAccessKey, 'a');
    EXPECT_EQ(id_of({.header = "AWS " + longest + "b:s"}), longest);
    EXPECT_EQ(id_of({.presigned = longest + "b" + kScope}), longest);
    EXPECT_EQ(id_of({.version2 = std::string(100'000, 'a')}), "");
}

}  // namespace
}  // namespace s3gate::s3
