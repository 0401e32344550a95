#include "site_reader.hpp"

#include <algorithm>
#include <array>

#include "s3gate/base/text.hpp"

namespace s3gate::config {

namespace {

constexpr std::uint64_t kMaxPort = 65535;

template <class T, class V>
void assign(T& out, const std::optional<V>& value) {
    if (value) {
        out = static_cast<T>(*value);
    }
}

bool all_digits(std::string_view text) {
    return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

// Why `text` cannot be listened on, told for the mistakes people make.
std::string explain_listen(std::string_view text) {
    const std::string_view bare = text.starts_with('*') ? text.substr(1) : text;
    const std::string_view port = bare.starts_with(':') ? bare.substr(1) : bare;
    if (all_digits(port)) {
        const std::string p(port);
        return in_quotes(text) + " lacks the address; for all of them write \"0.0.0.0:" + p +
               "\" and \"[::]:" + p + "\"";
    }
    if (base::IpAddress::parse(text)) {
        // "::1:9000" is an address too, so what was meant to be the port cannot be told.
        return text.find(':') == std::string_view::npos
                   ? in_quotes(text) + " lacks the port; write \"" + std::string(text) + ":9000\""
                   : in_quotes(text) +
                         " needs brackets round the address and a port behind them, as "
                         "\"[::1]:9000\"";
    }
    const std::size_t colon = text.rfind(':');
    if (colon != std::string_view::npos && colon > 0 && text.find(':') == colon &&
        base::parse_host_port(text) &&
        text.find_first_not_of("0123456789.:") != std::string_view::npos) {
        return in_quotes(text) +
               " is a name; listening takes a numeric address, as \"0.0.0.0:9000\"";
    }
    return in_quotes(text) +
           " is not an address with a port; write \"0.0.0.0:9000\" or \"[::]:9000\"";
}

std::optional<Listen> parse_listen(const std::string& text, const Item& item, Report& report) {
    const auto address = base::SocketAddress::parse(text);
    if (!address) {
        report.problem(item.node.line, item.path, explain_listen(text));
        return std::nullopt;
    }
    if (address->port() == 0) {
        report.warning(item.node.line, item.path,
                       "port 0: the kernel chooses a port at each start");
    }
    return Listen{*address, text, report.at(item.node.line)};
}

std::optional<KeySource> parse_key_source(std::string_view text) {
    using Kind = KeySource::Kind;
    if (text == "sessionid") {
        return KeySource{Kind::sessionid, {}};
    }
    if (text == "uploadid") {
        return KeySource{Kind::uploadid, {}};
    }
    if (text == "fingerprint") {
        return KeySource{Kind::fingerprint, {}};
    }
    for (const auto& [prefix, kind] : {std::pair{std::string_view("cookie:"), Kind::cookie},
                                       std::pair{std::string_view("header:"), Kind::header}}) {
        if (text.starts_with(prefix) && is_token(text.substr(prefix.size()))) {
            return KeySource{kind, std::string(text.substr(prefix.size()))};
        }
    }
    return std::nullopt;
}

void read_key_sources(const Section& balance, Balance& out) {
    const auto items = balance.list("key", "a list such as [sessionid, uploadid, fingerprint]");
    if (!items) {
        return;
    }
    out.key.clear();
    for (const Item& item : *items) {
        const auto text = item_text(item, "the name of a key source", balance.report());
        if (!text) {
            continue;
        }
        auto source = parse_key_source(*text);
        if (!source) {
            balance.report().problem(
                item.node.line, item.path,
                in_quotes(*text) +
                    " is no key source; one of sessionid, uploadid, fingerprint, "
                    "cookie:NAME or header:NAME");
        } else if (std::ranges::find(out.key, *source) != out.key.end()) {
            balance.report().problem(item.node.line, item.path, *text + " is listed a second time");
        } else {
            // A fingerprint always yields a key, so what stands behind it never has its turn.
            if (!out.key.empty() && out.key.back().kind == KeySource::Kind::fingerprint) {
                balance.report().warning(item.node.line, item.path,
                                         *text + " stands behind fingerprint and is never reached");
            }
            out.key.push_back(std::move(*source));
        }
    }
}

constexpr std::string_view kNoKeys = "has no effect: only balance.method ketama uses keys";

Balance read_balance(const Section& site) {
    Balance out;
    const auto balance = site.mapping("balance", "a mapping such as {method: ketama}");
    if (!balance) {
        return out;
    }
    out.where = site.report().at(site.line_of("balance"));
    assign(out.method,
           balance->choice<BalanceMethod>("method", {{"ketama", BalanceMethod::ketama},
                                                     {"least_conn", BalanceMethod::least_conn},
                                                     {"round_robin", BalanceMethod::round_robin}}));
    read_key_sources(*balance, out);
    const Node* const list = balance->find("key");
    if (list != nullptr && list->kind == Node::Kind::list && list->items.empty() &&
        out.method == BalanceMethod::ketama) {
        balance->problem(
            "key", "ketama needs at least one key source; without any use method: round_robin");
    }
    assign(out.salt, balance->text("salt", "a text"));
    if (out.method != BalanceMethod::ketama) {
        for (const std::string_view key : {"key", "salt"}) {
            if (balance->has(key)) {
                balance->warning(key, std::string(kNoKeys));
            }
        }
    }
    return out;
}

// As the WHATWG URL standard: a host whose last label is a number is an IPv4 address or a mistake,
// never a name.
bool is_broken_ipv4(std::string_view host) {
    const std::size_t dot = host.rfind('.');
    const std::string_view last = dot == std::string_view::npos ? host : host.substr(dot + 1);
    return all_digits(last) && !base::IpAddress::parse(host);
}

bool has_bad_label(std::string_view host) {
    if (host.find(':') != std::string_view::npos) {
        return false;  // an IPv6 address, already parsed
    }
    if (host.ends_with('.')) {
        host.remove_suffix(1);  // fully qualified
    }
    while (true) {
        const std::size_t dot = host.find('.');
        const std::string_view label = host.substr(0, dot);
        // RFC 1035 §2.3.4: labels of 1 to 63 octets.
        if (label.empty() || label.size() > 63 || label.starts_with('-') || label.ends_with('-')) {
            return true;
        }
        if (dot == std::string_view::npos) {
            return false;
        }
        host.remove_prefix(dot + 1);
    }
}

std::optional<base::HostPort> parse_server_address(const std::string& text, std::string& error) {
    if (text.find("://") != std::string::npos) {
        error = in_quotes(text) + " is a URL; write host and port only, as node1:9000";
        return std::nullopt;
    }
    if (text.starts_with("unix:")) {
        error = in_quotes(text) + " is a unix socket; servers are host:port";
        return std::nullopt;
    }
    auto address = base::parse_host_port(text);
    if (!address || has_bad_label(address->host)) {
        error = in_quotes(text) +
                " is not host:port; write node1:9000, 10.0.0.1:9000 or \"[2001:db8::1]:9000\"";
        return std::nullopt;
    }
    if (is_broken_ipv4(address->host)) {
        error = in_quotes(text) + " is neither an IPv4 address nor a name";
        return std::nullopt;
    }
    return address;
}

// Adds every server one entry stands for; false when the entry has a problem.
bool add_servers(const Item& at, const std::string& text, const Server& common, Report& report,
                 std::vector<Server>& out) {
    auto texts = expand_ranges(text);
    if (!texts.value) {
        report.problem(at.node.line, at.path, std::move(texts.error));
        return false;
    }
    for (const std::string& one : *texts.value) {
        std::string error;
        const auto address = parse_server_address(one, error);
        if (!address) {
            // One range, one mistake: the next server of it would only repeat the message.
            report.problem(at.node.line, at.path, std::move(error));
            return false;
        }
        Server server = common;
        server.text = one;
        server.host = address->host;
        server.port = address->port.value_or(server.port);
        server.where = report.at(at.node.line);
        out.push_back(std::move(server));
    }
    return true;
}

// What a server may have in progress: a number, or off for none.
constexpr NumberRule kMaxConnections{1, 1'000'000, "off"};

bool add_server_mapping(const Item& item, const Server& defaults, Report& report,
                        std::vector<Server>& out) {
    const std::size_t problems = report.result().problems.size();
    const Section section(item.node, item.path, "site.backends.servers[]", report);
    Server common = defaults;
    assign(common.weight, section.number("weight", {1, 1000}));
    assign(common.backup, section.boolean("backup"));
    assign(common.down, section.boolean("down"));
    assign(common.drained, section.boolean("drained"));
    assign(common.max_connections, section.number("max_connections", kMaxConnections));
    if (!section.has("address")) {
        report.problem(section.line(), section.path_of("address"),
                       "is missing; a server needs host:port");
        return false;
    }
    const auto text = section.text("address", "host:port");
    if (!text) {
        return false;
    }
    const Item at{*section.find("address"), section.path_of("address")};
    return add_servers(at, *text, common, report, out) &&
           report.result().problems.size() == problems;
}

ServerList read_servers(const Section& backends, const Server& defaults, std::vector<Server>& out) {
    Report& report = backends.report();
    const auto items = backends.list("servers", "a list of host:port");
    if (!items) {
        return ServerList::partial;
    }
    const Node& list = *backends.find("servers");
    if (list.items.empty()) {
        backends.problem("servers", "is empty; a site needs at least one server");
        return ServerList::partial;
    }
    bool complete = items->size() == list.items.size();
    for (const Item& item : *items) {
        if (item.node.kind == Node::Kind::mapping) {
            complete = add_server_mapping(item, defaults, report, out) && complete;
        } else if (const auto text = item_text(item, "host:port or {address: …}", report)) {
            complete = add_servers(item, *text, defaults, report, out) && complete;
        } else {
            complete = false;
        }
    }
    if (out.size() > kMaxExpansion) {
        backends.problem("servers", "has " + std::to_string(out.size()) + " servers; at most " +
                                        std::to_string(kMaxExpansion));
        return ServerList::partial;
    }
    return complete ? ServerList::complete : ServerList::partial;
}

void check_name(const Section& section, std::string_view key, const std::string& name) {
    if (!is_plain_name(name)) {
        section.problem(key,
                        in_quotes(name) + " is not a name; 1 to 128 letters, digits and . _ : -");
    }
}

ServerList read_backends(const Section& site, Backends& out) {
    out.where = site.report().at(site.line_of("backends"));
    if (!site.has("backends")) {
        site.report().problem(site.line(), site.path_of("backends.servers"),
                              "is missing; a site needs the servers it stands for");
        return ServerList::partial;
    }
    const auto backends = site.mapping("backends", "a mapping with servers");
    if (!backends) {
        return ServerList::partial;
    }
    if (const auto name = backends->text("name", "a name")) {
        check_name(*backends, "name", *name);
        out.name = *name;
    }
    assign(out.keepalive, backends->number("keepalive", {0, 65536, "off", OnWord::means_default}));
    assign(out.idle_timeout, backends->duration("idle_timeout", {Duration{1}, hours{1}}));
    assign(out.max_connections, backends->number("max_connections", kMaxConnections));
    assign(out.queue, backends->number("queue", {1, 100'000, "off", OnWord::means_default}));
    assign(out.queue_timeout,
           backends->duration("queue_timeout", {Duration{1}, std::chrono::minutes{5}}));
    if (!backends->has("servers")) {
        backends->report().problem(backends->line(), backends->path_of("servers"),
                                   "is missing; a site needs the servers it stands for");
        return ServerList::partial;
    }
    Server defaults;
    defaults.max_connections = out.max_connections;
    const ServerList servers = read_servers(*backends, defaults, out.servers);
    if (servers == ServerList::complete &&
        std::ranges::none_of(out.servers, [](const Server& s) { return s.max_connections > 0; })) {
        for (const std::string_view key : {"queue", "queue_timeout"}) {
            if (backends->has(key)) {
                backends->warning(key, "has no effect: no server has max_connections");
            }
        }
    }
    return servers;
}

void read_expected_status(const Section& health, Health& out) {
    const auto items = health.list("expect_status", "a list such as [200]");
    if (!items) {
        return;
    }
    out.expect_status.clear();
    for (const Item& item : *items) {
        const auto text = item_text(item, "a status", health.report());
        if (!text) {
            continue;
        }
        const auto status = base::parse_decimal(*text);
        if (!status || *status < 100 || *status > 599) {
            health.report().problem(item.node.line, item.path,
                                    in_quotes(*text) + " is not a status from 100 to 599");
            continue;
        }
        out.expect_status.push_back(static_cast<int>(*status));
    }
    if (health.find("expect_status")->items.empty()) {
        health.problem("expect_status", "is empty; no check could ever pass");
    }
}

void read_rejected_headers(const Section& health, Health& out) {
    const auto fields = health.fields("reject_headers");
    if (!fields) {
        return;
    }
    out.reject_headers.clear();
    for (const auto& [item, name] : *fields) {
        if (item.node.text.empty()) {
            health.report().problem(item.node.line, item.path,
                                    "matches nothing; write \"*\" for any value");
            continue;
        }
        out.reject_headers.emplace_back(name, item.node.text);
    }
}

// What a Host field may hold; no port of its own is needed.
bool is_host_text(const std::string& text) {
    return base::parse_host_port(text).has_value();
}

void read_health(const Section& site, Health& out) {
    if (!site.has("health")) {
        return;
    }
    out.where = site.report().at(site.line_of("health"));
    if (site.is_off("health")) {
        out.enabled = false;
        return;
    }
    out.enabled = true;
    const auto health = site.mapping_or_on("health", "off, or a mapping such as {interval: 3s}");
    if (!health) {
        return;
    }
    if (const auto path = health->text("path", "a path")) {
        // The query is part of what a check may ask for; the rest as in any request target.
        if (!is_url_path(path->substr(0, path->find('?'))) ||
            !is_url_path("/" + path->substr(std::min(path->size(), path->find('?') + 1)))) {
            health->problem(
                "path", in_quotes(*path) + " is not a path; it begins with / and holds no spaces");
        }
        out.path = *path;
    }
    if (const auto method = health->choice<std::string>(
            "method", {{"GET", "GET"}, {"HEAD", "HEAD"}, {"OPTIONS", "OPTIONS"}})) {
        out.method = *method;
    }
    if (const auto host = health->text("host", "a host")) {
        if (!is_host_text(*host)) {
            health->problem(
                "host",
                in_quotes(*host) + " cannot stand in a Host field; write a name or an address");
        }
        out.host = *host;
    }
    assign(out.port, health->number("port", {0, kMaxPort}));
    assign(out.interval, health->duration("interval", {Duration{10}, hours{1}}));
    assign(out.timeout, health->duration("timeout", {Duration{10}, std::chrono::minutes{5}}));
    assign(out.fall, health->number("fall", {1, 100}));
    assign(out.rise, health->number("rise", {1, 100}));
    assign(out.concurrency, health->number("concurrency", {1, 1024}));
    read_expected_status(*health, out);
    read_rejected_headers(*health, out);
}

void read_passive(const Section& site, Passive& out) {
    if (site.is_off("passive")) {
        out.enabled = false;
        return;
    }
    if (const auto passive = site.mapping_or_on("passive", "off, or a mapping such as {max_fails: 3}")) {
        const Node* const fails = passive->find("max_fails");
        if (fails != nullptr && fails->kind == Node::Kind::text && fails->text == "0") {
            passive->problem("max_fails",
                             "0 would never count; to switch this off write passive: off");
        } else {
            assign(out.max_fails, passive->number("max_fails", {1, 255}));
        }
        assign(out.fail_timeout, passive->duration("fail_timeout", {Duration{1}, hours{24}}));
    }
}

// What other proxies call a reason to retry, and what to write here.
std::string explain_reason(std::string_view word) {
    constexpr auto kElsewhere = std::to_array<std::pair<std::string_view, std::string_view>>({
        {"invalid_header", "a malformed answer is part of error"},
        {"non_idempotent", "write retry: {unanswered_writes: true} for it"},
        {"updating", "s3gate has no cache"},
        {"off", "for never write on: []"},
        {"conn-failure", "write error"},
        {"empty-response", "write error"},
        {"junk-response", "write error"},
        {"response-timeout", "write timeout"},
        {"connect-failure", "write error"},
        {"reset", "write error"},
        {"5xx", "write 500, 502, 503, 504"},
        {"gateway-error", "write 502, 503, 504"},
        {"all-retryable-errors", "leave retry.on out: all of them are the default"},
        {"429", "it asks the client to slow down, and the client gets it"},
    });
    std::string_view bare = word;
    if (bare.starts_with("http_")) {
        bare.remove_prefix(5);
    }
    const auto found =
        std::ranges::find(kElsewhere, bare, [](const auto& row) { return row.first; });
    if (found != kElsewhere.end()) {
        return std::string(found->second);
    }
    if (bare.size() == 3 && bare.front() == '4' && all_digits(bare)) {
        return "it is meant for the client, and the client gets it";
    }
    return "one of error, timeout, 500, 502, 503 or 504";
}

void read_retry_on(const Section& retry, RetryOn& out) {
    if (retry.is_on("on")) {
        return;
    }
    if (retry.is_off("on")) {
        out = {false, false, false, false, false, false};
        return;
    }
    const auto items = retry.list("on", "a list such as [error, timeout, 503]");
    if (!items) {
        return;
    }
    out = {false, false, false, false, false, false};
    const std::array<std::pair<std::string_view, bool*>, 10> words = {
        {{"error", &out.error},
         {"timeout", &out.timeout},
         {"500", &out.http_500},
         {"502", &out.http_502},
         {"503", &out.http_503},
         {"504", &out.http_504},
         {"http_500", &out.http_500},  // nginx's proxy_next_upstream
         {"http_502", &out.http_502},
         {"http_503", &out.http_503},
         {"http_504", &out.http_504}}};
    for (const Item& item : *items) {
        const auto text = item_text(item, "a reason", retry.report());
        if (!text) {
            continue;
        }
        const auto found = std::ranges::find(words, std::string_view(*text),
                                             [](const auto& word) { return word.first; });
        if (found == words.end()) {
            retry.report().problem(item.node.line, item.path,
                                   in_quotes(*text) + " is no reason to retry; " +
                                       explain_reason(*text));
            continue;
        }
        *found->second = true;
    }
}

void read_retry(const Section& site, Retry& out) {
    if (site.is_off("retry")) {
        site.problem("retry", "cannot be off as a whole; write retry: {on: []}");
        return;
    }
    const auto retry = site.mapping_or_on("retry", "a mapping such as {max_tries: 3}");
    if (!retry) {
        return;
    }
    read_retry_on(*retry, out.on);
    assign(out.max_tries, retry->number("max_tries", {1, 100}));
    assign(out.max_time, retry->duration("max_time", {Duration{1}, hours{1}}));
    assign(out.replay_buffer, retry->size("replay_buffer", {0, kMiB}));
    assign(out.unanswered_writes, retry->boolean("unanswered_writes"));
}

void read_timeouts(const Section& site, Timeouts& out) {
    const auto timeouts = site.mapping("timeouts", "a mapping such as {connect: 2s}");
    if (!timeouts) {
        return;
    }
    for (const auto& [key, value] : {std::pair{"connect", &out.connect},
                                     {"client_head", &out.client_head},
                                     {"client_idle", &out.client_idle},
                                     {"client_body", &out.client_body},
                                     {"client_write", &out.client_write},
                                     {"backend_head", &out.backend_head},
                                     {"backend_body", &out.backend_body}}) {
        assign(*value, timeouts->duration(key, {Duration{1}, hours{24}}));
    }
    for (const auto& [key, value] :
         {std::pair{"backend_stream", &out.backend_stream}, {"tunnel_idle", &out.tunnel_idle}}) {
        assign(*value, timeouts->duration(key, {Duration{1}, hours{24 * 7}}));
    }
}

void read_request_rate(const Section& limits, RequestRate& out) {
    constexpr std::string_view kKey = "requests_per_client";
    const Node* const value = limits.find(kKey);
    if (value == nullptr || limits.is_off(kKey)) {
        return;
    }
    if (limits.is_on(kKey)) {
        limits.problem(kKey, "on does not say how many; write a rate such as 100/s");
        return;
    }
    const auto rate = value->kind == Node::Kind::mapping
                          ? limits.mapping(kKey, "off, a rate such as 100/s, or a mapping")
                          : std::nullopt;
    if (rate && !rate->has("rate")) {
        rate->report().problem(rate->line(), rate->path_of("rate"),
                               "is missing; write a rate such as 100/s");
    }
    const Section& section = rate ? *rate : limits;
    const std::string_view key = rate ? "rate" : kKey;
    if (const auto text = section.text(key, "a rate such as 100/s")) {
        auto parsed = parse_rate(*text);
        if (parsed.value) {
            out = *parsed.value;
        } else {
            section.problem(key, std::move(parsed.error));
        }
    }
    const auto burst = rate ? rate->number("burst", {1, 1'000'000}) : std::nullopt;
    if (out.requests > 0) {
        assign(out.burst, burst);
    }
}

void read_limits(const Section& site, SiteLimits& out) {
    const auto limits = site.mapping("limits", "a mapping such as {head: 128KiB}");
    if (!limits) {
        return;
    }
    // 4 KiB: below, ordinary signed requests would be refused. 1 MiB: what Go's servers, MinIO
    // among them, take at most.
    assign(out.head, limits->size("head", {4 * kKiB, kMiB}));
    // The whole head has to fit into the one buffer that a response passes through
    // (net::kBufferSize).
    assign(out.response_head, limits->size("response_head", {4 * kKiB, 256 * kKiB}));
    assign(out.connections, limits->number("connections", {1, 10'000'000, "off"}));
    assign(out.per_client, limits->number("per_client", {1, 1'000'000, "off"}));
    read_request_rate(*limits, out.requests_per_client);
    out.where = site.report().at(site.line_of("limits"));
}

void read_forwarded(const Section& site, Forwarded& out) {
    const auto forwarded = site.mapping("forwarded", "a mapping such as {mode: set}");
    if (!forwarded) {
        return;
    }
    out.where = site.report().at(site.line_of("forwarded"));
    assign(out.mode, forwarded->choice<ForwardedMode>(
                         "mode", {{"set", ForwardedMode::set}, {"append", ForwardedMode::append}}));
    out.trusted = read_blocks(*forwarded, "trusted");
}

void read_headers(const Section& site, SiteType type, Site& out) {
    if (type == SiteType::s3 && site.has("headers")) {
        site.problem("headers",
                     "is for type: http only; a client may have signed any field of an S3 request, "
                     "so these go out as they came");
        return;
    }
    const auto headers =
        site.mapping("headers", "a mapping such as {set: {X-NginX-Proxy: \"true\"}}");
    const auto fields = headers ? headers->fields("set") : std::nullopt;
    if (!fields) {
        return;
    }
    for (const auto& [item, name] : *fields) {
        if (is_reserved_field(name)) {
            headers->report().problem(
                item.node.line, item.path,
                "cannot be set: s3gate or the message itself decides this field");
        } else if (!is_field_value(item.node.text) || item.node.text.size() > kKiB) {
            headers->report().problem(item.node.line, item.path,
                                      in_quotes(item.node.text) +
                                          " cannot stand in a header; one line of at most 1024 "
                                          "bytes, no spaces at its ends");
        } else {
            out.headers_set.emplace_back(name, item.node.text);
        }
    }
}

void read_status_page(const Section& site, StatusPage& out) {
    if (!site.has("status")) {
        return;
    }
    out.where = site.report().at(site.line_of("status"));
    if (site.is_off("status")) {
        return;
    }
    const auto status =
        site.mapping_or_on("status", "off, or a mapping such as {path: /upstream/health/}");
    if (!status && !site.is_on("status")) {
        return;
    }
    out.enabled = true;
    out.allow = loopback_blocks();
    if (!status) {
        return;
    }
    if (const auto path = status->text("path", "a path")) {
        if (!is_url_path(*path) || path->find('%') != std::string::npos) {
            status->problem("path", in_quotes(*path) +
                                        " is not a plain path; it begins with / and holds "
                                        "neither spaces nor ? # %");
        } else if (path->find_first_not_of('/') == std::string::npos) {
            status->problem(
                "path",
                "would take every request of the site; write a path such as /upstream/health/");
        } else if (path->find("//") != std::string::npos) {
            status->problem("path",
                            in_quotes(*path) + " has an empty segment; write single slashes");
        } else if (!path->ends_with('/')) {
            status->warning(
                "path",
                in_quotes(*path) + " is a prefix; end it with / or longer names fall under it too");
        }
        out.path = *path;
    }
    if (status->has("allow")) {
        out.allow = read_blocks(*status, "allow");
        const Node* const allow = status->find("allow");
        if (allow != nullptr && allow->kind == Node::Kind::list && allow->items.empty()) {
            status->warning("allow", "is empty: nobody may see the page");
        }
    }
}

// Fields of a response that an extra one of ours would contradict.
bool is_response_field(std::string_view name) {
    for (const std::string_view known :
         {"Accept-Ranges", "Cache-Control", "Content-Disposition", "Content-Encoding",
          "Content-Language", "Content-Range", "Content-Type", "Date", "ETag", "Last-Modified",
          "Location", "Retry-After", "Server", "Set-Cookie", "Vary", "WWW-Authenticate"}) {
        if (base::iequals(name, known)) {
            return true;
        }
    }
    return base::istarts_with(name, "x-amz-") || base::istarts_with(name, "x-minio-");
}

void read_session_header(const Section& site, std::string& out) {
    if (site.is_off("session_header")) {
        return;
    }
    if (site.is_on("session_header")) {
        out = "X-Session-ID";  // the name that the samples and nginx configurations give it
        return;
    }
    const auto name = site.text("session_header", "off or a header name");
    if (!name) {
        return;
    }
    if (!is_token(*name)) {
        site.problem(
            "session_header",
            in_quotes(*name) + " is not a header name; write off or a name such as X-Session-ID");
    } else if (is_reserved_field(*name) || is_response_field(*name)) {
        site.problem("session_header",
                     *name + " has a meaning of its own; take a name such as X-Session-ID");
    } else {
        out = *name;
    }
}

}  // namespace

bool is_reserved_field(std::string_view name) {
    // RFC 9110 §7.6.1 (connection), RFC 9112 §6 (framing), and what s3gate writes itself.
    for (const std::string_view known :
         {"Host", "Connection", "Content-Length", "Content_Length", "Transfer-Encoding",
          "Transfer_Encoding", "TE", "Trailer", "Upgrade", "Keep-Alive", "Expect", "Forwarded",
          "X-Real-IP", "HTTP2-Settings"}) {
        if (base::iequals(name, known)) {
            return true;
        }
    }
    return base::istarts_with(name, "X-Forwarded-") || base::istarts_with(name, "Proxy-") ||
           base::istarts_with(name, "Sec-WebSocket-");
}

std::vector<base::Cidr> loopback_blocks() {
    return {*base::Cidr::parse("127.0.0.0/8"), *base::Cidr::parse("::1/128")};
}

std::vector<base::Cidr> read_blocks(const Section& section, std::string_view key) {
    std::vector<base::Cidr> out;
    const auto items = section.list(key, "a list such as [10.0.0.0/8]");
    for (const Item& item : items.value_or(std::vector<Item>{})) {
        const auto text = item_text(item, "an address block", section.report());
        if (!text) {
            continue;
        }
        if (const auto block = base::Cidr::parse(*text)) {
            out.push_back(*block);
        } else {
            section.report().problem(
                item.node.line, item.path,
                in_quotes(*text) +
                    " is not an address block; write 10.0.0.0/8 or \"::1/128\", "
                    "with zeros behind the prefix");
        }
    }
    return out;
}

std::vector<Listen> read_listen(const Section& section) {
    std::vector<Listen> out;
    Report& report = section.report();
    const auto items = section.list("listen", "a list such as [\"0.0.0.0:9000\"]");
    for (const Item& item : items.value_or(std::vector<Item>{})) {
        if (item.node.kind == Node::Kind::mapping) {
            const Section entry(item.node, item.path, "site.listen[]", report);
            if (!entry.has("address")) {
                report.problem(entry.line(), entry.path_of("address"),
                               "is missing; write what to listen on, as \"0.0.0.0:9000\"");
            } else if (const auto text = entry.text("address", "an address with a port")) {
                const Item at{*entry.find("address"), entry.path_of("address")};
                if (auto listen = parse_listen(*text, at, report)) {
                    out.push_back(std::move(*listen));
                }
            }
        } else if (item.node.kind == Node::Kind::list) {
            report.problem(
                item.node.line, item.path,
                "expected an address with a port, found a list; quote it: \"[::]:9000\"");
        } else if (const auto text = item_text(item, "an address with a port", report)) {
            if (auto listen = parse_listen(*text, item, report)) {
                out.push_back(std::move(*listen));
            }
        }
    }
    if (items && section.find("listen")->items.empty()) {
        section.problem("listen", "is empty; give at least one address");
    }
    return out;
}

SiteRead read_site(const Section& section) {
    SiteRead out;
    Site& site = out.site;
    Report& report = section.report();
    site.where = report.at(section.line());
    site.path = section.path();
    if (!section.has("name")) {
        report.problem(section.line(), section.path_of("name"), "is missing; a site needs a name");
    } else if (const auto name = section.text("name", "a name")) {
        check_name(section, "name", *name);
        site.name = *name;
    }
    assign(site.enabled, section.boolean("enabled"));
    assign(site.type,
           section.choice<SiteType>("type", {{"s3", SiteType::s3}, {"http", SiteType::http}}));
    if (!section.has("listen")) {
        report.problem(section.line(), section.path_of("listen"),
                       "is missing; write where the site listens, as [\"0.0.0.0:9000\"]");
    }
    site.listen = read_listen(section);
    site.balance = read_balance(section);
    out.servers = read_backends(section, site.backends);
    if (site.backends.name.empty()) {
        site.backends.name = site.name;
    }
    site.health.enabled = site.type == SiteType::s3;
    read_health(section, site.health);
    read_passive(section, site.passive);
    read_retry(section, site.retry);
    read_timeouts(section, site.timeouts);
    read_limits(section, site.limits);
    read_forwarded(section, site.forwarded);
    read_headers(section, site.type, site);
    assign(site.upgrade, section.boolean("upgrade"));
    assign(site.expect_empty_body,
           section.choice<EmptyExpect>("expect_empty_body", {{"synth100", EmptyExpect::synth100},
                                                             {"close", EmptyExpect::close}}));
    assign(site.client_half_close,
           section.choice<HalfClose>("client_half_close",
                                     {{"cut", HalfClose::cut}, {"serve", HalfClose::serve}}));
    read_status_page(section, site.status);
    read_session_header(section, site.session_header);
    if (!site.session_header.empty() && site.balance.method != BalanceMethod::ketama) {
        section.warning("session_header", std::string(kNoKeys));
    }
    assign(site.when_all_down,
           section.choice<AllDown>("when_all_down",
                                   {{"try", AllDown::try_anyway}, {"refuse", AllDown::refuse}}));
    return out;
}

}  // namespace s3gate::config
