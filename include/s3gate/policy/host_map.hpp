// Which of the sites that share an address serves a host. Built with a generation, immutable
// afterwards, read by any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace s3gate::policy {

class HostMap {
  public:
    // `pattern` is as base::canonical_host_pattern() makes it. The first site of a pattern keeps
    // it.
    void add(std::string_view pattern, std::uint32_t site);
    // The site for a valid Host field. An exact name beats every wildcard, and a longer wildcard a
    // shorter one. nullopt: no pattern fits. Allocates nothing.
    std::optional<std::uint32_t> find(std::string_view host) const;
    bool empty() const { return exact_.empty() && below_.empty(); }

  private:
    struct Hash {
        using is_transparent = void;
        std::size_t operator()(std::string_view text) const {
            return std::hash<std::string_view>()(text);
        }
    };
    using Sites = std::unordered_map<std::string, std::uint32_t, Hash, std::equal_to<>>;

    Sites exact_;
    Sites below_;  // by the name behind "*."
};

}  // namespace s3gate::policy
