// What the code of an S3 error says about the node that sent it: too much load, which the next node
// has as well, or no readiness, which is this node's own. Pure; any thread.
#pragma once

#include <string_view>

namespace s3gate::s3 {

enum class CodeMeaning {
    other,
    load,       // passed through at once: another node is not asked as well
    not_ready,  // this node cannot serve now (no quorum in its view, still starting): another may
};

// Codes are compared whole and with their case. The table cites where each comes from.
CodeMeaning meaning_of_code(std::string_view code);

}  // namespace s3gate::s3
