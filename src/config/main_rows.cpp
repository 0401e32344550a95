// The keys of the main file.
#include <array>

#include "main_reader.hpp"
#include "row.hpp"
#include "s3gate/config/log_level.hpp"

namespace s3gate::config {

namespace {

bool never(const Config&) {
    return false;
}

const auto kRows = std::to_array<Row<Config>>({
    {"main.workers", for_a_start(number<&Config::workers>({1, 1024, "auto"})),
     "event loops. `auto`: as many as the CPU affinity and the cgroup's quota allow"},
    {"main.cpu_affinity",
     for_a_start(choice<&Config::cpu_affinity>({{"off", false}, {"auto", true}})),
     "`auto` (or `on`) binds each event loop to a processor of its own"},
    {"main.include",
     {.range = "list",
      .print = [](const Config&) { return Texts{{std::string(kDefaultInclude)}}; }},
     "site files: names or patterns with `*`, `?`, `[…]`, relative to this file. "
     "Only the main file includes",
     {},
     never},

    {"main.log", section<&Config::log>("a mapping such as {level: info}"),
     "messages of the daemon about itself"},
    {"main.log.level",
     unless(is_above_error, choice<&Config::log, &Log::level>(
                                {kLogLevels.begin(), kLogLevels.end()},
                                {kLogLevelSynonyms.begin(), kLogLevelSynonyms.end()})),
     "the least important message that is written. Words of syslog and nginx are taken: `warning` "
     "is `warn`, `err` is `error`, `notice` is `info`"},
    {"main.log.target",
     custom<&Config::log, &Log::target>("`stderr`, a path", read_log_target, print_text),
     "where the messages go"},
    {"main.log.alarms", boolean<&Config::log, &Log::alarms>(),
     "names servers whose answers, or whose failures, are out of line with their group's"},

    {"main.access_log", section_of<Config>("`off`, mapping", read_access_log),
     "one JSON object for every request"},
    {"main.access_log.target",
     custom<&Config::access_log, &AccessLog::target>("`off`, `stdout`, a path",
                                                     read_access_log_target, print_text),
     "where the lines go; the packaged main file says `/var/log/s3gate/access.log`"},

    {"main.access_log.access_key", boolean<&Config::access_log, &AccessLog::access_key>(),
     "the field `access_key`: id of the key that signed the request, in clear. Signatures are "
     "never "
     "written"},

    {"main.admin", switched_section<&Config::admin, &Admin::enabled>("`off`, mapping", read_admin),
     "status, metrics and commands. `off` is a mapping without keys: `admin.socket` has its "
     "default"},
    {"main.admin.listen",
     custom<&Config::admin, &Admin::listen>("list of addresses", read_admin_listen, print_listen),
     "HTTP for load balancers, read-only: `/healthz`, `/status`. Example `[\"127.0.0.1:9180\"]`. "
     "A request whose `Host` or `Origin` is another site's gets 403",
     "none", never},
    {"main.admin.allow",
     custom<&Config::admin, &Admin::allow>("list of address blocks", read_admin_allow,
                                           print_blocks),
     "who may connect to `admin.listen`"},
    {"main.admin.socket",
     custom<&Config::admin, &Admin::socket>("`auto`, `off`, a path of at most 107 bytes",
                                            read_admin_socket, print_text),
     "unix socket of `s3gate ctl`: status and commands. `auto`: `$RUNTIME_DIRECTORY/ctl.sock` "
     "where systemd sets that variable, as the packaged unit lets it "
     "(`/run/s3gate/ctl.sock`), else none"},
    {"main.admin.operators",
     custom<&Config::admin, &Admin::operators>(
         "list of users", read_admin_operators,
         [](const std::vector<std::string>& users) { return Texts{users}; }),
     "whose commands are taken, beside those of root and of the daemon's own user: names or "
     "numbers of users. They need the right to connect, too: the socket is its owner's and its "
     "group's (0660)"},

    {"main.metrics", section<&Config::metrics>("a mapping such as {buckets: 100}"),
     "what `/metrics` of `admin.listen` has beside its figures of servers and sites"},
    {"main.metrics.buckets",
     for_a_start(number<&Config::metrics, &Metrics::buckets>({0, 1000, "off"})),
     "requests and bytes of so many buckets, the first ones with a good answer; those of all "
     "others "
     "are counted together"},

    {"main.limits", section<&Config::limits>("a mapping such as {replay_memory: 64MiB}"),
     "bounds of the whole process"},
    {"main.limits.connections",
     number<&Config::limits, &Limits::connections>({1, 10'000'000, "auto"}),
     "client connections. `auto`: what the limit of open files carries"},
    {"main.limits.pipes", number<&Config::limits, &Limits::pipes>({1, 1'000'000, "auto"}),
     "pipes for moving bodies without copying. `auto`: what the kernel's `pipe-user-pages-soft` "
     "carries"},
    {"main.limits.replay_memory",
     size<&Config::limits, &Limits::replay_memory>({0, 64 * kKiB* kMiB}),
     "memory for all `retry.replay_buffer` together; 0: no body is ever kept for a second attempt"},

    {"main.reload_grace", duration<&Config::reload_grace>({Duration{0}, hours{24 * 7}}),
     "how long exchanges and tunnels of an earlier configuration may go on after a reload; 0: "
     "until they end. Those of the oldest are cut where more than 128 earlier configurations are "
     "in use in a worker"},
    {"main.shutdown_delay", duration<&Config::shutdown_delay>({Duration{0}, hours{1}}),
     "how long everything is served on after SIGTERM, each answer the last one of its connection, "
     "before listeners close: the time that a virtual IP needs to leave"},
    {"main.shutdown_timeout", duration<&Config::shutdown_timeout>({Duration{0}, hours{24}}),
     "how long open exchanges may go on after SIGTERM; 0 cuts them at once"},
    {"main.upgrade_timeout", duration<&Config::upgrade_timeout>({seconds{1}, hours{24 * 7}}),
     "how long an old process serves on after an upgrade, before it cuts what is left"},
    {"main.user", for_a_start(custom<&Config::user>("a user name", read_user, print_text)),
     "when started as root: the user to become after binding"},
    {"main.sites", mappings<Config>("list of sites"),
     "sites written right here, for small setups; each item has the keys of a site file. Not "
     "together with `include`",
     "–"},
});

}  // namespace

template <>
std::span<const Row<Config>> rows() {
    return kRows;
}

}  // namespace s3gate::config
