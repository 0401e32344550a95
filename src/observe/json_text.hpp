// JSON string contents: what every text goes through before it stands between quotes in the access
// log. Pure, any thread, no allocation but the output's growth.
#pragma once

#include <string>
#include <string_view>

namespace s3gate::observe {

// Appends `text` escaped for a JSON string (RFC 8259 section 7). Well-formed UTF-8 is copied;
// quotes, backslashes, controls and every byte that is not part of a well-formed sequence (RFC 3629
// section 4) become escapes, the latter \u00XX of the byte.
void append_json_escaped(std::string& out, std::string_view text);

}  // namespace s3gate::observe
