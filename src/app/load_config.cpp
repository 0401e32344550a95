#include <cstdio>

#include "commands.hpp"

namespace s3gate::app {

void print_findings(const config::LoadResult& result, std::FILE* out) {
    for (const config::Problem& problem : result.problems) {
        std::fprintf(out, "%s\n", problem.to_string().c_str());
    }
    for (const config::Problem& warning : result.warnings) {
        std::fprintf(out, "warning: %s\n", warning.to_string().c_str());
    }
}

std::shared_ptr<const config::Config> load_or_report(const std::string& file, std::FILE* out) {
    config::LoadResult result = config::load(file, config::process_environment());
    print_findings(result, out);
    if (!result.ok()) {
        return nullptr;
    }
    return std::make_shared<const config::Config>(std::move(result.config));
}

}  // namespace s3gate::app
