// Names of S3 operations by method, path depth and query, for the log and for the key
// `retry.unanswered_writes`. Assumes path-style addressing: with bucket host names the operation
// and the bucket field are off by one level. Pure, any thread.
#pragma once

#include <string_view>

#include "s3gate/s3/path.hpp"

namespace s3gate::s3 {

// The S3 operation ("GetObject", "UploadPart", "ListObjectsV2", …); "-" if unknown.
// `has_copy_source`: the request carries x-amz-copy-source.
std::string_view operation_of(std::string_view method, std::string_view target,
                              bool has_copy_source);
// The same for a parsed target.
std::string_view operation_of(std::string_view method, const Path& parts, bool has_copy_source);

}  // namespace s3gate::s3
