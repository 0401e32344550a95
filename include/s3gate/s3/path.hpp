// A request target taken apart as path-style S3 addressing reads it. Views into the target; pure,
// any thread.
#pragma once

#include <string_view>

namespace s3gate::s3 {

struct Path {
    std::string_view path;   // with its leading '/'; empty: the target has no path ("*", nonsense)
    std::string_view query;  // without '?'
    std::string_view
        bucket;  // as written, not decoded; empty for the service itself and for MinIO's own paths
    std::string_view key;  // what follows the bucket's '/'
};

Path path_of(std::string_view target);

}  // namespace s3gate::s3
