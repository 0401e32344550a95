// The error document of S3: writes it, and finds the code in a received one. Pure; any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace s3gate::s3 {

// Plain texts; the document has them escaped.
struct Error {
    std::string_view code;  // "SlowDown", "InvalidRequest", …
    std::string_view message;
    std::string_view resource;  // path of the request
    std::string_view request_id;
    std::string_view host_id;
};

// The XML in the order of MinIO's APIErrorResponse, so SDKs find a code.
std::string error_document(const Error& error);

// The code in the received part of an error document: `<Code>…</Code>` of S3's XML, `"Code":"…"` of
// MinIO's administration API. Empty if there is none, or if its end has not arrived.
std::string_view error_code_in(std::string_view body);

// A search for the code ends after this many bytes.
inline constexpr std::size_t kErrorCodeWithin = 4096;

}  // namespace s3gate::s3
