#include "s3gate/base/xml_text.hpp"

#include <cstddef>
#include <cstdint>

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
        // A well-formed UTF-8 sequence goes out as it is, anything else becomes '?': the document
        // says it is UTF-8.
        const std::size_t length = byte >= 0xf0 && byte <= 0xf4  ? 4
                                   : byte >= 0xe0 && byte < 0xf0 ? 3
                                   : byte >= 0xc2 && byte < 0xe0 ? 2
                                                                 : 1;
        bool good = length > 1 && position + length <= text.size();
        std::uint32_t code = length == 4 ? byte & 7u : length == 3 ? byte & 15u : byte & 31u;
        for (std::size_t i = 1; good && i < length; ++i) {
            const auto next = static_cast<unsigned char>(text[position + i]);
            good = (next & 0xc0u) == 0x80u;
            code = code << 6 | (next & 0x3fu);
        }
        good = good && !(length == 3 && code < 0x800) &&
               !(length == 4 && (code < 0x10000 || code > 0x10ffff)) &&
               !(code >= 0xd800 && code <= 0xdfff) && code != 0xfffe && code != 0xffff;
        if (good) {
            out.append(text.substr(position, length));
            position += length;
        } else {
            out += '?';
            ++position;
        }
    }
}

}  // namespace s3gate::base
