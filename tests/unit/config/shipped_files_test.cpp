// What is shipped beside the program: the sample configuration loads without a word, and
// docs/config.md knows every key.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include "s3gate/config/keys.hpp"
#include "s3gate/config/load.hpp"
#include "temp_files.hpp"

namespace s3gate::config {
namespace {

namespace fs = std::filesystem;

const fs::path kSource = S3GATE_SOURCE_DIR;

std::string read_all(const fs::path& file) {
    std::ifstream in(file);
    std::ostringstream out;
    out << in.rdbuf();
    return out.str();
}

std::string all_messages(const LoadResult& result) {
    std::string out;
    for (const auto* list : {&result.problems, &result.warnings}) {
        for (const Problem& problem : *list) {
            out += problem.to_string() + "\n";
        }
    }
    return out;
}

TEST(ShippedFiles, TheMainFileLoadsWithBothSites) {
    const LoadResult result = load((kSource / "config/s3gate.yaml").string(), no_environment);
    EXPECT_EQ(all_messages(result), "");
    EXPECT_EQ(result.config.access_log.target, "/var/log/s3gate/access.log");
    ASSERT_EQ(result.config.sites.size(), 2U);

    const Site& s3 = result.config.sites[0];
    EXPECT_EQ(s3.name, "cluster01-minio");
    EXPECT_EQ(s3.backends.name, "backend_cluster01-minio-xunku-in");
    EXPECT_EQ(s3.balance.salt, "ZRVdfTSDRTvadFAd");
    EXPECT_EQ(s3.session_header, "X-Session-ID");
    ASSERT_EQ(s3.backends.servers.size(), 6U);
    EXPECT_EQ(s3.backends.servers[5].text, "cluster01-6.minio.xunku.in:9000");
    EXPECT_TRUE(s3.status.enabled);
    EXPECT_EQ(s3.status.allow.size(), 4U);

    const Site& console = result.config.sites[1];
    EXPECT_EQ(console.type, SiteType::http);
    EXPECT_EQ(console.balance.method, BalanceMethod::least_conn);
    EXPECT_TRUE(console.upgrade);
    EXPECT_TRUE(console.health.enabled);
    EXPECT_EQ(console.health.port, 9000);
    EXPECT_THAT(console.headers_set, testing::ElementsAre(testing::Pair("X-NginX-Proxy", "true")));
}

TEST(ShippedFiles, EveryYamlOfTheSamplesLoads) {
    std::size_t seen = 0;
    for (const auto& entry : fs::recursive_directory_iterator(kSource / "config")) {
        if (entry.path().extension() != ".yaml" || entry.path().filename() == "s3gate.yaml") {
            continue;
        }
        ++seen;
        TempFiles files;
        files.write("main.yaml", "include: [\"" + entry.path().string() + "\"]\n");
        EXPECT_EQ(all_messages(load(files.path("main.yaml"), no_environment)), "") << entry.path();
    }
    EXPECT_GE(seen, 2U);
}

// The rows "| `key` |" below one heading of the reference.
std::set<std::string> documented_keys(const std::string& text, const std::string& heading) {
    std::set<std::string> out;
    std::istringstream lines(text.substr(text.find("\n" + heading + "\n") + 1));
    std::string line;
    std::getline(lines, line);
    while (std::getline(lines, line) && !line.starts_with("## ")) {
        if (line.starts_with("| `")) {
            out.insert(line.substr(3, line.find('`', 3) - 3));
        }
    }
    return out;
}

std::set<std::string> known_below(const std::string& prefix) {
    std::set<std::string> out;
    for (const std::string_view key : known_keys()) {
        if (key.starts_with(prefix)) {
            out.emplace(key.substr(prefix.size()));
        }
    }
    return out;
}

TEST(ConfigReference, HasARowForEveryKeyAndForNothingElse) {
    const std::string text = read_all(kSource / "docs/config.md");
    EXPECT_EQ(documented_keys(text, "## Main file"), known_below("main."));
    EXPECT_EQ(documented_keys(text, "## Site file"), known_below("site."));
}

TEST(ConfigReference, NamesTheKeysOfLaterReleases) {
    const std::string text = read_all(kSource / "docs/config.md");
    for (const std::string_view key : later_keys()) {
        std::string shown(key.substr(5));
        if (shown.starts_with("listen[].")) {
            shown = shown.substr(9);
        }
        EXPECT_NE(text.find("`" + shown + "`"), std::string::npos) << key;
    }
}

}  // namespace
}  // namespace s3gate::config
