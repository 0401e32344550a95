#include <yaml-cpp/emitter.h>
#include <yaml-cpp/emittermanip.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "s3gate/config/load.hpp"
#include "values.hpp"

namespace s3gate::config {

namespace {

// "${" would be replaced when the text is read again.
std::string escaped(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        out += text.substr(i).starts_with("${") ? "$$" : text.substr(i, 1);
    }
    return out;
}

// A key that has no effect where it stands is a warning: its default is not written there, so that
// what is written loads without one.

// Writes keys and values in the order it is told; texts of the operator always in quotes.
class Writer {
  public:
    Writer() { out_.SetIndent(2); }

    void open(std::string_view key) { out_ << YAML::Key << std::string(key) << YAML::BeginMap; }
    void open_item() { out_ << YAML::BeginMap; }
    void close() { out_ << YAML::EndMap; }
    void open_list(std::string_view key) {
        out_ << YAML::Key << std::string(key) << YAML::BeginSeq;
    }
    void close_list() { out_ << YAML::EndSeq; }

    // Words, numbers, durations and sizes need no quotes.
    void word(std::string_view key, const std::string& value) {
        out_ << YAML::Key << std::string(key) << YAML::Value << value;
    }
    void text(std::string_view key, std::string_view value) {
        out_ << YAML::Key << std::string(key) << YAML::DoubleQuoted << escaped(value);
    }
    void number(std::string_view key, std::uint64_t value, std::string_view zero = {}) {
        word(key, value == 0 && !zero.empty() ? std::string(zero) : std::to_string(value));
    }
    void duration(std::string_view key, Duration value) { word(key, print_duration(value)); }
    void size(std::string_view key, std::uint64_t value) { word(key, print_size(value)); }
    void boolean(std::string_view key, bool value) { word(key, value ? "true" : "false"); }

    template <class Range, class Print>
    void texts(std::string_view key, const Range& range, const Print& print) {
        out_ << YAML::Key << std::string(key) << YAML::Flow << YAML::BeginSeq;
        for (const auto& item : range) {
            out_ << YAML::DoubleQuoted << escaped(print(item));
        }
        out_ << YAML::EndSeq;
    }
    void fields(std::string_view key,
                const std::vector<std::pair<std::string, std::string>>& fields) {
        out_ << YAML::Key << std::string(key) << YAML::BeginMap;
        for (const auto& [name, value] : fields) {
            out_ << YAML::Key << YAML::DoubleQuoted << name << YAML::DoubleQuoted << escaped(value);
        }
        out_ << YAML::EndMap;
    }

    std::string take() const { return std::string(out_.c_str()) + "\n"; }

  private:
    YAML::Emitter out_;
};

std::string print_listen(const Listen& listen) {
    return listen.text;
}

std::string print_block(const base::Cidr& block) {
    return block.to_string();
}

void write_balance(Writer& out, const Balance& balance) {
    out.open("balance");
    switch (balance.method) {
        case BalanceMethod::ketama:
            out.word("method", "ketama");
            break;
        case BalanceMethod::least_conn:
            out.word("method", "least_conn");
            break;
        case BalanceMethod::round_robin:
            out.word("method", "round_robin");
            break;
    }
    const Balance defaults;
    const bool has_keys = balance.method == BalanceMethod::ketama;
    if (has_keys || balance.key != defaults.key) {
        out.texts("key", balance.key, print_key_source);
    }
    if (has_keys || balance.salt != defaults.salt) {
        out.text("salt", balance.salt);
    }
    out.close();
}

void write_server(Writer& out, const Server& server) {
    out.open_item();
    out.text("address", server.text);
    out.number("weight", server.weight);
    out.boolean("backup", server.backup);
    out.boolean("down", server.down);
    out.boolean("drained", server.drained);
    out.number("max_connections", server.max_connections, "off");
    out.close();
}

void write_backends(Writer& out, const Backends& backends) {
    out.open("backends");
    out.text("name", backends.name);
    out.open_list("servers");
    bool is_bounded = false;
    for (const Server& server : backends.servers) {
        write_server(out, server);
        is_bounded = is_bounded || server.max_connections > 0;
    }
    out.close_list();
    out.number("keepalive", backends.keepalive, "off");
    out.duration("idle_timeout", backends.idle_timeout);
    out.number("max_connections", backends.max_connections, "off");
    const Backends defaults;
    if (is_bounded || backends.queue != defaults.queue) {
        out.number("queue", backends.queue, "off");
    }
    if (is_bounded || backends.queue_timeout != defaults.queue_timeout) {
        out.duration("queue_timeout", backends.queue_timeout);
    }
    out.close();
}

void write_health(Writer& out, const Health& health) {
    if (!health.enabled) {
        out.word("health", "off");
        return;
    }
    out.open("health");
    out.text("path", health.path);
    out.word("method", health.method);
    out.text("host", health.host);
    out.number("port", health.port);
    out.duration("interval", health.interval);
    out.duration("timeout", health.timeout);
    out.number("fall", health.fall);
    out.number("rise", health.rise);
    out.texts("expect_status", health.expect_status,
              [](int status) { return std::to_string(status); });
    out.fields("reject_headers", health.reject_headers);
    out.number("concurrency", health.concurrency);
    out.close();
}

void write_passive(Writer& out, const Passive& passive) {
    if (!passive.enabled) {
        out.word("passive", "off");
        return;
    }
    out.open("passive");
    out.number("max_fails", passive.max_fails);
    out.duration("fail_timeout", passive.fail_timeout);
    out.close();
}

void write_retry(Writer& out, const Retry& retry) {
    std::vector<std::string> on;
    for (const auto& [word, is_on] : {std::pair{"error", retry.on.error},
                                      {"timeout", retry.on.timeout},
                                      {"500", retry.on.http_500},
                                      {"502", retry.on.http_502},
                                      {"503", retry.on.http_503},
                                      {"504", retry.on.http_504}}) {
        if (is_on) {
            on.emplace_back(word);
        }
    }
    out.open("retry");
    out.texts("on", on, [](const std::string& word) { return word; });
    out.number("max_tries", retry.max_tries);
    out.duration("max_time", retry.max_time);
    out.size("replay_buffer", retry.replay_buffer);
    out.boolean("unanswered_writes", retry.unanswered_writes);
    out.close();
}

void write_timeouts(Writer& out, const Timeouts& timeouts) {
    out.open("timeouts");
    out.duration("connect", timeouts.connect);
    out.duration("client_head", timeouts.client_head);
    out.duration("client_idle", timeouts.client_idle);
    out.duration("client_body", timeouts.client_body);
    out.duration("client_write", timeouts.client_write);
    out.duration("backend_head", timeouts.backend_head);
    out.duration("backend_body", timeouts.backend_body);
    out.duration("backend_stream", timeouts.backend_stream);
    out.duration("tunnel_idle", timeouts.tunnel_idle);
    out.close();
}

void write_limits(Writer& out, const SiteLimits& limits) {
    out.open("limits");
    out.size("head", limits.head);
    out.size("response_head", limits.response_head);
    out.number("connections", limits.connections, "off");
    out.number("per_client", limits.per_client, "off");
    RequestRate rate = limits.requests_per_client;
    if (rate.requests == 0) {
        out.word("requests_per_client", "off");
    } else {
        out.open("requests_per_client");
        const std::uint64_t burst = std::exchange(rate.burst, rate.requests);
        out.word("rate", print_rate(rate));
        out.number("burst", burst);
        out.close();
    }
    out.close();
}

void write_status(Writer& out, const StatusPage& status) {
    if (!status.enabled) {
        out.word("status", "off");
        return;
    }
    out.open("status");
    out.text("path", status.path);
    out.texts("allow", status.allow, print_block);
    out.close();
}

void write_forwarded(Writer& out, const Forwarded& forwarded) {
    out.open("forwarded");
    out.word("mode", forwarded.mode == ForwardedMode::set ? "set" : "append");
    out.texts("trusted", forwarded.trusted, print_block);
    out.close();
}

void write_site(Writer& out, const Site& site) {
    out.open_item();
    out.text("name", site.name);
    out.boolean("enabled", site.enabled);
    out.word("type", site.type == SiteType::s3 ? "s3" : "http");
    out.texts("listen", site.listen, print_listen);
    write_balance(out, site.balance);
    write_backends(out, site.backends);
    write_health(out, site.health);
    write_passive(out, site.passive);
    write_retry(out, site.retry);
    write_timeouts(out, site.timeouts);
    write_limits(out, site.limits);
    write_forwarded(out, site.forwarded);
    if (site.type == SiteType::http) {
        out.open("headers");
        out.fields("set", site.headers_set);
        out.close();
    }
    out.boolean("upgrade", site.upgrade);
    out.word("expect_empty_body",
             site.expect_empty_body == EmptyExpect::synth100 ? "synth100" : "close");
    out.word("client_half_close", site.client_half_close == HalfClose::cut ? "cut" : "serve");
    write_status(out, site.status);
    if (site.session_header.empty()) {
        out.word("session_header", "off");
    } else {
        out.text("session_header", site.session_header);
    }
    out.word("when_all_down", site.when_all_down == AllDown::try_anyway ? "try" : "refuse");
    out.close();
}

std::string print_level(LogLevel level) {
    switch (level) {
        case LogLevel::debug:
            return "debug";
        case LogLevel::info:
            return "info";
        case LogLevel::warn:
            return "warn";
        case LogLevel::error:
            return "error";
    }
    return {};
}

void write_admin(Writer& out, const Admin& admin) {
    if (!admin.enabled) {
        out.word("admin", "off");
        return;
    }
    out.open("admin");
    if (!admin.listen.empty()) {
        out.texts("listen", admin.listen, print_listen);
    }
    out.texts("allow", admin.allow, print_block);
    if (!admin.socket.empty()) {
        out.text("socket", admin.socket);
    }
    out.close();
}

void write_main(Writer& out, const Config& config) {
    out.number("workers", config.workers, "auto");
    out.word("cpu_affinity", config.cpu_affinity ? "auto" : "off");
    out.open("log");
    out.word("level", print_level(config.log.level));
    out.text("target", config.log.target);
    out.close();
    out.open("access_log");
    out.text("target", config.access_log.target);
    out.close();
    write_admin(out, config.admin);
    out.open("limits");
    out.number("connections", config.limits.connections, "auto");
    out.number("pipes", config.limits.pipes, "auto");
    out.size("replay_memory", config.limits.replay_memory);
    out.close();
    out.duration("shutdown_timeout", config.shutdown_timeout);
    if (config.upgrade_timeout != Config().upgrade_timeout) {
        out.duration("upgrade_timeout", config.upgrade_timeout);
    }
    out.text("user", config.user);
}

}  // namespace

std::string dump(const Config& config) {
    Writer out;
    out.open_item();
    write_main(out, config);
    out.open_list("sites");
    for (const Site& site : config.sites) {
        write_site(out, site);
    }
    out.close_list();
    out.close();
    return out.take();
}

}  // namespace s3gate::config
