// JSON string contents: what every text goes through before it stands between quotes in the access
// log. Pure, any thread. The functions write to memory that the caller has made large enough and
// return the position behind what they wrote.
#pragma once

#include <cstddef>
#include <string_view>

namespace s3gate::observe {

// What one byte of text can become at most, escaped or redacted ("\u00XX"), ...
inline constexpr std::size_t kMostPerByte = 6;
// ... and what must be left behind the end all the same: whole vectors are stored.
inline constexpr std::size_t kTextSlack = 16;

// Writes `text` escaped for a JSON string (RFC 8259 section 7). Well-formed UTF-8 is copied;
// quotes, backslashes, controls and every byte that is not part of a well-formed sequence (RFC 3629
// section 4) become escapes, the latter \u00XX of the byte.
char* write_json_escaped(char* out, std::string_view text);

// The same for a URL or query, with the values of its secrets replaced as append_url_redacted says.
char* write_url_redacted(char* out, std::string_view url);

}  // namespace s3gate::observe
