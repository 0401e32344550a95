#include "s3gate/policy/client_identity.hpp"

#include "s3gate/base/text.hpp"

namespace s3gate::policy {

bool ForwardedWalk::take(std::string_view line) {
    for (;;) {
        const std::size_t comma = line.rfind(',');
        const bool is_first = comma == std::string_view::npos;
        if (!take_element(base::trim_ows(is_first ? line : line.substr(comma + 1)))) {
            return false;
        }
        if (is_first) {
            return true;
        }
        line = line.substr(0, comma);
    }
}

// False if the walk ends here.
bool ForwardedWalk::take_element(std::string_view element) {
    const auto ip = base::IpAddress::parse_with_port(element);
    if (!ip) {
        return false;
    }
    const bool is_trusted = base::contains(trusted_, *ip);
    client_ = {*ip, !is_trusted};
    return is_trusted;
}

}  // namespace s3gate::policy
