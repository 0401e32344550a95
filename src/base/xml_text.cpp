#include "s3gate/base/xml_text.hpp"

#include <cstddef>

#include "s3gate/base/utf8.hpp"

namespace s3gate::base {

void append_xml_escaped(std::string& out, std::string_view text) {
    std::size_t position = 0;
    while (position < text.size()) {
        const auto byte = static_cast<unsigned char>(text[position]);
        switch (byte) {
            case '&':
                out += "&amp;";
                ++position;
                continue;
            case '<':
                out += "&lt;";
                ++position;
                continue;
            case '>':
                out += "&gt;";
                ++position;
                continue;
            case '"':
                out += "&#34;";
                ++position;
                continue;
            case '\'':
                out += "&#39;";
                ++position;
                continue;
            default:
                break;
        }
        if (byte < 0x80) {
            out += byte >= 0x20 && byte != 0x7f ? static_cast<char>(byte) : '?';
            ++position;
            continue;
        }
        // Well-formed UTF-8 is copied, other bytes become '?': the document declares UTF-8. U+FFFE
        // and U+FFFF are no characters of XML 1.0.
        const std::string_view rest = text.substr(position);
        const std::size_t length = utf8_length(rest);
        const bool good =
            length > 0 && !rest.starts_with("\xef\xbf\xbe") && !rest.starts_with("\xef\xbf\xbf");
        if (good) {
            out += rest.substr(0, length);
            position += length;
        } else {
            out += '?';
            ++position;
        }
    }
}

}  // namespace s3gate::base
