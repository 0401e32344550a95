// Text between the tags of XML and HTML. Pure, any thread.
#pragma once

#include <string>
#include <string_view>

namespace s3gate::base {

// Appends `text` with markup escaped; bytes that XML 1.0 does not allow become '?'.
void append_xml_escaped(std::string& out, std::string_view text);

}  // namespace s3gate::base
