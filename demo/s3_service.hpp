// The answers of a demo node: takes requests with their whole body and answers like MinIO, as far
// as the demo needs. Checks no signature and writes nothing to a disk. No I/O here; called by the
// program's only thread.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "object_store.hpp"

namespace s3gate::demo {

struct Request {
    std::string method;
    std::string path;  // not decoded
    std::string bucket;
    std::string key;
    std::vector<std::pair<std::string, std::string>> query;  // decoded, in order
    Headers headers;
    std::string id;  // becomes x-amz-request-id

    // The first value; empty if absent. Header names ignore case, argument names do not.
    std::string_view header(std::string_view name) const;
    std::string_view argument(std::string_view name) const;
    bool has_argument(std::string_view name) const;
};

// Parses a request target.
Request parse_target(std::string_view method, std::string_view target);

// A stretch of an object's data.
struct Slice {
    Data data;
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
};

struct Response {
    unsigned status = 200;
    Headers headers;   // without Content-Length, which is derived from the body
    std::string text;  // the body, unless `slice` is one
    std::optional<Slice> slice;
    bool is_bodiless = false;  // 204 and 304: no Content-Length either
};

struct Body {
    Data data;
    std::string md5;
};

class S3Service {
  public:
    explicit S3Service(ObjectStore& store) : store_(store) {}

    // The answer to a request that must fail whatever its body is, else nullopt.
    std::optional<Response> refuse_early(const Request& request);
    Response handle(const Request& request, Body body);

  private:
    Response service_level(const Request& request);
    Response bucket_level(const Request& request, Body body);
    Response object_level(const Request& request, Body body);
    Response list(const Request& request, const Bucket& bucket);
    Response delete_many(const Request& request, Bucket& bucket, const Body& body);
    Response get_object(const Request& request);
    Response put_object(const Request& request, Bucket& bucket, Body body);
    Response copy_object(const Request& request, Bucket& bucket);
    Response create_upload(const Request& request);
    Response put_part(const Request& request, Body body);
    Response complete_upload(const Request& request, Bucket& bucket, const Body& body);

    ObjectStore& store_;
};

// MinIO's error document.
Response error_response(const Request& request, unsigned status, std::string_view code,
                        std::string_view message);

}  // namespace s3gate::demo
