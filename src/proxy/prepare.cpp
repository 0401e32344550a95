// Derives the affinity key and the forwarded head from a request, once before any attempt.
#include <algorithm>
#include <optional>

#include "request.hpp"
#include "s3gate/base/scan.hpp"
#include "s3gate/base/text.hpp"
#include "s3gate/http/upgrade.hpp"
#include "s3gate/s3/access_key.hpp"
#include "s3gate/s3/operation.hpp"

namespace s3gate::proxy {
namespace {

// True if a write's success depends on the existing object, by other fields than If-Match and
// If-None-Match; its repetition would fail. Ceph: `?append&position=N`. AWS:
// x-amz-write-offset-bytes, x-amz-if-match-size, x-amz-if-match-last-modified-time.
bool depends_on_state(const http::RequestHead& head, std::string_view query) {
    return !policy::find_argument(query, "position").empty() ||
           std::ranges::any_of(head.fields, [](const http::Field& field) {
               return base::istarts_with(field.name, "x-amz-if-match") ||
                      base::iequals(field.name, "x-amz-write-offset-bytes");
           });
}

std::optional<std::string_view> next_header(const void* context, std::string_view name,
                                            std::size_t& position) {
    const auto& fields = static_cast<const http::RequestHead*>(context)->fields;
    while (position < fields.size()) {
        const http::Field& field = fields[position++];
        if (base::iequals(field.name, name)) {
            return field.value;
        }
    }
    return std::nullopt;
}

}  // namespace

void Request::find_key() {
    const config::Balance& balance = *context_.group().balance;
    if (balance.method != config::BalanceMethod::ketama) {
        return;
    }
    policy::KeyInput input;
    input.query = meaning_.query;
    input.client_ip = context_.identity.text();
    input.user_agent = memory_.head.find(http::FieldId::user_agent);
    input.accept_language = memory_.head.find(http::FieldId::accept_language);
    input.salt = balance.salt;
    input.next_header = &next_header;
    input.header_context = &memory_.head;
    policy::find_affinity_key(balance.key, input, &context_.client.fingerprint, memory_.key);
}

const std::string& Request::session_text() {
    if (!memory_.session_text.empty()) {
        return memory_.session_text;
    }
    if (memory_.key.source != nullptr && policy::is_secret(*memory_.key.source)) {
        // A session cookie must not appear in a log, or in a field that scripts of a page can read:
        // it could be stolen.
        for (int shift = 24; shift >= 0; shift -= 8) {
            base::append_hex(memory_.session_text,
                             static_cast<std::uint8_t>(memory_.key.hash >> shift));
        }
    } else {
        const char* const end = memory_.key.key.data() + memory_.key.key.size();
        if (base::find_first<base::NotTarget>(memory_.key.key.data(), end) == end) {
            return memory_.key.key;  // the usual case: no byte to escape
        }
        // The decoded key may contain any byte, also CR and LF, so it is escaped for a header.
        for (const char c : memory_.key.key) {
            const auto byte = static_cast<unsigned char>(c);
            if (byte <= 0x20 || byte == 0x7f) {
                memory_.session_text += '%';
                base::append_hex(memory_.session_text, byte, base::kUpperHexDigits);
            } else {
                memory_.session_text += c;
            }
        }
    }
    return memory_.session_text;
}

std::string_view Request::access_key() {
    if (!context_.is_s3() || memory_.head.raw.empty()) {
        return {};
    }
    const s3::Credential credential{
        .header = memory_.head.find(http::FieldId::authorization),
        .presigned = policy::find_argument(meaning_.query, "x-amz-credential"),
        .version2 = policy::find_argument(meaning_.query, "awsaccesskeyid"),
    };
    return s3::access_key_of(credential, memory_.access_key);
}

void Request::prepare() {
    std::string local_host;
    const http::ForwardRules rules = forward_rules(local_host);
    http::forward_request(memory_.head, meaning_, rules, memory_.pieces, memory_.own);
    meaning_.wants_upgrade = rules.relay_upgrade;
    make_preamble();
    find_traits();
    context_.record.has_copy_source = traits_.copy;
    reserve_replay();
}

inline http::ForwardRules Request::forward_rules(std::string& local_host) const {
    const state::Site& site = context_.site();
    const config::Site& config = *site.config;
    ClientConnection& client = context_.client;
    http::ForwardRules rules;
    rules.client_ip = context_.identity.text();
    rules.source_ip = client.source_ip.view();
    rules.scheme = "http";
    rules.append = context_.identity.has_trusted_source();
    rules.relay_upgrade = config.upgrade && meaning_.wants_upgrade && body_->complete &&
                          http::is_offer_relayable(memory_.head);
    rules.extra_lines = site.extra_lines;
    rules.replaced = site.extra_names.empty() ? nullptr : &site.extra_names;
    if (meaning_.needs_host) {
        client.learn_local_address();
        local_host = client.local->address.to_string();
        rules.local_host = local_host;
    }
    return rules;
}

// The client and the address that it connected to, whatever lies between it and us.
inline void Request::make_preamble() {
    memory_.preamble.reset();
    if (context_.group().backends->send_proxy != config::SendProxy::off) {
        context_.client.learn_local_address();
        memory_.preamble.emplace(
            http::ProxyAddresses{context_.identity.address(), context_.client.local->address});
    }
}

void Request::set_preamble_sent(bool is_sent) {
    http::Pieces& pieces = memory_.pieces;
    const std::string_view bytes = preamble();
    const bool was_sent = !pieces.empty() && pieces.front().data() == bytes.data();
    if (is_sent && !was_sent) {
        pieces.insert(pieces.begin(), bytes);
    } else if (!is_sent && was_sent) {
        pieces.erase(pieces.begin());
    }
}

inline void Request::find_traits() {
    const http::RequestHead& head = memory_.head;
    traits_.has_body = !body_->complete || meaning_.body.kind == http::BodyKind::chunked;
    traits_.conditional =
        head.has(http::FieldId::if_match) || head.has(http::FieldId::if_none_match);
    traits_.copy = head.has(http::FieldId::x_amz_copy_source);
    traits_.upload_part = traits_.method == policy::MethodClass::put && traits_.has_body &&
                          !traits_.copy &&
                          !policy::find_argument(meaning_.query, "uploadid").empty() &&
                          !policy::find_argument(meaning_.query, "partnumber").empty();
    if (context_.group().retry->unanswered_writes && context_.is_s3()) {
        const std::string_view operation = s3::operation_of(
            head.method, s3::path_of(head.target, context_.record.host_bucket), traits_.copy);
        traits_.object_write = (operation == "PutObject" || operation == "DeleteObject") &&
                               !depends_on_state(head, meaning_.query);
    }
}

// Keeps a body only if it can be kept whole.
inline void Request::reserve_replay() {
    const bool has_length = meaning_.body.kind == http::BodyKind::length;
    const std::size_t limit = context_.group().retry->replay_buffer;
    const bool fits = !body_->complete && !(has_length && meaning_.body.length > limit) &&
                      context_.worker.replay_used + limit <= context_.worker.limits().replay_memory;
    const std::size_t wanted = has_length ? meaning_.body.length : limit;
    if (fits && wanted > 0) {
        replay_hold_.emplace(context_.worker, wanted);
        memory_.replay.reset(wanted);
    }
}

}  // namespace s3gate::proxy
