// Connections and request rate of each client address, over all workers, for sites that limit
// clients. One table for the process, in shards with a lock each. The lock is taken when a
// connection of such a site begins or ends, and when a request of a trusted proxy's connection has
// another client than the one before; never for another request. Entries are made on demand and
// removed when they are idle; their number is bounded. Any thread.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include "s3gate/base/address.hpp"
#include "s3gate/policy/rate_limit.hpp"
#include "s3gate/state/board.hpp"

namespace s3gate::state {

class ClientTable {
  public:
    // Limit on addresses of all sites together, over all workers.
    static constexpr std::size_t kMostEntries = 131'072;
    // Refused connections of one client that are answered at a time; further ones are closed.
    static constexpr std::uint32_t kRefusedRoom = 16;

    class Entry;

    // The outcome of enter().
    enum class Admission : std::uint8_t {
        served,
        refused,  // over the limit: the answer is a refusal
        dropped,  // far over it: closed without an answer; has no entry
    };
    struct Ticket {
        Admission admission = Admission::served;
        Entry* entry = nullptr;  // null only if dropped
    };

    // `seed` decides the shard and bucket of an address. It comes from a random source, so no
    // client can choose addresses that collide.
    explicit ClientTable(std::uint64_t seed, std::size_t most_entries = kMostEntries);
    ~ClientTable();
    ClientTable(const ClientTable&) = delete;
    ClientTable& operator=(const ClientTable&) = delete;

    // Registers a connection from `ip` at the site with that cell. At most `most` connections are
    // served at a time, 0 = any number. IPv6 addresses of one /64 are one client. When the table is
    // full, new clients of a shard share one entry and the limits of one client.
    Ticket enter(CellId site, const base::IpAddress& ip, std::uint64_t most);
    // Ends a connection; `admission` is the outcome of enter(), not dropped. `now` as in admit().
    void leave(Entry& entry, Admission admission, std::uint64_t now);
    // The entry of a client whose requests come through a trusted proxy's connection. Its rate
    // holds for them; they count for no limit on connections. End it with give_back().
    Entry& borrow(CellId site, const base::IpAddress& ip);
    // The entry stays until sweep(): the client's next request may come through another connection.
    void give_back(Entry& entry);
    // True if one more request of this client may be served now. Lock-free. `now` in nanoseconds of
    // the monotonic clock.
    static bool admit(Entry& entry, const policy::RateRule& rule, std::uint64_t now);

    // What a client of a site has used of its rate: its bucket is full at that time. For IPv6 the
    // address of the /64 of the client.
    struct Bucket {
        CellId site;
        base::IpAddress client;
        std::uint64_t full_at = 0;  // as `now` in admit()
    };
    // Those that are not full at `now`, but for the shared ones.
    std::vector<Bucket> buckets(std::uint64_t now);
    // Sets one, for a client that this table does not know yet.
    void fill(const Bucket& bucket);

    // Removes clients that have no connection, no borrower and a full bucket. Call it regularly, on
    // any thread.
    void sweep(std::uint64_t now);

    // Clients in the table, without the shared entries.
    std::size_t size() const { return size_.load(std::memory_order_relaxed); }
    // Connections that had to share an entry because the table was full, since the start.
    std::uint64_t shared() const { return shared_.load(std::memory_order_relaxed); }

  private:
    static constexpr std::size_t kShards = 64;
    static constexpr std::size_t kBuckets = 1024;  // per shard

    struct Key {
        std::uint64_t address = 0;  // an IPv4 address, or the first 64 bits of an IPv6 one
        CellId site;
        bool is_v6 = false;
        bool operator==(const Key&) const = default;
    };
    struct Shard;

    static Key key_of(CellId site, const base::IpAddress& ip);
    static base::IpAddress address_of(const Key& key);
    std::uint64_t hash_of(const Key& key) const;
    Entry* obtain(Shard& shard, std::size_t bucket, const Key& key, std::uint64_t hash);
    Shard& shard_of(std::uint64_t hash);
    static std::size_t bucket_of(std::uint64_t hash) { return hash / kShards % kBuckets; }
    void forget(Shard& shard, Entry& entry);

    std::uint64_t seed_;
    std::size_t most_entries_;
    std::atomic<std::size_t> size_{0};
    std::atomic<std::uint64_t> shared_{0};
    std::vector<Shard> shards_;
};

}  // namespace s3gate::state
