// The files shipped with the program: the sample configuration loads without a message, and
// docs/config.md has every key.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "config_page.hpp"
#include "keys.hpp"
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

// The dump of the samples with one line of one of them changed.
std::string dump_with(const fs::path& file, const std::string& text) {
    TempFiles files;
    for (const auto& entry : fs::recursive_directory_iterator(kSource / "config")) {
        if (entry.path().extension() == ".yaml") {
            files.write(fs::relative(entry.path(), kSource / "config").string(),
                        entry.path() == file ? text : read_all(entry.path()));
        }
    }
    const LoadResult result = load(files.path("s3gate.yaml"), no_environment);
    return result.ok() ? dump(result.config) : "problems:\n" + all_messages(result);
}

// True for a line that sets a key or is a list item. "#key:" is a disabled line, "# text" is prose.
// A key whose value is a block below it promises nothing by itself.
bool is_entry(const std::string& line) {
    static const std::regex entry(R"(\s*#?([a-z_]+: *[^ #]|- ).*)");
    return std::regex_match(line, entry);
}

// "Left out has the default shown here": enabling or disabling an unmarked line changes nothing. A
// marked line does change the configuration; otherwise its mark is wrong.
TEST(ShippedFiles, ShowDefaultsWhereTheyDoNotSayAnExample) {
    std::size_t seen = 0;
    for (const auto& entry : fs::recursive_directory_iterator(kSource / "config")) {
        if (entry.path().extension() != ".yaml") {
            continue;
        }
        const std::string text = read_all(entry.path());
        EXPECT_NE(text.find("A key that is left out has the default shown here"), text.npos)
            << entry.path();
        const std::string as_shipped = dump_with(entry.path(), text);
        std::vector<std::string> lines;
        std::istringstream in(text);
        for (std::string line; std::getline(in, line);) {
            lines.push_back(line);
        }
        for (std::size_t i = 0; i < lines.size(); ++i) {
            if (!is_entry(lines[i])) {
                continue;
            }
            ++seen;
            const std::size_t hash = lines[i].find_first_not_of(' ');
            std::string changed;
            for (std::size_t at = 0; at < lines.size(); ++at) {
                if (at != i) {
                    changed += lines[at] + "\n";
                } else if (lines[i][hash] == '#') {
                    changed += lines[i].substr(0, hash) + lines[i].substr(hash + 1) + "\n";
                }
            }
            const std::string dumped = dump_with(entry.path(), changed);
            if (lines[i].find("# an example") == std::string::npos) {
                EXPECT_EQ(dumped, as_shipped) << entry.path() << ": " << lines[i];
            } else {
                EXPECT_NE(dumped, as_shipped) << entry.path() << ": " << lines[i];
                // A sample line must work when an operator enables it.
                EXPECT_TRUE(lines[i][hash] != '#' || !dumped.starts_with("problems:"))
                    << entry.path() << ": " << lines[i] << "\n"
                    << dumped;
            }
        }
    }
    EXPECT_GE(seen, 45U);
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

TEST(ConfigReference, HasTheTablesThatTheRowsMake) {
    const std::string text = read_all(kSource / "docs/config.md");
    EXPECT_EQ(text, with_tables(text))
        << "cmake --build --preset dev --target config-page writes the tables anew";
}

// A mark with a repeated key, or a key in two tables, would describe it twice.
TEST(ConfigReference, DescribesEveryKeyOnce) {
    std::size_t rows = 0;
    std::istringstream lines(read_all(kSource / "docs/config.md"));
    for (std::string line; std::getline(lines, line);) {
        rows += line.starts_with("| `") ? 1 : 0;
    }
    EXPECT_EQ(rows, known_keys().size());
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
