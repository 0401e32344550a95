// Classifies the code of an S3 error: too much load, which other nodes have as well, or a node that
// is not ready itself. Pure; any thread.
#pragma once

#include <string_view>

namespace s3gate::s3 {

enum class CodeMeaning {
    other,
    load,       // passed on at once, without a retry at another node
    not_ready,  // this node cannot serve now (no quorum in its view, still starting); another may
};

// Codes are compared as a whole and with their case. The table cites the origin of each code.
CodeMeaning meaning_of_code(std::string_view code);

}  // namespace s3gate::s3
