#include "s3gate/base/digest.hpp"

#include <gtest/gtest.h>

namespace s3gate::base {
namespace {

TEST(Crc32, KnownValues) {
    EXPECT_EQ(crc32(""), 0u);
    EXPECT_EQ(crc32("123456789"), 0xcbf43926u);
    EXPECT_EQ(crc32("abc"), 0x352441c2u);
    EXPECT_EQ(crc32("f3954ee2ea99e8f527e429b3ae1013e5"), 0x8542b500u);
}

TEST(Crc32, ContinuesFromASeed) {
    EXPECT_EQ(crc32("456789", crc32("123")), 0xcbf43926u);
    const std::uint32_t head = crc32("123");
    EXPECT_EQ(crc32({}, head), head) << "no bytes, also by a null view, change nothing";
}

TEST(Md5, Rfc1321Suite) {
    EXPECT_EQ(md5_hex({}), "d41d8cd98f00b204e9800998ecf8427e");
    EXPECT_EQ(md5_hex({""}), "d41d8cd98f00b204e9800998ecf8427e");
    EXPECT_EQ(md5_hex({"a"}), "0cc175b9c0f1b6a831c399e269772661");
    EXPECT_EQ(md5_hex({"message digest"}), "f96b697d7cb7938d525a2f31aaf161d0");
    EXPECT_EQ(md5_hex({"1234567890123456789012345678901234567890"
                       "1234567890123456789012345678901234567890"}),
              "57edf4a22be3c955ac49da2e2107b67a");
}

TEST(Md5, PartsAreConcatenated) {
    EXPECT_EQ(md5_hex({"mess", "", {}, "age dig", "est"}), "f96b697d7cb7938d525a2f31aaf161d0");
    EXPECT_NE(md5_hex({"a"}), md5_hex({std::string_view("a\0", 2)}));
}

}  // namespace
}  // namespace s3gate::base
