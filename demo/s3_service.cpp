#include "s3_service.hpp"

#include <algorithm>
#include <array>
#include <ctime>

#include "s3gate/base/text.hpp"

namespace s3gate::demo {
namespace {

using std::chrono::system_clock;

constexpr std::string_view kXmlHead = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
constexpr std::string_view kNamespace = "http://s3.amazonaws.com/doc/2006-03-01/";
constexpr std::size_t kMaxBuckets = 1000;
constexpr std::size_t kMaxKey = 1024;
constexpr std::size_t kMaxDocument = 2 * 1024 * 1024;  // CompleteMultipartUpload, DeleteObjects

std::string xml_escape(std::string_view text) {
    std::string out;
    for (const char c : text) {
        switch (c) {
            case '&':
                out += "&amp;";
                break;
            case '<':
                out += "&lt;";
                break;
            case '>':
                out += "&gt;";
                break;
            case '"':
                out += "&#34;";
                break;
            default:
                out += c;
        }
    }
    return out;
}

std::string xml_unescape(std::string_view text) {
    static constexpr std::array<std::pair<std::string_view, char>, 6> kEntities = {
        {{"&amp;", '&'},
         {"&lt;", '<'},
         {"&gt;", '>'},
         {"&quot;", '"'},
         {"&#34;", '"'},
         {"&apos;", '\''}}};
    std::string out;
    while (!text.empty()) {
        const auto* entity =
            std::find_if(kEntities.begin(), kEntities.end(),
                         [text](const auto& e) { return text.starts_with(e.first); });
        if (entity != kEntities.end()) {
            out += entity->second;
            text.remove_prefix(entity->first.size());
        } else {
            out += text.front();
            text.remove_prefix(1);
        }
    }
    return out;
}

std::string element(std::string_view name, std::string_view text) {
    std::string out = "<";
    out += name;
    out += '>';
    out += xml_escape(text);
    out += "</";
    out += name;
    out += '>';
    return out;
}

// The contents of each <name>…</name>, in order. Sufficient for the two documents that S3 clients
// send.
std::vector<std::string_view> elements_of(std::string_view document, const std::string& name) {
    const std::string open = "<" + name + ">";
    const std::string close = "</" + name + ">";
    std::vector<std::string_view> found;
    for (std::size_t at = document.find(open); at != std::string_view::npos;
         at = document.find(open, at)) {
        at += open.size();
        const std::size_t end = document.find(close, at);
        if (end == std::string_view::npos) {
            break;
        }
        found.push_back(document.substr(at, end - at));
        at = end;
    }
    return found;
}

std::string url_encode(std::string_view text) {
    constexpr std::string_view kPlain =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/";
    std::string out;
    for (const char c : text) {
        if (kPlain.find(c) != std::string_view::npos) {
            out += c;
            continue;
        }
        out += '%';
        base::append_hex(out, static_cast<std::uint8_t>(c), base::kUpperHexDigits);
    }
    return out;
}

std::string format_time(system_clock::time_point time, const char* format) {
    const std::time_t seconds = system_clock::to_time_t(time);
    std::tm utc{};
    ::gmtime_r(&seconds, &utc);
    std::array<char, 64> text;
    return {text.data(), std::strftime(text.data(), text.size(), format, &utc)};
}

std::string iso_time(system_clock::time_point time) {
    return format_time(time, "%Y-%m-%dT%H:%M:%S.000Z");
}

std::string http_time(system_clock::time_point time) {
    return format_time(time, "%a, %d %b %Y %H:%M:%S GMT");
}

std::string in_quotes(std::string_view etag) {
    return '"' + std::string(etag) + '"';
}

// True if the list of entity tags in a condition contains `etag` or is "*".
bool names_etag(std::string_view list, std::string_view etag) {
    return list == "*" || list.find(etag) != std::string_view::npos;
}

Response xml_response(std::string document) {
    Response response;
    response.headers.emplace_back("Content-Type", "application/xml");
    response.text = std::string(kXmlHead) + std::move(document);
    return response;
}

Response no_content() {
    Response response;
    response.status = 204;
    response.is_bodiless = true;
    return response;
}

Response no_such_bucket(const Request& request) {
    return error_response(request, 404, "NoSuchBucket", "The specified bucket does not exist");
}

Response no_such_upload(const Request& request) {
    return error_response(request, 404, "NoSuchUpload",
                          "The specified multipart upload does not exist. The upload ID may be "
                          "invalid, or the upload may have been aborted or completed.");
}

Response storage_full(const Request& request) {
    return error_response(request, 507, "XMinioStorageFull",
                          "Storage backend has reached its minimum free drive threshold. Please "
                          "delete a few objects to proceed.");
}

Response not_implemented(const Request& request) {
    return error_response(request, 501, "NotImplemented",
                          "The demo cluster does not play this operation");
}

// The upload's fields that are returned with the object.
Headers stored_headers(const Request& request) {
    static constexpr std::array<std::string_view, 6> kNames = {
        "content-type",        "cache-control",    "content-encoding",
        "content-disposition", "content-language", "expires"};
    Headers stored;
    bool has_type = false;
    for (const auto& [name, value] : request.headers) {
        const bool is_kept = std::any_of(kNames.begin(), kNames.end(), [&name = name](auto kept) {
            return base::iequals(kept, name);
        });
        if (!is_kept && !base::istarts_with(name, "x-amz-meta-")) {
            continue;
        }
        // aws-chunked describes the upload's format, not the object's.
        if (base::iequals(name, "content-encoding") && base::iequals(value, "aws-chunked")) {
            continue;
        }
        has_type |= base::iequals(name, "content-type");
        stored.emplace_back(name, value);
    }
    if (!has_type) {
        stored.emplace_back("Content-Type", "binary/octet-stream");
    }
    return stored;
}

struct Range {
    std::uint64_t first = 0;
    std::uint64_t length = 0;
};
enum class RangeKind { none, valid, unsatisfiable };

// RFC 9110 section 14.2: an unknown range is ignored and the whole object sent. Several ranges
// count as unknown here.
RangeKind parse_range(std::string_view text, std::uint64_t size, Range& range) {
    if (!text.starts_with("bytes=") || text.find(',') != std::string_view::npos) {
        return RangeKind::none;
    }
    text.remove_prefix(6);
    const std::size_t dash = text.find('-');
    if (dash == std::string_view::npos) {
        return RangeKind::none;
    }
    const auto first = base::parse_decimal(text.substr(0, dash));
    const auto last = base::parse_decimal(text.substr(dash + 1));
    if (dash == 0) {
        if (!last) {
            return RangeKind::none;
        }
        range.length = std::min(*last, size);
        range.first = size - range.length;
        return range.length == 0 ? RangeKind::unsatisfiable : RangeKind::valid;
    }
    if (!first || (!last && dash + 1 != text.size()) || (last && *last < *first)) {
        return RangeKind::none;
    }
    if (*first >= size) {
        return RangeKind::unsatisfiable;
    }
    range.first = *first;
    range.length = std::min(last.value_or(size - 1), size - 1) - *first + 1;
    return RangeKind::valid;
}

std::string decode_argument(std::string_view text) {
    std::string spaced(text);
    std::replace(spaced.begin(), spaced.end(), '+', ' ');
    return base::percent_decode(spaced);
}

std::string document_of(const Body& body) {
    std::string document;
    for (const auto& segment : body.data) {
        document += segment->bytes;
    }
    return document;
}

bool is_valid_bucket_name(std::string_view name) {
    return name.size() >= 3 && name.size() <= 63 &&
           std::all_of(name.begin(), name.end(), [](char c) {
               return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
           });
}

// True if no argument selects an operation. x-id, by which SDKs name the operation, and affinity
// keys do not count.
bool is_plain(const Request& request) {
    return std::all_of(request.query.begin(), request.query.end(), [](const auto& argument) {
        return argument.first == "x-id" || base::iequals(argument.first, "sessionid");
    });
}

}  // namespace

std::string_view Request::header(std::string_view name) const {
    for (const auto& [key_text, value] : headers) {
        if (base::iequals(key_text, name)) {
            return value;
        }
    }
    return {};
}

std::string_view Request::argument(std::string_view name) const {
    for (const auto& [key_text, value] : query) {
        if (key_text == name) {
            return value;
        }
    }
    return {};
}

bool Request::has_argument(std::string_view name) const {
    return std::any_of(query.begin(), query.end(),
                       [name](const auto& argument) { return argument.first == name; });
}

Request parse_target(std::string_view method, std::string_view target) {
    Request request;
    request.method = method;
    const std::size_t question = target.find('?');
    request.path = target.substr(0, question);
    if (request.path.starts_with('/')) {
        const std::string_view rest = std::string_view(request.path).substr(1);
        const std::size_t slash = rest.find('/');
        request.bucket = base::percent_decode(rest.substr(0, slash));
        if (slash != std::string_view::npos) {
            request.key = base::percent_decode(rest.substr(slash + 1));
        }
    }
    std::string_view query =
        question == std::string_view::npos ? std::string_view() : target.substr(question + 1);
    while (!query.empty()) {
        const std::size_t end = std::min(query.find('&'), query.size());
        const std::string_view argument = query.substr(0, end);
        query.remove_prefix(std::min(end + 1, query.size()));
        const std::size_t equals = argument.find('=');
        request.query.emplace_back(
            decode_argument(argument.substr(0, equals)),
            equals == std::string_view::npos ? "" : decode_argument(argument.substr(equals + 1)));
    }
    return request;
}

Response error_response(const Request& request, unsigned status, std::string_view code,
                        std::string_view message) {
    Response response =
        xml_response("<Error>" + element("Code", code) + element("Message", message) +
                     element("Resource", request.path) + element("RequestId", request.id) +
                     element("HostId", "demo") + "</Error>");
    response.status = status;
    if (request.method == "HEAD") {
        response.headers.emplace_back("x-minio-error-code", code);
        response.headers.emplace_back("x-minio-error-desc", in_quotes(message));
    }
    return response;
}

std::optional<Response> S3Service::refuse_early(const Request& request) {
    if (request.bucket.empty()) {
        return std::nullopt;
    }
    if (request.key.size() > kMaxKey) {
        return error_response(request, 400, "KeyTooLongError", "Your key is too long");
    }
    const bool creates_bucket = request.method == "PUT" && request.key.empty() && is_plain(request);
    if (!creates_bucket && store_.find_bucket(request.bucket) == nullptr) {
        return no_such_bucket(request);
    }
    if (!request.key.empty() && request.has_argument("uploadId") &&
        store_.find_upload(std::string(request.argument("uploadId")), request.bucket,
                           request.key) == nullptr) {
        return no_such_upload(request);
    }
    return std::nullopt;
}

Response S3Service::handle(const Request& request, Body body) {
    // The bucket may have been deleted during the upload.
    if (auto refusal = refuse_early(request)) {
        return *std::move(refusal);
    }
    if (request.bucket.empty()) {
        return service_level(request);
    }
    return request.key.empty() ? bucket_level(request, std::move(body))
                               : object_level(request, std::move(body));
}

Response S3Service::service_level(const Request& request) {
    if (request.method != "GET") {
        return not_implemented(request);
    }
    std::string document =
        "<ListAllMyBucketsResult xmlns=\"" + std::string(kNamespace) +
        "\"><Owner><ID>demo</ID><DisplayName>demo</DisplayName></Owner><Buckets>";
    for (const auto& [name, bucket] : store_.buckets()) {
        document += "<Bucket>" + element("Name", name) +
                    element("CreationDate", iso_time(bucket.created)) + "</Bucket>";
    }
    return xml_response(document + "</Buckets></ListAllMyBucketsResult>");
}

Response S3Service::bucket_level(const Request& request, Body body) {
    Bucket* bucket = store_.find_bucket(request.bucket);
    if (request.method == "PUT" && is_plain(request)) {
        if (bucket != nullptr) {
            return error_response(request, 409, "BucketAlreadyOwnedByYou",
                                  "Your previous request to create the named bucket succeeded and "
                                  "you already own it.");
        }
        if (!is_valid_bucket_name(request.bucket)) {
            return error_response(request, 400, "InvalidBucketName",
                                  "The specified bucket is not valid.");
        }
        if (store_.buckets().size() >= kMaxBuckets) {
            return storage_full(request);
        }
        store_.buckets()[request.bucket].created = system_clock::now();
        Response response;
        response.headers.emplace_back("Location", "/" + request.bucket);
        return response;
    }
    if (request.method == "HEAD") {
        return {};
    }
    if (request.method == "DELETE" && is_plain(request)) {
        if (!bucket->objects.empty()) {
            return error_response(request, 409, "BucketNotEmpty",
                                  "The bucket you tried to delete is not empty");
        }
        store_.buckets().erase(request.bucket);
        return no_content();
    }
    if (request.method == "POST" && request.has_argument("delete")) {
        return delete_many(request, *bucket, body);
    }
    if (request.method == "GET" && request.has_argument("location")) {
        return xml_response("<LocationConstraint xmlns=\"" + std::string(kNamespace) +
                            "\"></LocationConstraint>");
    }
    static constexpr std::array<std::string_view, 9> kListArguments = {
        "list-type",   "prefix", "delimiter", "max-keys", "continuation-token",
        "start-after", "marker", "x-id",      "sessionid"};
    const auto is_listing = [](const auto& argument) {
        return argument.first == "encoding-type" || argument.first == "fetch-owner" ||
               std::find(kListArguments.begin(), kListArguments.end(), argument.first) !=
                   kListArguments.end();
    };
    if (request.method == "GET" &&
        std::all_of(request.query.begin(), request.query.end(), is_listing)) {
        return list(request, *bucket);
    }
    return not_implemented(request);
}

Response S3Service::list(const Request& request, const Bucket& bucket) {
    const bool is_v2 = request.argument("list-type") == "2";
    const bool is_encoded = request.argument("encoding-type") == "url";
    ListRequest wanted;
    wanted.prefix = request.argument("prefix");
    wanted.delimiter = request.argument("delimiter");
    const std::string_view token = request.argument("continuation-token");
    wanted.after =
        request.argument(is_v2 ? (token.empty() ? "start-after" : "continuation-token") : "marker");
    if (request.has_argument("max-keys")) {
        const auto limit = base::parse_decimal(request.argument("max-keys"));
        if (!limit) {
            return error_response(request, 400, "InvalidArgument",
                                  "Argument max-keys must be a number");
        }
        wanted.limit = static_cast<std::size_t>(std::min<std::uint64_t>(*limit, 1000));
    }
    const ListResult result = list_objects(bucket, wanted);
    const auto shown = [is_encoded](std::string_view text) {
        return is_encoded ? url_encode(text) : std::string(text);
    };
    std::string document = "<ListBucketResult xmlns=\"" + std::string(kNamespace) + "\">" +
                           element("Name", request.bucket) +
                           element("Prefix", shown(wanted.prefix)) +
                           element("MaxKeys", std::to_string(wanted.limit)) +
                           element("Delimiter", shown(wanted.delimiter)) +
                           element("IsTruncated", result.is_truncated ? "true" : "false");
    if (is_encoded) {
        document += element("EncodingType", "url");
    }
    if (is_v2) {
        document += element("KeyCount",
                            std::to_string(result.objects.size() + result.common_prefixes.size()));
        if (!token.empty()) {
            document += element("ContinuationToken", token);
        }
        if (result.is_truncated) {
            document += element("NextContinuationToken", result.last);
        }
    } else {
        document += element("Marker", shown(wanted.after));
        if (result.is_truncated) {
            document += element("NextMarker", shown(result.last));
        }
    }
    for (const auto& [key, object] : result.objects) {
        document += "<Contents>" + element("Key", shown(key)) +
                    element("LastModified", iso_time(object->modified)) +
                    element("ETag", in_quotes(object->etag)) +
                    element("Size", std::to_string(object->size)) +
                    element("StorageClass", "STANDARD") + "</Contents>";
    }
    for (const std::string& prefix : result.common_prefixes) {
        document += "<CommonPrefixes>" + element("Prefix", shown(prefix)) + "</CommonPrefixes>";
    }
    return xml_response(document + "</ListBucketResult>");
}

Response S3Service::delete_many(const Request& request, Bucket& bucket, const Body& body) {
    if (size_of(body.data) > kMaxDocument) {
        return error_response(request, 400, "MalformedXML", "The XML you provided was too long");
    }
    const std::string document = document_of(body);
    const bool is_quiet = document.find("<Quiet>true</Quiet>") != std::string::npos;
    std::string answer = "<DeleteResult xmlns=\"" + std::string(kNamespace) + "\">";
    for (const std::string_view escaped : elements_of(document, "Key")) {
        const std::string key = xml_unescape(escaped);
        bucket.objects.erase(key);
        if (!is_quiet) {
            answer += "<Deleted>" + element("Key", key) + "</Deleted>";
        }
    }
    return xml_response(answer + "</DeleteResult>");
}

Response S3Service::object_level(const Request& request, Body body) {
    Bucket& bucket = *store_.find_bucket(request.bucket);
    const std::string& method = request.method;
    if (method == "GET" || method == "HEAD") {
        return get_object(request);
    }
    if (method == "PUT") {
        if (request.has_argument("uploadId")) {
            return put_part(request, std::move(body));
        }
        return request.header("x-amz-copy-source").empty()
                   ? put_object(request, bucket, std::move(body))
                   : copy_object(request, bucket);
    }
    if (method == "DELETE") {
        if (request.has_argument("uploadId")) {
            store_.forget_upload(std::string(request.argument("uploadId")));
        } else {
            bucket.objects.erase(request.key);
        }
        return no_content();
    }
    if (method == "POST" && request.has_argument("uploads")) {
        return create_upload(request);
    }
    if (method == "POST" && request.has_argument("uploadId")) {
        return complete_upload(request, bucket, body);
    }
    return not_implemented(request);
}

Response S3Service::get_object(const Request& request) {
    const ObjectPointer object = store_.find_object(request.bucket, request.key);
    if (object == nullptr) {
        return error_response(request, 404, "NoSuchKey", "The specified key does not exist.");
    }
    const std::string_view if_match = request.header("If-Match");
    if (!if_match.empty() && !names_etag(if_match, object->etag)) {
        return error_response(request, 412, "PreconditionFailed",
                              "At least one of the pre-conditions you specified did not hold");
    }
    Response response;
    response.headers = object->headers;
    response.headers.emplace_back("ETag", in_quotes(object->etag));
    response.headers.emplace_back("Last-Modified", http_time(object->modified));
    const std::string_view if_none_match = request.header("If-None-Match");
    if (!if_none_match.empty() && names_etag(if_none_match, object->etag)) {
        response.status = 304;
        response.is_bodiless = true;
        return response;
    }
    Range range{0, object->size};
    switch (parse_range(request.header("Range"), object->size, range)) {
        case RangeKind::unsatisfiable: {
            Response refusal = error_response(request, 416, "InvalidRange",
                                              "The requested range is not satisfiable");
            refusal.headers.emplace_back("Content-Range",
                                         "bytes */" + std::to_string(object->size));
            return refusal;
        }
        case RangeKind::valid:
            response.status = 206;
            response.headers.emplace_back("Content-Range",
                                          "bytes " + std::to_string(range.first) + "-" +
                                              std::to_string(range.first + range.length - 1) + "/" +
                                              std::to_string(object->size));
            break;
        case RangeKind::none:
            break;
    }
    response.slice = Slice{object->data, range.first, range.length};
    return response;
}

Response S3Service::put_object(const Request& request, Bucket& bucket, Body body) {
    const ObjectPointer existing = store_.find_object(request.bucket, request.key);
    const std::string_view if_match = request.header("If-Match");
    const bool fails_match =
        !if_match.empty() && (existing == nullptr || !names_etag(if_match, existing->etag));
    if (fails_match || (request.header("If-None-Match") == "*" && existing != nullptr)) {
        return error_response(request, 412, "PreconditionFailed",
                              "At least one of the pre-conditions you specified did not hold");
    }
    const std::string etag = hex_of(body.md5);
    const std::uint64_t size = size_of(body.data);
    Object object{
        std::move(body.data),        size, etag, stored_headers(request), system_clock::now(),
        Reservation(store_.budget())};
    if (!store_.put_object(bucket, request.key, std::move(object))) {
        return storage_full(request);
    }
    Response response;
    response.headers.emplace_back("ETag", in_quotes(etag));
    return response;
}

Response S3Service::copy_object(const Request& request, Bucket& bucket) {
    std::string_view source = request.header("x-amz-copy-source");
    source = source.substr(0, source.find('?'));
    const Request from = parse_target(
        "GET", source.starts_with('/') ? std::string(source) : "/" + std::string(source));
    const ObjectPointer original = store_.find_object(from.bucket, from.key);
    if (original == nullptr) {
        return error_response(request, 404, "NoSuchKey", "The specified key does not exist.");
    }
    const bool replaces = base::iequals(request.header("x-amz-metadata-directive"), "REPLACE");
    const system_clock::time_point now = system_clock::now();
    Object copy{original->data,
                original->size,
                original->etag,
                replaces ? stored_headers(request) : original->headers,
                now,
                Reservation(store_.budget())};
    if (!store_.put_object(bucket, request.key, std::move(copy))) {
        return storage_full(request);
    }
    return xml_response("<CopyObjectResult xmlns=\"" + std::string(kNamespace) + "\">" +
                        element("LastModified", iso_time(now)) +
                        element("ETag", in_quotes(original->etag)) + "</CopyObjectResult>");
}

Response S3Service::create_upload(const Request& request) {
    const auto id = store_.create_upload(request.bucket, request.key, stored_headers(request));
    if (!id) {
        return storage_full(request);
    }
    return xml_response("<InitiateMultipartUploadResult xmlns=\"" + std::string(kNamespace) +
                        "\">" + element("Bucket", request.bucket) + element("Key", request.key) +
                        element("UploadId", *id) + "</InitiateMultipartUploadResult>");
}

Response S3Service::put_part(const Request& request, Body body) {
    const auto number = base::parse_decimal(request.argument("partNumber"));
    if (!number || *number < 1 || *number > 10000) {
        return error_response(request, 400, "InvalidArgument",
                              "Part number must be an integer between 1 and 10000, inclusive");
    }
    if (!request.header("x-amz-copy-source").empty()) {
        return not_implemented(request);
    }
    Upload& upload =
        *store_.find_upload(std::string(request.argument("uploadId")), request.bucket, request.key);
    Response response;
    response.headers.emplace_back("ETag", in_quotes(hex_of(body.md5)));
    upload.parts[static_cast<int>(*number)] = Part{std::move(body.data), std::move(body.md5)};
    return response;
}

Response S3Service::complete_upload(const Request& request, Bucket& bucket, const Body& body) {
    const std::string id(request.argument("uploadId"));
    Upload& upload = *store_.find_upload(id, request.bucket, request.key);
    if (size_of(body.data) > kMaxDocument) {
        return error_response(request, 400, "MalformedXML", "The XML you provided was too long");
    }
    const std::string document = document_of(body);
    Data data;
    std::string digests;
    std::uint64_t previous = 0;
    for (const std::string_view part : elements_of(document, "Part")) {
        const auto numbers = elements_of(part, "PartNumber");
        const auto etags = elements_of(part, "ETag");
        const auto number =
            numbers.size() == 1 ? base::parse_decimal(numbers.front()) : std::nullopt;
        if (!number || *number > 10000 || etags.size() != 1) {
            return error_response(request, 400, "MalformedXML",
                                  "The XML you provided was not well-formed");
        }
        if (*number <= previous) {
            return error_response(request, 400, "InvalidPartOrder",
                                  "The list of parts was not in ascending order.");
        }
        previous = *number;
        const auto found = upload.parts.find(static_cast<int>(*number));
        if (found == upload.parts.end() ||
            xml_unescape(etags.front()).find(hex_of(found->second.md5)) == std::string::npos) {
            return error_response(request, 400, "InvalidPart",
                                  "One or more of the specified parts could not be found.");
        }
        digests += found->second.md5;
        data.insert(data.end(), found->second.data.begin(), found->second.data.end());
    }
    if (digests.empty()) {
        return error_response(request, 400, "MalformedXML", "You must specify at least one part");
    }
    const std::string etag = hex_of(md5_of(digests)) + "-" + std::to_string(digests.size() / 16);
    const std::uint64_t size = size_of(data);
    Object object{std::move(data),
                  size,
                  etag,
                  upload.headers,
                  system_clock::now(),
                  Reservation(store_.budget())};
    if (!store_.put_object(bucket, request.key, std::move(object))) {
        return storage_full(request);
    }
    store_.forget_upload(id);
    return xml_response("<CompleteMultipartUploadResult xmlns=\"" + std::string(kNamespace) +
                        "\">" +
                        element("Location", "/" + request.bucket + "/" + url_encode(request.key)) +
                        element("Bucket", request.bucket) + element("Key", request.key) +
                        element("ETag", in_quotes(etag)) + "</CompleteMultipartUploadResult>");
}

}  // namespace s3gate::demo
