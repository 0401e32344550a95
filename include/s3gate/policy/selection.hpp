// Selects the server of a group for a request, and one of its addresses. The daemon, `s3gate route`
// and the tests use this one rule. Pure: a view (SelectableGroup) gives the group's configuration
// and current state. A selection claims nothing. The caller takes the room and the trial of a
// marked backend, and selects again if another request was faster.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <optional>
#include <ranges>
#include <span>
#include <vector>

#include "s3gate/config/model.hpp"
#include "s3gate/policy/balance.hpp"
#include "s3gate/policy/ketama_ring.hpp"

namespace s3gate::policy {

// The view of a group. `server` is the index of a configured server, also on the ring. `address` is
// the index of a resolved address; a server's addresses are adjacent. A small value, copied.
template <class Group>
concept SelectableGroup = std::copyable<Group> && requires(const Group& group, std::uint32_t server,
                                                           std::uint32_t address) {
    // Configuration.
    { group.method() } -> std::same_as<config::BalanceMethod>;
    { group.when_all_down() } -> std::same_as<config::AllDown>;
    { group.ring() } -> std::same_as<const KetamaRing&>;  // empty unless the method is ketama
    { group.address_count() } -> std::same_as<std::size_t>;
    { group.addresses_of(server) } -> std::ranges::random_access_range;  // empty = not resolved
    { group.server_of(address) } -> std::same_as<std::uint32_t>;
    { group.weight_of(server) } -> std::same_as<unsigned>;
    { group.is_backup(server) } -> std::same_as<bool>;
    // Current state.
    // Down or drained, by the configuration or by an operator: this request must not go there.
    { group.is_out(address) } -> std::same_as<bool>;
    { group.is_well(address) } -> std::same_as<bool>;  // up by the checks and not marked
    // Called for an address that is not well. True if it may serve nevertheless: it is up and only
    // marked, or its last check passed.
    { group.may_be_recovering(address) } -> std::same_as<bool>;
    { group.has_room(server) } -> std::same_as<bool>;  // below max_connections
    { group.in_flight(address) } -> std::convertible_to<std::int64_t>;
    { group.share_of(address) } -> std::same_as<unsigned>;  // of its weight: see slow_start_share()
    // The caller's round robin state, one per address.
    { group.weights() } -> std::same_as<std::span<SmoothWeight>>;
    { group.random() } -> std::same_as<std::uint64_t>;  // any 64 bits
};

// Memory of a selection. The caller keeps it between requests, so a request allocates nothing.
struct SelectionMemory {
    std::vector<std::uint8_t> tried;  // by address
    std::vector<Candidate> candidates;
};

struct Selected {
    enum class Result : std::uint8_t {
        found,
        full,  // usable servers exist, but none has room
        none,  // no usable server exists
    };
    Result result = Result::none;
    bool is_by_key = false;     // found on the ring by the request's key
    std::uint32_t address = 0;  // the selected one
};

// Whether the request's earlier attempts sent any byte. After `something`, health is ignored only
// if no server is well.
enum class Sent : std::uint8_t { nothing, something };

// The selections of one request, over all its attempts.
template <SelectableGroup Group>
class Selection {
  public:
    // `key`: CRC32 of the request's key; nullopt = none. Only this selection uses `memory`, which
    // outlives it.
    Selection(const Group& group, std::optional<std::uint32_t> key, SelectionMemory& memory)
        : group_(group), key_(key), memory_(memory) {
        memory_.tried.assign(group_.address_count(), 0);
    }

    // The next address. It stays the next until note_tried().
    Selected select(Sent sent);
    // An address of this server, whose room the request already has; nullopt if none may be used.
    std::optional<std::uint32_t> select_at(std::uint32_t server, Sent sent);
    // Excludes the address from further selections: the request goes to it.
    void note_tried(std::uint32_t address) { memory_.tried[address] = 1; }
    // Restarts the walk at the key's own point: servers without room may have some now.
    void restart_walk() { walk_.reset(); }
    // If every usable server was tried, servers that may be recovering are usable from now on.
    void admit_recovering() {
        admits_recovering_ = admits_recovering_ || !has_usable(Health::asked);
    }

    // True if a server is left to select, with or without room.
    bool has_left(Sent sent) const { return health_for(sent).has_value(); }
    // True if a server with room is left.
    bool has_left_with_room(Sent sent) const;

  private:
    // Whether checks and marks count.
    enum class Health : std::uint8_t { asked, ignored };

    bool is_usable(std::uint32_t address, Health health) const {
        if (memory_.tried[address] != 0 || group_.is_out(address)) {
            return false;
        }
        return health == Health::ignored || group_.is_well(address) ||
               (admits_recovering_ && group_.may_be_recovering(address));
    }
    bool is_open(std::uint32_t address, Health health) const {
        return is_usable(address, health) && group_.has_room(group_.server_of(address));
    }
    auto addresses() const {
        const auto count = static_cast<std::uint32_t>(group_.address_count());
        return std::views::iota(std::uint32_t{0}, count);
    }
    bool has_usable(Health health) const {
        return std::ranges::any_of(
            addresses(), [&](std::uint32_t address) { return is_usable(address, health); });
    }
    bool has_usable_of(std::uint32_t server, Health health) const {
        return std::ranges::any_of(group_.addresses_of(server), [&](std::uint32_t address) {
            return is_usable(address, health);
        });
    }
    bool may_ignore_health(Sent sent) const;
    // How to treat health for the servers that are left; nullopt = none is left.
    std::optional<Health> health_for(Sent sent) const;
    // An address of the server that the key's own point belongs to, if the walk has not begun and
    // the server may be used. What by_key() would find, without a look at other servers.
    std::optional<std::uint32_t> at_home();
    std::optional<std::uint32_t> by_key(Health health);
    std::optional<std::uint32_t> walk_on(RingWalk& walk, Health health);
    std::optional<std::uint32_t> by_turn(Health health);
    std::uint32_t address_of(std::uint32_t server, Health health);

    Group group_;
    std::optional<std::uint32_t> key_;
    SelectionMemory& memory_;
    std::optional<RingWalk> walk_;  // continues from attempt to attempt
    bool admits_recovering_ = false;
};

template <SelectableGroup Group>
Selected Selection<Group>::select(Sent sent) {
    // Nearly every request ends here.
    if (const auto address = at_home()) {
        return {Selected::Result::found, true, *address};
    }
    const std::optional<Health> health = health_for(sent);
    if (!health) {
        return {};
    }
    if (*health == Health::ignored && walk_) {
        walk_->tries = 0;  // servers that were skipped for their health get another look
    }
    // Servers without room are skipped but count as usable: a full group does not make the
    // selection ignore health.
    if (const auto address = by_key(*health)) {
        return {Selected::Result::found, true, *address};
    }
    if (const auto address = by_turn(*health)) {
        return {Selected::Result::found, false, *address};
    }
    return {Selected::Result::full};
}

template <SelectableGroup Group>
std::optional<std::uint32_t> Selection<Group>::select_at(std::uint32_t server, Sent sent) {
    const std::optional<Health> health = health_for(sent);
    if (!health || !has_usable_of(server, *health)) {
        return std::nullopt;
    }
    return address_of(server, *health);
}

template <SelectableGroup Group>
bool Selection<Group>::has_left_with_room(Sent sent) const {
    const std::optional<Health> health = health_for(sent);
    return health && std::ranges::any_of(addresses(), [&](std::uint32_t address) {
               return is_open(address, *health);
           });
}

// Health is ignored if it leaves no server, or if all servers that it leaves were tried without a
// byte sent.
template <SelectableGroup Group>
bool Selection<Group>::may_ignore_health(Sent sent) const {
    if (group_.when_all_down() != config::AllDown::try_anyway) {
        return false;
    }
    return sent == Sent::nothing || std::ranges::none_of(addresses(), [&](std::uint32_t address) {
               return !group_.is_out(address) && group_.is_well(address);
           });
}

// A check that fails on all servers at once must not take the storage offline
// (docs/architecture.md).
template <SelectableGroup Group>
auto Selection<Group>::health_for(Sent sent) const -> std::optional<Health> {
    if (has_usable(Health::asked)) {
        return Health::asked;
    }
    if (may_ignore_health(sent) && has_usable(Health::ignored)) {
        return Health::ignored;
    }
    return std::nullopt;
}

template <SelectableGroup Group>
std::optional<std::uint32_t> Selection<Group>::by_key(Health health) {
    const KetamaRing& ring = group_.ring();
    if (!key_ || ring.empty()) {
        return std::nullopt;
    }
    if (!walk_) {
        walk_ = start_walk(ring, *key_);
    }
    return walk_on(*walk_, health);
}

template <SelectableGroup Group>
std::optional<std::uint32_t> Selection<Group>::at_home() {
    if (!key_ || walk_ || group_.ring().empty()) {
        return std::nullopt;
    }
    const RingWalk start = start_walk(group_.ring(), *key_);
    RingWalk one_point{start.index, kMaxUnusablePoints};
    const auto address = walk_on(one_point, Health::asked);
    if (address) {
        walk_ = start;
    }
    return address;
}

template <SelectableGroup Group>
std::optional<std::uint32_t> Selection<Group>::walk_on(RingWalk& walk, Health health) {
    const auto server = walk_to_usable(group_.ring(), walk, [&](std::uint32_t candidate) {
        return group_.has_room(candidate) && has_usable_of(candidate, health);
    });
    if (!server) {
        return std::nullopt;
    }
    return address_of(*server, health);
}

// Primaries first; backups only if no primary is usable.
template <SelectableGroup Group>
std::optional<std::uint32_t> Selection<Group>::by_turn(Health health) {
    const bool is_least_conn = group_.method() == config::BalanceMethod::least_conn;
    std::vector<Candidate>& candidates = memory_.candidates;
    for (const bool backups : {false, true}) {
        candidates.clear();
        for (const std::uint32_t address : addresses()) {
            const std::uint32_t server = group_.server_of(address);
            if (group_.is_backup(server) == backups && is_open(address, health)) {
                candidates.push_back({address, group_.weight_of(server) * group_.share_of(address),
                                      is_least_conn ? group_.in_flight(address) : 0});
            }
        }
        const auto picked = is_least_conn
                                ? pick_least_conn(candidates, group_.weights(), group_.random())
                                : pick_round_robin(candidates, group_.weights());
        if (picked) {
            return picked;
        }
    }
    return std::nullopt;
}

// A name with several addresses is one server; its addresses take turns.
template <SelectableGroup Group>
std::uint32_t Selection<Group>::address_of(std::uint32_t server, Health health) {
    const auto all = group_.addresses_of(server);
    if (all.size() == 1) {
        return all.front();
    }
    std::vector<Candidate>& candidates = memory_.candidates;
    candidates.clear();
    for (const std::uint32_t address : all) {
        if (is_usable(address, health)) {
            candidates.push_back({address, 1, 0});
        }
    }
    if (candidates.size() == 1) {
        return candidates.front().peer;
    }
    // No candidate is left if a check took the last address down since the walk; the first one is
    // tried then.
    return pick_round_robin(candidates, group_.weights()).value_or(all.front());
}

}  // namespace s3gate::policy
