// What is derived from a request once, before any attempt: the affinity key and the head that goes
// out.
#include <algorithm>
#include <cstring>
#include <optional>

#include "client_connection.hpp"
#include "exchange.hpp"
#include "s3gate/base/digest.hpp"
#include "s3gate/base/scan.hpp"
#include "s3gate/base/text.hpp"
#include "s3gate/http/upgrade.hpp"
#include "s3gate/observe/access_log.hpp"

namespace s3gate::proxy {
namespace {

std::uint64_t hash_of(std::string_view a, std::string_view b) {
    return std::hash<std::string_view>{}(a)*0x9e3779b97f4a7c15ULL +
           std::hash<std::string_view>{}(b);
}

// True if a write succeeds or fails by what is there, apart from If-Match and If-None-Match: its
// repetition would fail. Ceph: `?append&position=N`. AWS: x-amz-write-offset-bytes,
// x-amz-if-match-size, x-amz-if-match-last-modified-time.
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

void Exchange::find_key() {
    const config::Balance& balance = *group_->balance;
    if (balance.method != config::BalanceMethod::ketama) {
        return;
    }
    policy::KeyInput input;
    input.query = meaning_.query;
    input.client_ip = client_->ip();
    input.salt = balance.salt;
    input.next_header = &next_header;
    input.header_context = &head_;
    for (const http::Field& field : head_.fields) {
        if (field.id == http::FieldId::user_agent && input.user_agent.data() == nullptr) {
            input.user_agent = field.value;
        } else if (field.id == http::FieldId::accept_language &&
                   input.accept_language.data() == nullptr) {
            input.accept_language = field.value;
        }
    }
    for (const config::KeySource& source : balance.key) {
        switch (source.kind) {
            case config::KeySource::Kind::fingerprint: {
                // Two MD5 passes cost more than all the rest of routing: remembered per connection,
                // with the CRC32 of what they give.
                const std::uint64_t made_from = hash_of(input.user_agent, input.accept_language);
                if (!client_->has_fingerprint || client_->fingerprint_source != made_from) {
                    const std::string digest = policy::fingerprint(input);
                    std::memcpy(client_->fingerprint.data(), digest.data(),
                                client_->fingerprint.size());
                    client_->fingerprint_hash = base::crc32(digest);
                    client_->fingerprint_source = made_from;
                    client_->has_fingerprint = true;
                }
                key_.key.assign(client_->fingerprint.data(), client_->fingerprint.size());
                break;
            }
            case config::KeySource::Kind::sessionid:
            case config::KeySource::Kind::uploadid: {
                if (meaning_.query.empty()) {
                    break;
                }
                const std::string_view raw = policy::find_argument(
                    meaning_.query,
                    source.kind == config::KeySource::Kind::sessionid ? "sessionid" : "uploadid");
                if (raw.find('%') == std::string_view::npos) {
                    key_.key.assign(raw);
                } else {
                    key_.key = base::percent_decode(raw);
                }
                break;
            }
            case config::KeySource::Kind::cookie:
                key_.key.assign(policy::find_cookie(input, source.name));
                break;
            case config::KeySource::Kind::header:
                key_.key.assign(policy::find_header(input, source.name));
                break;
        }
        if (!key_.key.empty()) {
            key_.source = &source;
            key_hash_ = source.kind == config::KeySource::Kind::fingerprint
                            ? client_->fingerprint_hash
                            : base::crc32(key_.key);
            return;
        }
    }
}

const std::string& Exchange::session_text() {
    if (!session_text_.empty()) {
        return session_text_;
    }
    if (key_.source != nullptr && policy::is_secret(*key_.source)) {
        // A session cookie in a log, or in a field that scripts of a page can read, is a stolen
        // session.
        static constexpr char kDigits[] = "0123456789abcdef";
        const std::uint32_t crc = base::crc32(key_.key);
        for (int shift = 28; shift >= 0; shift -= 4) {
            session_text_ += kDigits[crc >> shift & 15];
        }
    } else {
        const char* const end = key_.key.data() + key_.key.size();
        if (base::find_first<base::NotTarget>(key_.key.data(), end) == end) {
            return key_.key;  // as nearly always: nothing to escape
        }
        // The decoded key may hold anything, also CR and LF: what goes into a header is escaped.
        static constexpr char kDigits[] = "0123456789ABCDEF";
        for (const char c : key_.key) {
            const auto byte = static_cast<unsigned char>(c);
            if (byte <= 0x20 || byte == 0x7f) {
                session_text_ += '%';
                session_text_ += kDigits[byte >> 4];
                session_text_ += kDigits[byte & 15];
            } else {
                session_text_ += c;
            }
        }
    }
    return session_text_;
}

void Exchange::prepare_request() {
    const config::Site& site = *site_->config;
    http::ForwardRules rules;
    rules.client_ip = client_->ip();
    rules.scheme = "http";
    rules.append = site.forwarded.mode == config::ForwardedMode::append &&
                   base::contains(site.forwarded.trusted, client_->peer.ip());
    rules.relay_upgrade =
        site.upgrade && meaning_.wants_upgrade && body_.complete && http::is_offer_relayable(head_);
    rules.extra_lines = site_->extra_lines;
    rules.replaced = site_->extra_names.empty() ? nullptr : &site_->extra_names;
    std::string local_host;
    if (meaning_.needs_host) {
        client_->learn_local_address();
        local_host = std::string(client_->local_ip());
        if (local_host.find(':') != std::string::npos) {
            local_host = "[" + local_host + "]";
        }
        local_host += ":" + std::to_string(client_->local_port);
        rules.local_host = local_host;
    }
    http::forward_request(head_, meaning_, rules, request_pieces_, request_own_);
    meaning_.wants_upgrade = rules.relay_upgrade;

    facts_ = {};
    facts_.method = method_;
    facts_.has_body = !body_.complete || meaning_.body.kind == http::BodyKind::chunked;
    facts_.conditional =
        head_.has(http::FieldId::if_match) || head_.has(http::FieldId::if_none_match);
    facts_.copy = head_.has(http::FieldId::x_amz_copy_source);
    record_.has_copy_source = facts_.copy;
    facts_.upload_part = method_ == policy::MethodClass::put && facts_.has_body && !facts_.copy &&
                         !policy::find_argument(meaning_.query, "uploadid").empty() &&
                         !policy::find_argument(meaning_.query, "partnumber").empty();
    if (site.retry.unanswered_writes && site.type == config::SiteType::s3) {
        const std::string_view operation =
            observe::s3_operation(head_.method, head_.target, facts_.copy);
        facts_.object_write = (operation == "PutObject" || operation == "DeleteObject") &&
                              !depends_on_state(head_, meaning_.query);
    }
    // Replay: only what can be kept whole is kept at all.
    const std::size_t limit = site.retry.replay_buffer;
    const bool fits =
        !body_.complete &&
        !(meaning_.body.kind == http::BodyKind::length && meaning_.body.length > limit) &&
        worker_.replay_used + limit <= worker_.shared.replay_memory;
    if (fits) {
        replay_reserved_ =
            meaning_.body.kind == http::BodyKind::length ? meaning_.body.length : limit;
        worker_.replay_used += replay_reserved_;
        replay_.reset(replay_reserved_);
    } else if (!body_.complete) {
        replay_.drop();
    }
}

}  // namespace s3gate::proxy
