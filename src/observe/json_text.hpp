// JSON string contents for the access log. Pure, any thread. The functions write to memory that the
// caller has made large enough, and return the position after the text.
#pragma once

#include <cstddef>
#include <string_view>

namespace s3gate::observe {

// Most bytes for one byte of text, escaped or redacted ("\u00XX").
inline constexpr std::size_t kMostPerByte = 6;
// Bytes that must be free after the end: whole vectors are stored.
inline constexpr std::size_t kTextSlack = 16;

// Writes `text` escaped for a JSON string (RFC 8259 section 7). Well-formed UTF-8 is copied.
// Quotes, backslashes, controls and bytes outside well-formed sequences (RFC 3629 section 4) are
// escaped, the last as \u00XX.
char* write_json_escaped(char* out, std::string_view text);

// The same for a URL or query, with the values of its secrets replaced as in append_url_redacted().
char* write_url_redacted(char* out, std::string_view url);

}  // namespace s3gate::observe
