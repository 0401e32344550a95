// What an operator reads before a reload.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "diff_report.hpp"

namespace s3gate::app {
namespace {

using config::Change;
using config::KeyChange;
using policy::KeyMoves;

KeyChange key(const std::string& name, const std::string& before, const std::string& after) {
    KeyChange out;
    out.key = name;
    out.before = before;
    out.after = after;
    return out;
}

config::Site make_site(const std::string& name) {
    config::Site site;
    site.name = name;
    site.backends.name = name + "-group";
    return site;
}

TEST(DiffText, SaysThatNothingDiffers) {
    EXPECT_EQ(diff_text({}), "no differences\n");
}

TEST(DiffText, HasALineForEachChange) {
    const config::Site old = make_site("s");
    const config::Site present = make_site("s");
    const config::Site gone = make_site("gone");
    const config::Site added = make_site("new");
    DiffReport report;
    report.difference.keys = {key("log.level", "info", "debug"), key("workers", "auto", "4")};
    report.difference.keys[1].needs_restart = true;
    report.difference.are_sites_reordered = true;

    config::SiteChange site;
    site.before = &old;
    site.after = &present;
    site.keys = {key("retry.max_tries", "3", "4"), {}};
    site.keys[1].key = "balance.salt";
    site.keys[1].is_secret = true;
    site.added_addresses = {"0.0.0.0:9001"};
    site.removed_addresses = {"0.0.0.0:9000"};
    site.servers = {
        {"n1:1", Change::changed, {key("weight", "1", "2"), key("down", "false", "true")}},
        {"n2:1", Change::added, {}},
        {"n3:1", Change::removed, {}}};
    site.are_servers_reordered = true;
    config::SiteChange more;
    more.after = &added;
    more.keys = {key("type", "", "http"), {}};
    more.keys[0].before.reset();
    more.keys[1].key = "balance.salt";
    more.keys[1].is_secret = true;
    config::SiteChange less;
    less.before = &gone;
    report.difference.sites = {site, more, less};
    KeyMoves moves;
    moves.ties = KeyMoves::Ties::stay;
    moves.moved = policy::kAllHashes / 4;
    moves.has_other_fingerprints = true;
    moves.moved_fingerprints = 0.5;
    const config::Site quiet = make_site("quiet");
    report.groups = {{&present, moves}, {&quiet, {.ties = KeyMoves::Ties::stay}}};
    EXPECT_EQ(diff_text(report), R"(~ log.level: info -> debug
~ workers: auto -> 4 (needs a restart)
~ the order of the sites
~ site s
    + listen 0.0.0.0:9001
    - listen 0.0.0.0:9000
    ~ server n1:1: weight: 1 -> 2, down: false -> true
    + server n2:1
    - server n3:1
    ~ the order of the servers
    ~ retry.max_tries: 3 -> 4
    ~ balance.salt: changed (not shown)
    group s-group: 25.00 % of the keys move to another server
    group s-group: with the salt every fingerprint changes: 50.00 % )"
                                 R"(of the clients that it ties move to another server
+ site new
    + type: http
    + balance.salt: set (not shown)
- site gone
no key moves in 1 other group
)");
}

std::string text_of(const KeyMoves& moves) {
    const config::Site site = make_site("s");
    DiffReport report;
    config::SiteChange change;
    change.before = change.after = &site;
    change.keys = {key("a", "1", "2")};
    report.difference.sites = {change};
    report.groups = {{&site, moves}};
    const std::string out = diff_text(report);
    return out.substr(out.find("group s-group: ") + 15);
}

TEST(DiffText, SaysWhatBecomesOfTheKeys) {
    KeyMoves moves;
    moves.ties = KeyMoves::Ties::stay;
    EXPECT_EQ(text_of(moves), "no key moves\n");
    moves.moved = 1;
    EXPECT_EQ(text_of(moves), "less than 0.01 % of the keys move to another server\n");
    moves.moved = policy::kAllHashes - 1;
    EXPECT_EQ(text_of(moves), "more than 99.99 % of the keys move to another server\n");
    moves.moved = policy::kAllHashes;
    EXPECT_EQ(text_of(moves), "every key moves to another server\n");
    moves.moved = 0;
    moves.has_other_sources = true;
    EXPECT_EQ(text_of(moves).find("with balance.key the keys themselves change"), 0U);
    moves.ties = KeyMoves::Ties::end;
    EXPECT_EQ(text_of(moves).find("no key ties"), 0U);
    moves.ties = KeyMoves::Ties::begin;
    EXPECT_EQ(text_of(moves).find("from now on"), 0U);
}

}  // namespace
}  // namespace s3gate::app
