#include "s3gate/observe/status_page.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace s3gate::observe {
namespace {

TEST(StatusPage, IsTheLibrarysTextByteForByte) {
    const std::vector<StatusGroup> groups = {
        {"backend_cluster01-minio-xunku-in",
         true,
         {{"172.29.110.1:9000", true, false},
          {"172.29.110.2:9000", false, false},
          {"172.29.110.3:9000", true, false}}},
        {"backend_console01-minio-xunku-in", false, {{"172.29.110.1:9001", true, false}}},
    };
    EXPECT_EQ(status_text(groups),
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
    const std::vector<StatusGroup> groups = {
        {"g",
         true,
         {{"[::1]:1", false, true}, {"1.1.1.1:2", true, false}, {"1.1.1.1:3", true, true}}}};
    EXPECT_EQ(status_text(groups),
              "Upstream g\n"
              "    Primary Peers\n"
              "        1.1.1.1:2 UP\n"
              "    Backup Peers\n"
              "        [::1]:1 DOWN\n"
              "        1.1.1.1:3 UP\n"
              "\n");
}

TEST(StatusPage, NothingConfiguredIsTheNewlineOfNgxSay) {
    EXPECT_EQ(status_text({}), "\n");
}

}  // namespace
}  // namespace s3gate::observe
