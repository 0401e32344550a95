#include "s3gate/state/client_table.hpp"

#include <cstring>
#include <memory>
#include <utility>

namespace s3gate::state {

// The shard's lock guards everything except the bucket.
class ClientTable::Entry {
  public:
    Entry(const Key& k, std::uint64_t h) : key(k), hash(h) {}

    const Key key;
    const std::uint64_t hash;
    Entry* next = nullptr;
    std::uint32_t users = 0;  // connections and borrowers; the entry lives as long as they do
    std::uint32_t served = 0;
    std::uint32_t refused = 0;
    bool is_shared = false;
    std::atomic<std::uint64_t> arrival{0};  // policy::admit
};

// On cache lines of its own: other threads lock the neighbours at the same time.
struct alignas(64) ClientTable::Shard {
    std::mutex lock;
    // Made with the shard's first client, so a daemon without such limits has no cost.
    std::unique_ptr<std::array<Entry*, kBuckets>> buckets;
    // The shared entry of clients that find the table full.
    std::unique_ptr<Entry> overflow;
};

ClientTable::ClientTable(std::uint64_t seed, std::size_t most_entries)
    : seed_(seed), most_entries_(most_entries), shards_(kShards) {}

ClientTable::~ClientTable() {
    for (Shard& shard : shards_) {
        for (std::size_t i = 0; shard.buckets && i < kBuckets; ++i) {
            for (Entry* entry = (*shard.buckets)[i]; entry != nullptr;) {
                delete std::exchange(entry, entry->next);
            }
        }
    }
}

ClientTable::Key ClientTable::key_of(CellId site, const base::IpAddress& ip) {
    Key key;
    key.site = site;
    key.is_v6 = ip.is_v6();
    // One IPv6 host may use every address of its /64 (RFC 4291 §2.5.4).
    for (std::size_t i = 0; i < (key.is_v6 ? 8u : 4u); ++i) {
        key.address = key.address << 8 | ip.bytes()[i];
    }
    return key;
}

base::IpAddress ClientTable::address_of(const Key& key) {
    in6_addr v6{};
    in_addr v4{};
    const std::size_t count = key.is_v6 ? 8 : sizeof v4;
    for (std::size_t i = 0; i < count; ++i) {
        v6.s6_addr[i] = static_cast<std::uint8_t>(key.address >> 8 * (count - 1 - i));
    }
    std::memcpy(&v4, v6.s6_addr, sizeof v4);
    return key.is_v6 ? base::IpAddress(v6) : base::IpAddress(v4);
}

std::uint64_t ClientTable::hash_of(const Key& key) const {
    // splitmix64's finalizer, twice, with the secret in between.
    const auto mixed = [](std::uint64_t z) {
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
        return z ^ (z >> 31);
    };
    const std::uint64_t rest = std::uint64_t{key.site.epoch} << 33 |
                               std::uint64_t{key.site.index} << 1 | (key.is_v6 ? 1u : 0u);
    return mixed(mixed(key.address ^ seed_) + rest * 0x9e3779b97f4a7c15ULL + seed_);
}

ClientTable::Shard& ClientTable::shard_of(std::uint64_t hash) {
    return shards_[hash % kShards];
}

ClientTable::Entry* ClientTable::obtain(Shard& shard, std::size_t bucket, const Key& key,
                                        std::uint64_t hash) {
    if (!shard.buckets) {
        shard.buckets = std::make_unique<std::array<Entry*, kBuckets>>();
    }
    for (Entry* entry = (*shard.buckets)[bucket]; entry != nullptr; entry = entry->next) {
        if (entry->key == key) {
            return entry;
        }
    }
    if (size_.fetch_add(1, std::memory_order_relaxed) >= most_entries_) {
        size_.fetch_sub(1, std::memory_order_relaxed);
        shared_.fetch_add(1, std::memory_order_relaxed);
        if (!shard.overflow) {
            shard.overflow = std::make_unique<Entry>(Key{}, hash);  // the hash leads to this shard
            shard.overflow->is_shared = true;
        }
        return shard.overflow.get();
    }
    auto* const entry = new Entry(key, hash);
    entry->next = (*shard.buckets)[bucket];
    (*shard.buckets)[bucket] = entry;
    return entry;
}

ClientTable::Ticket ClientTable::enter(CellId site, const base::IpAddress& ip, std::uint64_t most) {
    const Key key = key_of(site, ip);
    const std::uint64_t hash = hash_of(key);
    Shard& shard = shard_of(hash);
    const std::lock_guard lock(shard.lock);
    Entry* const entry = obtain(shard, bucket_of(hash), key, hash);
    Admission admission = Admission::served;
    if (most > 0 && entry->served >= most) {
        // A refused connection may stay open for a while. It counts towards this bound only and
        // does not block the client's next connections.
        if (entry->refused >= kRefusedRoom) {
            return {Admission::dropped, nullptr};
        }
        admission = Admission::refused;
    }
    ++entry->users;
    ++(admission == Admission::served ? entry->served : entry->refused);
    return {admission, entry};
}

void ClientTable::leave(Entry& entry, Admission admission, std::uint64_t now) {
    Shard& shard = shard_of(entry.hash);
    const std::lock_guard lock(shard.lock);
    --entry.users;
    --(admission == Admission::served ? entry.served : entry.refused);
    if (entry.users == 0 && !entry.is_shared &&
        policy::is_full(entry.arrival.load(std::memory_order_relaxed), now)) {
        forget(shard, entry);
    }
}

ClientTable::Entry& ClientTable::borrow(CellId site, const base::IpAddress& ip) {
    const Key key = key_of(site, ip);
    const std::uint64_t hash = hash_of(key);
    Shard& shard = shard_of(hash);
    const std::lock_guard lock(shard.lock);
    Entry* const entry = obtain(shard, bucket_of(hash), key, hash);
    ++entry->users;
    return *entry;
}

void ClientTable::give_back(Entry& entry) {
    const std::lock_guard lock(shard_of(entry.hash).lock);
    --entry.users;
}

bool ClientTable::admit(Entry& entry, const policy::RateRule& rule, std::uint64_t now) {
    std::uint64_t arrival = entry.arrival.load(std::memory_order_relaxed);
    for (;;) {
        const auto next = policy::admit(arrival, rule, now);
        if (!next) {
            return false;
        }
        if (entry.arrival.compare_exchange_weak(arrival, *next, std::memory_order_relaxed)) {
            return true;
        }
    }
}

std::vector<ClientTable::Bucket> ClientTable::buckets(std::uint64_t now) {
    std::vector<Bucket> out;
    for (Shard& shard : shards_) {
        const std::lock_guard lock(shard.lock);
        for (std::size_t i = 0; shard.buckets && i < kBuckets; ++i) {
            for (const Entry* entry = (*shard.buckets)[i]; entry != nullptr; entry = entry->next) {
                const std::uint64_t full_at = entry->arrival.load(std::memory_order_relaxed);
                if (!policy::is_full(full_at, now)) {
                    out.push_back({entry->key.site, address_of(entry->key), full_at});
                }
            }
        }
    }
    return out;
}

void ClientTable::fill(const Bucket& bucket) {
    const Key key = key_of(bucket.site, bucket.client);
    const std::uint64_t hash = hash_of(key);
    Shard& shard = shard_of(hash);
    const std::lock_guard lock(shard.lock);
    Entry* const entry = obtain(shard, bucket_of(hash), key, hash);
    if (!entry->is_shared) {
        entry->arrival.store(bucket.full_at, std::memory_order_relaxed);
    }
}

void ClientTable::sweep(std::uint64_t now) {
    for (Shard& shard : shards_) {
        const std::lock_guard lock(shard.lock);
        for (std::size_t i = 0; shard.buckets && i < kBuckets; ++i) {
            for (Entry* entry = (*shard.buckets)[i]; entry != nullptr;) {
                Entry& present = *std::exchange(entry, entry->next);
                if (present.users == 0 &&
                    policy::is_full(present.arrival.load(std::memory_order_relaxed), now)) {
                    forget(shard, present);
                }
            }
        }
    }
}

void ClientTable::forget(Shard& shard, Entry& entry) {
    Entry** place = &(*shard.buckets)[bucket_of(entry.hash)];
    while (*place != &entry) {
        place = &(*place)->next;
    }
    *place = entry.next;
    delete &entry;
    size_.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace s3gate::state
