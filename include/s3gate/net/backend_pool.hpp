// Connections to backends: opened with the options of docs/architecture.md, "Retry", parked after a
// clean exchange, lent LIFO. One pool per worker; connections never change threads. A parked
// connection with any event is closed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "s3gate/base/address.hpp"
#include "s3gate/net/stream.hpp"
#include "s3gate/net/task.hpp"

namespace s3gate::net {

class BackendPool;

class BackendConnection final : public StreamObserver {
  public:
    BackendConnection(Reactor& reactor, BackendPool& pool, std::uint32_t slot)
        : stream(reactor), slot_(slot), pool_(pool) {}
    Stream stream;
    std::uint32_t slot() const { return slot_; }
    std::uint32_t requests = 0;      // exchanges that began on it
    std::uint64_t last_used_ms = 0;  // reactor clock
    // The PROXY protocol header that it began with; empty for none. Such a connection may only be
    // lent to requests whose connection would begin with the same one.
    std::string preamble;

  private:
    friend class BackendPool;
    void on_stream_event() override;
    std::uint32_t slot_;
    BackendPool& pool_;
};

using BackendLease = std::unique_ptr<BackendConnection>;

class BackendPool {
  public:
    explicit BackendPool(Reactor& reactor) : reactor_(reactor) {}
    ~BackendPool();

    // A parked connection to this slot that has been silent since, or null. `fresh_within_ms` > 0:
    // only a connection used within that time (writes, docs/architecture.md, "Reuse of pooled
    // connections").
    BackendLease take(std::uint32_t slot, std::uint64_t fresh_within_ms);
    // The same among the connections that began with this preamble.
    BackendLease take_own(std::uint32_t slot, std::uint64_t fresh_within_ms,
                          std::string_view preamble);
    // Parks a connection after an exchange that ended exactly at its last byte. Closes the oldest
    // one beyond `limit`, and closes the new one if it is not silent.
    void park(BackendLease connection, std::size_t limit, Tick idle_timeout);
    // Closes the parked connections of a slot, whose backend was taken down or left the
    // configuration.
    void drop(std::uint32_t slot);
    void drop_all();
    std::size_t parked() const { return parked_; }
    // Connections closed because the backend sent bytes that belong to no answer. A plain end does
    // not count.
    std::uint64_t unasked() const { return unasked_; }

    // Limit on this worker's parked connections: a quarter of RLIMIT_NOFILE, divided by the
    // workers.
    void set_total_limit(std::size_t limit) { total_limit_ = limit; }

  private:
    friend class BackendConnection;
    using Parked = std::vector<BackendLease>;  // of one slot, the latest last
    void remove(BackendConnection& connection);
    void note_unasked(BackendConnection& connection);
    bool is_fresh(const BackendConnection& connection, std::uint64_t within_ms) const;
    BackendLease take_last(Parked& parked, bool is_for_write);
    Parked& place_of(const BackendConnection& connection);
    Reactor& reactor_;
    std::vector<Parked> parked_by_slot_;
    std::vector<Parked> own_by_slot_;  // those with a preamble
    std::size_t parked_ = 0;
    std::size_t total_limit_ = 1024;
    std::uint64_t unasked_ = 0;
};

// TCP_USER_TIMEOUT of backend connections (docs/architecture.md, "Retry").
inline constexpr base::Duration kBackendUserTimeout{10000};
void set_user_timeout(int descriptor, base::Duration limit);

enum class ConnectEnd : std::uint8_t {
    connected,
    refused,
    unreachable,  // the network said that there is no way to the host
    timed_out,
    no_descriptor,
    interrupted,
};

// Opens a TCP connection: TCP_NODELAY, keepalive 5/2/3, TCP_USER_TIMEOUT 10 s.
task<ConnectEnd> connect_backend(BackendConnection& connection, const base::SocketAddress& address,
                                 Tick timeout);

}  // namespace s3gate::net
