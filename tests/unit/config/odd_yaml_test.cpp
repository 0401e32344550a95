// load() returns a result for any file content: broken, cut and mutated texts.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <string>

#include "s3gate/config/load.hpp"
#include "temp_files.hpp"

namespace s3gate::config {
namespace {

std::string sample_site() {
    std::ifstream in(std::filesystem::path(S3GATE_SOURCE_DIR) /
                     "config/sites/cluster01-minio.yaml");
    std::ostringstream out;
    out << in.rdbuf();
    return out.str();
}

class OddYaml : public testing::Test {
  protected:
    // A problem must name its place; otherwise the operator cannot find it.
    void load_odd(const std::string& text) {
        files_.write("main.yaml", "include: [site.yaml]\n");
        files_.write("site.yaml", text);
        const LoadResult result = load(files_.path("main.yaml"), no_environment);
        for (const Problem& problem : result.problems) {
            EXPECT_FALSE(problem.where.file.empty()) << problem.to_string();
            EXPECT_FALSE(problem.message.empty()) << problem.to_string();
        }
        if (result.ok()) {
            EXPECT_FALSE(result.config.sites.empty());
            EXPECT_NE(summary(result.config), "");
        }
    }

    TempFiles files_;
};

TEST_F(OddYaml, SurvivesEveryPrefixOfAGoodFile) {
    const std::string text = sample_site();
    ASSERT_GT(text.size(), 1000U);
    for (std::size_t size = 0; size < text.size(); ++size) {
        load_odd(text.substr(0, size));
    }
}

TEST_F(OddYaml, SurvivesRandomMutations) {
    constexpr std::string_view kMarks = "{}[]:,-#&*!|>'\"%@`?~ \n\t$.0a\\\xff";
    const std::string good = sample_site();
    std::mt19937 random(20240229);
    for (int round = 0; round < 2000; ++round) {
        std::string text = good;
        for (std::size_t changes = 1 + random() % 6; changes > 0; --changes) {
            const std::size_t at = random() % text.size();
            const char mark = kMarks[random() % kMarks.size()];
            switch (random() % 3) {
                case 0:
                    text[at] = mark;
                    break;
                case 1:
                    text.insert(at, 1, mark);
                    break;
                default:
                    text.erase(at, 1 + random() % 20);
                    break;
            }
        }
        load_odd(text);
    }
}

TEST_F(OddYaml, SurvivesDeepAndWideShapes) {
    for (const std::string part :
         {"[", "{", "- ", "? ", "a: ", "&a ", "*a ", "!!map ", "{a: ", "[[{", "'", "\"", "|\n"}) {
        std::string text;
        while (text.size() < 20'000) {
            text += part;
        }
        load_odd(text);
        load_odd("name: " + text);
        load_odd("health: {reject_headers: " + text);
    }
}

TEST_F(OddYaml, SurvivesEveryKindOfNodeUnderEveryKey) {
    for (const std::string key :
         {"name", "enabled", "type", "listen", "balance", "backends", "health", "passive",
          "resolve", "retry", "timeouts", "limits", "forwarded", "headers", "upgrade",
          "expect_empty_body", "status", "session_header", "when_all_down"}) {
        for (const std::string value :
             {"", "~", "[]", "{}", "[~]", "[[]]", "[{}]", "{~: ~}", "{[]: []}", "''", "x", "-1",
              "99999999999999999999", "\"\\0\"", "&a [*a]", "!!binary aGk="}) {
            load_odd(key + ": " + value + "\n");
            if (key != "backends") {
                load_odd("backends:\n  servers: " + value + "\n  keepalive: " + value + "\n" + key +
                         ": " + value + "\n");
            }
        }
    }
}

}  // namespace
}  // namespace s3gate::config
