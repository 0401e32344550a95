#include "s3gate/http/header_rules.hpp"

#include <algorithm>
#include <cstring>

#include "s3gate/base/text.hpp"

namespace s3gate::http {
namespace {

// Collects a forwarded head: its first line, field lines, then our lines, which are appended to
// `own` meanwhile. Adjacent kept lines become one piece, so a head without removals is a single
// view.
class HeadBuilder {
  public:
    HeadBuilder(Pieces& pieces, std::string& own) : pieces_(pieces), own_(own) {
        pieces.clear();
        own.clear();
    }
    void keep(std::string_view bytes) {
        if (bytes.data() != end_) {
            flush();
            begin_ = bytes.data();
        }
        end_ = bytes.data() + bytes.size();
    }
    // Takes the content of `own` as the first line. No line may have been kept before.
    void begin_with_own() {
        own_line_ = own_.size();
        pieces_.emplace_back();  // its view is set at the end: `own` may still move
    }
    // Adds `own`, which is complete except for the empty line.
    void finish() {
        own_.append("\r\n");
        flush();
        if (own_line_ > 0) {
            pieces_.front() = std::string_view(own_).substr(0, own_line_);
        }
        pieces_.push_back(std::string_view(own_).substr(own_line_));
    }

  private:
    // Adds the last kept lines.
    void flush() {
        if (begin_ != end_) {
            pieces_.emplace_back(begin_, static_cast<std::size_t>(end_ - begin_));
        }
    }

    Pieces& pieces_;
    std::string& own_;
    std::size_t own_line_ = 0;
    const char* begin_ = nullptr;
    const char* end_ = nullptr;
};

// True if a Connection field of this message nominates `name`.
bool is_nominated(const std::vector<Field>& fields, std::string_view name) {
    bool found = false;
    for (const Field& field : fields) {
        if (field.id == FieldId::connection) {
            for_each_list_member(field.value, [&](std::string_view member) {
                found = found || base::iequals(member, name);
            });
        }
    }
    return found;
}

// True if a Connection option is not one of those that every client sends. Only then nominations
// are searched.
template <class Head>
bool has_nominations(const Head& head) {
    bool found = false;
    if (!head.has(FieldId::connection)) {
        return false;
    }
    for (const Field& field : head.fields) {
        if (field.id == FieldId::connection) {
            for_each_list_member(field.value, [&](std::string_view member) {
                found = found ||
                        !(base::iequals(member, "close") || base::iequals(member, "keep-alive"));
            });
        }
    }
    return found;
}

// True if a Connection field of this message removes `field`. (Upgrade is decided per message.)
inline bool is_removed(const Field& field, const std::vector<Field>& fields) {
    return field.id != FieldId::upgrade && may_be_nominated(field.name) &&
           is_nominated(fields, field.name);
}

// Fields that concern one connection only (RFC 9110 §7.6.1), in both directions. (Upgrade and
// Transfer-Encoding are not in the set; they are decided per message.)
constexpr FieldSet kHopByHop =
    set_of(FieldId::connection, FieldId::keep_alive, FieldId::proxy_connection,
           FieldId::proxy_authenticate, FieldId::proxy_authorization, FieldId::te);

// True if a server that cannot tell '_' or another sign from '-' (CGI and the like) reads `name` as
// `real`.
bool reads_as(std::string_view name, std::string_view real) {
    if (name.size() != real.size()) {
        return false;
    }
    for (std::size_t i = 0; i < name.size(); ++i) {
        const char lower = base::to_lower(name[i]);
        const bool alnum = (lower >= 'a' && lower <= 'z') || (lower >= '0' && lower <= '9');
        if (real[i] == '-' ? alnum : lower != real[i]) {
            return false;
        }
    }
    return true;
}

// The name that a server could take `name` for, if it says who asked, or where: one of our fields,
// which it would override, or one that only a trusted source may send. Else an empty text.
std::string_view forwarded_name_like(std::string_view name) {
    const auto like = [name](std::string_view real) {
        return reads_as(name, real) ? real : std::string_view();
    };
    // By length first: nearly every field of every request is tested.
    switch (name.size()) {
        case 9:
            return like("x-real-ip");
        case 15:
            return like("x-forwarded-for");
        case 16: {
            const std::string_view host = like("x-forwarded-host");
            return host.empty() ? like("x-forwarded-port") : host;
        }
        case 17:
            return like("x-forwarded-proto");
        case 18: {
            const std::string_view prefix = like("x-forwarded-prefix");
            return prefix.empty() ? like("x-forwarded-server") : prefix;
        }
        default:
            return {};
    }
}

// True for a field without an id that claims who asked, or where. A trusted source may do so, under
// the right name.
bool is_foreign_claim(std::string_view name, const ForwardRules& rules) {
    const std::string_view real = forwarded_name_like(name);
    return !real.empty() && !(rules.append && base::iequals(name, real));
}

inline void append_field(std::string& own, std::string_view name, std::string_view value) {
    const std::size_t at = own.size();
    own.resize(at + name.size() + value.size() + 4);
    char* out = own.data() + at;
    out += name.copy(out, name.size());
    std::memcpy(out, ": ", 2);
    out += 2;
    out += value.copy(out, value.size());
    std::memcpy(out, "\r\n", 2);
}

// True if the request line can be forwarded as received.
inline bool is_plain_line(const RequestHead& head, const RequestMeaning& meaning) {
    return head.minor == 1 && meaning.origin_target.data() == head.target.data() &&
           !meaning.missing_slash && meaning.origin_target.size() == head.target.size();
}

void append_request_line(const RequestHead& head, const RequestMeaning& meaning, std::string& own) {
    own.append(head.method).append(" ");
    if (meaning.missing_slash) {
        own.append("/");
    }
    own.append(meaning.origin_target).append(" HTTP/1.1\r\n");
}

// The removed fields of a request. Transfer-Encoding (exactly one, exactly "chunked"),
// X-Forwarded-For and X-Real-IP are written anew.
inline FieldSet dropped_fields(const RequestHead& head, const ForwardRules& rules) {
    FieldSet dropped = kHopByHop | set_of(FieldId::http2_settings, FieldId::transfer_encoding,
                                          FieldId::x_forwarded_for, FieldId::x_real_ip);
    dropped |= rules.relay_upgrade ? 0 : set_of(FieldId::upgrade);
    dropped |= head.minor == 1 ? 0 : set_of(FieldId::expect);
    dropped |= rules.append ? 0 : set_of(FieldId::x_forwarded_proto, FieldId::forwarded);
    return dropped;
}

// True if a line of the site replaces this field.
inline bool is_replaced(const ForwardRules& rules, std::string_view name) {
    return rules.replaced != nullptr &&
           std::any_of(rules.replaced->begin(), rules.replaced->end(),
                       [&](const std::string& other) { return base::iequals(other, name); });
}

// Appends our lines of a request, after X-Forwarded-For.
inline void append_own_lines(const RequestHead& head, const RequestMeaning& meaning,
                             const ForwardRules& rules, std::string& own) {
    append_field(own, "X-Real-IP", rules.client_ip);
    if (!rules.append || !head.has(FieldId::x_forwarded_proto)) {
        append_field(own, "X-Forwarded-Proto", rules.scheme);
    }
    if (meaning.needs_host) {
        append_field(own, "Host", rules.local_host);
    }
    if (meaning.body.kind == BodyKind::chunked) {
        append_field(own, "Transfer-Encoding", "chunked");
    }
    if (rules.relay_upgrade) {
        append_field(own, "Connection", "upgrade");
    }
    own.append(rules.extra_lines);
}

// Appends our lines of an answer: framing, Connection, the session's key, the request's id.
inline void append_own_lines(const ResponseHead& head, const ResponseRules& rules,
                             std::string& own) {
    if (rules.chunked) {
        append_field(own, "Transfer-Encoding", "chunked");
    }
    if (rules.stated_length) {
        append_field(own, "Content-Length", std::to_string(*rules.stated_length));
    }
    if (rules.close) {
        append_field(own, "Connection", "close");
    } else if (rules.relay_upgrade) {
        append_field(own, "Connection", "upgrade");
    } else if (rules.keep_alive_10) {
        append_field(own, "Connection", "keep-alive");
    }
    if (!rules.session_name.empty() && !rules.session_value.empty()) {
        append_field(own, rules.session_name, rules.session_value);
    }
    if (!rules.request_id.empty() && !head.has(FieldId::x_amz_request_id)) {
        append_field(own, "x-amz-request-id", rules.request_id);
    }
}

}  // namespace

bool may_be_nominated(std::string_view name) {
    static constexpr std::string_view kProtected[] = {"host",          "authorization",
                                                      "date",          "range",
                                                      "expect",        "cookie",
                                                      "set-cookie",    "etag",
                                                      "user-agent",    "accept",
                                                      "origin",        "trailer",
                                                      "last-modified", "location",
                                                      "forwarded",     "x-real-ip",
                                                      "x-session-id",  "transfer-encoding",
                                                      "cache-control", "www-authenticate",
                                                      "server",        "accept-ranges",
                                                      "vary",          "retry-after",
                                                      "expires",       "age",
                                                      "referer",       "via"};
    for (const std::string_view other : kProtected) {
        if (base::iequals(name, other)) {
            return false;
        }
    }
    static constexpr std::string_view kPrefixes[] = {"x-amz-",   "x-minio-", "x-forwarded-",
                                                     "content-", "if-",      "accept-",
                                                     "sec-",     "amz-",     "access-control-"};
    return std::none_of(std::begin(kPrefixes), std::end(kPrefixes),
                        [&](std::string_view prefix) { return base::istarts_with(name, prefix); });
}

void forward_request(const RequestHead& head, const RequestMeaning& meaning,
                     const ForwardRules& rules, Pieces& pieces, std::string& own) {
    HeadBuilder out(pieces, own);
    if (is_plain_line(head, meaning)) {
        out.keep(head.line);
    } else {
        append_request_line(head, meaning, own);
        out.begin_with_own();
    }
    const bool nominations = has_nominations(head);
    FieldSet dropped = dropped_fields(head, rules);
    bool has_forwarded_for = false;
    for (const Field& field : head.fields) {
        bool keep = !is_in(dropped, field.id);
        if (field.id == FieldId::other) {
            keep = !is_foreign_claim(field.name, rules);
        } else if (field.id == FieldId::x_forwarded_for) {
            if (rules.append && !field.value.empty()) {
                own.append(has_forwarded_for ? ", " : "X-Forwarded-For: ").append(field.value);
                has_forwarded_for = true;
            }
        } else if (field.id == FieldId::x_forwarded_proto) {
            dropped |= set_of(field.id);  // the first one only
        }
        if (keep && !is_replaced(rules, field.name) &&
            !(nominations && is_removed(field, head.fields))) {
            out.keep(field.line);
        }
    }
    if (has_forwarded_for) {
        own.append(", ").append(rules.source_ip).append("\r\n");
    } else {
        append_field(own, "X-Forwarded-For", rules.source_ip);
    }
    append_own_lines(head, meaning, rules, own);
    out.finish();
}

void forward_response(const ResponseHead& head, const ResponseRules& rules, Pieces& pieces,
                      std::string& own) {
    HeadBuilder out(pieces, own);
    // SDKs that split the status line at white space take a reason of spaces for none.
    const bool has_reason = !base::trim_ows(head.reason).empty();
    if (head.minor == 1 && has_reason) {
        out.keep(head.line);
    } else {
        own.append("HTTP/1.1 ").append(std::to_string(head.status)).append(" ");
        own.append(has_reason ? head.reason : reason_of(head.status)).append("\r\n");
        out.begin_with_own();
    }
    const bool nominations = has_nominations(head);
    FieldSet dropped = kHopByHop;
    dropped |= rules.relay_upgrade ? 0 : set_of(FieldId::upgrade);
    dropped |= rules.drop_framing || rules.drop_coding || rules.chunked
                   ? set_of(FieldId::transfer_encoding)
                   : 0;
    dropped |= rules.drop_framing ? set_of(FieldId::content_length) : 0;
    for (const Field& field : head.fields) {
        bool keep = !is_in(dropped, field.id);
        // Our session field replaces the backend's.
        if (field.id == FieldId::other && !rules.session_name.empty() &&
            base::iequals(field.name, rules.session_name)) {
            keep = false;
        }
        if (rules.drop_framing && field.id == FieldId::other && is_framing_lookalike(field.name)) {
            keep = false;
        }
        if (keep && !(nominations && is_removed(field, head.fields))) {
            out.keep(field.line);
        }
    }
    append_own_lines(head, rules, own);
    out.finish();
}

}  // namespace s3gate::http
