#include "s3gate/base/xml_text.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace s3gate::base {
namespace {

std::string escape(std::string_view text) {
    std::string out;
    append_xml_escaped(out, text);
    return out;
}

TEST(XmlEscaping, KeepsTextAndMarksWhatIsNone) {
    EXPECT_EQ(escape("plain /text-1_2~"), "plain /text-1_2~");
    EXPECT_EQ(escape("<&>\"'"), "&lt;&amp;&gt;&#34;&#39;");
    EXPECT_EQ(escape("]]>"), "]]&gt;");
    EXPECT_EQ(escape(std::string_view("a\0b\x01\x1f\x7f", 6)), "a?b???");
    // UTF-8: the ends of each range, and the values just outside
    for (const char* good : {"\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",
                             "\xef\xbf\xbd", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf",
                             "gr\xc3\xbc\xc3\x9f"
                             "e"}) {
        EXPECT_EQ(escape(good), good);
    }
    EXPECT_EQ(escape("\x80"), "?");
    EXPECT_EQ(escape("\xc0\x80"), "??") << "overlong";
    EXPECT_EQ(escape("\xc1\xbf"), "??");
    EXPECT_EQ(escape("\xe0\x9f\xbf"), "???");
    EXPECT_EQ(escape("\xf0\x8f\xbf\xbf"), "????");
    EXPECT_EQ(escape("\xed\xa0\x80"), "???") << "surrogate";
    EXPECT_EQ(escape("\xef\xbf\xbe\xef\xbf\xbf"), "??????") << "not characters of XML 1.0";
    EXPECT_EQ(escape("\xf4\x90\x80\x80"), "????") << "beyond Unicode";
    EXPECT_EQ(escape("\xf5\x80\x80\x80"), "????");
    EXPECT_EQ(escape("\xff\xfe"), "??");
    EXPECT_EQ(escape("\xc3"), "?") << "cut off at the end";
    EXPECT_EQ(escape("\xe2\x82"), "??");
    EXPECT_EQ(escape("\xf0\x9f\x98"), "???");
    EXPECT_EQ(escape("\xc3<"), "?&lt;") << "a broken sequence must not swallow markup";
    EXPECT_EQ(escape("\xe2\x82&"), "??&amp;");
}

}  // namespace
}  // namespace s3gate::base
