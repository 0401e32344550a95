// The paths that MinIO serves besides buckets and objects. Pure, any thread.
#pragma once

#include <string_view>

namespace s3gate::s3 {

// The operation at `path`; empty if it is none of MinIO's own paths and may be an object in a
// bucket called "minio".
std::string_view operation_of_minio_path(std::string_view path);

}  // namespace s3gate::s3
