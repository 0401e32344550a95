#include "json_text.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "s3gate/base/scan.hpp"
#include "s3gate/base/text.hpp"
#include "s3gate/base/utf8.hpp"

namespace s3gate::observe {
namespace {

constexpr std::uint8_t byte_at(std::string_view text, std::size_t index) {
    return static_cast<std::uint8_t>(text[index]);
}

char* write_escape(char* out, std::uint8_t byte) {
    *out++ = '\\';
    if (byte == '"' || byte == '\\') {
        *out++ = static_cast<char>(byte);
        return out;
    }
    *out++ = 'u';
    *out++ = '0';
    *out++ = '0';
    return base::write_hex(out, byte);
}

// Writes the rest of a text that was copied up to `at`, where a byte may need an escape.
[[gnu::noinline]] char* write_from_special(char* out, std::string_view text, std::size_t at) {
    for (;;) {
        // ASCII that stopped the copy needs an escape.
        const bool is_ascii = byte_at(text, at) < 0x80;
        const std::size_t sequence = is_ascii ? 0 : base::utf8_length(text.substr(at));
        if (sequence == 0) {
            out = write_escape(out, byte_at(text, at));
            ++at;
        } else {
            std::memcpy(out, text.data() + at, sequence);
            out += sequence;
            at += sequence;
        }
        const std::size_t plain =
            base::copy_until<base::JsonSpecials>(out, text.data() + at, text.data() + text.size());
        out += plain;
        at += plain;
        if (at == text.size()) {
            return out;
        }
    }
}

}  // namespace

char* write_json_escaped(char* out, std::string_view text) {
    const std::size_t plain =
        base::copy_until<base::JsonSpecials>(out, text.data(), text.data() + text.size());
    return plain == text.size() ? out + plain : write_from_special(out + plain, text, plain);
}

}  // namespace s3gate::observe
