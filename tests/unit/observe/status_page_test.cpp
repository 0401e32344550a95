#include "s3gate/observe/status_page.hpp"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace s3gate::observe {
namespace {

state::ServerStatus server(std::string_view address, bool is_usable, bool is_backup = false) {
    state::ServerStatus status;
    status.text = "a-name:9000";
    status.is_backup = is_backup;
    status.addresses.push_back({.address = address, .is_usable = is_usable});
    return status;
}

state::GroupStatus group(std::string_view name, bool has_checks,
                         std::vector<state::ServerStatus> servers) {
    state::GroupStatus status;
    status.name = name;
    status.has_checks = has_checks;
    status.servers = std::move(servers);
    return status;
}

// Each group has its own site.
state::ClusterStatus cluster(std::vector<state::GroupStatus> groups) {
    state::ClusterStatus status;
    for (state::GroupStatus& each : groups) {
        status.sites.emplace_back().groups.push_back(std::move(each));
    }
    return status;
}

TEST(StatusPage, IsTheLibrarysTextByteForByte) {
    const state::ClusterStatus status = cluster({
        group("backend_cluster01-minio-xunku-in", true,
              {server("172.29.110.1:9000", true), server("172.29.110.2:9000", false),
               server("172.29.110.3:9000", true)}),
        group("backend_console01-minio-xunku-in", false, {server("172.29.110.1:9001", true)}),
    });
    EXPECT_EQ(status_text(status),
              "Upstream backend_cluster01-minio-xunku-in\n"
              "    Primary Peers\n"
              "        172.29.110.1:9000 UP\n"
              "        172.29.110.2:9000 DOWN\n"
              "        172.29.110.3:9000 UP\n"
              "    Backup Peers\n"
              "\n"
              "Upstream backend_console01-minio-xunku-in (NO checkers)\n"
              "    Primary Peers\n"
              "        172.29.110.1:9001 UP\n"
              "    Backup Peers\n"
              "\n");
}

TEST(StatusPage, BackupsStandBelowTheirHeadingInConfigurationOrder) {
    const state::ClusterStatus status =
        cluster({group("g", true,
                       {server("[::1]:1", false, true), server("1.1.1.1:2", true),
                        server("1.1.1.1:3", true, true)})});
    EXPECT_EQ(status_text(status),
              "Upstream g\n"
              "    Primary Peers\n"
              "        1.1.1.1:2 UP\n"
              "    Backup Peers\n"
              "        [::1]:1 DOWN\n"
              "        1.1.1.1:3 UP\n"
              "\n");
}

TEST(StatusPage, EveryAddressOfAServerAndTheTextOfOneWithout) {
    state::ServerStatus several = server("1.1.1.1:2", true);
    several.addresses.push_back({.address = "1.1.1.2:2", .is_usable = false});
    state::ServerStatus unresolved = server("", true);
    unresolved.addresses.clear();
    EXPECT_EQ(status_text(cluster({group("g", true, {several, unresolved})})),
              "Upstream g\n"
              "    Primary Peers\n"
              "        1.1.1.1:2 UP\n"
              "        1.1.1.2:2 DOWN\n"
              "        a-name:9000 DOWN\n"
              "    Backup Peers\n"
              "\n");
}

TEST(StatusPage, NothingConfiguredIsTheNewlineOfNgxSay) {
    EXPECT_EQ(status_text({}), "\n");
}

}  // namespace
}  // namespace s3gate::observe
