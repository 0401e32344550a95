// The parts of a request's target, in both styles of S3: the bucket is the first segment of the
// path, or it is in the host (virtual-host style). Views into the request; pure, any thread.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace s3gate::s3 {

struct Path {
    std::string_view
        path;  // with its leading '/'; empty for a target without a path ("*", invalid ones)
    std::string_view query;  // without '?'
    std::string_view
        bucket;  // raw, not decoded; empty for the service itself and for MinIO's own paths
    std::string_view key;  // the part after the bucket's '/'
};

// `host_bucket`: bucket_of_host(); where it is not empty, all of the path behind its first '/' is
// the key. MinIO's own paths stay its own at every host.
Path path_of(std::string_view target, std::string_view host_bucket = {});

// The bucket in BUCKET.DOMAIN, for the longest of the domains that fits; empty if none does. A
// bucket may have dots. `host` is a valid Host field (RFC 9110 section 7.2): it may have a port, a
// dot at its end and letters of any case. `domains` are as base::canonical_host_name() makes them.
std::string_view bucket_of_host(std::string_view host, std::span<const std::string> domains);

}  // namespace s3gate::s3
