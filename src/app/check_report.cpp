#include "check_report.hpp"

#include <boost/json.hpp>
#include <string_view>
#include <vector>

#include "s3gate/policy/ring_digest.hpp"

namespace s3gate::app {
namespace {

namespace json = boost::json;

// File names and variables may hold any bytes, but JSON must be UTF-8: in invalid text each byte
// beyond ASCII becomes '?'.
json::string text_of(std::string_view text) {
    json::string out(text);
    boost::system::error_code error;
    json::parse(json::serialize(out), error);
    if (error) {
        for (char& c : out) {
            c = static_cast<unsigned char>(c) < 0x80 ? c : '?';
        }
    }
    return out;
}

json::array findings_of(const std::vector<config::Problem>& findings) {
    json::array out;
    for (const config::Problem& finding : findings) {
        json::object one;
        one["file"] = text_of(finding.where.file);
        one["line"] = finding.where.line > 0 ? json::value(finding.where.line) : json::value();
        one["key"] = text_of(finding.key);
        one["message"] = text_of(finding.message);
        out.push_back(std::move(one));
    }
    return out;
}

json::object server_of(const config::Server& server) {
    json::object out;
    out["address"] = text_of(server.text);
    out["weight"] = server.weight;
    out["backup"] = server.backup;
    out["down"] = server.down;
    out["drained"] = server.drained;
    return out;
}

json::object site_of(const config::Site& site) {
    json::array listen;
    for (const config::Listen& one : site.listen) {
        listen.push_back(text_of(one.address.to_string()));
    }
    json::array servers;
    for (const config::Server& server : site.backends.servers) {
        servers.push_back(server_of(server));
    }
    json::object out;
    out["name"] = text_of(site.name);
    out["type"] = site.type == config::SiteType::s3 ? "s3" : "http";
    out["listen"] = std::move(listen);
    out["group"] = text_of(site.backends.name);
    out["servers"] = std::move(servers);
    out["ring_digest"] = policy::ring_digest(site);
    return out;
}

json::value summary_of(const config::LoadResult& result) {
    if (!result.ok()) {
        return nullptr;
    }
    const config::Config& config = result.config;
    json::array sites;
    for (const config::Site& site : config.sites) {
        sites.push_back(site_of(site));
    }
    json::object out;
    out["workers"] = config.workers == 0 ? json::value("auto") : json::value(config.workers);
    out["log"] = text_of(config.log.target);
    out["access_log"] = text_of(config.access_log.target);
    out["sites"] = std::move(sites);
    return out;
}

}  // namespace

std::string to_json(const config::LoadResult& result, const std::string& file, int exit_code) {
    json::object out;
    out["file"] = text_of(file);
    out["ok"] = exit_code == 0;
    out["exit_code"] = exit_code;
    out["problems"] = findings_of(result.problems);
    out["warnings"] = findings_of(result.warnings);
    out["summary"] = summary_of(result);
    out["ring_digest"] =
        result.ok() ? json::value(policy::ring_digest(result.config)) : json::value();
    return json::serialize(out) + "\n";
}

}  // namespace s3gate::app
