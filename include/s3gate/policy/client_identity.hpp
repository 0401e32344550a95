// Who the client of a request is: the source of its connection, or the address that a trusted
// source names in X-Forwarded-For (docs/behind-a-proxy.md). Pure; no allocation; any thread.
#pragma once

#include <string_view>
#include <vector>

#include "s3gate/base/address.hpp"
#include "s3gate/config/model.hpp"

namespace s3gate::policy {

// True if the fields of this source are believed.
inline bool is_believed(const config::Forwarded& rules, const base::IpAddress& source) {
    return rules.mode == config::ForwardedMode::append && base::contains(rules.trusted, source);
}

struct Client {
    base::IpAddress ip;
    // False if trusted proxies connected and none of them names an address that is not trusted.
    // `ip` is then the farthest of them that is known. No allow list may contain such a client:
    // anybody may have asked the proxy.
    bool is_known = false;
    bool operator==(const Client&) const = default;
};

// Finds the client of a trusted source. Each hop appends the address that connected to it, so an
// element is true if the hops after it are trusted. The walk goes from the last element to the
// first: through trusted ones, to the first that is not. As nginx with real_ip_recursive, except
// that an element that is no address ends the walk; so does an empty one, because it stands for a
// hop.
class ForwardedWalk {
  public:
    // Both are borrowed. The source is in `trusted`.
    ForwardedWalk(const base::IpAddress& source, const std::vector<base::Cidr>& trusted)
        : trusted_(trusted), client_{source, false} {}

    // Takes the value of one X-Forwarded-For line. Call it for the last line first. False if lines
    // before this one mean nothing any more.
    bool take(std::string_view line);
    // The client, as far as the lines that were taken say.
    const Client& client() const { return client_; }

  private:
    bool take_element(std::string_view element);

    const std::vector<base::Cidr>& trusted_;
    Client client_;
};

}  // namespace s3gate::policy
