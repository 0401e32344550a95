// Message heads exactly as received. One strict pass over the raw bytes (RFC 9112 §2–§5) yields
// views into the caller's buffer; nothing is copied, folded or normalised, so that what is
// forwarded can be the received bytes themselves. The parser is our own rather than Beast's because
// every byte offset is needed and because each leniency of a general parser would have to be
// refused in a second pass anyway. Pure; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace s3gate::http {

// Fields that some rule of ours looks at.
enum class FieldId : std::uint8_t {
    other,
    accept_language,
    authorization,
    connection,
    content_length,
    cookie,
    date,
    expect,
    forwarded,
    host,
    http2_settings,
    if_match,
    if_none_match,
    keep_alive,
    proxy_authenticate,
    proxy_authorization,
    proxy_connection,
    referer,
    te,
    trailer,
    transfer_encoding,
    upgrade,
    user_agent,
    x_amz_copy_source,
    x_amz_request_id,
    x_forwarded_for,
    x_forwarded_proto,
    x_minio_error_code,
    x_real_ip,
};

FieldId field_id_of(std::string_view name);

// A set of them, a bit for each: what a head has (`seen`), what a rule drops.
using FieldSet = std::uint64_t;
constexpr FieldSet set_of(FieldId id) {
    return FieldSet{1} << static_cast<unsigned>(id);
}
template <class... Ids>
constexpr FieldSet set_of(FieldId id, Ids... others) {
    return set_of(id) | set_of(others...);
}
constexpr bool is_in(FieldSet set, FieldId id) {
    return (set >> static_cast<unsigned>(id) & 1) != 0;
}

// One field line. `line` spans the whole line including its CRLF.
struct Field {
    std::string_view name;
    std::string_view value;  // without surrounding OWS
    std::string_view line;
    FieldId id = FieldId::other;
};

// Why a head was refused. `none` means it was not.
enum class HeadError : std::uint8_t {
    none,
    bad_first_byte,    // TLS hello, binary junk
    bad_line_end,      // LF without CR, CR without LF
    bad_request_line,  // not METHOD SP target SP version
    bad_method,
    bad_target,
    bad_version,  // anything but HTTP/1.0 and HTTP/1.1
    bad_status_line,
    bad_field_name,   // not a token, empty, space before the colon, no colon
    bad_field_value,  // NUL, control characters, bare CR
    obs_fold,
    too_many_fields,
    connect_method,
    bad_host,            // missing with HTTP/1.1, repeated, or not uri-host [":" port]
    authority_mismatch,  // absolute-form whose authority is not the Host
    bad_expectation,     // Expect other than one 100-continue
    bad_content_length,
    bad_transfer_encoding,
    both_framings,
    framing_lookalike,  // Content_Length, Transfer_Encoding and kin
};

// Short text for logs and error messages.
std::string_view to_string(HeadError error);

struct RequestHead;
struct ResponseHead;

// Finds the end of a head as its bytes arrive, each byte looked at once; refuses what cannot become
// a head as soon as it is seen, so that a client that sends LF line ends or a TLS hello is not left
// to run into a timeout.
class HeadScanner {
  public:
    enum class Kind { request, response };
    enum class State { incomplete, complete, bad };

    explicit HeadScanner(Kind kind) : kind_(kind) {}
    void reset() { *this = HeadScanner(kind_); }
    // `bytes` is everything received so far, from the same beginning each time.
    State scan(std::string_view bytes);
    // The same, but a good head that is there whole at the first look, as nearly all are, is parsed
    // in the pass that finds its end: `head` is then what parse_request_head()
    // (parse_response_head()) would make it. Any other is empty from the first look on (head.raw is
    // what tells), its bytes were looked at once in vain, and it is to be parsed when it is
    // complete. The same `head` each time.
    State scan(std::string_view bytes, RequestHead& head);
    State scan(std::string_view bytes, ResponseHead& head);
    // Where the head begins (leading empty lines of a request are skipped, RFC 9112 §2.2) and ends
    // (behind the empty line).
    std::size_t begin() const { return begin_; }
    std::size_t end() const { return position_; }
    HeadError error() const { return error_; }
    // True once the start line is complete: tells 414 from 431 when the limit is reached.
    bool has_start_line() const { return line_begin_ > begin_; }

  private:
    State refuse(HeadError error);
    // Each is done with its part where it is complete.
    State skip_empty_line(std::string_view bytes);
    State scan_start_line(std::string_view bytes);
    State scan_field_lines(std::string_view bytes);
    State want_line_end(std::string_view bytes);
    template <class Head>
    State scan_at_once(std::string_view bytes, Head& head);

    Kind kind_;
    HeadError error_ = HeadError::none;
    std::size_t begin_ = 0;
    std::size_t position_ = 0;    // first byte not yet looked at
    std::size_t line_begin_ = 0;  // start of the line being scanned
};

// RFC 9110 §5 sets no bound on the number of fields; ours keeps the work per head linear in what a
// real client sends.
inline constexpr std::size_t kMaxFields = 1000;
// The same for the options of all Connection fields together: each may nominate a field, and each
// field is compared with each.
inline constexpr std::size_t kMaxConnectionOptions = 64;

struct RequestHead {
    std::string_view raw;   // request line up to and including the empty line
    std::string_view line;  // request line with CRLF
    std::string_view method;
    std::string_view target;  // as received
    int minor = 1;            // HTTP/1.minor
    std::vector<Field> fields;
    FieldSet seen = 0;  // the ids of all fields

    // As after construction; the field vector's memory stays.
    void clear();
    bool has(FieldId id) const;
    // Value of the first field with this id; empty view (data() == nullptr) when absent.
    std::string_view find(FieldId id) const;
    std::size_t count(FieldId id) const;
};

struct ResponseHead {
    std::string_view raw;
    std::string_view line;
    std::string_view reason;
    int status = 0;
    int minor = 1;
    std::vector<Field> fields;
    FieldSet seen = 0;

    void clear();
    bool has(FieldId id) const;
    std::string_view find(FieldId id) const;
    std::size_t count(FieldId id) const;
};

// Parses a complete head (as HeadScanner delimits it). The field vector's memory is reused.
HeadError parse_request_head(std::string_view raw, RequestHead& head);
HeadError parse_response_head(std::string_view raw, ResponseHead& head);
// parse_response_head() for bytes of ours to change: control bytes in field values are softened
// before anything refuses them. `raw` is as it came where none had to be.
HeadError parse_response_head_softly(std::span<char> raw, ResponseHead& head);
// Makes every control byte in the values of field lines a space, where servers send such and other
// proxies relay them: an object whose metadata has one would be unreadable. NUL, CR and LF stay as
// they are, so that they are refused: readers differ in what they mean (RFC 9110 §5.5). In
// Content-Length and Transfer-Encoding it becomes a '?', which cannot be trimmed away: the value
// stays as odd as it was. Names are not touched.
void soften_controls(std::span<char> field_lines);
// Field lines only (trailers), up to and including the empty line.
HeadError parse_fields(std::string_view raw, std::vector<Field>& fields);

// Calls `visit(token)` for each non-empty member of a comma-separated list (RFC 9110 §5.6.1).
template <class Visit>
void for_each_list_member(std::string_view list, const Visit& visit) {
    std::size_t position = 0;
    while (position <= list.size()) {
        std::size_t comma = list.find(',', position);
        if (comma == std::string_view::npos) {
            comma = list.size();
        }
        std::string_view member = list.substr(position, comma - position);
        while (!member.empty() && (member.front() == ' ' || member.front() == '\t')) {
            member.remove_prefix(1);
        }
        while (!member.empty() && (member.back() == ' ' || member.back() == '\t')) {
            member.remove_suffix(1);
        }
        if (!member.empty()) {
            visit(member);
        }
        position = comma + 1;
    }
}

// The reason phrase of RFC 9110 §15 or its registry; "Unknown" for codes it does not know. Never
// empty: SDKs lose errors whose status line ends behind the code.
std::string_view reason_of(int status);

}  // namespace s3gate::http
