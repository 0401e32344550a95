#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <memory>
#include <utility>

#include "json_text.hpp"
#include "s3gate/base/scan.hpp"
#include "s3gate/observe/access_log.hpp"
#include "s3gate/s3/operation.hpp"
#include "s3gate/s3/path.hpp"

namespace s3gate::observe {
namespace {

constexpr std::string_view kAbsent = "-";

// Bytes for the names, quotes and commas of a line, its numbers, its timestamp and its operation.
constexpr std::size_t kNamesAndNumbers = 1280;
constexpr std::size_t kLongestNumber = 24;
// The times and the status of an attempt. A number has room for the commas beside it.
constexpr std::size_t kNumbersOfAttempt = 4;
// Memory that is kept for the next line; enough for URLs of a thousand bytes.
constexpr std::size_t kKeptScratch = 32 * 1024;

std::string_view query_of(std::string_view target) {
    const std::size_t question = target.find('?');
    return question == std::string_view::npos ? std::string_view() : target.substr(question + 1);
}

// The host without its port, as nginx's $host; an IPv6 literal keeps its brackets.
std::string_view without_port(std::string_view host) {
    if (host.starts_with('[')) {
        const std::size_t bracket = host.find(']');
        return bracket == std::string_view::npos ? host : host.substr(0, bracket + 1);
    }
    return host.substr(0, host.find(':'));
}

// ISO 8601 local time with offset, as nginx's $time_iso8601.
template <class Writer>
void write_iso8601(Writer& out, std::int64_t second) {
    const std::time_t time = static_cast<std::time_t>(second);
    std::tm local{};
    ::localtime_r(&time, &local);
    out.number(local.tm_year + 1900);
    const std::array<std::pair<char, int>, 5> parts = {{{'-', local.tm_mon + 1},
                                                        {'-', local.tm_mday},
                                                        {'T', local.tm_hour},
                                                        {':', local.tm_min},
                                                        {':', local.tm_sec}}};
    for (const auto& [separator, value] : parts) {
        out.plain({&separator, 1});
        out.template padded<2>(value);
    }
    const std::int64_t offset = local.tm_gmtoff / 60;
    const std::int64_t minutes = offset < 0 ? -offset : offset;
    out.plain(offset < 0 ? "-" : "+");
    out.template padded<2>(minutes / 60);
    out.literal(":");
    out.template padded<2>(minutes % 60);
}

}  // namespace

// Writes one line into memory that is large enough for all of it.
class AccessLine::Writer {
  public:
    explicit Writer(char* out) : out_(out) {}
    char* end() const { return out_; }

    // Text that needs no escapes.
    void plain(std::string_view text) {
        std::memcpy(out_, text.data(), text.size());
        out_ += text.size();
    }
    template <std::size_t Size>
    void literal(const char (&text)[Size]) {
        std::memcpy(out_, text, Size - 1);  // constant length: a few stores
        out_ += Size - 1;
    }
    // Text of our own, without a byte to escape, or "-" if it is empty.
    void word(std::string_view text) { plain(text.empty() ? kAbsent : text); }
    // The text escaped, or "-" if it is empty.
    void text(std::string_view text) {
        if (text.empty()) {
            *out_++ = '-';
        } else {
            out_ = write_json_escaped(out_, text);
        }
    }
    void url(std::string_view url) {
        if (url.empty()) {
            *out_++ = '-';
        } else {
            out_ = write_url_redacted(out_, url);
        }
    }
    template <typename Integer>
    void number(Integer value) {
        if (static_cast<std::uint64_t>(value) <= 9) {
            *out_++ = static_cast<char>('0' + value);
        } else {
            out_ = std::to_chars(out_, out_ + kLongestNumber, value).ptr;
        }
    }
    // Exactly `Width` digits; `value` has at most as many.
    template <std::size_t Width>
    void padded(std::int64_t value) {
        auto rest = static_cast<std::uint32_t>(value);
        for (std::size_t i = Width; i > 0; --i) {
            out_[i - 1] = static_cast<char>('0' + rest % 10);
            rest /= 10;
        }
        out_ += Width;
    }
    // "1.234", as nginx prints durations and $msec. A negative value, from a clock that went back,
    // becomes 0.
    void seconds(std::int64_t milliseconds) {
        milliseconds = milliseconds < 0 ? 0 : milliseconds;
        number(milliseconds / 1000);
        *out_++ = '.';
        padded<3>(milliseconds % 1000);
    }

    // The same of nanoseconds; "-" for a value that is missing.
    void seconds_or_dash(std::int64_t nanoseconds) {
        if (nanoseconds < 0) {
            *out_++ = '-';
        } else {
            seconds(nanoseconds / 1'000'000);
        }
    }

  private:
    char* out_;
};

// What `write(i)` writes for each attempt, as nginx joins it.
template <class Write>
inline void AccessLine::write_joined(Writer& out, std::size_t count, const Write& write) {
    if (count == 0) {
        out.plain(kAbsent);
        return;
    }
    write(0);
    for (std::size_t i = 1; i < count; ++i) {
        out.literal(", ");
        write(i);
    }
}

void AccessLine::write_attempts(Writer& out, const RequestRecord& record, std::size_t count) {
    const auto& attempts = record.attempts;
    out.literal(R"(,"upstreamtime":")");
    write_joined(out, count, [&](std::size_t i) { out.seconds_or_dash(attempts[i].ended_ns); });
    out.literal(R"(","upstreamaddr":")");
    write_joined(out, count, [&](std::size_t i) { out.text(attempts[i].address); });
}

// Who was tried, how each attempt ended, and whose fault the end of the request is.
inline void AccessLine::write_ends(Writer& out, const RequestRecord& record, std::size_t count) {
    const auto& attempts = record.attempts;
    out.literal(R"(","upstreamname":")");
    write_joined(out, count, [&](std::size_t i) { out.text(attempts[i].name); });
    out.literal(R"(","upstreamstatus":")");
    write_joined(out, count, [&](std::size_t i) {
        if (attempts[i].status == 0) {
            out.plain(kAbsent);
        } else {
            out.number(attempts[i].status);
        }
    });
    out.literal(R"(","upstreamerror":")");
    write_joined(out, count, [&](std::size_t i) { out.word(attempts[i].error); });
    out.literal(R"(","upstreamconnect":")");
    write_joined(out, count, [&](std::size_t i) { out.seconds_or_dash(attempts[i].connected_ns); });
    out.literal(R"(","upstreamheader":")");
    write_joined(out, count, [&](std::size_t i) { out.seconds_or_dash(attempts[i].answered_ns); });
    out.literal(R"(","blame":")");
    out.word(record.blame);
    out.literal(R"(","stage":")");
    out.word(record.stage);
    out.literal(R"(","group":")");
    out.text(record.group);
    out.literal(R"(","access_key":")");
    out.text(record.access_key);
}

// The target and its query, as two fields.
void AccessLine::write_target(Writer& out, std::string_view target) {
    const char* const end = target.data() + target.size();
    const char* const special = base::find_first<base::UrlSpecials>(target.data(), end);
    out.literal(R"(","request":")");
    if (special == end) {
        out.text(target);
        out.literal(R"(","args":")");
        out.plain(kAbsent);
        return;
    }
    // A secret in the path needs a '=' or a ':', plain or escaped. Without one the query reads
    // alone as it does after its path, so the written text is copied.
    if (*special != '?') {
        out.url(target);
        out.literal(R"(","args":")");
        out.url(query_of(target));
        return;
    }
    const std::string_view path =
        target.substr(0, static_cast<std::size_t>(special - target.data()));
    const std::string_view query = target.substr(path.size() + 1);
    if (!path.empty()) {
        out.text(path);
    }
    out.literal("?");
    const char* const begin = out.end();
    if (!query.empty()) {
        out.url(query);
    }
    const std::string_view written(begin, static_cast<std::size_t>(out.end() - begin));
    out.literal(R"(","args":")");
    out.plain(written.empty() ? kAbsent : written);
}

// Sizes, times and end of the request. Inline: called once per line.
inline void AccessLine::write_outcome(Writer& out, const RequestRecord& record) {
    out.literal(R"(","tries":)");
    out.number(record.tries);
    out.literal(R"(,"bytes_in":)");
    out.number(record.bytes_in);
    out.literal(R"(,"ttfb":)");
    // A missing number is null: "-" would make the field a string in some lines only.
    const auto number_or_null = [&out](std::int64_t value) {
        if (value < 0) {
            out.literal("null");
        } else {
            out.number(value);
        }
    };
    number_or_null(record.ttfb_ms);
    out.literal(R"(,"queued":)");
    number_or_null(record.queued_ms);
    out.literal(R"(,"error":")");
    out.text(record.error);
    out.literal(R"(","request_id":")");
    out.text(record.request_id);
    out.literal(R"(","backend_request_id":")");
    out.text(record.backend_request_id);
}

void name_operation(RequestRecord& record) {
    record.operation = record.bucket = {};
    if (record.is_s3) {
        const s3::Path path = s3::path_of(record.target, record.host_bucket);
        record.operation = s3::operation_of(record.method, path, record.has_copy_source);
        record.bucket = path.bucket;
    }
}

AccessLine::AccessLine(std::string hostname) : hostname_(std::move(hostname)) {}

void AccessLine::start_second(std::int64_t second) {
    std::array<char, 128> text;
    Writer out(text.data());
    out.literal(R"({"@timestamp":")");
    write_iso8601(out, second);
    out.literal(R"(","@msec":")");
    out.number(second < 0 ? 0 : second);
    out.literal(".");
    cached_text_.assign(text.data(), out.end());
    cached_second_ = second;
}

void AccessLine::write(Writer& out, const RequestRecord& record, std::size_t attempts,
                       std::int64_t milliseconds) const {
    const std::int64_t fraction = milliseconds % 1000;
    out.plain(cached_text_);
    out.padded<3>(fraction < 0 ? 0 : fraction);
    out.literal(R"(","@source":")");
    out.text(record.local_ip);
    out.literal(R"(","hostname":")");
    out.text(hostname_);
    out.literal(R"(","ip":")");
    out.text(record.forwarded_for);
    out.literal(R"(","client":")");
    out.word(record.client_ip);
    out.literal(R"(","request_method":")");
    out.text(record.method);
    out.literal(R"(","scheme":")");
    out.plain(record.tls ? "https" : "http");
    out.literal(R"(","domain":")");
    out.text(without_port(record.host));
    out.literal(R"(","referer":")");
    out.url(record.referer);
    write_target(out, record.target);
    out.literal(R"(","size":)");
    out.number(record.bytes_out);
    out.literal(R"(,"status":)");
    out.number(record.status);
    out.literal(R"(,"responsetime":)");
    out.seconds(record.duration.count());
    write_attempts(out, record, attempts);
    out.literal(R"(","http_user_agent":")");
    out.text(record.user_agent);
    out.literal(R"(","https":")");
    out.plain(record.tls ? "on" : kAbsent);
    out.literal(R"(","site":")");
    out.text(record.site);
    out.literal(R"(","op":")");
    out.word(record.operation);
    out.literal(R"(","bucket":")");
    // Redacted like a URL: a target may contain its '?' escaped.
    out.url(record.bucket);
    out.literal(R"(","key_source":")");
    out.text(record.key_source);
    out.literal(R"(","session":")");
    out.url(record.session);  // the client's choice, possibly a part of a URL
    write_outcome(out, record);
    static_assert(kAccessLogVersion == 2);
    out.literal("\",\"log_version\":2,\"peer\":\"");
    out.word(record.peer_ip);
    write_ends(out, record, attempts);
    out.literal("\"}\n");
}

void AccessLine::append(std::string& out, const RequestRecord& record,
                        std::chrono::system_clock::time_point now) {
    const std::int64_t milliseconds =
        std::chrono::floor<std::chrono::milliseconds>(now.time_since_epoch()).count();
    const std::int64_t second = milliseconds / 1000;
    if (second != cached_second_) {
        start_second(second);
    }
    const std::size_t attempts =
        std::min<std::size_t>(record.attempt_count, RequestRecord::kMaxAttempts);
    // The line contains the target twice, and its bucket.
    std::size_t texts = hostname_.size() + record.local_ip.size() + record.forwarded_for.size() +
                        record.client_ip.size() + record.peer_ip.size() + record.method.size() +
                        record.host.size() + record.referer.size() + 3 * record.target.size() +
                        record.user_agent.size() + record.site.size() + record.key_source.size() +
                        record.session.size() + record.error.size() + record.request_id.size() +
                        record.backend_request_id.size() + record.blame.size() +
                        record.stage.size() + record.group.size() + record.access_key.size();
    for (std::size_t i = 0; i < attempts; ++i) {
        const AttemptRecord& attempt = record.attempts[i];
        texts += attempt.address.size() + attempt.name.size() + attempt.error.size() +
                 kNumbersOfAttempt * kLongestNumber;
    }
    const std::size_t room = kNamesAndNumbers + kMostPerByte * texts + kTextSlack;
    if (scratch_size_ < room) {
        scratch_size_ = std::max(room, kKeptScratch);
        scratch_ = std::make_unique_for_overwrite<char[]>(scratch_size_);
    }
    Writer line(scratch_.get());
    write(line, record, attempts, milliseconds);
    out.append(scratch_.get(), line.end());
    if (scratch_size_ > kKeptScratch) {
        // A huge request must not make a worker keep its memory.
        scratch_.reset();
        scratch_size_ = 0;
    }
}

}  // namespace s3gate::observe
