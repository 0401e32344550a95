#include "s3gate/base/utf8.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

namespace s3gate::base {
namespace {

// RFC 3629 section 3: the encoding of a code point.
std::string encoded(std::uint32_t code) {
    const auto byte = [](std::uint32_t value) { return static_cast<char>(value); };
    const auto rest = [&](unsigned shift) { return byte(0x80 | (code >> shift & 0x3F)); };
    if (code < 0x80) {
        return {byte(code)};
    }
    if (code < 0x800) {
        return {byte(0xC0 | code >> 6), rest(0)};
    }
    if (code < 0x10000) {
        return {byte(0xE0 | code >> 12), rest(6), rest(0)};
    }
    return {byte(0xF0 | code >> 18), rest(12), rest(6), rest(0)};
}

TEST(Utf8, KnowsEveryCodePointAndNoSurrogate) {
    for (std::uint32_t code = 0; code <= 0x110FFF; ++code) {
        const bool is_scalar = code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF);
        const std::string text = encoded(code);
        ASSERT_EQ(utf8_length(text), is_scalar ? text.size() : 0) << code;
        ASSERT_EQ(utf8_length(text + "x"), is_scalar ? text.size() : 0) << code;
        if (text.size() > 1) {
            ASSERT_EQ(utf8_length(text.substr(0, text.size() - 1)), 0u) << code;
        }
    }
}

TEST(Utf8, RefusesOverlongFormsAndStrayBytes) {
    for (const char* bad : {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xe0\x80\x80", "\xe0\x9f\xbf",
                            "\xf0\x80\x80\x80", "\xf0\x8f\xbf\xbf", "\xf5\x80\x80\x80", "\xff",
                            "\xc3x", "\xe2\x82x", "\xe2x\xac", "\xf0\x9f\x98x"}) {
        EXPECT_EQ(utf8_length(bad), 0u) << bad;
        EXPECT_FALSE(is_utf8(bad)) << bad;
        EXPECT_FALSE(is_utf8(std::string("good ") + bad)) << bad;
    }
}

TEST(Utf8, OfNothingIsNoSequenceAndGoodText) {
    EXPECT_EQ(utf8_length(""), 0u);
    EXPECT_TRUE(is_utf8(""));
    EXPECT_TRUE(
        is_utf8("gr\xc3\xbc\xc3\x9f"
                "e, \xe2\x82\xac, \xf0\x9f\x98\x80"));
}

}  // namespace
}  // namespace s3gate::base
