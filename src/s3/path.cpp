#include "s3gate/s3/path.hpp"

#include "minio_paths.hpp"

namespace s3gate::s3 {

Path path_of(std::string_view target) {
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
    const std::size_t slash = rest.find('/');
    if (parts.path.starts_with("/minio/") && !operation_of_minio_path(parts.path).empty()) {
        return parts;
    }
    parts.bucket = rest.substr(0, slash);
    parts.key = slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1);
    return parts;
}

}  // namespace s3gate::s3
