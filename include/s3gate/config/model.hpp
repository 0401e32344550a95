// The configuration as plain values with their defaults. The row of a key
// (src/config/main_rows.cpp, site_rows.cpp) says how it is read, printed and described; validate()
// has the rules between keys. Built once at start or reload, immutable afterwards, read by any
// thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "s3gate/base/address.hpp"
#include "s3gate/base/clock.hpp"

namespace s3gate::config {

using base::Duration;
using std::chrono::hours;
using std::chrono::seconds;

inline constexpr std::uint64_t kKiB = 1024;
inline constexpr std::uint64_t kMiB = 1024 * kKiB;

// Place of a value: file as given or found by include, 1-based line (0 = unknown).
struct Location {
    std::string file;
    int line = 0;
};

// A problem (or a warning) of a configuration, printed as `file:line: key.path: message`.
struct Problem {
    Location where;
    std::string key;
    std::string message;

    std::string to_string() const;
};

enum class SiteType { s3, http };
enum class BalanceMethod { ketama, least_conn, round_robin };
enum class ForwardedMode { set, append };
enum class EmptyExpect { synth100, close };
enum class AllDown { try_anyway, refuse };
enum class HalfClose { cut, serve };
enum class SendProxy { off, v2 };
enum class HealthType { http, tcp };
enum class LogLevel { debug, info, warn, error };

// 127.0.0.0/8 and ::1/128: default for pages that only the operator may see.
std::vector<base::Cidr> loopback_blocks();

// Source of the key that ties requests to a backend. `name` is set for cookie and header only.
struct KeySource {
    enum class Kind { sessionid, uploadid, fingerprint, cookie, header };
    Kind kind = Kind::sessionid;
    std::string name;
    bool operator==(const KeySource&) const = default;
};
// "sessionid", "uploadid", "fingerprint", "cookie:NAME", "header:NAME": the configuration's words,
// also for logs and `s3gate route`.
std::string print_key_source(const KeySource& source);

struct Listen {
    base::SocketAddress address;
    std::string text;  // as written
    // Peers that name a connection's source by a PROXY protocol header. Of a site only.
    std::vector<base::Cidr> accept_proxy = {};
    Location where = {};
};

struct Server {
    std::string text;  // as configured, after ${ENV} and {1...n}; the ring hashes exactly this text
    std::string host;  // without brackets
    std::uint16_t port = 80;
    unsigned weight = 1;  // 1…1000
    bool backup = false;
    bool down = false;
    bool drained = false;
    unsigned max_connections = 0;            // requests in progress over all workers; 0 = off
    std::optional<unsigned> max_fails = {};  // instead of Passive::max_fails; 0 = never marked
    std::uint16_t health_port = 0;           // instead of Health::port; 0 = that
    Location where;
};

struct Balance {
    BalanceMethod method = BalanceMethod::ketama;
    std::vector<KeySource> key = {{KeySource::Kind::sessionid, {}},
                                  {KeySource::Kind::uploadid, {}},
                                  {KeySource::Kind::fingerprint, {}}};
    std::string salt;
    Duration session_ttl = std::chrono::minutes{10};  // how long a session lives without a request
    Location where = {};  // the line of the key; 0 when it was not written
};

struct Backends {
    std::string name;  // default: the site's name
    std::vector<Server> servers;
    unsigned keepalive = 32;  // idle connections per backend per worker
    Duration idle_timeout = seconds{20};
    SendProxy send_proxy = SendProxy::off;
    unsigned max_connections = 0;  // default of each server; 0 = off
    unsigned queue = 1024;         // limit on waiting requests of the group
    Duration queue_timeout = seconds{1};
    Duration slow_start{0};  // until a server that came back has its whole share; 0 = off
    // True if a configured server has a problem and is missing in `servers`; rules that count
    // servers are skipped then.
    bool is_partial = false;
    Location where = {};  // the line of the key; 0 when it was not written
};

// Statuses from `first` to `last`, both included.
struct StatusRange {
    int first = 200;
    int last = 200;
    bool operator==(const StatusRange&) const = default;
};

struct Health {
    bool enabled = true;
    HealthType type = HealthType::http;
    std::string path = "/minio/health/ready";
    std::string method = "GET";
    std::string host = "minio";
    std::uint16_t port = 0;  // 0 = the server's own
    Duration interval = seconds{3};
    Duration timeout = seconds{1};
    unsigned fall = 3;
    unsigned rise = 3;
    std::vector<StatusRange> expect_status = {{200, 200}};
    // Name and glob of the value; a match fails the check.
    std::vector<std::pair<std::string, std::string>> reject_headers = {
        {"x-minio-server-status", "*offline*"}};
    unsigned concurrency = 64;
    Location where = {};  // the line of the key; 0 when it was not written
};

struct Passive {
    bool enabled = true;
    unsigned max_fails = 3;
    Duration fail_timeout = seconds{30};
};

// How often the names of a site's servers are looked up.
struct Resolve {
    bool enabled = true;  // false: at the start and at a reload only
    Duration interval = seconds{30};
    Duration timeout = seconds{5};
};

struct RetryOn {
    bool error = true;
    bool timeout = true;
    bool http_500 = true;
    bool http_502 = true;
    bool http_503 = true;
    bool http_504 = true;
};

struct Retry {
    RetryOn on;
    unsigned max_tries = 3;
    Duration max_time = seconds{30};
    std::uint64_t replay_buffer = 64 * kKiB;
    // Sends an unanswered PutObject or DeleteObject once more (type s3).
    bool unanswered_writes = false;
};

struct Timeouts {
    Duration connect = seconds{2};
    Duration client_head = seconds{30};
    Duration client_idle = seconds{120};
    Duration client_body = seconds{60};
    Duration client_write = seconds{60};
    Duration backend_head = seconds{300};
    Duration backend_body = seconds{300};
    Duration backend_stream = hours{1};  // replaces both for answers that wait for events
    Duration tunnel_idle = hours{1};
};

// Limit on requests per period; `burst` of them may come at once.
struct RequestRate {
    std::uint64_t requests = 0;  // 0 = off
    Duration period = seconds{1};
    std::uint64_t burst = 0;  // at least 1 where requests is not 0
    bool operator==(const RequestRate&) const = default;
};

struct SiteLimits {
    std::uint64_t head = 128 * kKiB;
    std::uint64_t response_head = 128 * kKiB;
    std::uint64_t connections = 0;  // 0 = off
    std::uint64_t per_client = 0;   // connections of one client address; 0 = off
    RequestRate requests_per_client;
    Location where = {};  // the line of the key; 0 when it was not written
};

struct Forwarded {
    ForwardedMode mode = ForwardedMode::set;
    std::vector<base::Cidr> trusted;
    Location where = {};  // the line of the key; 0 when it was not written
};

struct StatusPage {
    bool enabled = false;
    std::string path = "/upstream/health/";
    std::vector<base::Cidr> allow = loopback_blocks();
    Location where = {};  // the line of the key; 0 when it was not written
};

struct Site {
    std::string name;
    bool enabled = true;
    SiteType type = SiteType::s3;
    std::vector<Listen> listen;
    // Patterns of hosts that the site takes where sites share an address. As
    // base::canonical_host_pattern() makes them.
    std::vector<std::string> hosts;
    Location hosts_where = {};  // the line of the key; 0 when it was not written
    // BUCKET.DOMAIN is the host of a bucket. As base::canonical_host_name() makes them.
    std::vector<std::string> domains;
    Balance balance;
    Backends backends;
    Health health;  // enabled = false for type http unless written
    Passive passive;
    Resolve resolve;
    Retry retry;
    Timeouts timeouts;
    SiteLimits limits;
    Forwarded forwarded;
    std::vector<std::pair<std::string, std::string>>
        headers_set;  // type http only: fields added to every request
    bool upgrade = false;
    EmptyExpect expect_empty_body = EmptyExpect::synth100;
    HalfClose client_half_close = HalfClose::cut;
    StatusPage status;
    std::string session_header;  // empty = off
    AllDown when_all_down = AllDown::try_anyway;
    Location where;
    std::string path = {};  // prefix of the keys in problems: "sites[2]" in the main file, empty in
                            // a file of its own
};

struct Log {
    LogLevel level = LogLevel::info;
    bool alarms = true;             // servers that are out of line are named
    std::string target = "stderr";  // or an absolute path
    Location where = {};            // the line of the key; 0 when it was not written
};

struct AccessLog {
    std::string target = "off";  // off | stdout | absolute path
    bool access_key = false;     // the line has the id of the key that signed the request
    Location where = {};         // the line of the key; 0 when it was not written
};

struct Admin {
    bool enabled = false;
    std::vector<Listen> listen;
    std::vector<base::Cidr> allow = loopback_blocks();
    std::string socket = "auto";         // auto | off | absolute path
    std::vector<std::string> operators;  // names of users, or their numbers
    Location where = {};                 // the line of the key; 0 when it was not written
};

struct Metrics {
    std::uint64_t buckets = 0;  // that are counted apart; 0 = off
    Location where = {};        // the line of the key; 0 when it was not written
};

struct Limits {
    std::uint64_t connections = 0;  // 0 = auto: what RLIMIT_NOFILE allows
    std::uint64_t pipes = 0;        // 0 = auto: what pipe-user-pages-soft allows
    std::uint64_t replay_memory = 64 * kMiB;
    Location where = {};  // the line of the key; 0 when it was not written
};

struct Config {
    std::string file;
    unsigned workers = 0;  // 0 = auto: min(CPU affinity, cgroup quota)
    bool cpu_affinity = false;
    Log log;
    AccessLog access_log;
    Admin admin;
    Metrics metrics;
    Limits limits;
    Duration reload_grace{0};    // 0 = no limit
    Duration shutdown_delay{0};  // before the drain
    Duration shutdown_timeout = seconds{30};
    Duration upgrade_timeout = hours{1};
    std::string user;
    Location user_where = {};  // the line of the key; 0 when it was not written
    std::vector<Site>
        sites;  // enabled sites only, in the order of the configuration (include files bytewise)
};

}  // namespace s3gate::config
