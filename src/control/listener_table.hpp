// The listening sockets of the process by address. A generation that keeps an address keeps its
// sockets, so its clients do not notice a reload. Once workers accept from them, the service
// manager keeps copies for the process that follows a crash. Control thread.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "inherited_sockets.hpp"
#include "s3gate/base/clock.hpp"
#include "s3gate/control/socket_store.hpp"
#include "s3gate/proxy/listener.hpp"
#include "s3gate/proxy/publication.hpp"
#include "s3gate/state/snapshot.hpp"

namespace s3gate::control {

class ListenerTable {
  public:
    // Each listener for clients gets one socket for each of `workers`. `store` may be null, and
    // outlives the table.
    ListenerTable(std::size_t workers, SocketStore* store) : workers_(workers), store_(store) {}
    ListenerTable(const ListenerTable&) = delete;
    ListenerTable& operator=(const ListenerTable&) = delete;

    using Listeners = std::vector<std::shared_ptr<proxy::Listener>>;

    // Sentences for the operator, one for each address.
    struct Findings {
        std::vector<std::string> problems;
        std::vector<std::string> warnings;
    };

    // For the first generation: sockets of a process that ended without a stop, or of the one
    // before in an upgrade. Then new sockets do not listen before listen().
    void inherit(InheritedSockets sockets, Heritage heritage) {
        inherited_ = std::move(sockets);
        listens_ = heritage == Heritage::crash;
    }
    // The kernel accepts clients from now on. Throws std::system_error.
    void listen();
    // Sockets that no published listener has any more and that close soon, here or in an earlier
    // process.
    std::vector<BoundSocket> closing() const;
    // Inherited sockets that no published listener uses, as InheritedSockets::unused() has them.
    const std::set<std::string>& unused() const { return unused_; }
    struct Provided {
        std::vector<proxy::Listening> clients;
        Listeners admin;
    };
    // Listeners for the addresses of a snapshot. Open and inherited ones are used again. The others
    // are opened unless `findings` has problems, old or new. An address is left out with a warning
    // if this host lacks its family. New sockets close when the result is dropped without use().
    Provided provide(const state::Snapshot& snapshot, Findings& findings);
    // Keeps these listeners, which are published, for later generations.
    void use(const Listeners& listeners);
    // Removes all other listeners from the table and from the store, and returns them: whoever
    // accepts from a socket still has to close it.
    Listeners take_unused(const Listeners& listeners);
    // Removes the listeners with these names (listener_name()) as take_unused() does.
    Listeners take_named(const std::set<std::string>& names);
    // Removes all listeners from the table. Their sockets stay in the store: a successor has them.
    Listeners take_all();
    // Makes `user` the owner of all sockets that exist. Sockets of one address must have one owner
    // (socket(7), SO_REUSEPORT), also those that this process or a successor opens without root.
    void give_to(uid_t user) const;
    // Gives the sockets of all used listeners to the store. Call it when workers accept from them:
    // clients in the queue of a socket that nobody reads would wait for ever.
    void keep();
    // Copies of the sockets of all used listeners, with the names that the store has for them.
    // Throws std::system_error without a descriptor.
    std::vector<PassedSocket> copies() const;
    // Takes all sockets out of the store. Call it before they close, for the same reason.
    void release();

    // On all sockets for clients, also on those that stay bound during a trial.
    void refuse_handshakes() const;

    // "0.0.0.0:9000 (s3), …": every address with the name of its default site.
    static std::string describe(const proxy::Publication& publication);
    // "127.0.0.1:9180, …"; empty without any.
    static std::string describe(const Listeners& admin);

  private:
    struct Living {
        std::weak_ptr<proxy::Listener> listener;
        std::vector<std::uint64_t> inodes;  // of its sockets
    };
    // The reason why the daemon cannot listen on a new address.
    struct Obstacle {
        std::string problem;  // empty: nothing
        bool is_no_ipv6 = false;
    };
    // An address of a snapshot that this host can listen on.
    struct Wanted {
        const state::ListenAddress* address;
        std::string owner;        // for the operator
        std::uint32_t index = 0;  // in Snapshot::addresses, if it is there
        std::shared_ptr<proxy::Listener> listener;
    };
    static std::vector<Wanted> addresses_of(const state::Snapshot& snapshot);
    // Listens on the addresses that have no listener, on all of them or none.
    void open(std::vector<Wanted>& wanted, Findings& findings);
    Obstacle obstacle_of(const state::ListenAddress& address) const;
    // Inodes of our own sockets that share connections with such a one.
    std::vector<std::uint64_t> overlapping_sockets(const state::ListenAddress& address) const;
    // Call it before a worker knows the listener.
    static Living living_of(const std::shared_ptr<proxy::Listener>& listener);
    void remember_inherited();
    // Sockets that this process was started with, as long as an earlier one may have them open.
    std::span<const BoundSocket> earlier() const;
    void keep(const proxy::Listener& listener);
    void release(const proxy::Listener& listener);
    std::uint32_t free_index();

    std::size_t workers_;
    SocketStore* store_;
    InheritedSockets inherited_;
    std::set<std::string> unused_;
    std::vector<BoundSocket> earlier_;
    base::TimePoint earlier_until_;
    bool listens_ = true;
    std::set<std::string> kept_;                                    // names of sockets in the store
    std::map<std::string, std::shared_ptr<proxy::Listener>> open_;  // by identity
    // All listeners that still exist, by index, also those that are closing. A worker may close its
    // socket of one at any time.
    std::vector<Living> living_;
};

}  // namespace s3gate::control
