// The text of the metrics: what is in it when everything has been counted, its bounds, and its page
// in the documentation.
#include "metrics_text.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "s3gate/state/slot_directory.hpp"

namespace s3gate::control {
namespace {

using testing::HasSubstr;
using testing::Not;

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> out;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) {
        out.push_back(line);
    }
    return out;
}

std::set<std::string> names_in(const std::string& text) {
    std::set<std::string> out;
    for (const std::string& line : lines_of(text)) {
        if (line.starts_with("# TYPE ")) {
            out.insert(line.substr(7, line.find(' ', 7) - 7));
        }
    }
    return out;
}

class MetricsTextTest : public testing::Test {
  protected:
    MetricsTextTest() {
        config::Site site;
        site.name = "a \"site\"\n\\";
        site.backends.name = "group";
        for (const char* const host : {"10.0.0.1", "10.0.0.2"}) {
            config::Server& server = site.backends.servers.emplace_back();
            server.host = host;
            server.port = 9000;
            server.text = std::string(host) + ":9000";
            server.max_connections = 5;
        }
        auto config = std::make_shared<config::Config>();
        config->sites = {site};
        facts.board = board;
        facts.snapshot = state::build_snapshot(config, {}, directory);
    }

    // 1 in every cell.
    template <class Figures>
    static void fill(Figures& figures) {
        Figures::visit(figures, [](auto, std::span<state::Counter> cells, auto) {
            for (state::Counter& cell : cells) {
                cell.store(1);
            }
        });
    }
    void count_everything() {
        board->count_buckets(3);
        ASSERT_TRUE(board->buckets()->add(facts.snapshot->sites[0].config->name, "bucket"));
        fill(*board->buckets()->find(0, {facts.snapshot->sites[0].config->name, "bucket"}));
        const state::Site& site = facts.snapshot->sites[0];
        fill(board->site_figures(0, site.cell.index));
        for (const state::GroupServer& server : site.groups[0].servers) {
            fill(board->server_figures(0, server.figures.index));
            fill(board->server_figures(1, server.figures.index));
        }
    }
    std::string text() const { return metrics_text(facts); }
    std::size_t series_with(const std::string& label) const {
        const std::vector<std::string> lines = lines_of(text());
        return static_cast<std::size_t>(std::ranges::count_if(
            lines, [&](const std::string& line) { return line.find(label) != line.npos; }));
    }

    std::shared_ptr<state::Board> board = std::make_shared<state::Board>(2);
    state::SlotDirectory directory{*board};
    MetricsFacts facts;
};

TEST_F(MetricsTextTest, SeriesOfAServerAndOfASiteAreBounded) {
    count_everything();
    EXPECT_LE(series_with("server=\"10.0.0.1:9000\""), 60u);
    EXPECT_LE(series_with("site=\""), 600u);
    EXPECT_GT(series_with("site=\""), 400u) << "everything was counted";
}

TEST_F(MetricsTextTest, WorkersAreAddedAndEarlierProcessesToo) {
    count_everything();
    const std::string name =
        "s3gate_server_attempts_total{group=\"group\",server=\"10.0.0.1:9000\",class=\"5xx\"} ";
    EXPECT_THAT(text(), HasSubstr(name + "2\n"));
    facts.others.servers[{"group", "10.0.0.1:9000"}].attempts[4] = 5;
    facts.others.servers[{"group", "gone:9000"}].attempts[4] = 7;
    facts.others.counters["retries"] = 3;
    facts.others.worker_requests = {1, 2, 3};
    EXPECT_THAT(text(), HasSubstr(name + "7\n"));
    EXPECT_THAT(text(), HasSubstr("s3gate_retries_total 3\n"));
    EXPECT_THAT(text(), HasSubstr("s3gate_worker_requests_total{worker=\"1\"} 2\n"));
    EXPECT_THAT(text(), Not(HasSubstr("gone:9000"))) << "a server that is gone has no series";
}

// A first error after many good answers must be a rise from 0 for who reads the series.
TEST_F(MetricsTextTest, AnOperationThatWasAskedForHasAllClasses) {
    EXPECT_EQ(series_with("s3gate_site_requests_total{"), 0u);
    board->site_figures(0, facts.snapshot->sites[0].cell.index)
        .requests[state::SiteTotals::request_place(2, 1)]
        .store(3);
    EXPECT_EQ(series_with("s3gate_site_requests_total{"), policy::kStatusClasses);
    EXPECT_THAT(text(), HasSubstr(R"(operation="PutObject",class="2xx"} 3)"));
    EXPECT_THAT(text(), HasSubstr(R"(operation="PutObject",class="5xx"} 0)"));
}

TEST_F(MetricsTextTest, BucketsAndAllOthers) {
    EXPECT_THAT(text(), Not(HasSubstr("bucket=\"")));
    board->count_buckets(3);
    const std::string& site = facts.snapshot->sites[0].config->name;
    const state::BucketRequest request{site, "photos", 1, 2, 3};
    state::count(*board->buckets()->find(1, request), request);
    state::count(board->site_figures(0, facts.snapshot->sites[0].cell.index).other_buckets,
                 request);
    facts.others.buckets[{site, "photos"}].requests[1] = 4;
    facts.others.buckets[{"gone", "photos"}].requests[1] = 4;
    EXPECT_THAT(text(), HasSubstr(R"(,bucket="photos",class="2xx"} 5)"));
    EXPECT_THAT(text(), HasSubstr(R"(,bucket="photos"} 3)"));
    EXPECT_THAT(text(), HasSubstr(R"(,bucket="other",class="2xx"} 1)"));
    EXPECT_THAT(text(), Not(HasSubstr("site=\"gone\"")));
}

TEST_F(MetricsTextTest, GaugesAreOfAllProcessesThatServe) {
    const state::Group& group = facts.snapshot->sites[0].groups[0];
    board->add_in_flight(1, group.peers[0].slot, 2);
    facts.others.gauges.in_flight[{"group", "10.0.0.1:9000"}] = 3;
    facts.others.gauges.parked = 4;
    EXPECT_THAT(text(), HasSubstr("s3gate_server_requests_in_flight{group=\"group\",server=\""
                                  "10.0.0.1:9000\"} 5\n"));
    EXPECT_THAT(text(), HasSubstr("s3gate_backend_connections{state=\"active\"} 5\n"));
    EXPECT_THAT(text(), HasSubstr("s3gate_backend_connections{state=\"idle\"} 4\n"));
    board->add_in_flight(1, group.peers[0].slot, -2);
}

TEST_F(MetricsTextTest, CommandsAndAlarmsHaveSeriesWhileTheyLast) {
    EXPECT_EQ(series_with("s3gate_server_override{"), 0u);
    EXPECT_EQ(series_with("s3gate_alarm{"), 0u);
    const std::uint32_t slot = facts.snapshot->sites[0].groups[0].peers[0].slot;
    board->set_override(slot, state::Override::maintained);
    facts.alarms.emplace_back().group = "group";
    facts.alarms.back().kind = "errors";
    EXPECT_THAT(text(), HasSubstr("s3gate_server_override{group=\"group\",server=\"10.0.0.1:9000\","
                                  "state=\"maintenance\"} 1\n"));
    EXPECT_THAT(text(),
                HasSubstr("s3gate_server_out{group=\"group\",server=\"10.0.0.1:9000\"} 1\n"));
    EXPECT_THAT(text(), HasSubstr("s3gate_alarm{group=\"group\",server=\"\",kind=\"errors\"} 1\n"));
    board->set_override(slot, state::Override::none);
    EXPECT_EQ(series_with("s3gate_server_override{"), 0u);
}

// Hosts whose operators commanded different things do not send the same keys to the same servers.
TEST_F(MetricsTextTest, TheRingDigestHasTheCommandsOfOperators) {
    const auto digest = [&] {
        const std::string all = text();
        const std::size_t at = all.find("s3gate_config_info{");
        return all.substr(at, all.find('}', at) - at);
    };
    const std::string before = digest();
    facts.commands[{"group", "10.0.0.1:9000"}] = "drained";
    const std::string drained = digest();
    EXPECT_NE(drained, before);
    EXPECT_THAT(drained, HasSubstr(policy::ring_digest(*facts.snapshot->config, facts.commands)));
    facts.commands.clear();
    EXPECT_EQ(digest(), before);
}

TEST_F(MetricsTextTest, AWorkerThatHangsIsLate) {
    const auto lateness = [&](const std::string& worker) {
        const std::string name = "s3gate_worker_tick_lateness_seconds{worker=\"" + worker + "\"} ";
        const std::string all = text();
        return std::stod(all.substr(all.find(name) + name.size()));
    };
    EXPECT_EQ(lateness("0"), 0) << "it has not begun";
    const std::int64_t now = base::Clock::now().time_since_epoch().count();
    board->counters(0).tick_due_ns.store(now - 7'000'000'000);
    board->counters(1).tick_due_ns.store(now + 60'000'000'000);
    board->counters(1).tick_late_ns.store(2'000'000'000);
    EXPECT_GE(lateness("0"), 7);
    EXPECT_LT(lateness("0"), 60);
    EXPECT_EQ(lateness("1"), 2);
}

TEST_F(MetricsTextTest, BucketsRiseAndEndWithTheCount) {
    const std::uint32_t cell = facts.snapshot->sites[0].groups[0].servers[0].figures.index;
    board->server_figures(0, cell).connect.observe(3'000'000);
    board->server_figures(1, cell).connect.observe(3'000'000'000);
    const std::string name =
        "s3gate_server_connect_seconds_bucket{group=\"group\",server=\""
        "10.0.0.1:9000\",le=\"";
    EXPECT_THAT(text(), HasSubstr(name + "0.001\"} 0\n"));
    EXPECT_THAT(text(), HasSubstr(name + "0.005\"} 1\n"));
    EXPECT_THAT(text(), HasSubstr(name + "+Inf\"} 2\n"));
    EXPECT_EQ(series_with("s3gate_server_connect_seconds_bucket{group=\"group\",server=\"10.0.0.1"),
              7u)
        << "one bucket for each bound, and one for all times";
}

TEST_F(MetricsTextTest, NamesAreEscaped) {
    EXPECT_THAT(text(), HasSubstr(R"(s3gate_site_connections{site="a \"site\"\n\\"} 0)"));
}

// docs/metrics.md lists every metric and nothing else, with its labels.
TEST_F(MetricsTextTest, ThePageListsEveryMetricAndItsLabels) {
    count_everything();
    std::ifstream in(S3GATE_SOURCE_DIR "/docs/metrics.md");
    const std::string page(std::istreambuf_iterator<char>(in), {});
    const std::string all = text();
    std::set<std::string> listed;
    const std::regex row(R"(\n\| `((?:s3gate|process)_\w+)` \| ([^|]*) \|)");
    for (std::sregex_iterator at(page.begin(), page.end(), row), end; at != end; ++at) {
        listed.insert((*at)[1]);
        const std::string labels = (*at)[2];
        for (const std::string& line : lines_of(all)) {
            if (!line.starts_with((*at)[1].str() + "{")) {
                continue;
            }
            const std::regex label(R"((\w+)=")");
            for (std::sregex_iterator one(line.begin(), line.end(), label); one != end; ++one) {
                EXPECT_NE(labels.find("`" + (*one)[1].str() + "`"), std::string::npos) << line;
            }
            break;
        }
    }
    EXPECT_EQ(listed, names_in(all));
}

}  // namespace
}  // namespace s3gate::control
