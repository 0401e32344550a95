#include "s3gate/proxy/client_survey.hpp"

namespace s3gate::proxy {

std::string_view to_string(ClientState state) {
    switch (state) {
        case ClientState::idle:
            return "idle";
        case ClientState::reading_head:
            return "reading head";
        case ClientState::queued:
            return "queued";
        case ClientState::upload:
            return "upload";
        case ClientState::waiting_for_backend:
            return "waiting for the backend";
        case ClientState::download:
            return "download";
        case ClientState::tunnel:
            return "tunnel";
        case ClientState::lingering:
            return "lingering";
    }
    return "";
}

bool comes_before(const ClientReport& left, const ClientReport& right) {
    return left.has_request != right.has_request ? left.has_request : left.since < right.since;
}

}  // namespace s3gate::proxy
