// The servers of a site: names, addresses and ranges.
#include <algorithm>

#include "row.hpp"
#include "s3gate/base/text.hpp"
#include "site_reader.hpp"

namespace s3gate::config {

namespace {

constexpr std::string_view kNoServers = "is missing; a site needs the servers it stands for";

// The rule of the WHATWG URL standard: a host whose last label is a number is an IPv4 address or a
// mistake, never a name.
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
        host.remove_suffix(1);  // trailing dot of a fully qualified name
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

// Adds every server of one entry; false if the entry has a problem.
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
            // One message per range: further servers of it would repeat the message.
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

bool add_server_mapping(const Item& item, const Server& defaults, Report& report,
                        std::vector<Server>& out) {
    const std::size_t problems = report.result().problems.size();
    const Section section(item.node, item.path, "site.backends.servers[]", report);
    Server common = defaults;
    read_keys(section, common);
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

// False if a configured server was left out.
bool read_servers(const Section& backends, const Server& defaults, std::vector<Server>& out) {
    Report& report = backends.report();
    const auto items = backends.list("servers", "a list of host:port");
    if (!items) {
        return false;
    }
    const Node& list = *backends.find("servers");
    if (list.items.empty()) {
        backends.problem("servers", "is empty; a site needs at least one server");
        return false;
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
        return false;
    }
    return complete;
}

// Warns of a queue for servers without a limit on requests.
void warn_of_idle_queue(const Section& backends, const std::vector<Server>& servers) {
    if (std::ranges::any_of(servers, [](const Server& s) { return s.max_connections > 0; })) {
        return;
    }
    for (const std::string_view key : {"queue", "queue_timeout"}) {
        if (backends.has(key)) {
            backends.warning(key, "has no effect: no server has max_connections");
        }
    }
}

}  // namespace

void read_backends(const Section& site, std::string_view key, Site& out) {
    Backends& group = out.backends;
    group.where = site.location_of(key);
    group.is_partial = true;
    if (!site.has(key)) {
        site.report().problem(site.line(), site.path_of("backends.servers"),
                              std::string(kNoServers));
        return;
    }
    const auto backends = site.mapping(key, "a mapping with servers");
    if (!backends) {
        return;
    }
    read_keys(*backends, out);
    if (!backends->has("servers")) {
        backends->report().problem(backends->line(), backends->path_of("servers"),
                                   std::string(kNoServers));
        return;
    }
    Server defaults;
    defaults.max_connections = group.max_connections;
    group.is_partial = !read_servers(*backends, defaults, group.servers);
    if (!group.is_partial) {
        warn_of_idle_queue(*backends, group.servers);
    }
}

}  // namespace s3gate::config
