// The error document of S3: writing it, and finding the code in one that a server sent. Pure; any
// thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace s3gate::s3 {

// Texts as they are; the document has them escaped.
struct Error {
    std::string_view code;  // "SlowDown", "InvalidRequest", …
    std::string_view message;
    std::string_view resource;  // path of the request
    std::string_view request_id;
    std::string_view host_id;
};

// The XML in the order of MinIO's APIErrorResponse, so that SDKs read a code instead of a page.
std::string error_document(const Error& error);

// The code of an error document, as far as it is there: `<Code>…</Code>` of S3's XML, `"Code":"…"`
// of MinIO's administration API. Empty when there is none, or its end has not come yet.
std::string_view error_code_in(std::string_view body);

// An error document names its code within this many bytes.
inline constexpr std::size_t kErrorCodeWithin = 4096;

}  // namespace s3gate::s3
