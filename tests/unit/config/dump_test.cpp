// `check --dump`: its output loads to the same configuration and contains every key.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <yaml-cpp/yaml.h>

#include <filesystem>
#include <map>
#include <set>
#include <string>

#include "keys.hpp"
#include "nothing_is_default.hpp"
#include "s3gate/config/load.hpp"
#include "temp_files.hpp"

namespace s3gate::config {
namespace {

namespace fs = std::filesystem;

std::string all_messages(const std::vector<Problem>& problems) {
    std::string out;
    for (const Problem& problem : problems) {
        out += problem.to_string() + "\n";
    }
    return out;
}

std::string dump_of(const std::string& text) {
    const TempFiles files;
    files.write("main.yaml", text);
    const LoadResult result = load(files.path("main.yaml"), no_environment);
    EXPECT_EQ(all_messages(result.problems), "");
    return dump(result.config);
}

// Texts of all values by their paths in known_keys().
void collect(const YAML::Node& node, const std::string& path,
             std::map<std::string, std::string>& out) {
    if (!path.empty()) {
        out[path] += YAML::Dump(node) + "\n";
    }
    if (node.IsMap() && !path.ends_with(".set") && !path.ends_with("reject_headers")) {
        for (const auto& pair : node) {
            collect(pair.second, path + (path.empty() ? "" : ".") + pair.first.as<std::string>(),
                    out);
        }
    } else if (node.IsSequence()) {
        for (const auto& item : node) {
            if (item.IsMap()) {
                collect(item, path + "[]", out);
            }
        }
    }
}

std::map<std::string, std::string> values_of(const std::string& dumped) {
    std::map<std::string, std::string> found;
    collect(YAML::Load(dumped), "", found);
    std::map<std::string, std::string> out;
    for (const auto& [path, text] : found) {
        const bool is_site = path.starts_with("sites[].");
        out[is_site ? "site." + path.substr(8) : "main." + path] = text;
    }
    return out;
}

TEST(Dump, HasEveryKeyWithTheValueInEffect) {
    const auto values = values_of(dump_of(std::string(kNothingIsDefault)));
    const auto defaults = values_of(dump_of("sites:\n  - " + [] {
        std::string site = site_text("d");
        for (std::size_t at = 0; (at = site.find('\n', at)) + 1 < site.size(); at += 5) {
            site.replace(at, 1, "\n    ");
        }
        return site;
    }()));
    // The dump has the sites in the main file, and no disabled sites.
    const std::set<std::string_view> no_value = {"main.include", "site.enabled"};
    for (const std::string_view key : known_keys()) {
        if (no_value.contains(key)) {
            continue;
        }
        const auto found = values.find(std::string(key));
        ASSERT_NE(found, values.end()) << key << " is missing in the dump";
        const auto plain = defaults.find(std::string(key));
        if (plain != defaults.end()) {
            EXPECT_NE(found->second, plain->second) << key << " has its default here";
        }
    }
}

// Compares the configuration of `file` with the one from its dump.
void expect_round_trip(const std::string& file, const Environment& environment) {
    const LoadResult first = load(file, environment);
    if (!first.ok()) {
        return;
    }
    const TempFiles files;
    files.write("main.yaml", dump(first.config));
    const LoadResult second = load(files.path("main.yaml"), no_environment);
    EXPECT_EQ(all_messages(second.problems), "") << file << "\n" << dump(first.config);
    EXPECT_LE(second.warnings.size(), first.warnings.size()) << file << "\n"
                                                             << all_messages(second.warnings);
    EXPECT_EQ(dump(second.config), dump(first.config)) << file;
    const std::string summary_of_first = summary(first.config);
    const std::string summary_of_second = summary(second.config);
    EXPECT_EQ(summary_of_second.substr(summary_of_second.find('\n')),
              summary_of_first.substr(summary_of_first.find('\n')))
        << file;
}

TEST(Dump, LoadsToTheSameConfiguration) {
    const Environment environment = [](const std::string& name) {
        return name == "LEVEL" ? std::optional<std::string>("info") : std::nullopt;
    };
    std::size_t seen = 0;
    for (const fs::path& folder :
         {fs::path(S3GATE_TEST_DATA) / "config", fs::path(S3GATE_SOURCE_DIR) / "config"}) {
        for (const auto& entry : fs::recursive_directory_iterator(folder)) {
            if (entry.path().extension() == ".yaml") {
                ++seen;
                expect_round_trip(entry.path().string(), environment);
            }
        }
    }
    EXPECT_GE(seen, 100U);
    const TempFiles files;
    files.write("main.yaml", std::string(kNothingIsDefault));
    expect_round_trip(files.path("main.yaml"), environment);
    files.write("main.yaml", "include: [site.yaml]\nlog: {target: ./relative.log}\n");
    files.write("site.yaml",
                site_text("${NAME}", "headers: {set: {X-A: \"a\\tb\"}}\ntype: http\n"));
    expect_round_trip(files.path("main.yaml"),
                      [](const std::string&) { return std::optional<std::string>("from-env"); });
}

TEST(Dump, LoadsFromItsText) {
    const std::string text = dump_of(std::string(kNothingIsDefault));
    const LoadResult result = load_dump(text, "running");
    EXPECT_EQ(all_messages(result.problems), "");
    EXPECT_EQ(dump(result.config), text);
    const LoadResult broken = load_dump(text + "\nnew_key: 1\n", "running");
    EXPECT_THAT(all_messages(broken.problems), testing::StartsWith("running:"));
    EXPECT_THAT(all_messages(broken.problems), testing::HasSubstr("new_key"));
}

TEST(Dump, KeepsTextsThatLookLikeVariables) {
    const std::string text = dump_of(std::string(kNothingIsDefault));
    const TempFiles files;
    files.write("main.yaml", text);
    const LoadResult result = load(files.path("main.yaml"), no_environment);
    ASSERT_TRUE(result.ok());
    EXPECT_EQ(result.config.sites.front().balance.salt, "s ${X} \" \\ : # é");
}

}  // namespace
}  // namespace s3gate::config
