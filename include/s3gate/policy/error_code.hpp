// What the code of an S3 error says about the node that sent it: too much load, which the next node
// has as well, or no readiness, which is this node's own. Pure; any thread.
#pragma once

#include <cstddef>
#include <string_view>

namespace s3gate::policy {

enum class CodeMeaning {
    other,
    load,       // passed through at once: another node is not asked as well
    not_ready,  // this node cannot serve now (no quorum in its view, still starting): another may
};

// Codes are compared whole and with their case. The table cites where each comes from.
CodeMeaning meaning_of_code(std::string_view code);

// The code of an error document, as far as it is there: `<Code>…</Code>` of S3's XML, `"Code":"…"`
// of MinIO's administration API. Empty when there is none, or its end has not come yet.
std::string_view error_code_in(std::string_view body);

// An error document names its code within this many bytes.
inline constexpr std::size_t kErrorCodeWithin = 4096;

}  // namespace s3gate::policy
