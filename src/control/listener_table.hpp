// The listening sockets of the process by address. A generation that keeps an address keeps its
// sockets, so that no client of it notices a reload. Control thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "s3gate/proxy/listener.hpp"
#include "s3gate/proxy/publication.hpp"
#include "s3gate/state/snapshot.hpp"

namespace s3gate::control {

class ListenerTable {
  public:
    // Each listener gets one socket for each of `workers`.
    explicit ListenerTable(std::size_t workers) : workers_(workers) {}
    ListenerTable(const ListenerTable&) = delete;
    ListenerTable& operator=(const ListenerTable&) = delete;

    using Listeners = std::vector<std::shared_ptr<proxy::Listener>>;

    // Sentences for the operator, one for each address.
    struct Findings {
        std::vector<std::string> problems;
        std::vector<std::string> warnings;
    };

    // Listeners for the addresses of a snapshot. Those that are open stay as they are, the others
    // are opened unless there are problems, here or before. An address of a family that this host
    // does not have is left out with a warning. New sockets end with the result where it is
    // dropped.
    std::vector<proxy::Listening> provide(const state::Snapshot& snapshot, Findings& findings);
    // They are published: later generations find them open.
    void use(const std::vector<proxy::Listening>& listening);
    // Forgets the open listeners that are none of these and returns them: each worker still has to
    // close its socket.
    Listeners take_unused(const std::vector<proxy::Listening>& listening);

    // "0.0.0.0:9000 (s3), …": every address with the name of its default site.
    static std::string describe(const proxy::Publication& publication);

  private:
    struct Living {
        std::weak_ptr<proxy::Listener> listener;
        std::vector<std::uint64_t> inodes;  // of its sockets
    };
    // What forbids to listen on an address that is not open yet.
    struct Obstacle {
        std::string problem;  // empty: nothing
        bool is_no_ipv6 = false;
    };
    Obstacle obstacle_of(const state::Address& address) const;
    // Before a worker knows the listener.
    Living living_of(const std::shared_ptr<proxy::Listener>& listener) const;
    std::uint32_t free_index();

    std::size_t workers_;
    std::map<std::string, std::shared_ptr<proxy::Listener>> open_;  // by identity
    // By index: all listeners that somebody still has, those that close too. A worker may close its
    // socket of them at any time.
    std::vector<Living> living_;
};

}  // namespace s3gate::control
