#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>

#include "check_report.hpp"
#include "commands.hpp"
#include "host_checks.hpp"
#include "s3gate/control/server.hpp"
#include "s3gate/policy/ring_digest.hpp"
#include "unit_view.hpp"

namespace s3gate::app {
namespace {

// The unit to judge by: the named one, else the installed one. The installed one counts only if it
// runs this file or root asks; a developer's check of another file is not about the service.
std::optional<UnitView> unit_for(const CheckOptions& options) {
    if (!options.unit.empty()) {
        return read_unit(options.unit);
    }
    std::optional<UnitView> unit = installed_unit();
    std::error_code ignored;
    if (unit && ::geteuid() != 0 &&
        !std::filesystem::equivalent(unit->config_file, options.file, ignored)) {
        return std::nullopt;
    }
    return unit;
}

void print_summary(const config::Config& config) {
    std::fputs(config::summary(config).c_str(), stdout);
    std::printf("ring digest %s\n", policy::ring_digest(config).c_str());
    if (config.sites.size() > 1) {
        for (const config::Site& site : config.sites) {
            std::printf("  %s  %s\n", policy::ring_digest(site).c_str(), site.name.c_str());
        }
    }
}

}  // namespace

int run_check(const CheckOptions& options) {
    const std::optional<UnitView> unit = unit_for(options);
    if (!unit && !options.unit.empty()) {
        complain("the unit " + options.unit + " cannot be read");
        return control::kExitFailure;
    }
    config::LoadResult result = config::load(options.file, config::process_environment());
    if (result.ok()) {
        check_host(result, unit);
    }
    const bool is_refused = options.is_strict && !result.warnings.empty();
    const int code = result.ok() && !is_refused ? control::kExitOk : control::kExitConfig;
    if (options.as_json) {
        std::fputs(to_json(result, options.file, code).c_str(), stdout);
        return code;
    }
    // The dump on stdout must be loadable, so the findings go to stderr.
    print_findings(result, options.with_dump ? stderr : stdout);
    if (result.ok()) {
        if (options.with_dump) {
            std::fputs(config::dump(result.config).c_str(), stdout);
        } else {
            print_summary(result.config);
        }
    }
    if (result.ok() && is_refused) {
        complain("there are warnings, and --strict does not allow any");
    }
    return code;
}

}  // namespace s3gate::app
