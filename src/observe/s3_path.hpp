// A request target taken apart as path-style S3 addressing reads it. Views into the target; pure,
// any thread.
#pragma once

#include <string_view>

namespace s3gate::observe {

struct S3Path {
    std::string_view path;   // with its leading '/'; empty: the target has no path ("*", nonsense)
    std::string_view query;  // without '?'
    std::string_view
        bucket;  // as written, not decoded; empty for the service itself and for MinIO's own paths
    std::string_view key;  // what follows the bucket's '/'
};

S3Path s3_path_of(std::string_view target);

// s3_operation() of access_log.hpp for a target that has been taken apart.
std::string_view s3_operation(std::string_view method, const S3Path& parts, bool has_copy_source);

}  // namespace s3gate::observe
