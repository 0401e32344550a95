// From files to the model: defaults, values of every key, ranges, variables, includes, and the
// summary.
#include "s3gate/config/load.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>
#include <vector>

#include "temp_files.hpp"

namespace s3gate::config {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::string> messages(const std::vector<Problem>& problems) {
    std::vector<std::string> out;
    for (const Problem& problem : problems) {
        out.push_back(problem.key + ": " + problem.message);
    }
    return out;
}

std::vector<std::string> texts(const std::vector<Server>& servers) {
    std::vector<std::string> out;
    for (const Server& server : servers) {
        out.push_back(server.text);
    }
    return out;
}

std::vector<std::string> texts(const std::vector<base::Cidr>& blocks) {
    std::vector<std::string> out;
    for (const base::Cidr& block : blocks) {
        out.push_back(block.to_string());
    }
    return out;
}

Site site_of(const std::string& more, const Environment& environment = no_environment) {
    const LoadResult result = load_site(more, environment);
    EXPECT_THAT(messages(result.problems), IsEmpty());
    return result.config.sites.empty() ? Site{} : result.config.sites.front();
}

std::vector<std::string> expand(const std::string& server) {
    return texts(site_of("backends: {servers: [\"" + server + "\", spare:1]}").backends.servers);
}

TEST(Load, LeavesEveryDefaultOfTheModel) {
    const LoadResult result = load_main("log: {}\n");
    ASSERT_THAT(messages(result.problems), IsEmpty());
    const Config& config = result.config;
    const Config defaults;
    EXPECT_EQ(config.workers, defaults.workers);
    EXPECT_EQ(config.log.target, "stderr");
    EXPECT_EQ(config.access_log.target, "off");
    EXPECT_FALSE(config.access_log.access_key);
    EXPECT_FALSE(config.admin.enabled);
    EXPECT_EQ(config.admin.socket, "auto");
    EXPECT_THAT(config.admin.operators, IsEmpty());
    EXPECT_EQ(config.shutdown_timeout, seconds{30});
    ASSERT_EQ(config.sites.size(), 1U);
    const Site& site = config.sites.front();
    EXPECT_EQ(site.backends.name, "a");  // the site's name
    EXPECT_EQ(site.balance.method, BalanceMethod::ketama);
    EXPECT_EQ(site.balance.key, Balance{}.key);
    EXPECT_TRUE(site.health.enabled);
    EXPECT_EQ(site.health.expect_status, (std::vector<StatusRange>{{200, 200}}));
    EXPECT_EQ(site.health.reject_headers, Health{}.reject_headers);
    EXPECT_TRUE(site.retry.on.http_503);
    EXPECT_FALSE(site.status.enabled);
    EXPECT_EQ(site.session_header, "");
    EXPECT_EQ(site.when_all_down, AllDown::try_anyway);
    EXPECT_EQ(site.client_half_close, HalfClose::cut);
    EXPECT_FALSE(site.retry.unanswered_writes);
    // A reader that works between two reads, or a writer between two writes, is ordinary.
    EXPECT_EQ(site.timeouts.client_body, seconds{60});
    EXPECT_EQ(site.timeouts.client_write, seconds{60});
    EXPECT_EQ(site.timeouts.backend_stream, hours{1});
}

TEST(Load, TakesEveryValueOfTheMainFile) {
    const LoadResult result = load_main(R"(
workers: 3
cpu_affinity: auto
log: {level: warn, target: /var/log/s3gate.log}
access_log: {target: stdout, access_key: on}
admin: {listen: ["127.0.0.1:9180"], allow: [10.0.0.0/8], socket: /run/ctl.sock}
limits: {connections: 1000, pipes: 64, replay_memory: 1GiB}
shutdown_timeout: 0
upgrade_timeout: 5m
user: s3gate
)");
    ASSERT_THAT(messages(result.problems), IsEmpty());
    const Config& config = result.config;
    EXPECT_EQ(config.workers, 3U);
    EXPECT_TRUE(config.cpu_affinity);
    EXPECT_EQ(config.log.level, LogLevel::warn);
    EXPECT_EQ(config.log.target, "/var/log/s3gate.log");
    EXPECT_EQ(config.access_log.target, "stdout");
    EXPECT_TRUE(config.access_log.access_key);
    EXPECT_TRUE(config.admin.enabled);
    ASSERT_EQ(config.admin.listen.size(), 1U);
    EXPECT_EQ(config.admin.listen[0].address.port(), 9180);
    EXPECT_THAT(texts(config.admin.allow), ElementsAre("10.0.0.0/8"));
    EXPECT_EQ(config.admin.socket, "/run/ctl.sock");
    EXPECT_EQ(config.limits.connections, 1000U);
    EXPECT_EQ(config.limits.pipes, 64U);
    EXPECT_EQ(config.limits.replay_memory, 1024 * kMiB);
    EXPECT_EQ(config.shutdown_timeout, seconds{0});
    EXPECT_EQ(config.upgrade_timeout, minutes{5});
    EXPECT_EQ(config.user, "s3gate");
}

TEST(Load, ReadsASiteKeyByKey) {
    const Site servers = site_of(R"(
type: http
backends:
  name: group
  servers:
    - {address: "n{1...2}:9000", weight: 7, down: on, drained: true}
    - n3
    - "[2001:db8::1]:81"
  keepalive: off
  idle_timeout: 250ms
)");
    EXPECT_EQ(servers.type, SiteType::http);
    EXPECT_FALSE(servers.health.enabled);
    EXPECT_EQ(servers.backends.name, "group");
    EXPECT_EQ(servers.backends.keepalive, 0U);
    EXPECT_EQ(servers.backends.idle_timeout, milliseconds{250});
    const auto& list = servers.backends.servers;
    ASSERT_EQ(list.size(), 4U);
    EXPECT_EQ(list[1].text, "n2:9000");
    EXPECT_EQ(list[1].host, "n2");
    EXPECT_EQ(list[1].port, 9000);
    EXPECT_EQ(list[1].weight, 7U);
    EXPECT_TRUE(list[1].down);
    EXPECT_TRUE(list[1].drained);
    EXPECT_FALSE(list[1].backup);
    EXPECT_EQ(list[2].text, "n3");  // the ring hashes the written text, not the address
    EXPECT_EQ(list[2].port, 80);
    EXPECT_EQ(list[3].text, "[2001:db8::1]:81");
    EXPECT_EQ(list[3].host, "2001:db8::1");
    EXPECT_EQ(list[3].where.line, 11);

    const Site health = site_of(R"(
health: {path: "/live?x=1", method: HEAD, host: "h:1", port: 9000, interval: 5s, timeout: 2s,
         fall: 1, rise: 2, expect_status: [200, 300-399], reject_headers: {X-Bad: "*"},
         concurrency: 5}
passive: {max_fails: 9, fail_timeout: 1h}
resolve: {interval: 200ms, timeout: 1m}
)");
    EXPECT_EQ(health.health.path, "/live?x=1");
    EXPECT_EQ(health.health.method, "HEAD");
    EXPECT_EQ(health.health.host, "h:1");
    EXPECT_EQ(health.health.port, 9000);
    EXPECT_EQ(health.health.interval, seconds{5});
    EXPECT_EQ(health.health.timeout, seconds{2});
    EXPECT_EQ(health.health.fall, 1U);
    EXPECT_EQ(health.health.rise, 2U);
    EXPECT_THAT(health.health.expect_status,
                ElementsAre(StatusRange{200, 200}, StatusRange{300, 399}));
    EXPECT_THAT(health.health.reject_headers, ElementsAre(testing::Pair("X-Bad", "*")));
    EXPECT_EQ(health.health.concurrency, 5U);
    EXPECT_EQ(health.passive.max_fails, 9U);
    EXPECT_EQ(health.passive.fail_timeout, hours{1});
    EXPECT_EQ(health.resolve.interval, milliseconds{200});
    EXPECT_EQ(health.resolve.timeout, minutes{1});

    const Site requests = site_of(R"(
retry: {on: [error, 504], max_tries: 1, max_time: 2s, replay_buffer: 100, unanswered_writes: true}
timeouts: {connect: 1s, client_head: 2s, client_idle: 3s, client_body: 4s, client_write: 5s,
           backend_head: 6s, backend_body: 7s, backend_stream: 9s, tunnel_idle: 8s}
limits: {head: 64KiB, response_head: 32KiB, connections: 12}
forwarded: {mode: append, trusted: [10.0.0.0/8]}
upgrade: true
expect_empty_body: close
client_half_close: serve
status: {path: /s/, allow: ["::1"]}
session_header: X-Key
when_all_down: refuse
)");
    EXPECT_TRUE(requests.retry.on.error);
    EXPECT_TRUE(requests.retry.on.http_504);
    EXPECT_FALSE(requests.retry.on.timeout);
    EXPECT_FALSE(requests.retry.on.http_500);
    EXPECT_FALSE(requests.retry.on.http_502);
    EXPECT_FALSE(requests.retry.on.http_503);
    EXPECT_EQ(requests.retry.max_tries, 1U);
    EXPECT_EQ(requests.retry.max_time, seconds{2});
    EXPECT_EQ(requests.retry.replay_buffer, 100U);
    EXPECT_EQ(requests.timeouts.connect, seconds{1});
    EXPECT_EQ(requests.timeouts.client_head, seconds{2});
    EXPECT_EQ(requests.timeouts.client_idle, seconds{3});
    EXPECT_EQ(requests.timeouts.client_body, seconds{4});
    EXPECT_EQ(requests.timeouts.client_write, seconds{5});
    EXPECT_EQ(requests.timeouts.backend_head, seconds{6});
    EXPECT_EQ(requests.timeouts.backend_body, seconds{7});
    EXPECT_EQ(requests.timeouts.tunnel_idle, seconds{8});
    EXPECT_EQ(requests.timeouts.backend_stream, seconds{9});
    EXPECT_TRUE(requests.retry.unanswered_writes);
    EXPECT_EQ(requests.limits.head, 64 * kKiB);
    EXPECT_EQ(requests.limits.response_head, 32 * kKiB);
    EXPECT_EQ(requests.limits.connections, 12U);
    EXPECT_EQ(requests.forwarded.mode, ForwardedMode::append);
    EXPECT_THAT(texts(requests.forwarded.trusted), ElementsAre("10.0.0.0/8"));
    EXPECT_TRUE(requests.upgrade);
    EXPECT_EQ(requests.expect_empty_body, EmptyExpect::close);
    EXPECT_EQ(requests.client_half_close, HalfClose::serve);
    EXPECT_EQ(requests.status.path, "/s/");
    EXPECT_EQ(requests.status.allow.size(), 1U);
    EXPECT_EQ(requests.session_header, "X-Key");
    EXPECT_EQ(requests.when_all_down, AllDown::refuse);
}

TEST(Load, ReadsKeySources) {
    const LoadResult result = load_main(
        "sites: [{name: a, listen: [\"127.0.0.1:0\"], backends: {servers: [n1, n2]}, "
        "balance: {key: [\"cookie:SID\", \"header:X-User\", uploadid]}}]\n");
    ASSERT_EQ(result.config.sites.size(), 1U);
    EXPECT_THAT(result.config.sites[0].balance.key,
                ElementsAre(KeySource{KeySource::Kind::cookie, "SID"},
                            KeySource{KeySource::Kind::header, "X-User"},
                            KeySource{KeySource::Kind::uploadid, {}}));
}

TEST(Load, SwitchesSectionsOff) {
    // YAML 1.1 tools write `off` as false.
    for (const std::string off : {"off", "false", "no"}) {
        const Site site = site_of("health: " + off + "\npassive: " + off + "\nresolve: " + off +
                                  "\nstatus: " + off + "\nsession_header: " + off +
                                  "\nlimits: {connections: " + off + "}\n");
        EXPECT_FALSE(site.health.enabled);
        EXPECT_FALSE(site.passive.enabled);
        EXPECT_FALSE(site.resolve.enabled);
        EXPECT_FALSE(site.status.enabled);
        EXPECT_EQ(site.session_header, "");
        const LoadResult main = load_main("admin: " + off + "\naccess_log: {target: " + off +
                                          "}\ncpu_affinity: " + off + "\n");
        EXPECT_THAT(messages(main.problems), IsEmpty());
        EXPECT_FALSE(main.config.admin.enabled);
        EXPECT_EQ(main.config.access_log.target, "off");
        EXPECT_FALSE(main.config.cpu_affinity);
    }
}

TEST(Load, ChecksHealthOfPlainSitesOnlyWhenWritten) {
    EXPECT_FALSE(site_of("type: http\n").health.enabled);
    EXPECT_TRUE(site_of("type: http\nhealth: {}\n").health.enabled);
}

TEST(Load, GivesStatusAndAdminTheLoopbackByDefault) {
    EXPECT_THAT(texts(site_of("status: {}\n").status.allow), ElementsAre("127.0.0.0/8", "::1/128"));
    const LoadResult main = load_main("admin: {listen: [\"127.0.0.1:1\"]}\n");
    EXPECT_THAT(texts(main.config.admin.allow), ElementsAre("127.0.0.0/8", "::1/128"));
}

TEST(Load, TakesTheSocketOfTheAdminAlone) {
    for (const std::string off : {"off", "false", "no"}) {
        const LoadResult main = load_main("admin: {socket: " + off + "}\n");
        EXPECT_THAT(messages(main.problems), IsEmpty());
        EXPECT_EQ(main.config.admin.socket, "off");
    }
    const LoadResult main = load_main("admin: {operators: [alice, \"1000\", 33]}\n");
    EXPECT_THAT(messages(main.problems), IsEmpty());
    EXPECT_EQ(main.config.admin.socket, "auto");
    EXPECT_THAT(main.config.admin.operators, ElementsAre("alice", "1000", "33"));
}

std::string socket_of(const std::string& socket, std::optional<std::string> runtime_directory) {
    Admin admin;
    admin.socket = socket;
    return control_socket(admin, [&](const std::string& name) -> std::optional<std::string> {
        return name == "RUNTIME_DIRECTORY" ? runtime_directory : std::nullopt;
    });
}

TEST(ControlSocket, IsWhereSystemdGivesAFolder) {
    EXPECT_EQ(socket_of("auto", "/run/s3gate"), "/run/s3gate/ctl.sock");
    EXPECT_EQ(socket_of("auto", "/run/a:/run/b"), "/run/a/ctl.sock");
    EXPECT_EQ(socket_of("auto", std::nullopt), "");
    EXPECT_EQ(socket_of("auto", ""), "");
    EXPECT_EQ(socket_of("auto", "relative"), "");
}

TEST(ControlSocket, IsWhereTheConfigurationSays) {
    EXPECT_EQ(socket_of("/x/y.sock", "/run/s3gate"), "/x/y.sock");
    EXPECT_EQ(socket_of("/x/y.sock", std::nullopt), "/x/y.sock");
    EXPECT_EQ(socket_of("off", "/run/s3gate"), "");
}

TEST(Ranges, ExpandInOrderAndMultiply) {
    EXPECT_THAT(expand("n{1...3}:9000"), ElementsAre("n1:9000", "n2:9000", "n3:9000", "spare:1"));
    EXPECT_THAT(expand("a{1...2}-b{8...10}"),
                ElementsAre("a1-b8", "a1-b9", "a1-b10", "a2-b8", "a2-b9", "a2-b10", "spare:1"));
    EXPECT_THAT(expand("n{08...11}"), ElementsAre("n08", "n09", "n10", "n11", "spare:1"));
    EXPECT_THAT(expand("n{001...2}"), ElementsAre("n001", "n002", "spare:1"));
    EXPECT_THAT(expand("n{5...5}"), ElementsAre("n5", "spare:1"));
    EXPECT_THAT(expand("n{0...1}"), ElementsAre("n0", "n1", "spare:1"));
}

TEST(Ranges, StopAtTheLimitExactly) {
    EXPECT_THAT(messages(load_site("backends: {servers: [\"n{1...1024}:9000\"]}").problems),
                IsEmpty());
    EXPECT_THAT(messages(load_site("backends: {servers: [\"n{1...1025}:9000\"]}").problems),
                ElementsAre(HasSubstr("too large")));
    EXPECT_THAT(messages(load_site("backends: {servers: [\"n{1...1024}:9000\", one]}").problems),
                ElementsAre(HasSubstr("has 1025 servers")));
}

TEST(Variables, AreReplacedInEveryValue) {
    const Environment environment = [](const std::string& name) -> std::optional<std::string> {
        if (name == "HOST") {
            return "node";
        }
        if (name == "PORT") {
            return "9000";
        }
        return name == "SECRET" ? std::optional<std::string>("${HOST}") : std::nullopt;
    };
    const Site site =
        site_of("backends: {servers: [\"${HOST}{1...2}:${PORT}\"]}\nhealth: {port: \"${PORT}\"}\n",
                environment);
    EXPECT_THAT(texts(site.backends.servers), ElementsAre("node1:9000", "node2:9000"));
    EXPECT_EQ(site.health.port, 9000);
    const auto salt = [&](const std::string& text) {
        const LoadResult result =
            load_main("sites: [{name: a, listen: [\"127.0.0.1:0\"], balance: {salt: '" + text +
                          "'}, backends: {servers: [n1, n2]}}]\n",
                      environment);
        return result.config.sites.at(0).balance.salt;
    };
    EXPECT_EQ(salt("a${SECRET}b"), "a${HOST}b");  // a variable's value is not scanned again
    EXPECT_EQ(salt("$${HOST}"), "${HOST}");
    EXPECT_EQ(salt("a$b$$c$"), "a$b$$c$");
}

TEST(Variables, ComeFromTheProcessWhenAsked) {
    ::setenv("S3GATE_CONFIG_TEST", "x", 1);
    EXPECT_EQ(process_environment()("S3GATE_CONFIG_TEST"), "x");
    ::unsetenv("S3GATE_CONFIG_TEST");
    EXPECT_EQ(process_environment()("S3GATE_CONFIG_TEST"), std::nullopt);
}

TEST(Durations, KnowTheirUnits) {
    EXPECT_EQ(site_of("timeouts: {connect: 250ms}").timeouts.connect, milliseconds{250});
    EXPECT_EQ(site_of("timeouts: {connect: 3s}").timeouts.connect, seconds{3});
    EXPECT_EQ(site_of("timeouts: {connect: 5m}").timeouts.connect, minutes{5});
    EXPECT_EQ(site_of("timeouts: {connect: 24h}").timeouts.connect, hours{24});
}

TEST(Load, LimitsOfClientsAndServers) {
    const Site site = site_of(R"(limits:
  per_client: 20
  requests_per_client: {rate: 600/m, burst: 50})");
    EXPECT_EQ(site.limits.per_client, 20U);
    EXPECT_EQ(site.limits.requests_per_client, (RequestRate{600, std::chrono::minutes{1}, 50}));
    EXPECT_EQ(site_of("limits: {requests_per_client: 7/s}").limits.requests_per_client,
              (RequestRate{7, seconds{1}, 7}));
    EXPECT_EQ(site_of("limits: {requests_per_client: {rate: 7/s}}").limits.requests_per_client,
              (RequestRate{7, seconds{1}, 7}));
    const Site off = site_of("limits: {per_client: off, requests_per_client: off}");
    EXPECT_EQ(off.limits.per_client, 0U);
    EXPECT_EQ(off.limits.requests_per_client, RequestRate{});
}

TEST(Sizes, KnowTheirUnits) {
    EXPECT_EQ(site_of("limits: {head: 5000}").limits.head, 5000U);
    EXPECT_EQ(site_of("limits: {head: 4KiB}").limits.head, 4 * kKiB);
    EXPECT_EQ(site_of("limits: {head: 1MiB}").limits.head, kMiB);
    EXPECT_EQ(site_of("retry: {replay_buffer: off}").retry.replay_buffer, 0U);
}

TEST(Includes, AreRelativeToTheFileAndSortedBytewise) {
    const TempFiles files;
    files.write("etc[1]/main.yaml", "include: [\"sites/*.yaml\", more/x.yaml]\n");
    for (const std::string name : {"b", "a", "Z", "10", "9"}) {
        files.write("etc[1]/sites/" + name + ".yaml", site_text(name));
    }
    files.write("etc[1]/sites/.hidden.yaml", "not: read\n");
    files.write("etc[1]/sites/old.yaml~", "not: read\n");
    files.write("etc[1]/more/x.yaml", site_text("x"));
    const LoadResult result = load(files.path("etc[1]/main.yaml"), no_environment);
    ASSERT_THAT(messages(result.problems), IsEmpty());
    std::vector<std::string> names;
    for (const Site& site : result.config.sites) {
        names.push_back(site.name);
    }
    EXPECT_THAT(names, ElementsAre("10", "9", "Z", "a", "b", "x"));
    EXPECT_EQ(result.config.sites[0].where.file, files.path("etc[1]/sites/10.yaml"));
}

TEST(Includes, ReadALinkedFileOnce) {
    const TempFiles files;
    files.write("main.yaml", "include: [\"*.site\"]\n");
    files.write("a.site", site_text("a"));
    std::filesystem::create_symlink(files.path("a.site"), files.path("b.site"));
    const LoadResult result = load(files.path("main.yaml"), no_environment);
    EXPECT_THAT(messages(result.problems), IsEmpty());
    EXPECT_EQ(result.config.sites.size(), 1U);
    EXPECT_THAT(messages(result.warnings),
                testing::Contains(HasSubstr("included already")).Times(1));
}

TEST(Includes, NeverHangOnAPipe) {
    const TempFiles files;
    files.write("main.yaml", "include: [pipe]\n");
    ASSERT_EQ(::mkfifo(files.path("pipe").c_str(), 0600), 0);
    EXPECT_THAT(messages(load(files.path("main.yaml"), no_environment).problems),
                ElementsAre(HasSubstr("not a regular file")));
}

TEST(Includes, ReportADirectoryThatCannotBeSearched) {
    const TempFiles files;
    files.write("main.yaml", "include: [loop/*.yaml]\n");
    std::filesystem::create_directory_symlink(files.path("loop"), files.path("loop"));
    EXPECT_THAT(messages(load(files.path("main.yaml"), no_environment).problems),
                ElementsAre(HasSubstr("include[0]: cannot search " + files.path("loop"))));
}

TEST(Load, ReportsAMainFileThatIsNotThere) {
    const TempFiles files;
    const LoadResult result = load(files.path("none.yaml"), no_environment);
    ASSERT_EQ(result.problems.size(), 1U);
    EXPECT_EQ(result.problems[0].to_string(),
              files.path("none.yaml") + ": cannot be read: No such file or directory");
    EXPECT_FALSE(load(files.path("."), no_environment).ok());
}

TEST(Load, RefusesAFileOfMoreThanAMebibyte) {
    EXPECT_THAT(messages(load_main("#" + std::string(kMiB, 'x')).problems),
                ElementsAre(HasSubstr("larger than 1 MiB")));
}

TEST(Load, LeavesDisabledSitesOutAndTheirAddressesFree) {
    const TempFiles files;
    files.write("main.yaml", "include: [a.yaml, b.yaml]\n");
    files.write(
        "a.yaml",
        "name: a\nenabled: false\nlisten: [\"127.0.0.1:9000\"]\nbackends: {servers: [n1, n2]}\n");
    files.write("b.yaml", "name: a\nlisten: [\"127.0.0.1:9000\"]\nbackends: {servers: [n1, n2]}\n");
    const LoadResult result = load(files.path("main.yaml"), no_environment);
    EXPECT_THAT(messages(result.problems), IsEmpty());
    ASSERT_EQ(result.config.sites.size(), 1U);
    EXPECT_EQ(result.config.sites[0].where.file, files.path("b.yaml"));
}

TEST(Load, MakesPathsAbsolute) {
    const TempFiles files;
    files.write(
        "main.yaml",
        "include: [a.yaml]\nlog: {target: ./s3gate.log}\naccess_log: {target: ../x/access.log}\n"
        "admin: {socket: run/ctl.sock}\n");
    files.write("a.yaml", site_text("a"));
    const LoadResult result = load(files.path("main.yaml"), no_environment);
    ASSERT_THAT(messages(result.problems), IsEmpty());
    EXPECT_EQ(result.config.log.target, files.path("s3gate.log"));
    EXPECT_EQ(result.config.access_log.target,
              (std::filesystem::path(files.path("x")).parent_path().parent_path() / "x/access.log")
                  .string());
    EXPECT_EQ(result.config.admin.socket, files.path("run/ctl.sock"));
}

TEST(Problems, PrintWhatIsKnownOfTheirPlace) {
    EXPECT_EQ((Problem{{"f", 3}, "a.b", "wrong"}).to_string(), "f:3: a.b: wrong");
    EXPECT_EQ((Problem{{"f", 0}, "a.b", "wrong"}).to_string(), "f: a.b: wrong");
    EXPECT_EQ((Problem{{"f", 3}, "", "wrong"}).to_string(), "f:3: wrong");
    EXPECT_EQ((Problem{{"", 0}, "", "wrong"}).to_string(), "wrong");
}

TEST(Validate, WorksOnAModelThatNoFileWroteToo) {
    Config config;
    Site site;
    site.name = "a";
    site.backends.name = "a";
    site.listen.push_back({*base::SocketAddress::parse("127.0.0.1:9000"), "127.0.0.1:9000", {}});
    config.sites = {site, site};
    LoadResult result;
    validate(config, result);
    EXPECT_THAT(messages(result.problems), ElementsAre(HasSubstr("backends.servers: is empty"),
                                                       HasSubstr("backends.servers: is empty"),
                                                       HasSubstr("listen: 127.0.0.1:9000 is taken"),
                                                       HasSubstr("name: another site")));
}

TEST(Validate, HasNothingToSayAboutASoundModel) {
    Config config;
    Site site;
    site.name = "a";
    site.backends.name = "a";
    site.balance.salt = "pepper";
    site.backends.servers.resize(2);
    site.backends.servers[0].text = site.backends.servers[0].host = "n1";
    site.backends.servers[1].text = site.backends.servers[1].host = "n2";
    config.sites = {site};
    LoadResult result;
    validate(config, result);
    EXPECT_THAT(messages(result.problems), IsEmpty());
    EXPECT_THAT(messages(result.warnings), IsEmpty());
    config.sites[0].backends.servers[1].text = "n1";
    validate(config, result);
    EXPECT_THAT(messages(result.problems), ElementsAre(HasSubstr("n1 is listed already")));
}

TEST(Summary, NamesWhatIsOffAndWhatIsAuto) {
    const LoadResult result = load_main(
        "limits: {connections: auto, pipes: auto}\n"
        "sites: [{name: a, listen: [\"127.0.0.1:0\"], balance: {method: round_robin}, "
        "backends: {servers: [n1, n2]}}]\n");
    ASSERT_THAT(messages(result.problems), IsEmpty());
    EXPECT_EQ(result.config.limits.connections, 0U);
    const std::string text = summary(result.config);
    EXPECT_THAT(text, HasSubstr("1 site, workers auto\n"));
    EXPECT_THAT(text, HasSubstr("admin off\n"));
    EXPECT_THAT(text, HasSubstr("balance   round_robin\n"));
}

TEST(Summary, TellsWhatAConfigurationAmountsTo) {
    const LoadResult result = load_main(R"(
workers: 2
admin: {listen: ["127.0.0.1:9180"], socket: /run/ctl.sock}
sites:
  - name: s3
    listen: ["0.0.0.0:9000", "[::]:9000"]
    balance: {salt: x, key: [sessionid, "cookie:SID", fingerprint]}
    backends:
      name: group
      servers: ["n{1...2}:9000", {address: "n3:9000", weight: 3, down: true}]
    status: {}
  - name: console
    type: http
    listen: ["0.0.0.0:9001"]
    balance: {method: least_conn}
    backends: {servers: [n1, {address: n2, backup: true}]}
    passive: off
)");
    ASSERT_THAT(messages(result.problems), IsEmpty());
    const std::string text = summary(result.config);
    EXPECT_EQ(
        text.substr(text.find('\n') + 1),
        "log stderr, access log off, admin 127.0.0.1:9180 for 127.0.0.0/8, ::1/128, /run/ctl.sock\n"
        "site s3 (s3)\n"
        "  listen    0.0.0.0:9000, [::]:9000\n"
        "  balance   ketama by sessionid, cookie:SID, fingerprint; 800 ring points\n"
        "  backends  group: 3 servers\n"
        "            n1:9000\n"
        "            n2:9000\n"
        "            n3:9000 weight 3 down\n"
        "  health    GET /minio/health/ready every 3s, timeout 1s, fall 3, rise 3\n"
        "  passive   3 failures within 30s\n"
        "  status    /upstream/health/ for 127.0.0.0/8, ::1/128\n"
        "site console (http)\n"
        "  listen    0.0.0.0:9001\n"
        "  balance   least_conn\n"
        "  backends  console: 2 servers\n"
        "            n1\n"
        "            n2 backup\n"
        "  health    off\n"
        "  passive   off\n");
    EXPECT_THAT(text, HasSubstr("main.yaml: 2 sites, workers 2\n"));
}

TEST(OnAndOff, OnIsTheSectionWithItsDefaults) {
    const LoadResult result = load_site(
        "type: http\nhealth: on\npassive: Yes\nresolve: on\nstatus: on\nsession_header: on\n"
        "retry: {on: on, replay_buffer: on}\n"
        "backends: {servers: [\"n1:1\", \"n2:1\"], keepalive: on, queue: true}\n");
    ASSERT_TRUE(result.ok()) << result.problems.front().to_string();
    const Site& site = result.config.sites.front();
    EXPECT_TRUE(site.health.enabled);  // off by default on sites of type http
    EXPECT_EQ(site.health.path, Health().path);
    EXPECT_TRUE(site.passive.enabled);
    EXPECT_TRUE(site.resolve.enabled);
    EXPECT_EQ(site.resolve.interval, Resolve().interval);
    EXPECT_TRUE(site.status.enabled);
    EXPECT_EQ(site.status.path, "/upstream/health/");
    EXPECT_EQ(site.status.allow.size(), 2U);
    EXPECT_EQ(site.session_header, "X-Session-ID");
    EXPECT_TRUE(site.retry.on.error && site.retry.on.http_504);
    EXPECT_EQ(site.retry.replay_buffer, Retry().replay_buffer);
    EXPECT_EQ(site.backends.keepalive, 32U);
    EXPECT_EQ(site.backends.queue, 1024U);
    EXPECT_TRUE(load_main("cpu_affinity: on\n").config.cpu_affinity);
}

TEST(OnAndOff, OffKnowsNoCase) {
    const LoadResult result = load_site("health: OFF\npassive: Off\nretry: {on: Off}\n");
    ASSERT_TRUE(result.ok()) << result.problems.front().to_string();
    EXPECT_FALSE(result.config.sites.front().health.enabled);
    EXPECT_FALSE(result.config.sites.front().passive.enabled);
    EXPECT_FALSE(result.config.sites.front().retry.on.error);
}

TEST(Retry, TakesNginxNames) {
    const LoadResult result = load_site("retry: {on: [http_502, timeout]}\n");
    ASSERT_TRUE(result.ok()) << result.problems.front().to_string();
    const RetryOn& on = result.config.sites.front().retry.on;
    EXPECT_TRUE(on.http_502 && on.timeout);
    EXPECT_FALSE(on.error || on.http_500 || on.http_503 || on.http_504);
}

TEST(Log, TakesTheWordsOfSyslogAndNginx) {
    for (const auto& [word, level] : {std::pair{"warning", LogLevel::warn},
                                      {"err", LogLevel::error},
                                      {"notice", LogLevel::info},
                                      {"trace", LogLevel::debug}}) {
        const LoadResult result = load_main("log: {level: " + std::string(word) + "}\n");
        ASSERT_TRUE(result.ok()) << word;
        EXPECT_EQ(result.config.log.level, level) << word;
    }
}

std::vector<std::string> names_of(const std::vector<Site>& sites) {
    std::vector<std::string> out;
    for (const Site& site : sites) {
        out.push_back(site.name);
    }
    return out;
}

TEST(Include, WarnsOfAFileWithTheOtherEnding) {
    const TempFiles files;
    files.write("main.yaml", "workers: 1\n");
    files.write("sites/a.yaml", site_text("a"));
    files.write("sites/b.yml", site_text("b"));
    files.write("sites/c.yml~", site_text("c"));
    const LoadResult result = load(files.path("main.yaml"), no_environment);
    EXPECT_THAT(names_of(result.config.sites), ElementsAre("a"));
    EXPECT_THAT(messages(result.warnings),
                testing::Contains("include: " + files.path("sites/b.yml") +
                                  " is not read: \"sites/*.yaml\" does not match it; rename the "
                                  "file, or include \"sites/*.yml\" too"));
    EXPECT_THAT(messages(result.warnings), testing::Not(testing::Contains(HasSubstr("c.yml"))));
}

TEST(Include, DoesNotWarnOfAnEndingThatAnotherPatternTakes) {
    const TempFiles files;
    files.write("main.yaml", "include: [sites/*.yaml, sites/*.yml]\n");
    files.write("sites/a.yaml", site_text("a"));
    files.write("sites/b.yml", site_text("b"));
    const LoadResult result = load(files.path("main.yaml"), no_environment);
    EXPECT_THAT(names_of(result.config.sites), ElementsAre("a", "b"));
    EXPECT_THAT(messages(result.warnings),
                testing::Not(testing::Contains(HasSubstr("is not read"))));
}

TEST(Include, WarnsOfYamlBesideYmlAsWell) {
    const TempFiles files;
    files.write("main.yaml", "include: [sites/*.yml]\n");
    files.write("sites/a.yaml", site_text("a"));
    files.write("sites/b.yml", site_text("b"));
    EXPECT_THAT(messages(load(files.path("main.yaml"), no_environment).warnings),
                testing::Contains(HasSubstr("sites/a.yaml is not read")));
}

TEST(Include, IgnoresWhatEditorsAndPackagesLeave) {
    const TempFiles files;
    files.write("main.yaml", "include: [sites/*, sites/.*]\n");
    files.write("sites/a.yaml", site_text("a"));
    for (const std::string name :
         {"a.yaml~", "#a.yaml#", ".#a.yaml", ".a.yaml.swp", "a.yaml.bak", "a.yaml.dpkg-old",
          "a.yaml.dpkg-dist", "a.yaml.ucf-old", "a.yaml.rpmsave", "a.yaml.orig", "a.yaml.save"}) {
        files.write("sites/" + name, site_text("left-over"));
    }
    std::filesystem::create_symlink("nobody@host.4711:1", files.path("sites/.#b.yaml"));
    const LoadResult result = load(files.path("main.yaml"), no_environment);
    EXPECT_THAT(names_of(result.config.sites), ElementsAre("a"));
    // "sites/.*" matches the folder itself and its parent, which are no files.
    EXPECT_EQ(result.problems.size(), 2U);
}

TEST(Include, TakesALeftOverThatIsAskedFor) {
    const TempFiles files;
    files.write("main.yaml", "include: [\"sites/*.bak\"]\n");
    files.write("sites/a.yaml.bak", site_text("a"));
    EXPECT_THAT(names_of(load(files.path("main.yaml"), no_environment).config.sites),
                ElementsAre("a"));
}

TEST(Variables, HoldUtf8) {
    const LoadResult result = load_site("session_header: ${A}\n", [](const std::string& /*name*/) {
        return std::optional<std::string>("X-\xff");
    });
    EXPECT_THAT(messages(result.problems),
                ElementsAre("session_header: a variable in it holds bytes that are not UTF-8"));
}

// The control socket as load_admin() reads it, or the problem that leaves it in doubt.
std::string socket_in(const std::string& text) {
    const TempFiles files;
    files.write("s3gate.yaml", text);
    const LoadResult read = load_admin(files.path("s3gate.yaml"), no_environment);
    return read.ok() ? read.config.admin.socket : "? " + read.problems.front().key;
}

TEST(LoadAdmin, ReadsTheSocketOfABrokenFile) {
    EXPECT_EQ(socket_in("workers: many\nadmin: {socket: /run/b.sock}\n"), "/run/b.sock");
    EXPECT_EQ(socket_in("workers: ${GONE}\n\"admin\": {socket: /run/b.sock}\n"), "/run/b.sock");
    EXPECT_EQ(socket_in("workerz: 1\nadmin: {socket: /run/b.sock, operators: 1}\n"), "/run/b.sock");
    EXPECT_EQ(socket_in("log: [unclosed\nadmin:\n  socket: /run/b.sock\nsites: {\n"),
              "/run/b.sock");
    EXPECT_EQ(socket_in("workers: many\nadmin: {socket: off}\n"), "off");
}

TEST(LoadAdmin, ADefaultIsCertain) {
    EXPECT_EQ(socket_in("workers: many\n"), "auto");
    EXPECT_EQ(socket_in("workers: many\nadmin: off\n"), "auto");
    EXPECT_EQ(socket_in("workers: many\nadmin: {operators: [alice]}\n"), "auto");
    EXPECT_EQ(socket_in("# admin: {socket: /run/b.sock}\nlog: [unclosed\n"), "auto");
    EXPECT_EQ(socket_in("log: [unclosed\nadmin: {operators: [alice]}\n"), "auto");
}

TEST(LoadAdmin, ASocketInDoubtIsAProblem) {
    EXPECT_EQ(socket_in("admin: {socket: \"${GONE}\"}\n"), "? admin.socket");
    EXPECT_EQ(socket_in("admin: {socket: b.sock}\n"), "? admin.socket");
    EXPECT_EQ(socket_in("admin: {socket: [/run/b.sock]}\n"), "? admin.socket");
    EXPECT_EQ(socket_in("admin: ${GONE}\n"), "? admin");
    EXPECT_EQ(socket_in("admin:\nsocket: /run/b.sock\n"), "? admin");
    EXPECT_EQ(socket_in("admin: {sokcet: /run/b.sock}\n"), "? admin.sokcet");
    EXPECT_EQ(socket_in("admn: {socket: /run/b.sock}\n"), "? admn");
    EXPECT_EQ(socket_in("admin: {socket: /run/a.sock}\nadmin: {socket: /run/b.sock}\n"), "? admin");
    EXPECT_EQ(socket_in("workers: 1\nadmin: {socket: /run/b.sock\n").substr(0, 1), "?");
    EXPECT_EQ(socket_in("log: [x\n\"admin\": {socket: /run/b.sock}\n").substr(0, 1), "?");
    EXPECT_EQ(socket_in("  log: [x\n  admin: {socket: /run/b.sock}\n").substr(0, 1), "?");
    EXPECT_EQ(socket_in("log: [x\nADMIN: {}\n").substr(0, 1), "?");
    EXPECT_EQ(socket_in(""), "? ");
    EXPECT_EQ(socket_in("workers"), "? ");
}

TEST(LoadAdmin, AProblemHasTheLineOfTheFile) {
    const TempFiles files;
    files.write("s3gate.yaml", "log: [unclosed\n\nadmin: {socket: \"${GONE}\"}\n");
    const LoadResult read = load_admin(files.path("s3gate.yaml"), no_environment);
    ASSERT_FALSE(read.ok());
    EXPECT_EQ(read.problems.front().where.line, 3);
    EXPECT_FALSE(load_admin(files.path("missing.yaml"), no_environment).ok());
}

}  // namespace
}  // namespace s3gate::config
