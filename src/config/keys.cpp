#include "s3gate/config/keys.hpp"

#include <array>

namespace s3gate::config {

namespace {

constexpr auto kKnown = std::to_array<std::string_view>({
    "main.workers",
    "main.cpu_affinity",
    "main.include",
    "main.log",
    "main.log.level",
    "main.log.target",
    "main.access_log",
    "main.access_log.target",
    "main.admin",
    "main.admin.listen",
    "main.admin.allow",
    "main.admin.socket",
    "main.limits",
    "main.limits.connections",
    "main.limits.pipes",
    "main.limits.replay_memory",
    "main.shutdown_timeout",
    "main.upgrade_timeout",
    "main.user",
    "main.sites",
    "site.name",
    "site.enabled",
    "site.type",
    "site.listen",
    "site.listen[].address",
    "site.balance",
    "site.balance.method",
    "site.balance.key",
    "site.balance.salt",
    "site.backends",
    "site.backends.name",
    "site.backends.servers",
    "site.backends.servers[].address",
    "site.backends.servers[].weight",
    "site.backends.servers[].backup",
    "site.backends.servers[].down",
    "site.backends.servers[].drained",
    "site.backends.servers[].max_connections",
    "site.backends.keepalive",
    "site.backends.idle_timeout",
    "site.backends.max_connections",
    "site.backends.queue",
    "site.backends.queue_timeout",
    "site.health",
    "site.health.path",
    "site.health.method",
    "site.health.host",
    "site.health.port",
    "site.health.interval",
    "site.health.timeout",
    "site.health.fall",
    "site.health.rise",
    "site.health.expect_status",
    "site.health.reject_headers",
    "site.health.concurrency",
    "site.passive",
    "site.passive.max_fails",
    "site.passive.fail_timeout",
    "site.retry",
    "site.retry.on",
    "site.retry.max_tries",
    "site.retry.max_time",
    "site.retry.replay_buffer",
    "site.timeouts",
    "site.timeouts.connect",
    "site.timeouts.client_head",
    "site.timeouts.client_idle",
    "site.timeouts.client_body",
    "site.timeouts.client_write",
    "site.timeouts.backend_head",
    "site.timeouts.backend_body",
    "site.timeouts.tunnel_idle",
    "site.limits",
    "site.limits.head",
    "site.limits.response_head",
    "site.limits.connections",
    "site.limits.per_client",
    "site.limits.requests_per_client",
    "site.limits.requests_per_client.rate",
    "site.limits.requests_per_client.burst",
    "site.forwarded",
    "site.forwarded.mode",
    "site.forwarded.trusted",
    "site.headers",
    "site.headers.set",
    "site.upgrade",
    "site.expect_empty_body",
    "site.status",
    "site.status.path",
    "site.status.allow",
    "site.session_header",
    "site.when_all_down",
});

constexpr auto kLater = std::to_array<std::string_view>({
    "main.tls",
    "main.ktls",
    "main.resolve",
    "site.tls",
    "site.ktls",
    "site.resolve",
    "site.listen[].tls",
    "site.listen[].accept_proxy",
    "site.balance.bound",
    "site.backends.tls",
    "site.backends.slow_start",
});

}  // namespace

std::span<const std::string_view> known_keys() {
    return kKnown;
}

std::span<const std::string_view> later_keys() {
    return kLater;
}

}  // namespace s3gate::config
