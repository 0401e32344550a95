#include "s3gate/http/head.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>
#include <optional>

#include "s3gate/base/scan.hpp"
#include "s3gate/base/text.hpp"

namespace s3gate::http {
namespace {

enum : std::uint8_t { kTchar = 1, kValue = 2 };

constexpr std::array<std::uint8_t, 256> make_classes() {
    std::array<std::uint8_t, 256> table{};
    for (unsigned c = 0; c < 256; ++c) {
        std::uint8_t bits = 0;
        if (base::is_tchar(static_cast<char>(c))) {
            bits |= kTchar;
        }
        // RFC 9110 §5.5: VCHAR, SP, HTAB and obs-text.
        if (c == '\t' || (c >= 0x20 && c != 0x7f)) {
            bits |= kValue;
        }
        table[c] = bits;
    }
    return table;
}

constexpr std::array<std::uint8_t, 256> kClasses = make_classes();

bool is_class(char c, std::uint8_t bits) {
    return (kClasses[static_cast<unsigned char>(c)] & bits) != 0;
}

bool all_of_class(std::string_view text, std::uint8_t bits) {
    std::uint8_t all = bits;
    for (const char c : text) {
        all &= kClasses[static_cast<unsigned char>(c)];
    }
    return all == bits;
}

struct KnownField {
    std::string_view name;
    FieldId id;
};

constexpr KnownField kKnown[] = {
    {"accept-language", FieldId::accept_language},
    {"authorization", FieldId::authorization},
    {"connection", FieldId::connection},
    {"content-length", FieldId::content_length},
    {"cookie", FieldId::cookie},
    {"date", FieldId::date},
    {"expect", FieldId::expect},
    {"forwarded", FieldId::forwarded},
    {"host", FieldId::host},
    {"http2-settings", FieldId::http2_settings},
    {"if-match", FieldId::if_match},
    {"if-none-match", FieldId::if_none_match},
    {"keep-alive", FieldId::keep_alive},
    {"proxy-authenticate", FieldId::proxy_authenticate},
    {"proxy-authorization", FieldId::proxy_authorization},
    {"proxy-connection", FieldId::proxy_connection},
    {"referer", FieldId::referer},
    {"te", FieldId::te},
    {"trailer", FieldId::trailer},
    {"transfer-encoding", FieldId::transfer_encoding},
    {"upgrade", FieldId::upgrade},
    {"user-agent", FieldId::user_agent},
    {"x-amz-copy-source", FieldId::x_amz_copy_source},
    {"x-amz-request-id", FieldId::x_amz_request_id},
    {"x-forwarded-for", FieldId::x_forwarded_for},
    {"x-forwarded-proto", FieldId::x_forwarded_proto},
    {"x-minio-error-code", FieldId::x_minio_error_code},
    {"x-real-ip", FieldId::x_real_ip},
};

// Slot of a name by its length, first and last byte. 0x20 makes letters lower-case. Its effect on
// other bytes does not matter, because the name in the slot is compared as a whole.
constexpr std::size_t kSlots = 512;
constexpr std::size_t slot_of(std::string_view name) {
    const auto folded = [](char c) { return static_cast<std::size_t>((c | 0x20) & 0xff); };
    return (name.size() * 31 + folded(name.front()) * 7 + folded(name.back()) * 53) % kSlots;
}

constexpr std::array<std::uint8_t, kSlots> make_slots() {
    std::array<std::uint8_t, kSlots> slots{};
    for (std::size_t i = 0; i < std::size(kKnown); ++i) {
        std::size_t slot = slot_of(kKnown[i].name);
        while (slots[slot] != 0) {
            slot = (slot + 1) % kSlots;
        }
        slots[slot] = static_cast<std::uint8_t>(i + 1);
    }
    return slots;
}

constexpr std::array<std::uint8_t, kSlots> kFieldSlots = make_slots();

constexpr base::NameFilter kFieldNames(kKnown);

FieldId known_id_of(std::string_view name) {
    std::size_t slot = slot_of(name);
    while (kFieldSlots[slot] != 0) {
        const KnownField& known = kKnown[kFieldSlots[slot] - 1];
        if (base::is_lower_case_of(known.name, name)) {
            return known.id;
        }
        slot = (slot + 1) % kSlots;
    }
    return FieldId::other;
}

inline FieldId id_of(std::string_view name) {
    return kFieldNames.may_hold(name) ? known_id_of(name) : FieldId::other;
}

std::string_view find_in(const std::vector<Field>& fields, FieldId id) {
    for (const Field& field : fields) {
        if (field.id == id) {
            return field.value;
        }
    }
    return {};
}

std::size_t count_in(const std::vector<Field>& fields, FieldId id) {
    std::size_t count = 0;
    for (const Field& field : fields) {
        count += field.id == id ? 1 : 0;
    }
    return count;
}

struct Reason {
    int status;
    std::string_view phrase;
};

constexpr Reason kReasons[] = {
    {100, "Continue"},
    {101, "Switching Protocols"},
    {102, "Processing"},
    {103, "Early Hints"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {203, "Non-Authoritative Information"},
    {204, "No Content"},
    {205, "Reset Content"},
    {206, "Partial Content"},
    {207, "Multi-Status"},
    {300, "Multiple Choices"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {402, "Payment Required"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {407, "Proxy Authentication Required"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {423, "Locked"},
    {424, "Failed Dependency"},
    {425, "Too Early"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {451, "Unavailable For Legal Reasons"},
    {499, "Client Closed Request"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
    {511, "Network Authentication Required"},
};
static_assert(std::ranges::is_sorted(kReasons, {}, &Reason::status));

// The start line without its CRLF; nullopt if it is incomplete or ends with LF alone.
std::optional<std::string_view> start_line_of(std::string_view bytes) {
    const void* const lf = bytes.empty() ? nullptr : std::memchr(bytes.data(), '\n', bytes.size());
    if (lf == nullptr || lf == bytes.data() || static_cast<const char*>(lf)[-1] != '\r') {
        return std::nullopt;
    }
    return bytes.substr(0,
                        static_cast<std::size_t>(static_cast<const char*>(lf) - bytes.data()) - 1);
}

// The error of a field line whose value, from `at` on, has a control byte before its CRLF, or no
// CRLF.
HeadError value_error(const char* at, const char* end) {
    const void* lf = std::memchr(at, '\n', static_cast<std::size_t>(end - at));
    if (lf == nullptr || static_cast<const char*>(lf)[-1] != '\r') {
        return HeadError::bad_line_end;
    }
    return HeadError::bad_field_value;
}

// base::trim_ows() for the value in [begin, end): it contains only SP, HTAB and bytes above SP, and
// a CR follows. Nearly every value follows one space or none.
std::string_view trim_value(const char* begin, const char* end) {
    const auto is_above_space = [](char c) { return static_cast<unsigned char>(c) > ' '; };
    begin += *begin == ' ' ? 1 : 0;
    if (is_above_space(*begin) && is_above_space(end[-1])) {
        return {begin, static_cast<std::size_t>(end - begin)};
    }
    return base::trim_ows({begin, static_cast<std::size_t>(end - begin)});
}

// Parses field lines from `line` up to and including the empty one; moves `line` after it.
HeadError parse_field_lines(const char*& line, const char* end, std::vector<Field>& fields,
                            FieldSet& seen) {
    fields.clear();
    seen = 0;
    for (std::size_t count = 0;; ++count) {
        // Nearly every name consists of letters, digits and hyphens.
        const char* colon = base::find_first<base::NotPlainName>(line, end);
        if (colon == end || *colon != ':' || colon == line) [[unlikely]] {
            if (line == end) {
                return HeadError::bad_line_end;
            }
            if (*line == '\r') {
                // Only the empty line may begin with CR.
                if (end - line < 2 || line[1] != '\n') {
                    return HeadError::bad_line_end;
                }
                line += 2;
                return HeadError::none;
            }
            if (*line == ' ' || *line == '\t') {
                return HeadError::obs_fold;
            }
            while (colon != end && is_class(*colon, kTchar)) {
                ++colon;
            }
            if (colon == line || colon == end || *colon != ':') {
                return HeadError::bad_field_name;
            }
        }
        const char* const value = colon + 1;
        const char* const stop = base::find_control(value, end);
        if (end - stop < 2 || stop[0] != '\r' || stop[1] != '\n') {
            return value_error(value, end);
        }
        if (count == kMaxFields) {
            return HeadError::too_many_fields;
        }
        const char* const next = stop + 2;
        const std::string_view name(line, static_cast<std::size_t>(colon - line));
        const FieldId id = id_of(name);
        fields.emplace_back(name, trim_value(value, stop),
                            std::string_view(line, static_cast<std::size_t>(next - line)), id);
        seen |= set_of(id);
        line = next;
    }
}

// Parses the start line into `head`.
HeadError parse_start_line(std::string_view line, RequestHead& head) {
    std::size_t method_end = 0;
    while (method_end < line.size() && is_class(line[method_end], kTchar)) {
        ++method_end;
    }
    if (method_end == 0 || method_end >= line.size() || line[method_end] != ' ') {
        return HeadError::bad_method;
    }
    head.method = line.substr(0, method_end);
    const std::string_view rest = line.substr(method_end + 1);
    if (rest.size() < 10 || rest[rest.size() - 9] != ' ') {
        return HeadError::bad_request_line;
    }
    const std::string_view version = rest.substr(rest.size() - 8);
    if (version == "HTTP/1.1") {
        head.minor = 1;
    } else if (version == "HTTP/1.0") {
        head.minor = 0;
    } else {
        return HeadError::bad_version;
    }
    // A target has no spaces, controls or fragment (RFC 9112 §3.2). Bytes above 0x7f are no URI
    // characters, but some S3 clients do not escape them, and MinIO reads them. They cannot be
    // mistaken for a delimiter.
    head.target = rest.substr(0, rest.size() - 9);
    const char* const target_end = head.target.data() + head.target.size();
    if (base::find_first<base::NotTarget>(head.target.data(), target_end) != target_end) {
        return HeadError::bad_target;
    }
    return HeadError::none;
}

HeadError parse_start_line(std::string_view line, ResponseHead& head) {
    // "HTTP/1.1 200", then nothing (it occurs and is unambiguous), or SP and a reason that may be
    // empty.
    if (line.size() < 12 || !line.starts_with("HTTP/1.") || (line[7] != '0' && line[7] != '1') ||
        line[8] != ' ') {
        return HeadError::bad_status_line;
    }
    head.minor = line[7] - '0';
    int status = 0;
    for (std::size_t i = 9; i < 12; ++i) {
        if (line[i] < '0' || line[i] > '9') {
            return HeadError::bad_status_line;
        }
        status = status * 10 + (line[i] - '0');
    }
    if (status < 100 || status > 599 || (line.size() > 12 && line[12] != ' ')) {
        return HeadError::bad_status_line;
    }
    head.status = status;
    head.reason = line.size() > 13 ? line.substr(13) : std::string_view{};
    if (!all_of_class(head.reason, kValue)) {
        return HeadError::bad_status_line;
    }
    return HeadError::none;
}

// Parses the head at the beginning of `bytes`. Without an error, head.raw is that head. With an
// error, `head` keeps the parts that were read.
template <class Head>
HeadError parse(std::string_view bytes, Head& head) {
    const std::optional<std::string_view> line = start_line_of(bytes);
    if (!line) {
        return HeadError::bad_line_end;
    }
    head.line = bytes.substr(0, line->size() + 2);
    if (const HeadError error = parse_start_line(*line, head); error != HeadError::none) {
        return error;
    }
    const char* at = bytes.data() + head.line.size();
    const HeadError error =
        parse_field_lines(at, bytes.data() + bytes.size(), head.fields, head.seen);
    head.raw = bytes.substr(0, static_cast<std::size_t>(at - bytes.data()));
    return error;
}

// parse() for bytes that are exactly one head.
template <class Head>
HeadError parse_all(std::string_view raw, Head& head) {
    const HeadError error = parse(raw, head);
    const bool is_all = head.raw.size() == raw.size();
    head.raw = raw;
    return error == HeadError::none && !is_all ? HeadError::bad_line_end : error;
}

}  // namespace

FieldId field_id_of(std::string_view name) {
    return id_of(name);
}

std::string_view to_string(HeadError error) {
    switch (error) {
        case HeadError::none:
            return "none";
        case HeadError::bad_first_byte:
            return "not HTTP";
        case HeadError::bad_line_end:
            return "line ends must be CRLF";
        case HeadError::bad_request_line:
            return "malformed request line";
        case HeadError::bad_method:
            return "malformed method";
        case HeadError::bad_target:
            return "malformed request target";
        case HeadError::bad_version:
            return "unsupported HTTP version";
        case HeadError::bad_status_line:
            return "malformed status line";
        case HeadError::bad_field_name:
            return "malformed header field name";
        case HeadError::bad_field_value:
            return "malformed header field value";
        case HeadError::obs_fold:
            return "folded header field";
        case HeadError::too_many_fields:
            return "too many header fields";
        case HeadError::connect_method:
            return "CONNECT is not served";
        case HeadError::bad_host:
            return "missing, repeated or invalid Host";
        case HeadError::authority_mismatch:
            return "request target and Host name different authorities";
        case HeadError::bad_expectation:
            return "the only expectation served is one 100-continue";
        case HeadError::bad_content_length:
            return "repeated or invalid Content-Length";
        case HeadError::bad_transfer_encoding:
            return "unsupported Transfer-Encoding";
        case HeadError::both_framings:
            return "both Content-Length and Transfer-Encoding";
        case HeadError::framing_lookalike:
            return "header field that looks like message framing";
    }
    return "unknown";
}

HeadScanner::State HeadScanner::scan(std::string_view bytes) {
    // Leading empty lines and the start line are scanned one by one.
    while (line_begin_ == begin_) {
        if (position_ >= bytes.size()) {
            return State::incomplete;
        }
        const bool may_be_empty = position_ == begin_ && kind_ == Kind::request && begin_ < 4;
        const State line = may_be_empty && bytes[position_] == '\r' ? skip_empty_line(bytes)
                                                                    : scan_start_line(bytes);
        if (line != State::complete) {
            return line;
        }
    }
    return scan_field_lines(bytes);
}

HeadScanner::State HeadScanner::refuse(HeadError error) {
    error_ = error;
    return State::bad;
}

// RFC 9112 §2.2: an empty line before the request line is ignored; we accept two.
HeadScanner::State HeadScanner::skip_empty_line(std::string_view bytes) {
    if (bytes.size() < position_ + 2) {
        return State::incomplete;
    }
    if (bytes[position_ + 1] != '\n') {
        return refuse(HeadError::bad_line_end);
    }
    begin_ = line_begin_ = position_ += 2;
    return State::complete;
}

// Refuses at once what no further byte can repair: an HTTP/0.9 client would wait for an answer, an
// HTTP/2 client for a preface.
HeadScanner::State HeadScanner::scan_start_line(std::string_view bytes) {
    const bool is_request = kind_ == Kind::request;
    if (position_ == begin_ &&
        !(is_request ? is_class(bytes[begin_], kTchar) : bytes[begin_] == 'H')) {
        return refuse(HeadError::bad_first_byte);
    }
    const void* found = std::memchr(bytes.data() + position_, '\n', bytes.size() - position_);
    if (found == nullptr) {
        return want_line_end(bytes);
    }
    const std::size_t lf = static_cast<std::size_t>(static_cast<const char*>(found) - bytes.data());
    if (lf == line_begin_ || bytes[lf - 1] != '\r') {
        return refuse(HeadError::bad_line_end);
    }
    const std::string_view line = bytes.substr(begin_, lf - 1 - begin_);
    const bool good =
        is_request ? line.size() > 9 && (line.ends_with(" HTTP/1.1") || line.ends_with(" HTTP/1.0"))
                   : line.starts_with("HTTP/1.");
    if (!good) {
        return refuse(is_request ? HeadError::bad_version : HeadError::bad_status_line);
    }
    position_ = line_begin_ = lf + 1;
    return State::complete;
}

// Searches field lines for their ends only.
HeadScanner::State HeadScanner::scan_field_lines(std::string_view bytes) {
    State state = State::incomplete;
    const char* const data = bytes.data();
    const char* const end = data + bytes.size();
    const char* line = data + line_begin_;
    base::for_each_match<base::LineFeeds>(data + position_, end, [&](const char* lf) {
        if (lf == line || lf[-1] != '\r') {
            state = refuse(HeadError::bad_line_end);
            return false;
        }
        const bool is_empty = lf - 1 == line;
        line = lf + 1;
        state = is_empty ? State::complete : State::incomplete;
        return !is_empty;
    });
    line_begin_ = static_cast<std::size_t>(line - data);
    position_ = state == State::incomplete ? std::max(position_, line_begin_) : line_begin_;
    return state == State::incomplete ? want_line_end(bytes) : state;
}

template <class Head>
HeadScanner::State HeadScanner::scan_at_once(std::string_view bytes, Head& head) {
    if (position_ == 0) {
        if (parse(bytes, head) == HeadError::none) {
            position_ = line_begin_ = head.raw.size();
            return State::complete;
        }
        // Incomplete or invalid: two further passes find the error.
        head.clear();
    }
    return scan(bytes);
}

HeadScanner::State HeadScanner::scan(std::string_view bytes, RequestHead& head) {
    return scan_at_once(bytes, head);
}

HeadScanner::State HeadScanner::scan(std::string_view bytes, ResponseHead& head) {
    return scan_at_once(bytes, head);
}

// No LF follows position_. A CR is valid only before an LF. It is refused at once: a client that
// ends lines with CR alone would wait for an answer while we wait for an LF.
HeadScanner::State HeadScanner::want_line_end(std::string_view bytes) {
    const void* cr = position_ < bytes.size()
                         ? std::memchr(bytes.data() + position_, '\r', bytes.size() - position_)
                         : nullptr;
    if (cr == nullptr) {
        position_ = bytes.size();
        return State::incomplete;
    }
    position_ = static_cast<std::size_t>(static_cast<const char*>(cr) - bytes.data());
    return position_ + 1 < bytes.size() ? refuse(HeadError::bad_line_end) : State::incomplete;
}

void RequestHead::clear() {
    raw = line = method = target = {};
    minor = 1;
    fields.clear();
    seen = 0;
}
void ResponseHead::clear() {
    raw = line = reason = {};
    status = 0;
    minor = 1;
    fields.clear();
    seen = 0;
}

bool RequestHead::has(FieldId id) const {
    return is_in(seen, id);
}
std::string_view RequestHead::find(FieldId id) const {
    return has(id) ? find_in(fields, id) : std::string_view{};
}
std::size_t RequestHead::count(FieldId id) const {
    return count_in(fields, id);
}
bool ResponseHead::has(FieldId id) const {
    return is_in(seen, id);
}
std::string_view ResponseHead::find(FieldId id) const {
    return has(id) ? find_in(fields, id) : std::string_view{};
}
std::size_t ResponseHead::count(FieldId id) const {
    return count_in(fields, id);
}

HeadError parse_request_head(std::string_view raw, RequestHead& head) {
    return parse_all(raw, head);
}

HeadError parse_response_head(std::string_view raw, ResponseHead& head) {
    return parse_all(raw, head);
}

HeadError parse_response_head_softly(std::span<char> raw, ResponseHead& head) {
    const std::string_view text(raw.data(), raw.size());
    const HeadError error = parse_all(text, head);
    if (error != HeadError::bad_field_value) {
        return error;
    }
    // The start line is good; field lines follow it.
    soften_controls(raw.subspan(head.line.size()));
    return parse_all(text, head);
}

void soften_controls(std::span<char> field_lines) {
    const auto is_softened = [](char c) {
        return base::ControlBytes::matches(c) && c != '\0' && c != '\r' && c != '\n';
    };
    const auto end = field_lines.end();
    for (auto line = field_lines.begin(); line != end;) {
        const auto lf = std::find(line, end, '\n');
        const auto colon = std::find(line, lf, ':');
        if (colon != lf && colon != line) {
            const FieldId id = id_of(std::string_view(line, colon));
            const bool frames =
                is_in(set_of(FieldId::content_length, FieldId::transfer_encoding), id);
            std::replace_if(colon, lf, is_softened, frames ? '?' : ' ');
        }
        line = lf == end ? end : lf + 1;
    }
}

HeadError parse_fields(std::string_view raw, std::vector<Field>& fields) {
    FieldSet seen = 0;
    const char* at = raw.data();
    const char* const end = raw.data() + raw.size();
    const HeadError error = parse_field_lines(at, end, fields, seen);
    return error == HeadError::none && at != end ? HeadError::bad_line_end : error;
}

std::string_view reason_of(int status) {
    const Reason* const found = std::ranges::lower_bound(kReasons, status, {}, &Reason::status);
    return found != std::end(kReasons) && found->status == status ? found->phrase : "Unknown";
}

}  // namespace s3gate::http
