// The keys of a site file, and those of a server in it.
#include <algorithm>
#include <array>
#include <chrono>

#include "row.hpp"
#include "site_reader.hpp"

namespace s3gate::config {

namespace {

using std::chrono::minutes;

// Limit on a server's requests in progress; off for none.
constexpr NumberRule kMaxConnections{1, 1'000'000, "off"};
constexpr DurationRule kUpToADay{Duration{1}, hours{24}};
constexpr DurationRule kSessionTtl{seconds{1}, hours{24}};
constexpr DurationRule kUpToAWeek{Duration{1}, hours{24 * 7}};

Texts print_key_sources(const std::vector<KeySource>& sources) {
    Texts out;
    std::ranges::transform(sources, std::back_inserter(out.items), print_key_source);
    return out;
}

Texts print_statuses(const std::vector<StatusRange>& ranges) {
    Texts out;
    for (const auto& [first, last] : ranges) {
        out.items.push_back(std::to_string(first) +
                            (last == first ? "" : "-" + std::to_string(last)));
    }
    return out;
}

Word print_own_fails(const std::optional<unsigned>& fails) {
    return {fails ? std::to_string(*fails) : "passive.max_fails"};
}

bool has_own_fails(const Server& server) {
    return server.max_fails.has_value();
}

Texts print_reasons(const RetryOn& on) {
    Texts out;
    for (const auto& [word, member] : kRetryReasons) {
        if (on.*member) {
            out.items.emplace_back(word);
        }
    }
    return out;
}

Texts print_names(const std::vector<std::string>& names) {
    return {names};
}

Word print_rate_alone(const RequestRate& rate) {
    RequestRate alone = rate;
    alone.burst = alone.requests;
    return {print_rate(alone)};
}

Printed print_session_header(const std::string& name) {
    return name.empty() ? Printed(Word{"off"}) : Printed(Text{name});
}

Fields print_fields(const std::vector<std::pair<std::string, std::string>>& fields) {
    return {fields};
}

bool uses_keys(const Site& site) {
    return site.balance.method == BalanceMethod::ketama;
}

bool may_queue(const Site& site) {
    return std::ranges::any_of(site.backends.servers,
                               [](const Server& server) { return server.max_connections > 0; });
}

bool is_http(const Site& site) {
    return site.type == SiteType::http;
}

const auto kServerRows = std::to_array<Row<Server>>({
    {"site.backends.servers[].address", custom<&Server::text>("`host:port`", nullptr, print_text),
     "ranges work here too; the other keys then hold for all of them", "required in a mapping"},
    {"site.backends.servers[].weight", number<&Server::weight>({1, 1000}), "share of the requests"},
    {"site.backends.servers[].backup", boolean<&Server::backup>(),
     "used when no other server is; not with `ketama`, and never all of them"},
    {"site.backends.servers[].down", boolean<&Server::down>(),
     "never used, but keeps its place on the ring"},
    {"site.backends.servers[].drained", boolean<&Server::drained>(), "gets no new requests"},
    {"site.backends.servers[].max_connections", number<&Server::max_connections>(kMaxConnections),
     "the same for this server only; where the entry is a range, for each server of it",
     "`backends.max_connections`"},
    {"site.backends.servers[].max_fails",
     custom<&Server::max_fails>("0…255", read_max_fails, print_own_fails),
     "the same as `passive.max_fails` for this server only; 0: it is never marked",
     "`passive.max_fails`", has_own_fails},
    {"site.backends.servers[].health_port", number<&Server::health_port>({0, 65535}),
     "the same as `health.port` for this server only", "`health.port`"},
});

const auto kSiteRows = std::to_array<Row<Site>>({
    {"site.name", custom<&Site::name>("1…128 letters, digits, `. _ : -`", read_name, print_text),
     "the site's name in logs and metrics; two enabled sites never share one", "required"},
    {"site.enabled", boolean<&Site::enabled>(),
     "`false`: the file is read and checked, but not served"},
    {"site.type", choice<&Site::type>({{"s3", SiteType::s3}, {"http", SiteType::http}}),
     "`http` is for the console and other plain sites: `health` is off unless written, "
     "`headers.set` is allowed"},
    {"site.listen", custom<&Site::listen>("list of addresses", read_site_listen, print_listen),
     "where the site listens; an item may also be a mapping", "required"},
    {"site.listen[].address",
     {.range = "an address"},
     "the same in a mapping: `{address: \"0.0.0.0:9000\"}`",
     "required in a mapping"},
    {"site.listen[].accept_proxy",
     {.range = "list of address blocks"},
     "peers that begin each connection with a header of the PROXY protocol (version 1 or 2), which "
     "names the client: required from these peers, within 5s, and refused from all others. A block "
     "of all addresses is a warning: any client could call itself what it likes",
     "`[]`"},

    {"site.hosts", custom<&Site::hosts>("list of hosts", read_hosts, print_names),
     "hosts that the site takes where sites share an address: a name, an address, or `*.NAME` for "
     "all names below it. A name beats `*.NAME`, a longer `*.NAME` a shorter one. See "
     "[Sites by host](#sites-by-host)",
     "`[]`"},

    {"site.domains", custom<&Site::domains>("list of host names", read_domains, print_names),
     "a request for the host `BUCKET.DOMAIN` is for that bucket (virtual-host style), and its "
     "whole "
     "path is the key: in the log, in the retry table, and for the status page, which hides no "
     "object "
     "of such a bucket. Letters of any case; the longest domain decides. Nothing is rewritten: the "
     "servers need the same domain (`MINIO_DOMAIN`, `rgw_dns_name`). The domain and `*.DOMAIN` are "
     "hosts of the site, too. Without `type: s3`: a warning",
     "`[]`"},

    {"site.balance", section_of<Site>("mapping", read_balance), "which server gets a request"},
    {"site.balance.method",
     choice<&Site::balance, &Balance::method>({{"ketama", BalanceMethod::ketama},
                                               {"least_conn", BalanceMethod::least_conn},
                                               {"round_robin", BalanceMethod::round_robin}}),
     "`ketama`: the consistent ring of nginx's `hash … consistent`. `least_conn`: fewest requests "
     "in progress for their weight. `round_robin`: in turn, by weight"},
    {"site.balance.key",
     custom<&Site::balance, &Balance::key>(
         "list of `sessionid`, `uploadid`, `fingerprint`, `cookie:NAME`, `header:NAME`",
         read_key_sources, print_key_sources),
     "what ties a client to a server: the first source with a value decides. `ketama` needs at "
     "least one; without `ketama`: a warning",
     {},
     uses_keys},
    {"site.balance.salt",
     secret(text<&Site::balance, &Balance::salt>("a text", "text")),
     "part of the fingerprint. All proxies of a site need the same; empty while the ring uses "
     "fingerprints is a warning, and so is any without `ketama`",
     {},
     uses_keys},

    {"site.balance.session_ttl",
     duration<&Site::balance, &Balance::session_ttl>(kSessionTtl),
     "how long a session counts as present at a server after its last request, at least: "
     "`s3gate ctl drain --sessions` leaves it there until then. Without `ketama`: a warning",
     {},
     uses_keys},

    {"site.backends", section_of<Site>("mapping", read_backends), "the servers of the site",
     "required"},
    {"site.backends.name",
     text<&Site::backends, &Backends::name>("a name", "as `name`", check_name),
     "the group's name on the status page; no two groups share one", "the site's `name`"},
    {"site.backends.servers", mappings<Site>("list of `host:port` or mappings, at most 1024"),
     "a server without a port is reached at 80. The ring hashes the text exactly as it stands here "
     "after variables and ranges: `h` and `h:80` are one server (a warning) with different places. "
     "The same text twice is a problem, and so is a site's own listener (a loop); another site's "
     "is a warning",
     "required"},
    {"site.backends.keepalive",
     number<&Site::backends, &Backends::keepalive>({0, 65536, "off", OnWord::means_default}),
     "idle connections kept per server and event loop; all together at most a quarter of the open "
     "files. Above 1024: a warning"},
    {"site.backends.idle_timeout",
     duration<&Site::backends, &Backends::idle_timeout>({Duration{1}, hours{1}}),
     "how long one is kept; from 30s on a warning on S3 sites, because MinIO closes first"},
    {"site.backends.send_proxy",
     choice<&Site::backends, &Backends::send_proxy>(
         {{"off", SendProxy::off}, {"v2", SendProxy::v2}}),
     "`v2`: each connection to a server begins with a header of the PROXY protocol, version 2, "
     "that names the client and the address that it connected to. It is kept for requests of this "
     "client alone. Checks send the command LOCAL, unless they go to another port"},
    {"site.backends.max_connections",
     number<&Site::backends, &Backends::max_connections>(kMaxConnections),
     "requests (and WebSockets) in progress at one server at a time, over all event loops and all "
     "of its addresses. A server that has so many is passed over like an unusable one; if every "
     "usable server has, a request waits"},
    {"site.backends.queue",
     number<&Site::backends, &Backends::queue>({1, 100'000, "off", OnWord::means_default}),
     "requests of the site that wait for room at a server at once, over all event loops. Further "
     "ones get 503 `SlowDown` at once; `off`: nobody waits. Without any `max_connections`: a "
     "warning",
     {},
     may_queue},
    {"site.backends.queue_timeout",
     duration<&Site::backends, &Backends::queue_timeout>({Duration{1}, minutes{5}}),
     "how long one waits before it gets 503 `SlowDown`",
     {},
     may_queue},

    {"site.backends.slow_start",
     duration<&Site::backends, &Backends::slow_start>({Duration{0}, hours{1}}),
     "how long the share of a server grows that comes back: by its checks, or by `ctl undrain`, "
     "`ctl up` or the end of its maintenance; 0 is off. With `ketama` it is for requests without a "
     "key only, and a warning where each has one: keys would move twice"},

    {"site.health",
     switched_section<&Site::health, &Health::enabled>("`off`, `on`, mapping", read_health),
     "active checks; `on` or `{}` is on with every default", "on for `type: s3`, off for `http`"},
    {"site.health.type",
     choice<&Site::health, &Health::type>({{"http", HealthType::http}, {"tcp", HealthType::tcp}}),
     "`tcp`: a server that accepts a connection passes; it is asked nothing"},
    {"site.health.path",
     text<&Site::health, &Health::path>("a path", "begins with `/`", check_health_path),
     "the target that a check asks for; a query is allowed"},
    {"site.health.method",
     choice<&Site::health, &Health::method>(
         {{"GET", "GET"}, {"HEAD", "HEAD"}, {"OPTIONS", "OPTIONS"}}),
     "the method of a check"},
    {"site.health.host",
     text<&Site::health, &Health::host>("a host", "name or address", check_health_host),
     "the Host field of a check"},
    {"site.health.port", number<&Site::health, &Health::port>({0, 65535}),
     "the port to check; 0 is the server's own. The console says 9000: the API of the same node"},
    {"site.health.interval", duration<&Site::health, &Health::interval>({Duration{10}, hours{1}}),
     "between two checks of a server"},
    {"site.health.timeout", duration<&Site::health, &Health::timeout>({Duration{10}, minutes{5}}),
     "for the whole check. Above `health.interval`: a warning"},
    {"site.health.fall", number<&Site::health, &Health::fall>({1, 100}),
     "failures in a row that take a server down"},
    {"site.health.rise", number<&Site::health, &Health::rise>({1, 100}),
     "passes in a row that bring it back"},
    {"site.health.expect_status",
     custom<&Site::health, &Health::expect_status>("list of 100…599", nullptr, print_statuses),
     "statuses that pass; also ranges, as `[200-399]`"},
    {"site.health.reject_headers",
     custom<&Site::health, &Health::reject_headers>("mapping of names to patterns with `*`",
                                                    nullptr, print_fields),
     "an answer with such a header fails whatever its status; `{}` for servers that are not MinIO"},
    {"site.health.concurrency", number<&Site::health, &Health::concurrency>({1, 1024}),
     "checks under way at once"},

    {"site.passive",
     switched_section<&Site::passive, &Passive::enabled>("`off`, mapping", read_passive),
     "marks from live traffic: failed connects, connections broken before an answer"},
    {"site.passive.max_fails",
     unless(is_zero_fails, number<&Site::passive, &Passive::max_fails>({1, 255})),
     "failures within `passive.fail_timeout` that set a mark"},
    {"site.passive.fail_timeout", duration<&Site::passive, &Passive::fail_timeout>(kUpToADay),
     "how long they count, and how long the mark stays until one trial request"},

    {"site.resolve",
     switched_section<&Site::resolve, &Resolve::enabled>("`off`, `on`, mapping", read_resolve),
     "look-ups of servers' names while the daemon runs; `off`: at the start and at a reload "
     "only. A name that is not known yet is looked up every 10s, or every `resolve.interval` if "
     "that is less, until it is ([operations.md](operations.md), \"Names\")"},
    {"site.resolve.interval",
     duration<&Site::resolve, &Resolve::interval>({Duration{100}, hours{24}}),
     "between two look-ups of a name. Of several sites with the same name the least counts, for "
     "this key and the next one"},
    {"site.resolve.timeout",
     duration<&Site::resolve, &Resolve::timeout>({Duration{100}, minutes{5}}),
     "how long the resolver may take; longer is a failure, and a late answer is used all the same"},

    {"site.retry", section_of<Site>("mapping", read_retry), "attempts on a further server"},
    {"site.retry.on",
     custom<&Site::retry, &Retry::on>("list of these", read_retry_on, print_reasons),
     "what leads to one, where it is safe; `[]` or `off` for never. nginx's `http_500`, "
     "`http_502`, `http_503` and `http_504` mean the same"},
    {"site.retry.max_tries", number<&Site::retry, &Retry::max_tries>({1, 100}),
     "attempts with something sent; those that a server refused because it is not ready do not "
     "count ([reliability.md](reliability.md), \"Retries in detail\")"},
    {"site.retry.max_time", duration<&Site::retry, &Retry::max_time>({Duration{1}, hours{1}}),
     "no new attempt after this"},
    {"site.retry.replay_buffer", size<&Site::retry, &Retry::replay_buffer>({0, kMiB}),
     "how much of a body is kept for another attempt"},
    {"site.retry.unanswered_writes", boolean<&Site::retry, &Retry::unanswered_writes>(),
     "a PutObject or DeleteObject (unconditional, no copy, body kept whole) that was "
     "sent and not answered goes once more, to another server, as nginx does "
     "([docs/migration.md](migration.md), \"Retries and timeouts\"); `type: s3` only"},

    {"site.timeouts", section<&Site::timeouts>("a mapping such as {connect: 2s}"),
     "each bounds a time without progress"},
    {"site.timeouts.connect", duration<&Site::timeouts, &Timeouts::connect>(kUpToADay),
     "connecting to a server"},
    {"site.timeouts.client_head", duration<&Site::timeouts, &Timeouts::client_head>(kUpToADay),
     "a request's head, from its first byte"},
    {"site.timeouts.client_idle", duration<&Site::timeouts, &Timeouts::client_idle>(kUpToADay),
     "a kept connection between two requests"},
    {"site.timeouts.client_body", duration<&Site::timeouts, &Timeouts::client_body>(kUpToADay),
     "waiting for more of a request's body"},
    {"site.timeouts.client_write", duration<&Site::timeouts, &Timeouts::client_write>(kUpToADay),
     "waiting for the client to take more"},
    {"site.timeouts.backend_head", duration<&Site::timeouts, &Timeouts::backend_head>(kUpToADay),
     "waiting for a response's head; MinIO is silent while it completes large uploads"},
    {"site.timeouts.backend_body", duration<&Site::timeouts, &Timeouts::backend_body>(kUpToADay),
     "waiting for more of a response's body"},
    {"site.timeouts.backend_stream",
     duration<&Site::timeouts, &Timeouts::backend_stream>(kUpToAWeek),
     "instead of `backend_head` and `backend_body` for answers that wait by nature: bucket "
     "notifications (`?events=`), `mc admin trace`, `logs`, `speedtest` and their like, MinIO's "
     "long reports (heal, profile, health), and any `text/event-stream`"},
    {"site.timeouts.tunnel_idle", duration<&Site::timeouts, &Timeouts::tunnel_idle>(kUpToAWeek),
     "a WebSocket with nothing to say (`upgrade: true`)"},

    {"site.limits", section<&Site::limits>("a mapping such as {head: 128KiB}"),
     "bounds of this site"},
    // Below 4 KiB ordinary signed requests would be refused. Go's servers, MinIO among them, accept
    // at most 1 MiB.
    {"site.limits.head", size<&Site::limits, &SiteLimits::head>({4 * kKiB, kMiB}),
     "a request's head"},
    // The whole head must fit into one buffer (net::kBufferSize).
    {"site.limits.response_head",
     size<&Site::limits, &SiteLimits::response_head>({4 * kKiB, 256 * kKiB}), "a response's head"},
    {"site.limits.connections",
     number<&Site::limits, &SiteLimits::connections>({1, 10'000'000, "off"}),
     "client connections of this site. They do not keep out a proxy of `forwarded.trusted` under "
     "`append`"},
    {"site.limits.per_client",
     number<&Site::limits, &SiteLimits::per_client>({1, 1'000'000, "off"}),
     "of them, connections of one source address, over all event loops. An IPv6 network of 64 bits "
     "is one address. A proxy of `forwarded.trusted` under `append` may have any number. Not below "
     "`limits.connections`: a warning"},
    {"site.limits.requests_per_client",
     switched_section<&Site::limits, &SiteLimits::requests_per_client, &RequestRate::requests>(
         "`off`, a rate, mapping", read_requests_per_client),
     "requests of one client address, over all its connections and event loops. A rate alone has a "
     "burst of its own number: `100/s` is `{rate: 100/s, burst: 100}`"},
    {"site.limits.requests_per_client.rate",
     custom<&Site::limits, &SiteLimits::requests_per_client>("a rate", read_rate, print_rate_alone),
     "how many in the long run", "required in a mapping"},
    {"site.limits.requests_per_client.burst",
     number<&Site::limits, &SiteLimits::requests_per_client, &RequestRate::burst>({1, 1'000'000}),
     "how many at once after a pause", "the number of the rate"},

    {"site.forwarded", section<&Site::forwarded>("a mapping such as {mode: set}"),
     "who the client is, and `X-Real-IP`, `X-Forwarded-For`, `X-Forwarded-Proto`: [behind another "
     "proxy](behind-a-proxy.md)"},
    {"site.forwarded.mode",
     choice<&Site::forwarded, &Forwarded::mode>(
         {{"set", ForwardedMode::set}, {"append", ForwardedMode::append}}),
     "`set`: who connects is the client, and the fields are replaced. `append`: a trusted proxy "
     "names the client in `X-Forwarded-For`, and its fields are kept"},
    {"site.forwarded.trusted",
     custom<&Site::forwarded, &Forwarded::trusted>("list of address blocks", read_trusted,
                                                   print_blocks),
     "proxies that `append` trusts, and nobody else. With `set`: a warning"},

    {"site.headers",
     section_of<Site>("mapping", read_headers),
     "`type: http` only, `check` refuses it on S3 sites: a client may have signed any field "
     "(`X-Amz-*`, `Content-*`, `Date`, `Range`, …), so S3 requests go out as they came",
     {},
     is_http},
    {"site.headers.set",
     custom<&Site::headers_set>("mapping of names to one-line texts of at most 1024 bytes",
                                read_header_fields, print_fields),
     "fields added to every request, in place of those of the same name that the client sent: "
     "`{X-NginX-Proxy: \"true\"}`. Not those that frame, route or forward a message: `Host`, "
     "`Connection`, `Content-Length`, `Transfer-Encoding`, `TE`, `Trailer`, `Upgrade`, "
     "`Keep-Alive`, `Expect`, `Forwarded`, `X-Real-IP`, `X-Forwarded-*`, `Proxy-*`, "
     "`Sec-WebSocket-*`, `HTTP2-Settings`"},

    {"site.upgrade", boolean<&Site::upgrade>(), "relay WebSockets and other upgrades"},
    {"site.expect_empty_body",
     choice<&Site::expect_empty_body>(
         {{"synth100", EmptyExpect::synth100}, {"close", EmptyExpect::close}}),
     "a request with `Expect: 100-continue` and an empty body, for which the server sends no 100: "
     "`synth100` sends one before the answer, `close` closes the connection after it"},
    {"site.client_half_close",
     choice<&Site::client_half_close>({{"cut", HalfClose::cut}, {"serve", HalfClose::serve}}),
     "how a client counts that closes its sending side (FIN) while it waits for its answer: `cut`: "
     "it is gone; `serve`: it still reads"},

    {"site.status",
     switched_section<&Site::status, &StatusPage::enabled>("`off`, `on`, mapping",
                                                           read_status_page),
     "the servers' health as a page of this site; `on` or `{}` is on with the defaults. Hides "
     "objects of a bucket with the path's first name, but not of a bucket in the host (`domains`)"},
    {"site.status.path",
     text<&Site::status, &StatusPage::path>("a path", "begins with `/`, plain characters",
                                            check_status_path),
     "a prefix; never `/` alone. Without the slash at its end it redirects `GET` and `HEAD` from "
     "`status.allow` to the page. A path without `/` at its end, or below `/minio/` on an S3 site: "
     "a warning"},
    {"site.status.allow",
     custom<&Site::status, &StatusPage::allow>("list of address blocks", read_status_allow,
                                               print_blocks),
     "clients that may see it; others get 403. An overlap with `forwarded.trusted`: a warning"},
    {"site.session_header",
     custom<&Site::session_header>("`off`, a header name", read_session_header,
                                   print_session_header),
     "the response field that shows the key (of a cookie or a header: its CRC-32). `on` means "
     "`X-Session-ID`. Not a field with a meaning of its own. Without `ketama` there is no key: a "
     "warning"},
    {"site.when_all_down",
     choice<&Site::when_all_down>({{"try", AllDown::try_anyway}, {"refuse", AllDown::refuse}}),
     "when no server is usable: try those that are neither `down` nor `drained` all the same, or "
     "answer 503"},
});

}  // namespace

template <>
std::span<const Row<Site>> rows() {
    return kSiteRows;
}

template <>
std::span<const Row<Server>> rows() {
    return kServerRows;
}

}  // namespace s3gate::config
