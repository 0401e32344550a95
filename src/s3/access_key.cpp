#include "s3gate/s3/access_key.hpp"

#include <algorithm>

#include "s3gate/base/text.hpp"

namespace s3gate::s3 {
namespace {

// A raw argument with the longest id, every byte of it escaped, and a scope.
constexpr std::size_t kLongestArgument = 1024;

bool is_date(std::string_view text) {
    return text.size() == 8 &&
           std::ranges::all_of(text, [](char digit) { return digit >= '0' && digit <= '9'; });
}

// Takes the text behind the last '/' away and returns it; empty if there is no '/'.
std::string_view take_last(std::string_view& text) {
    const std::size_t slash = text.rfind('/');
    if (slash == std::string_view::npos) {
        return {};
    }
    const std::string_view last = text.substr(slash + 1);
    text = text.substr(0, slash);
    return last;
}

// The id of ID/DATE/REGION/SERVICE/aws4_request, or of the same without a region (signature version
// 4A). Read from the end, because an id may contain '/'.
std::string_view id_of_scope(std::string_view text) {
    if (take_last(text) != "aws4_request") {
        return {};
    }
    take_last(text);
    const std::string_view region_or_date = take_last(text);
    return is_date(region_or_date) || is_date(take_last(text)) ? text : std::string_view();
}

// "AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…", or "AWS ID:SIGNATURE".
std::string_view id_of_header(std::string_view value) {
    if (value.starts_with("AWS ")) {
        const std::string_view pair = base::trim_ows(value.substr(4));
        const std::size_t colon = pair.find(':');
        return colon == std::string_view::npos ? std::string_view() : pair.substr(0, colon);
    }
    constexpr std::string_view kName = "Credential=";
    const std::size_t at = value.starts_with("AWS4-") ? value.find(kName) : std::string_view::npos;
    if (at == std::string_view::npos) {
        return {};
    }
    const std::string_view scope = value.substr(at + kName.size());
    return id_of_scope(scope.substr(0, scope.find_first_of(", \t")));
}

std::string_view decoded(std::string_view raw, std::string& memory) {
    memory.clear();
    if (raw.size() <= kLongestArgument) {
        base::append_percent_decoded(memory, raw);
    }
    return memory;
}

}  // namespace

std::string_view access_key_of(const Credential& credential, std::string& memory) {
    std::string_view id = id_of_header(credential.header);
    if (id.empty() && !credential.presigned.empty()) {
        id = id_of_scope(decoded(credential.presigned, memory));
    }
    if (id.empty() && !credential.version2.empty()) {
        id = decoded(credential.version2, memory);
    }
    return id.substr(0, kMostOfAccessKey);
}

}  // namespace s3gate::s3
