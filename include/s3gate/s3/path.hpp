// The parts of a request target in path-style S3 addressing. Views into the target; pure, any
// thread.
#pragma once

#include <string_view>

namespace s3gate::s3 {

struct Path {
    std::string_view
        path;  // with its leading '/'; empty for a target without a path ("*", invalid ones)
    std::string_view query;  // without '?'
    std::string_view
        bucket;  // raw, not decoded; empty for the service itself and for MinIO's own paths
    std::string_view key;  // the part after the bucket's '/'
};

Path path_of(std::string_view target);

}  // namespace s3gate::s3
