// Message heads exactly as received. One strict pass over the raw bytes (RFC 9112 §2–§5) yields
// views into the caller's buffer. Nothing is copied, folded or normalised, so the received bytes
// themselves can be forwarded. The parser is our own, not Beast's: every byte offset is needed, and
// a second pass would have to refuse each leniency of a general parser. Pure; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace s3gate::http {

// The fields that a rule examines.
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

// A set of field ids, one bit each: those in a head (`seen`), those that a rule removes.
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

// The reason why a head was refused; `none` for a good one.
enum class HeadError : std::uint8_t {
    none,
    bad_first_byte,    // TLS hello, binary data
    bad_line_end,      // LF without CR, CR without LF
    bad_request_line,  // not METHOD SP target SP version
    bad_method,
    bad_target,
    bad_version,  // not HTTP/1.0 or HTTP/1.1
    bad_status_line,
    bad_field_name,   // not a token, empty, space before the colon, no colon
    bad_field_value,  // NUL, control characters, bare CR
    obs_fold,
    too_many_fields,
    connect_method,
    bad_host,            // missing with HTTP/1.1, repeated, or not uri-host [":" port]
    authority_mismatch,  // the authority of an absolute-form differs from the Host
    bad_expectation,     // Expect other than one 100-continue
    bad_content_length,
    bad_transfer_encoding,
    both_framings,
    framing_lookalike,  // Content_Length, Transfer_Encoding and the like
};

// Short text for logs and error messages.
std::string_view to_string(HeadError error);

struct RequestHead;
struct ResponseHead;

// Finds the end of a head as its bytes arrive, looking at each byte once. Refuses input at the
// first byte that no head can contain, so a client with LF line ends or a TLS hello does not run
// into a timeout.
class HeadScanner {
  public:
    enum class Kind { request, response };
    enum class State { incomplete, complete, bad };

    explicit HeadScanner(Kind kind) : kind_(kind) {}
    void reset() { *this = HeadScanner(kind_); }
    // `bytes` is all input so far, with the same beginning at each call.
    State scan(std::string_view bytes);
    // The same, with parsing on the first call. Nearly all heads are complete then: a good one is
    // parsed in the same pass, and `head` equals the result of parse_request_head()
    // (parse_response_head()). Otherwise `head` is empty (head.raw tells) and the caller parses the
    // head when it is complete. Pass the same `head` at each call.
    State scan(std::string_view bytes, RequestHead& head);
    State scan(std::string_view bytes, ResponseHead& head);
    // Where the head begins and ends. It begins after empty lines before a request (RFC 9112 §2.2)
    // and ends after its empty line.
    std::size_t begin() const { return begin_; }
    std::size_t end() const { return position_; }
    HeadError error() const { return error_; }
    // True once the start line is complete. At the limit this decides between 414 and 431.
    bool has_start_line() const { return line_begin_ > begin_; }

  private:
    State refuse(HeadError error);
    // Each returns at the end of its part.
    State skip_empty_line(std::string_view bytes);
    State scan_start_line(std::string_view bytes);
    State scan_field_lines(std::string_view bytes);
    State want_line_end(std::string_view bytes);
    template <class Head>
    State scan_at_once(std::string_view bytes, Head& head);

    Kind kind_;
    HeadError error_ = HeadError::none;
    std::size_t begin_ = 0;
    std::size_t position_ = 0;    // first unexamined byte
    std::size_t line_begin_ = 0;  // start of the current line
};

// RFC 9110 §5 allows any number of fields. This bound keeps the work per head linear.
inline constexpr std::size_t kMaxFields = 1000;
// Bound on the options of all Connection fields together: each option is compared with each field.
inline constexpr std::size_t kMaxConnectionOptions = 64;

struct RequestHead {
    std::string_view raw;   // request line up to and including the empty line
    std::string_view line;  // request line with CRLF
    std::string_view method;
    std::string_view target;  // as received
    int minor = 1;            // HTTP/1.minor
    std::vector<Field> fields;
    FieldSet seen = 0;  // the ids of all fields

    // Resets to an empty head; the field vector keeps its memory.
    void clear();
    bool has(FieldId id) const;
    // Value of the first field with this id; an empty view (data() == nullptr) if absent.
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

// Parses a complete head, as delimited by HeadScanner. Reuses the field vector's memory.
HeadError parse_request_head(std::string_view raw, RequestHead& head);
HeadError parse_response_head(std::string_view raw, ResponseHead& head);
// parse_response_head() that first softens control bytes in field values, in place. If there are
// none, `raw` is unchanged.
HeadError parse_response_head_softly(std::span<char> raw, ResponseHead& head);
// Replaces control bytes in field values by spaces. Some servers send such bytes and other proxies
// relay them; without this an object with such metadata could not be read. NUL, CR and LF are kept,
// and so refused: readers disagree about them (RFC 9110 §5.5). In Content-Length and
// Transfer-Encoding the byte becomes '?', which no trimming removes, so the value stays invalid.
// Names are not changed.
void soften_controls(std::span<char> field_lines);
// Parses field lines only (trailers), up to and including the empty line.
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

// The reason phrase of RFC 9110 §15 or its registry, "Unknown" for other codes. Never empty: SDKs
// lose errors whose status line ends after the code.
std::string_view reason_of(int status);

}  // namespace s3gate::http
