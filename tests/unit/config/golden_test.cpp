// Pairs in tests/data/config: NAME.yaml is a configuration, NAME.expected the exact list of
// load()'s messages about it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "s3gate/config/load.hpp"

namespace s3gate::config {
namespace {

namespace fs = std::filesystem;

const fs::path kData = fs::path(S3GATE_TEST_DATA) / "config";

std::vector<std::string> golden_names() {
    std::vector<std::string> out;
    for (const auto& entry : fs::recursive_directory_iterator(kData)) {
        if (entry.path().extension() == ".expected") {
            out.push_back(fs::relative(entry.path(), kData).replace_extension().string());
        }
    }
    std::ranges::sort(out);
    return out;
}

std::optional<std::string> golden_environment(const std::string& name) {
    return name == "LEVEL" ? std::optional<std::string>("info") : std::nullopt;
}

std::string without_prefix(std::string text) {
    const std::string prefix = kData.string() + "/";
    for (std::size_t at = text.find(prefix); at != std::string::npos; at = text.find(prefix, at)) {
        text.erase(at, prefix.size());
    }
    return text;
}

// yaml-cpp names the anchor since 0.8 (Debian 13); 0.7 (Debian 12) does not.
std::string without_anchor(std::string text) {
    const std::string words = "the referenced anchor is not defined";
    const std::size_t at = text.find(words);
    return at == std::string::npos ? text : text.substr(0, at + words.size());
}

std::vector<std::string> lines_of(const fs::path& file) {
    std::ifstream in(file);
    std::vector<std::string> out;
    for (std::string line; std::getline(in, line);) {
        out.push_back(line);
    }
    return out;
}

class Golden : public testing::TestWithParam<std::string> {};

TEST_P(Golden, HasExactlyTheseProblems) {
    const LoadResult result = load((kData / (GetParam() + ".yaml")).string(), golden_environment);
    std::vector<std::string> found;
    for (const Problem& problem : result.problems) {
        found.push_back(without_anchor(without_prefix("problem: " + problem.to_string())));
    }
    for (const Problem& warning : result.warnings) {
        found.push_back(without_prefix("warning: " + warning.to_string()));
    }
    EXPECT_THAT(found, testing::ElementsAreArray(lines_of(kData / (GetParam() + ".expected"))));
}

INSTANTIATE_TEST_SUITE_P(Config, Golden, testing::ValuesIn(golden_names()), [](const auto& golden) {
    std::string name = golden.param;
    std::ranges::replace_if(name, [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
    return name;
});

TEST(GoldenFiles, EveryYamlAtTheTopHasItsPair) {
    for (const auto& entry : fs::directory_iterator(kData)) {
        if (entry.path().extension() == ".yaml") {
            EXPECT_TRUE(fs::exists(fs::path(entry.path()).replace_extension(".expected")))
                << entry.path();
        }
    }
    EXPECT_GE(golden_names().size(), 60U);
}

}  // namespace
}  // namespace s3gate::config
