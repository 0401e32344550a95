// Names of S3 operations by method, bucket and key, and query, for the log and for the key
// `retry.unanswered_writes`. Pure, any thread.
#pragma once

#include <string_view>

#include "s3gate/s3/path.hpp"

namespace s3gate::s3 {

// The S3 operation ("GetObject", "UploadPart", "ListObjectsV2", …); "-" if unknown.
// `has_copy_source`: the request carries x-amz-copy-source.
// A request of the service that asks for something of a bucket is unknown: the bucket is in a host
// that no domain of the site names.
std::string_view operation_of(std::string_view method, const Path& parts, bool has_copy_source);

// A first look that most requests pass, and that costs less than the operation: true if the path
// is that of an object in path style, and nothing in the query asks for another operation than
// GetObject, HeadObject, PutObject (or CopyObject) and DeleteObject, by the method. False may be
// wrong.
bool is_plain_object(std::string_view path, std::string_view query);

}  // namespace s3gate::s3
