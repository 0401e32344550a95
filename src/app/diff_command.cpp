#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <optional>
#include <string>

#include "commands.hpp"
#include "ctl_client.hpp"
#include "diff_report.hpp"
#include "s3gate/control/findings_json.hpp"
#include "s3gate/control/server.hpp"

namespace s3gate::app {
namespace {

namespace json = boost::json;

std::optional<config::LoadResult> load_old(const CheckOptions& options,
                                           const config::LoadResult& present) {
    if (options.diff != kRunning) {
        return config::load(options.diff, config::process_environment());
    }
    const std::string socket =
        !options.socket.empty() ? options.socket
                                : socket_of(present.ok() ? present.config.admin : config::Admin());
    if (socket.empty()) {
        complain(options.file + " says admin.socket: off; name the daemon's with --socket PATH");
        return std::nullopt;
    }
    return load_running(socket);
}

void print_json(const CheckOptions& options, const config::LoadResult& findings,
                const std::optional<DiffReport>& report, int code) {
    json::object out = report ? diff_json(*report) : json::object();
    out["old"] = control::json_text(options.diff);
    out["new"] = control::json_text(options.file);
    out["exit_code"] = code;
    out["problems"] = control::json_of(findings.problems);
    std::fputs((json::serialize(out) + "\n").c_str(), stdout);
}

}  // namespace

int run_diff(const CheckOptions& options) {
    const config::LoadResult present = config::load(options.file, config::process_environment());
    const std::optional<config::LoadResult> old = load_old(options, present);
    if (!old) {
        return kExitUnreachable;
    }
    config::LoadResult findings;  // of both; warnings are for a check of one
    findings.problems = old->problems;
    findings.problems.insert(findings.problems.end(), present.problems.begin(),
                             present.problems.end());
    std::optional<DiffReport> report;
    int code = control::kExitConfig;
    if (findings.ok()) {
        report = compare(old->config, present.config);
        const bool is_different = !report->difference.is_empty();
        code = options.with_exit_code && is_different ? control::kExitFailure : control::kExitOk;
    }
    if (options.as_json) {
        print_json(options, findings, report, code);
        return code;
    }
    print_findings(findings, stdout);
    if (report) {
        std::fputs(diff_text(*report).c_str(), stdout);
    }
    return code;
}

}  // namespace s3gate::app
