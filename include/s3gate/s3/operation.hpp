// Names of S3 operations by method, bucket and key, and query, for the log and for the key
// `retry.unanswered_writes`. Pure, any thread.
#pragma once

#include <cstdint>
#include <string_view>

#include "s3gate/s3/path.hpp"

namespace s3gate::s3 {

// The S3 operation ("GetObject", "UploadPart", "ListObjectsV2", …); "-" if unknown.
// `has_copy_source`: the request carries x-amz-copy-source.
// A request of the service that asks for something of a bucket is unknown: the bucket is in a host
// that no domain of the site names.
std::string_view operation_of(std::string_view method, const Path& parts, bool has_copy_source);

// What the query of a request for an object asks for.
enum class ObjectQuery : std::uint8_t {
    object,  // the object itself
    upload,  // a multipart upload: it has an uploadId
    part,    // one of its parts: it has a partNumber too
    other,   // something else, or the path is none of an object in path style
};

// A first look that costs less than the operation, and is enough for most requests. `other` may be
// wrong.
ObjectQuery object_query_of(std::string_view path, std::string_view query);

}  // namespace s3gate::s3
