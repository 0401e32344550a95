// Names of S3 operations by method, path depth and query: for the log and for the key
// `retry.unanswered_writes`. Path-style addressing is assumed; with bucket host names the word is
// one level off, as is the bucket field. Pure, any thread.
#pragma once

#include <string_view>

#include "s3gate/s3/path.hpp"

namespace s3gate::s3 {

// Word for the S3 operation ("GetObject", "UploadPart", "ListObjectsV2", …) by method, path depth
// and query; "-" when unknown. `has_copy_source`: the request carries x-amz-copy-source.
std::string_view operation_of(std::string_view method, std::string_view target,
                              bool has_copy_source);
// The same for a target that has been taken apart.
std::string_view operation_of(std::string_view method, const Path& parts, bool has_copy_source);

}  // namespace s3gate::s3
