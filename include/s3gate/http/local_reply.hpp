// Answers of the proxy itself: S3's error document, and a small page for browsers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "s3gate/s3/error_document.hpp"

namespace s3gate::http {

struct LocalReply {
    int status = 500;
    s3::Error error;
    bool head = false;  // answer to HEAD: the same head, no body
    bool close = true;
    int retry_after = 0;  // seconds, 0 = no field
    bool page = false;    // HTML with status, message and request id instead of XML
};

struct RequestHead;
// True if an Accept field names text/html with a weight above 0, as browsers do when they navigate.
// "*/*" does not count: programs send it.
bool asks_for_page(const RequestHead& head);

// Appends the whole message to `out`. `date` is an IMF-fixdate.
void append_local_reply(std::string& out, const LocalReply& reply, std::string_view date);

// Appends a plain answer (status page): 200 with the given type and body; `head` leaves the body
// out.
void append_plain_reply(std::string& out, std::string_view content_type, std::string_view body,
                        bool head, bool close, std::string_view date);

// Appends a redirect without a body. It is not cacheable, because the configuration decides about
// `location` (a path, escaped as received).
void append_redirect(std::string& out, std::string_view location, bool close,
                     std::string_view date);

// IMF-fixdate (RFC 9110 §5.6.7) of a time_t.
std::string imf_fixdate(std::int64_t seconds_since_epoch);

}  // namespace s3gate::http
