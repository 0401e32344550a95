#include <unistd.h>

#include <cstdio>
#include <string>

#include "commands.hpp"
#include "s3gate/observe/journal.hpp"

namespace s3gate::app {

void complain(const std::string& message) {
    const std::string prefix(observe::journal_prefix(STDERR_FILENO, observe::Priority::error));
    std::fprintf(stderr, "%ss3gate: %s\n", prefix.c_str(), message.c_str());
}

void print_findings(const config::LoadResult& result, std::FILE* out) {
    const auto prefix = [out](observe::Priority priority) {
        return std::string(observe::journal_prefix(::fileno(out), priority));
    };
    for (const config::Problem& problem : result.problems) {
        std::fprintf(out, "%s%s\n", prefix(observe::Priority::error).c_str(),
                     problem.to_string().c_str());
    }
    for (const config::Problem& warning : result.warnings) {
        // The word is for readers that see no priority.
        const std::string journal = prefix(observe::Priority::warning);
        std::fprintf(out, "%s%s\n", journal.empty() ? "warning: " : journal.c_str(),
                     warning.to_string().c_str());
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
