#include "minio_paths.hpp"

#include <array>

namespace s3gate::s3 {
namespace {

bool is_at_or_below(std::string_view path, std::string_view directory) {
    return path.starts_with(directory) &&
           (path.size() == directory.size() || path[directory.size()] == '/');
}

}  // namespace

std::string_view operation_of_minio_path(std::string_view path) {
    struct Row {
        std::string_view path;
        std::string_view operation;
    };
    // A longer path precedes its parent.
    static constexpr std::array kRows = std::to_array<Row>({
        {"/minio/health/ready", "HealthReady"},
        {"/minio/health/live", "HealthLive"},
        {"/minio/health/cluster/read", "HealthClusterRead"},
        {"/minio/health/cluster", "HealthCluster"},
        {"/minio/admin", "Admin"},
        {"/minio/kms", "Kms"},
        {"/minio/v2/metrics", "Metrics"},
        {"/minio/metrics", "Metrics"},
        {"/minio/prometheus/metrics", "Metrics"},
        {"/minio/grid", "Internode"},
        {"/minio/storage", "Internode"},
        {"/minio/peer", "Internode"},
        {"/minio/lock", "Internode"},
        {"/minio/bootstrap", "Internode"},
    });
    for (const Row& row : kRows) {
        if (is_at_or_below(path, row.path)) {
            return row.operation;
        }
    }
    return {};
}

}  // namespace s3gate::s3
