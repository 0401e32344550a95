#include "s3gate/base/text.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <random>
#include <string>

namespace s3gate::base {
namespace {

TEST(Text, ComparesAsciiWithoutCase) {
    EXPECT_TRUE(iequals("X-Amz-Copy-Source", "x-aMZ-copy-source"));
    EXPECT_TRUE(iequals("", ""));
    EXPECT_FALSE(iequals("abc", "abcd"));
    EXPECT_FALSE(iequals("abcd", "abc"));
    // The neighbours of the letters differ by the same bit and must not be folded.
    EXPECT_FALSE(iequals("@", "`"));
    EXPECT_FALSE(iequals("[", "{"));
    EXPECT_FALSE(iequals("\xc3\x84", "\xc3\xa4"));
}

TEST(Text, FindsPrefixesWithoutCase) {
    EXPECT_TRUE(istarts_with("SlowDownRead", "slowdown"));
    EXPECT_TRUE(istarts_with("x", ""));
    EXPECT_FALSE(istarts_with("slow", "slowdown"));
    EXPECT_FALSE(istarts_with("xslowdown", "slowdown"));
}

TEST(Text, ParsesDecimalStrictly) {
    EXPECT_EQ(parse_decimal("0"), 0u);
    EXPECT_EQ(parse_decimal("0042"), 42u);
    EXPECT_EQ(parse_decimal("18446744073709551615"), 18446744073709551615u);
    for (const char* bad : {"", "18446744073709551616", "99999999999999999999999", "+1", "-1", " 1",
                            "1 ", "1a", "0x10", "1,2", "1.0"}) {
        EXPECT_FALSE(parse_decimal(bad)) << bad;
    }
}

TEST(Text, ParsesHexStrictly) {
    EXPECT_EQ(parse_hex("0"), 0u);
    EXPECT_EQ(parse_hex("fF"), 255u);
    EXPECT_EQ(parse_hex("ffffffffffffffff"), 18446744073709551615u);
    for (const char* bad : {"", "10000000000000000", "0x1", "g", "-1", "+1", "f ", " f", "1;x"}) {
        EXPECT_FALSE(parse_hex(bad)) << bad;
    }
}

TEST(Text, WritesEightHexDigits) {
    for (std::uint32_t value : {0U, 1U, 9U, 10U, 15U, 0x10U, 0x9fU, 0x12345678U, 0x9abcdef0U,
                                0x9a9a9a9aU, 0xa9a9a9a9U, 0xffffffffU}) {
        const std::uint64_t digits = hex8(value);
        for (unsigned i = 0; i < 8; ++i) {
            EXPECT_EQ(static_cast<char>(digits >> 8 * i & 0xff),
                      "0123456789ABCDEF"[value >> 4 * i & 15])
                << value << " " << i;
        }
    }
}

TEST(Text, MatchesGlobs) {
    EXPECT_TRUE(glob_imatch("*offline*", "Offline"));
    EXPECT_TRUE(glob_imatch("*offline*", "bucket-metadata-OFFLINE, iam-offline"));
    EXPECT_FALSE(glob_imatch("*offline*", "online"));
    EXPECT_TRUE(glob_imatch("*", ""));
    EXPECT_TRUE(glob_imatch("", ""));
    EXPECT_FALSE(glob_imatch("", "a"));
    EXPECT_FALSE(glob_imatch("a", ""));
    EXPECT_TRUE(glob_imatch("a**c", "ac"));
    EXPECT_TRUE(glob_imatch("a*bc", "abbcbc"));
    EXPECT_FALSE(glob_imatch("a*bc", "abcb"));
    EXPECT_FALSE(glob_imatch("offline", "offline2"));
    EXPECT_FALSE(glob_imatch("offline", "xoffline"));
    EXPECT_FALSE(glob_imatch("a?c", "abc"));
}

// The obvious recursive definition; exponential, so only a reference.
bool matches(std::string_view pattern, std::string_view text) {
    if (pattern.empty()) {
        return text.empty();
    }
    if (pattern[0] == '*') {
        return matches(pattern.substr(1), text) ||
               (!text.empty() && matches(pattern, text.substr(1)));
    }
    return !text.empty() && pattern[0] == text[0] && matches(pattern.substr(1), text.substr(1));
}

TEST(Text, GlobAgreesWithItsDefinition) {
    std::mt19937 random(7);
    const auto letters = [&](std::string_view from, unsigned max) {
        std::string out(random() % (max + 1), ' ');
        for (char& c : out) {
            c = from[random() % from.size()];
        }
        return out;
    };
    for (int i = 0; i < 5000; ++i) {
        const std::string pattern = letters("ab*", 6);
        const std::string text = letters("ab", 8);
        EXPECT_EQ(glob_imatch(pattern, text), matches(pattern, text)) << pattern << " " << text;
    }
}

TEST(Text, GlobIsNotExponential) {
    std::string pattern;
    for (int i = 0; i < 40; ++i) {
        pattern += "*a";
    }
    EXPECT_FALSE(glob_imatch(pattern + "b", std::string(2000, 'a')));
}

TEST(Text, DecodesPercent) {
    EXPECT_EQ(percent_decode("a%2Fb%2fc"), "a/b/c");
    EXPECT_EQ(percent_decode("a+b"), "a+b");
    EXPECT_EQ(percent_decode("%00x"), std::string("\0x", 2));
    EXPECT_EQ(percent_decode("%ff"), "\xff");
    EXPECT_EQ(percent_decode("%2541"), "%41");
    for (const char* same : {"", "%", "%4", "a%", "%zz", "%4g", "%g4", "%%", "% 1"}) {
        EXPECT_EQ(percent_decode(same), same);
    }
    EXPECT_EQ(percent_decode(std::string_view("%41", 2)), "%4") << "looks no further than the view";
    EXPECT_EQ(percent_decode("%%41"), "%A");
    EXPECT_EQ(percent_decode("%4%41"), "%4A");
    EXPECT_EQ(percent_decode("abc%41"), "abcA");
}

TEST(Text, DecodesEveryEncodedByte) {
    for (int byte = 0; byte < 256; ++byte) {
        char encoded[4];
        std::snprintf(encoded, sizeof encoded, "%%%02x", static_cast<unsigned>(byte));
        EXPECT_EQ(percent_decode(encoded), std::string(1, static_cast<char>(byte)));
    }
}

TEST(Text, TrimsOnlySpacesAndTabs) {
    EXPECT_EQ(trim_ows(" \t a b\t "), "a b");
    EXPECT_EQ(trim_ows("a"), "a");
    EXPECT_EQ(trim_ows(" \t"), "");
    EXPECT_EQ(trim_ows(""), "");
    EXPECT_EQ(trim_ows("\ra\n"), "\ra\n");
}

// Long texts are compared eight bytes at a time: every byte value against every other, at every
// place.
TEST(Iequals, AgreesWithOneByteAtATime) {
    for (int a = 0; a < 256; ++a) {
        for (int b = 0; b < 256; ++b) {
            const char x = static_cast<char>(a);
            const char y = static_cast<char>(b);
            const bool same = to_lower(x) == to_lower(y);
            for (const std::size_t size : {1U, 7U, 8U, 9U, 16U, 19U}) {
                const std::size_t at = static_cast<std::size_t>(a * 7 + b) % size;
                std::string one(size, 'q');
                std::string other(size, 'Q');
                one[at] = x;
                other[at] = y;
                ASSERT_EQ(iequals(one, other), same) << a << " " << b << " " << size;
                if (to_lower(x) == x) {
                    ASSERT_EQ(is_lower_case_of(one, other), same) << a << " " << b << " " << size;
                }
            }
        }
    }
}

TEST(Tokens, AreWhatTheRfcSays) {
    const std::string_view allowed =
        "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for (int c = 0; c < 256; ++c) {
        const char byte = static_cast<char>(c);
        EXPECT_EQ(is_tchar(byte), c != 0 && allowed.find(byte) != std::string_view::npos) << c;
    }
    EXPECT_TRUE(is_token("x-amz-meta-a_b.c"));
    EXPECT_FALSE(is_token(""));
    EXPECT_FALSE(is_token("a b"));
    EXPECT_FALSE(is_token("a,"));
}

TEST(HexDigits, AreReadAndWrittenInEitherCase) {
    for (unsigned value = 0; value < 256; ++value) {
        const auto byte = static_cast<std::uint8_t>(value);
        for (const std::string_view digits : {kHexDigits, kUpperHexDigits}) {
            char text[2];
            EXPECT_EQ(write_hex(text, byte, digits), text + 2);
            EXPECT_EQ(hex_value(text[0]) * 16 + hex_value(text[1]), static_cast<int>(value));
            std::string appended = "x";
            append_hex(appended, byte, digits);
            EXPECT_EQ(appended, "x" + std::string(text, 2));
        }
        const char c = static_cast<char>(value);
        EXPECT_EQ(hex_value(c) >= 0, kHexDigits.find(to_lower(c)) != std::string_view::npos)
            << value;
    }
    char text[2];
    write_hex(text, 0xAF);
    EXPECT_EQ(std::string_view(text, 2), "af");
    write_hex(text, 0xAF, kUpperHexDigits);
    EXPECT_EQ(std::string_view(text, 2), "AF");
}

}  // namespace
}  // namespace s3gate::base
