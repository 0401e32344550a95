#include "s3gate/base/scan.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace s3gate::base {
namespace {

// Compares each class's search with its single-byte test, at every offset of the sixteen and in the
// rest after them. The buffer ends with the text, so a sanitizer sees reads beyond it.
template <class Bytes>
void expect_same_for_sixteen_as_for_one() {
    for (int value = 0; value < 256; ++value) {
        const char c = static_cast<char>(value);
        for (std::size_t size = 1; size <= 35; ++size) {
            std::vector<char> text(size, 'a');
            for (std::size_t at = 0; at < size; ++at) {
                text[at] = c;
                const char* const begin = text.data();
                const char* const end = begin + size;
                const char* expected = begin;
                while (expected != end && !Bytes::matches(*expected)) {
                    ++expected;
                }
                ASSERT_EQ(find_first<Bytes>(begin, end) - begin, expected - begin)
                    << "byte " << value << " at " << at << " of " << size;
                text[at] = 'a';
            }
        }
    }
}

TEST(Scan, FindsTheSameByteInSixteenAsOneByOne) {
    expect_same_for_sixteen_as_for_one<ControlBytes>();
    expect_same_for_sixteen_as_for_one<NotPlainName>();
    expect_same_for_sixteen_as_for_one<JsonSpecials>();
    expect_same_for_sixteen_as_for_one<UrlSpecials>();
    expect_same_for_sixteen_as_for_one<LineFeeds>();
    expect_same_for_sixteen_as_for_one<NotTarget>();
}

// Two special bytes of every kind. The first may be one that does not count (HTAB, non-ASCII text);
// the second must still be found.
TEST(Scan, FindsTheControlThatEndsAValue) {
    const std::string odd("\r\n\t\0\x1f\x20\x7f\x80\xff", 9);
    for (std::size_t size = 1; size <= 50; ++size) {
        for (std::size_t first = 0; first < size; ++first) {
            for (std::size_t second = first; second < size; ++second) {
                for (const char one : odd) {
                    for (const char other : odd) {
                        std::vector<char> text(size, 'a');
                        text[first] = one;
                        text[second] = other;
                        const char* const begin = text.data();
                        const char* const end = begin + size;
                        ASSERT_EQ(find_control(begin, end) - begin,
                                  std::find_if(begin, end, ControlBytes::matches) - begin)
                            << size << " " << first << " " << second;
                    }
                }
            }
        }
    }
}

// Texts of every length, with each special byte at every place and another after it. Short texts
// are searched from both ends; long ones end with sixteen overlapping bytes.
TEST(Scan, CopiesUpToTheFirstMatch) {
    for (std::size_t size = 0; size <= 50; ++size) {
        for (std::size_t first = 0; first <= size; ++first) {
            for (std::size_t second = first; second <= size; ++second) {
                std::vector<char> text(size);
                for (std::size_t i = 0; i < size; ++i) {
                    text[i] = static_cast<char>('a' + i % 26);
                }
                if (first < size) {
                    text[first] = '"';
                }
                if (second < size) {
                    text[second] = '\\';
                }
                const std::size_t expected = std::min({first, second, size});
                std::vector<char> out(expected + 17, '.');
                ASSERT_EQ(
                    copy_until<JsonSpecials>(out.data(), text.data(), text.data() + text.size()),
                    expected)
                    << size << " " << first << " " << second;
                ASSERT_EQ(std::string(out.data(), expected), std::string(text.data(), expected));
                ASSERT_EQ(out.back(), '.') << "no more than sixteen bytes behind are overwritten";
            }
        }
    }
}

TEST(Scan, KnowsTheBytesOfEachKind) {
    for (int value = 0; value < 256; ++value) {
        SCOPED_TRACE(value);
        const char c = static_cast<char>(value);
        const bool alnum = (value >= '0' && value <= '9') || (value >= 'A' && value <= 'Z') ||
                           (value >= 'a' && value <= 'z');
        EXPECT_EQ(ControlBytes::matches(c), (value < 32 && value != 9) || value == 127);
        EXPECT_EQ(NotPlainName::matches(c), !(alnum || value == '-'));
        EXPECT_EQ(JsonSpecials::matches(c),
                  value < 32 || value > 127 || value == '"' || value == '\\');
        EXPECT_EQ(UrlSpecials::matches(c),
                  value != 0 && std::string("?&=;#%:").find(c) != std::string::npos);
        EXPECT_EQ(LineFeeds::matches(c), value == 10);
        EXPECT_EQ(NotTarget::matches(c), value <= 32 || value == 127 || value == '#');
    }
}

TEST(Scan, VisitsMatchesInOrderUntilToldToStop) {
    const std::string text = "0123456789abcd\n\n0123456789abcdef\n0\n";
    std::vector<std::ptrdiff_t> seen;
    for_each_match<LineFeeds>(text.data(), text.data() + text.size(), [&](const char* at) {
        seen.push_back(at - text.data());
        return true;
    });
    EXPECT_EQ(seen, (std::vector<std::ptrdiff_t>{14, 15, 32, 34}));
    for (std::size_t wanted = 1; wanted <= 4; ++wanted) {
        std::size_t visits = 0;
        for_each_match<LineFeeds>(text.data(), text.data() + text.size(),
                                  [&](const char*) { return ++visits < wanted; });
        EXPECT_EQ(visits, wanted);
    }
}

}  // namespace
}  // namespace s3gate::base
