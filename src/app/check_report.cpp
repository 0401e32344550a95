#include "check_report.hpp"

#include <boost/json.hpp>

#include "s3gate/control/findings_json.hpp"
#include "s3gate/policy/ring_digest.hpp"

namespace s3gate::app {
namespace {

namespace json = boost::json;

json::object server_of(const config::Server& server) {
    json::object out;
    out["address"] = control::json_text(server.text);
    out["weight"] = server.weight;
    out["backup"] = server.backup;
    out["down"] = server.down;
    out["drained"] = server.drained;
    return out;
}

json::object site_of(const config::Site& site) {
    json::array listen;
    for (const config::Listen& one : site.listen) {
        listen.push_back(control::json_text(one.address.to_string()));
    }
    json::array servers;
    for (const config::Server& server : site.backends.servers) {
        servers.push_back(server_of(server));
    }
    json::object out;
    out["name"] = control::json_text(site.name);
    out["type"] = site.type == config::SiteType::s3 ? "s3" : "http";
    out["listen"] = std::move(listen);
    out["group"] = control::json_text(site.backends.name);
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
    out["log"] = control::json_text(config.log.target);
    out["access_log"] = control::json_text(config.access_log.target);
    out["sites"] = std::move(sites);
    return out;
}

}  // namespace

std::string to_json(const config::LoadResult& result, const std::string& file, int exit_code) {
    json::object out;
    out["file"] = control::json_text(file);
    out["ok"] = exit_code == 0;
    out["exit_code"] = exit_code;
    out["problems"] = control::json_of(result.problems);
    out["warnings"] = control::json_of(result.warnings);
    out["summary"] = summary_of(result);
    out["ring_digest"] =
        result.ok() ? json::value(policy::ring_digest(result.config)) : json::value();
    return json::serialize(out) + "\n";
}

}  // namespace s3gate::app
