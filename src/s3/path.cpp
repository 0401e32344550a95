#include "s3gate/s3/path.hpp"

#include "minio_paths.hpp"
#include "s3gate/base/host_name.hpp"
#include "s3gate/base/text.hpp"

namespace s3gate::s3 {
Path path_of(std::string_view target, std::string_view host_bucket) {
    // RFC 9112 section 3.2.2: absolute-form carries scheme and authority before the path.
    if (!target.starts_with('/')) {
        const std::size_t scheme = target.find("://");
        if (scheme == std::string_view::npos || scheme > target.find_first_of("/?")) {
            return {};
        }
        const std::size_t path = target.find_first_of("/?", scheme + 3);
        if (path == std::string_view::npos || target[path] == '?') {
            return {};
        }
        target.remove_prefix(path);
    }
    Path parts;
    const std::size_t question = target.find('?');
    parts.path = target.substr(0, question);
    parts.query =
        question == std::string_view::npos ? std::string_view() : target.substr(question + 1);
    const std::string_view rest = parts.path.substr(1);
    if (parts.path.starts_with("/minio/") && !operation_of_minio_path(parts.path).empty()) {
        return parts;
    }
    if (!host_bucket.empty()) {
        parts.bucket = host_bucket;
        parts.key = rest;
        return parts;
    }
    const std::size_t slash = rest.find('/');
    parts.bucket = rest.substr(0, slash);
    parts.key = slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1);
    return parts;
}

std::string_view bucket_of_host(std::string_view host, std::span<const std::string> domains) {
    std::string_view bucket;
    if (domains.empty()) {
        return bucket;
    }
    const std::string_view name = base::host_name_of(host);
    for (const std::string& domain : domains) {
        if (name.size() < domain.size() + 2 || name[name.size() - domain.size() - 1] != '.' ||
            !base::is_lower_case_of(domain, name.substr(name.size() - domain.size()))) {
            continue;
        }
        const std::string_view before = name.substr(0, name.size() - domain.size() - 1);
        if (bucket.empty() || before.size() < bucket.size()) {
            bucket = before;
        }
    }
    return bucket;
}

}  // namespace s3gate::s3
