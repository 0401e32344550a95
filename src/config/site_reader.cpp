#include "site_reader.hpp"

#include <algorithm>
#include <array>

#include "addresses.hpp"
#include "row.hpp"
#include "s3gate/base/host_name.hpp"
#include "s3gate/base/text.hpp"

namespace s3gate::config {

namespace {

constexpr std::string_view kNoKeys = "has no effect: only balance.method ketama uses keys";

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
        if (text.starts_with(prefix) && base::is_token(text.substr(prefix.size()))) {
            return KeySource{kind, std::string(text.substr(prefix.size()))};
        }
    }
    return std::nullopt;
}

// Explains other proxies' words for retry reasons: names ours.
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

// The word without the "http_" of nginx's proxy_next_upstream.
std::string_view bare_reason(std::string_view word) {
    constexpr std::string_view kPrefix = "http_5";
    return word.starts_with(kPrefix) ? word.substr(kPrefix.size() - 1) : word;
}

// True if the field is part of the message framing, so operators must not set it.
bool is_reserved_field(std::string_view name) {
    // RFC 9110 §7.6.1 (connection), RFC 9112 §6 (framing), and fields that s3gate writes itself.
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

// True for fields of a response that an extra copy of ours would contradict.
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

std::optional<int> parse_status(std::string_view text) {
    const auto status = base::parse_decimal(text);
    return status && *status >= 100 && *status <= 599
               ? std::optional<int>(static_cast<int>(*status))
               : std::nullopt;
}

// "200" or "200-399".
std::optional<StatusRange> parse_statuses(std::string_view text) {
    const std::size_t dash = text.find('-');
    const auto first = parse_status(text.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : parse_status(text.substr(dash + 1));
    return first && last && *first <= *last
               ? std::optional<StatusRange>({.first = *first, .last = *last})
               : std::nullopt;
}

// Keys that a check without a request has no use for.
void warn_of_unasked(const Section& health) {
    for (const std::string_view key : {"path", "method", "expect_status", "reject_headers"}) {
        if (health.has(key)) {
            health.warning(key, "has no effect: a check of type tcp asks nothing");
        }
    }
}

// A list of hosts in the form that `canonical` makes, which is empty for what is none. `mistake`
// ends the message about that.
std::vector<std::string> read_names(const Section& site, std::string_view key,
                                    std::string (*canonical)(std::string_view),
                                    std::string_view mistake) {
    std::vector<std::string> names;
    const auto items = site.list(key, "a list such as [s3.example.net]");
    for (const Item& item : items ? *items : std::vector<Item>()) {
        const auto text = item_text(item, "a host name", site.report());
        if (!text) {
            continue;
        }
        std::string name = canonical(*text);
        if (name.empty()) {
            site.report().problem(item.node.line, item.path,
                                  in_quotes(*text) + std::string(mistake));
        } else if (std::ranges::find(names, name) != names.end()) {
            site.report().problem(item.node.line, item.path, name + " is listed a second time");
        } else {
            names.push_back(std::move(name));
        }
    }
    return names;
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
        if (const auto range = parse_statuses(*text)) {
            out.expect_status.push_back(*range);
        } else {
            health.report().problem(
                item.node.line, item.path,
                in_quotes(*text) + " is not a status from 100 to 599, nor a range as 200-399");
        }
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

// The keys of a section that is on unless it says off.
void read_unless_off(const Section& site, std::string_view key, std::string_view what, Site& out) {
    if (site.is_off(key)) {
        return;
    }
    if (const auto section = site.mapping_or_on(key, what)) {
        read_keys(*section, out);
    }
}

}  // namespace

void check_name(const Section& section, std::string_view key, const std::string& name) {
    if (!is_plain_name(name)) {
        section.problem(key,
                        in_quotes(name) + " is not a name; 1 to 128 letters, digits and . _ : -");
    }
}

void read_name(const Section& site, std::string_view key, Site& out) {
    if (!site.has(key)) {
        site.report().problem(site.line(), site.path_of(key), "is missing; a site needs a name");
    } else if (const auto name = site.text(key, "a name")) {
        check_name(site, key, *name);
        out.name = *name;
    }
}

void read_site_listen(const Section& site, std::string_view key, Site& out) {
    if (!site.has(key)) {
        site.report().problem(site.line(), site.path_of(key),
                              "is missing; write where the site listens, as [\"0.0.0.0:9000\"]");
    }
    out.listen = read_listen(site, key);
}

void read_hosts(const Section& site, std::string_view key, Site& out) {
    if (site.has(key)) {
        out.hosts_where = site.location_of(key);
    }
    out.hosts = read_names(site, key, base::canonical_host_pattern,
                           " is not a host; write a name, an address without a port, or "
                           "\"*.example.net\" for all names below one");
}

void read_domains(const Section& site, std::string_view key, Site& out) {
    out.domains = read_names(site, key, base::canonical_host_name,
                             " is not a host name; BUCKET.s3.example.net is a bucket's host for "
                             "\"s3.example.net\"");
    if (out.type != SiteType::s3 && !out.domains.empty()) {
        site.warning(key, "has no effect: only sites of type: s3 have buckets");
    }
}

void read_balance(const Section& site, std::string_view key, Site& out) {
    const auto balance = site.mapping(key, "a mapping such as {method: ketama}");
    if (!balance) {
        return;
    }
    out.balance.where = site.location_of(key);
    read_keys(*balance, out);
    if (out.balance.method != BalanceMethod::ketama) {
        for (const std::string_view unused : {"key", "salt", "session_ttl"}) {
            if (balance->has(unused)) {
                balance->warning(unused, std::string(kNoKeys));
            }
        }
    }
}

void read_key_sources(const Section& balance, std::string_view key, Site& out) {
    const auto items = balance.list(key, "a list such as [sessionid, uploadid, fingerprint]");
    if (!items) {
        return;
    }
    Report& report = balance.report();
    std::vector<KeySource>& sources = out.balance.key;
    sources.clear();
    for (const Item& item : *items) {
        const auto text = item_text(item, "the name of a key source", report);
        if (!text) {
            continue;
        }
        auto source = parse_key_source(*text);
        if (!source) {
            report.problem(item.node.line, item.path,
                           in_quotes(*text) +
                               " is no key source; one of sessionid, uploadid, fingerprint, "
                               "cookie:NAME or header:NAME");
        } else if (std::ranges::find(sources, *source) != sources.end()) {
            report.problem(item.node.line, item.path, *text + " is listed a second time");
        } else {
            // A fingerprint always gives a key, so later sources are never used.
            if (!sources.empty() && sources.back().kind == KeySource::Kind::fingerprint) {
                report.warning(item.node.line, item.path,
                               *text + " stands behind fingerprint and is never reached");
            }
            sources.push_back(std::move(*source));
        }
    }
    if (is_empty_list(balance, key) && out.balance.method == BalanceMethod::ketama) {
        balance.problem(
            key, "ketama needs at least one key source; without any use method: round_robin");
    }
}

void read_health(const Section& site, std::string_view key, Site& out) {
    out.health.enabled = site.has(key) ? !site.is_off(key) : out.type == SiteType::s3;
    if (!site.has(key)) {
        return;
    }
    out.health.where = site.location_of(key);
    if (site.is_off(key)) {
        return;
    }
    const auto health = site.mapping_or_on(key, "off, or a mapping such as {interval: 3s}");
    if (!health) {
        return;
    }
    read_keys(*health, out);
    read_expected_status(*health, out.health);
    read_rejected_headers(*health, out.health);
    if (out.health.type == HealthType::tcp) {
        warn_of_unasked(*health);
    }
}

void check_health_path(const Section& health, std::string_view key, const std::string& path) {
    // A check may have a query; the rest of the rules are those of any request target.
    const std::size_t query = path.find('?');
    if (!is_url_path(path.substr(0, query)) ||
        !is_url_path("/" + path.substr(std::min(path.size(), query + 1)))) {
        health.problem(key,
                       in_quotes(path) + " is not a path; it begins with / and holds no spaces");
    }
}

void check_health_host(const Section& health, std::string_view key, const std::string& host) {
    // The value must suit a Host field; a port is optional.
    if (!base::parse_host_port(host)) {
        health.problem(
            key, in_quotes(host) + " cannot stand in a Host field; write a name or an address");
    }
}

void read_max_fails(const Section& server, std::string_view key, Server& out) {
    if (const auto number = server.number(key, {0, 255})) {
        out.max_fails = static_cast<unsigned>(*number);
    }
}

void read_passive(const Section& site, std::string_view key, Site& out) {
    out.passive.enabled = !site.is_off(key);
    read_unless_off(site, key, "off, or a mapping such as {max_fails: 3}", out);
}

void read_resolve(const Section& site, std::string_view key, Site& out) {
    out.resolve.enabled = !site.is_off(key);
    read_unless_off(site, key, "off, or a mapping such as {interval: 30s}", out);
}

bool is_zero_fails(const Section& passive, std::string_view key) {
    const Node* const fails = passive.find(key);
    if (fails == nullptr || fails->kind != Node::Kind::text || fails->text != "0") {
        return false;
    }
    passive.problem(key, "0 would never count; to switch this off write passive: off");
    return true;
}

void read_retry(const Section& site, std::string_view key, Site& out) {
    if (site.is_off(key)) {
        site.problem(key, "cannot be off as a whole; write retry: {on: []}");
    } else if (const auto retry = site.mapping_or_on(key, "a mapping such as {max_tries: 3}")) {
        read_keys(*retry, out);
    }
}

void read_retry_on(const Section& retry, std::string_view key, Site& out) {
    constexpr RetryOn kNever = {false, false, false, false, false, false};
    if (retry.is_on(key)) {
        return;
    }
    if (retry.is_off(key)) {
        out.retry.on = kNever;
        return;
    }
    const auto items = retry.list(key, "a list such as [error, timeout, 503]");
    if (!items) {
        return;
    }
    out.retry.on = kNever;
    for (const Item& item : *items) {
        const auto text = item_text(item, "a reason", retry.report());
        if (!text) {
            continue;
        }
        const auto found = std::ranges::find(kRetryReasons, bare_reason(*text),
                                             [](const auto& reason) { return reason.first; });
        if (found == kRetryReasons.end()) {
            retry.report().problem(
                item.node.line, item.path,
                in_quotes(*text) + " is no reason to retry; " + explain_reason(*text));
            continue;
        }
        out.retry.on.*found->second = true;
    }
}

void read_rate(const Section& section, std::string_view key, Site& out) {
    if (const auto text = section.text(key, "a rate such as 100/s")) {
        auto parsed = parse_rate(*text);
        if (parsed.value) {
            out.limits.requests_per_client = *parsed.value;
        } else {
            section.problem(key, std::move(parsed.error));
        }
    }
}

void read_requests_per_client(const Section& limits, std::string_view key, Site& out) {
    const Node* const value = limits.find(key);
    if (value == nullptr || limits.is_off(key)) {
        return;
    }
    if (limits.is_on(key)) {
        limits.problem(key, "on does not say how many; write a rate such as 100/s");
        return;
    }
    if (value->kind != Node::Kind::mapping) {
        read_rate(limits, key, out);
    } else if (const auto rate = limits.mapping(key, "off, a rate such as 100/s, or a mapping")) {
        if (!rate->has("rate")) {
            rate->report().problem(rate->line(), rate->path_of("rate"),
                                   "is missing; write a rate such as 100/s");
        }
        read_keys(*rate, out);
    }
}

void read_trusted(const Section& forwarded, std::string_view key, Site& out) {
    out.forwarded.trusted = read_blocks(forwarded, key);
}

void read_headers(const Section& site, std::string_view key, Site& out) {
    if (out.type == SiteType::s3 && site.has(key)) {
        site.problem(key,
                     "is for type: http only; a client may have signed any field of an S3 request, "
                     "so these go out as they came");
        return;
    }
    if (const auto headers =
            site.mapping(key, "a mapping such as {set: {X-NginX-Proxy: \"true\"}}")) {
        read_keys(*headers, out);
    }
}

void read_header_fields(const Section& headers, std::string_view key, Site& out) {
    const auto fields = headers.fields(key);
    if (!fields) {
        return;
    }
    for (const auto& [item, name] : *fields) {
        if (is_reserved_field(name)) {
            headers.report().problem(
                item.node.line, item.path,
                "cannot be set: s3gate or the message itself decides this field");
        } else if (!is_field_value(item.node.text) || item.node.text.size() > kKiB) {
            headers.report().problem(item.node.line, item.path,
                                     in_quotes(item.node.text) +
                                         " cannot stand in a header; one line of at most 1024 "
                                         "bytes, no spaces at its ends");
        } else {
            out.headers_set.emplace_back(name, item.node.text);
        }
    }
}

void read_status_page(const Section& site, std::string_view key, Site& out) {
    if (!site.has(key)) {
        return;
    }
    out.status.where = site.location_of(key);
    if (site.is_off(key)) {
        return;
    }
    const auto status =
        site.mapping_or_on(key, "off, or a mapping such as {path: /upstream/health/}");
    out.status.enabled = status || site.is_on(key);
    if (status) {
        read_keys(*status, out);
    }
}

void check_status_path(const Section& status, std::string_view key, const std::string& path) {
    if (!is_url_path(path) || path.find('%') != std::string::npos) {
        status.problem(key, in_quotes(path) +
                                " is not a plain path; it begins with / and holds "
                                "neither spaces nor ? # %");
    } else if (path.find_first_not_of('/') == std::string::npos) {
        status.problem(
            key, "would take every request of the site; write a path such as /upstream/health/");
    } else if (path.find("//") != std::string::npos) {
        status.problem(key, in_quotes(path) + " has an empty segment; write single slashes");
    } else if (!path.ends_with('/')) {
        status.warning(
            key, in_quotes(path) + " is a prefix; end it with / or longer names fall under it too");
    }
}

void read_status_allow(const Section& status, std::string_view key, Site& out) {
    if (status.has(key)) {
        out.status.allow = read_blocks(status, key);
    }
    if (is_empty_list(status, key)) {
        status.warning(key, "is empty: nobody may see the page");
    }
}

void read_session_header(const Section& site, std::string_view key, Site& out) {
    if (site.is_off(key)) {
        return;
    }
    if (site.is_on(key)) {
        out.session_header = "X-Session-ID";  // the name in the samples and in nginx configurations
    } else if (const auto name = site.text(key, "off or a header name")) {
        if (!base::is_token(*name)) {
            site.problem(key,
                         in_quotes(*name) +
                             " is not a header name; write off or a name such as X-Session-ID");
        } else if (is_reserved_field(*name) || is_response_field(*name)) {
            site.problem(key,
                         *name + " has a meaning of its own; take a name such as X-Session-ID");
        } else {
            out.session_header = *name;
        }
    }
    if (!out.session_header.empty() && out.balance.method != BalanceMethod::ketama) {
        site.warning(key, std::string(kNoKeys));
    }
}

Site read_site(const Section& section) {
    Site site;
    site.where = section.report().at(section.line());
    site.path = section.path();
    read_keys(section, site);
    if (site.backends.name.empty()) {
        site.backends.name = site.name;
    }
    return site;
}

}  // namespace s3gate::config
