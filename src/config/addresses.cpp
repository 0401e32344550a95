#include "addresses.hpp"

#include "s3gate/base/text.hpp"

namespace s3gate::config {

namespace {

// Explains why `text` is no address to listen on, for the usual mistakes.
std::string explain_listen(std::string_view text) {
    const std::string_view bare = text.starts_with('*') ? text.substr(1) : text;
    const std::string_view port = bare.starts_with(':') ? bare.substr(1) : bare;
    if (all_digits(port)) {
        const std::string p(port);
        return in_quotes(text) + " lacks the address; for all of them write \"0.0.0.0:" + p +
               "\" and \"[::]:" + p + "\"";
    }
    if (base::IpAddress::parse(text)) {
        // "::1:9000" is an address too, so the intended port is unknown.
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
    return Listen{.address = *address, .text = text, .where = report.at(item.node.line)};
}

}  // namespace

bool is_empty_list(const Section& section, std::string_view key) {
    const Node* const value = section.find(key);
    return value != nullptr && value->kind == Node::Kind::list && value->items.empty();
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

namespace {

// `{address: …}`, with the settings of the address.
std::optional<Listen> read_listen_mapping(const Section& entry) {
    Report& report = entry.report();
    if (!entry.has("address")) {
        report.problem(entry.line(), entry.path_of("address"),
                       "is missing; write what to listen on, as \"0.0.0.0:9000\"");
        return std::nullopt;
    }
    const auto text = entry.text("address", "an address with a port");
    const Item at{*entry.find("address"), entry.path_of("address")};
    auto listen = text ? parse_listen(*text, at, report) : std::nullopt;
    if (listen) {
        listen->accept_proxy = read_blocks(entry, "accept_proxy");
    }
    return listen;
}

}  // namespace

std::vector<Listen> read_listen(const Section& section, std::string_view key) {
    std::vector<Listen> out;
    Report& report = section.report();
    const auto items = section.list(key, "a list such as [\"0.0.0.0:9000\"]");
    for (const Item& item : items.value_or(std::vector<Item>{})) {
        if (item.node.kind == Node::Kind::mapping) {
            if (auto listen =
                    read_listen_mapping({item.node, item.path, "site.listen[]", report})) {
                out.push_back(std::move(*listen));
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
    if (items && is_empty_list(section, key)) {
        section.problem(key, "is empty; give at least one address");
    }
    return out;
}

}  // namespace s3gate::config
