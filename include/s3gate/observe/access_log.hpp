// The access log. A record becomes one JSON line (docs/operations.md lists the fields). The worker
// formats it into its own buffer; LogWriter owns the only thread that writes files. A worker never
// waits for that thread.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "s3gate/observe/request_record.hpp"

namespace s3gate::observe {

// The field `log_version`: identifies the list of fields. Fields are only added, at the end, and
// each release that adds some raises this number. An existing field keeps its name, its type and
// its meaning.
inline constexpr unsigned kAccessLogVersion = 2;

// Appends one line (with '
// ') to `out`. `now` is the wall clock; the beginning of the line is cached for one second. Always
// valid JSON: quotes, backslashes, controls and bytes that are not UTF-8 are escaped, the last as
// \u00XX.
class AccessLine {
  public:
    explicit AccessLine(std::string hostname);
    void append(std::string& out, const RequestRecord& record,
                std::chrono::system_clock::time_point now);

  private:
    class Writer;
    void start_second(std::int64_t second);
    static void write_attempts(Writer& out, const RequestRecord& record, std::size_t count);
    static void write_target(Writer& out, std::string_view target);
    static void write_outcome(Writer& out, const RequestRecord& record);
    template <class Write>
    static void write_joined(Writer& out, std::size_t count, const Write& write);
    static void write_ends(Writer& out, const RequestRecord& record, std::size_t count);
    void write(Writer& out, const RequestRecord& record, std::size_t attempts,
               std::int64_t milliseconds) const;

    std::string hostname_;
    std::int64_t cached_second_ = -1;
    std::string cached_text_;          // the line's beginning, up to the fraction of @msec
    std::unique_ptr<char[]> scratch_;  // the line is composed here
    std::size_t scratch_size_ = 0;
};

// Copies a URL or query into `out`, JSON-escaped. The values of X-Amz-Signature, X-Amz-Credential,
// X-Amz-Security-Token, Signature and AWSAccessKeyId become "***"; their names are compared after
// percent-decoding, without case.
void append_url_redacted(std::string& out, std::string_view url);

// Writes blocks of lines to a file, a FIFO or stdout on its own thread. submit() never blocks on
// I/O: beyond 64 MiB in the queue, blocks are dropped and their lines counted.
class LogWriter {
  public:
    static constexpr std::size_t kMaxQueued = 64 * 1024 * 1024;
    // Least capacity of a block that submit() returns.
    static constexpr std::size_t kBlockBytes = 64 * 1024;

    // `target`: "off", "stdout" or an absolute path. Throws std::system_error if a path cannot be
    // opened for appending.
    explicit LogWriter(const std::string& target);
    ~LogWriter();  // writes the queue, but gives up on a target that takes nothing for 1 s
    LogWriter(const LogWriter&) = delete;
    LogWriter& operator=(const LogWriter&) = delete;

    bool enabled() const;
    // Hands over complete lines; any thread. Returns the lines that this call dropped (0 = queued).
    // `lines` then holds the memory of an earlier block, so submitters allocate nothing in the
    // steady state.
    std::uint64_t submit(std::string&& lines, std::uint64_t line_count);
    // Opens the path again (log rotation); any thread, returns at once.
    void reopen();
    std::uint64_t dropped_lines() const;
    std::uint64_t written_lines() const;

  private:
    struct Impl;
    std::shared_ptr<Impl>
        impl_;  // shared with the thread: a thread on a disk that never returns cannot be joined
};

}  // namespace s3gate::observe
