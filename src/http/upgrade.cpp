#include "s3gate/http/upgrade.hpp"

#include <algorithm>

#include "s3gate/base/text.hpp"

namespace s3gate::http {
namespace {

// Calls `visit(protocol)` for each protocol of all Upgrade fields.
template <class Visit>
void for_each_protocol(const std::vector<Field>& fields, const Visit& visit) {
    for (const Field& field : fields) {
        if (field.id == FieldId::upgrade) {
            for_each_list_member(field.value, visit);
        }
    }
}

// protocol = token ["/" token]
bool is_protocol(std::string_view text) {
    const std::size_t slash = text.find('/');
    return base::is_token(text.substr(0, slash)) &&
           (slash == std::string_view::npos || base::is_token(text.substr(slash + 1)));
}

bool is_http(std::string_view protocol) {
    const std::string_view name = protocol.substr(0, protocol.find('/'));
    return base::iequals(name, "h2c") || base::iequals(name, "h2") || base::iequals(name, "http") ||
           base::iequals(name, "tls");
}

bool is_offered(const RequestHead& offer, std::string_view protocol) {
    bool found = false;
    for_each_protocol(offer.fields, [&](std::string_view offered) {
        // Protocol names are compared without case (RFC 9110 §7.8).
        found = found || base::iequals(offered, protocol);
    });
    return found;
}

}  // namespace

bool is_offer_relayable(const RequestHead& head) {
    std::size_t count = 0;
    bool relayable = true;
    for_each_protocol(head.fields, [&](std::string_view protocol) {
        ++count;
        relayable = relayable && is_protocol(protocol) && !is_http(protocol);
    });
    return relayable && count > 0;
}

bool is_offer_accepted(const RequestHead& offer, const ResponseHead& answer) {
    std::size_t count = 0;
    bool accepted = true;
    for_each_protocol(answer.fields, [&](std::string_view protocol) {
        ++count;
        accepted = accepted && is_offered(offer, protocol);
    });
    const bool says_upgrade =
        std::any_of(answer.fields.begin(), answer.fields.end(), [](const Field& field) {
            bool found = false;
            if (field.id == FieldId::connection) {
                for_each_list_member(field.value, [&](std::string_view option) {
                    found = found || base::iequals(option, "upgrade");
                });
            }
            return found;
        });
    return accepted && count > 0 && says_upgrade;
}

}  // namespace s3gate::http
