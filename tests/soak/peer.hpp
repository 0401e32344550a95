// Shared by both programs of the soak test: an event loop on one thread, and sockets that send a
// script: bytes, pauses, and the end of the connection after any byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <queue>
#include <string>
#include <string_view>
#include <vector>

namespace soak {

// Milliseconds of the monotonic clock.
std::uint64_t now_ms();

// Bytes and actions to send, in order. Text is copied; bodies are not, because they live as long as
// the process.
class Script {
  public:
    enum class Kind : std::uint8_t { text, body, pause, fin, reset };
    struct Step {
        Kind kind;
        std::size_t begin;   // text: offset in the arena
        std::size_t length;  // bytes; pause: milliseconds
        const char* data;    // body
    };
    enum class Result {
        done,     // all sent
        blocked,  // the socket takes no more bytes
        paused,   // until wake_at()
        finned,   // all sent, then FIN
        ended,    // reset by the script, or the connection broke; close it
    };

    void clear();
    bool is_done() const { return next_ == steps_.size(); }
    void text(std::string_view bytes);
    void body(std::string_view bytes);
    // Sends in chunks of at most `piece` bytes, with the last chunk.
    void chunked(std::string_view bytes, std::size_t piece);
    void pause(std::uint64_t milliseconds) {
        steps_.push_back({Kind::pause, 0, milliseconds, nullptr});
    }
    void end(bool reset) { steps_.push_back({reset ? Kind::reset : Kind::fin, 0, 0, nullptr}); }
    std::size_t size() const { return size_; }  // bytes in all
    std::size_t sent() const { return sent_; }
    // Removes all steps after the first `bytes` bytes.
    void cut(std::size_t bytes);
    // Adds a pause after the first `bytes` bytes, and `again` more at equal distances of `step`.
    void slow_down(std::size_t bytes, std::size_t step, unsigned times, std::uint64_t milliseconds);
    Result send(int fd);
    std::uint64_t wake_at() const { return wake_at_; }

  private:
    std::vector<Step> steps_;
    std::string arena_;
    std::size_t next_ = 0;
    std::size_t offset_ = 0;  // within the next step
    std::size_t size_ = 0;
    std::size_t sent_ = 0;
    std::uint64_t wake_at_ = 0;
};

// Makes close() send a reset.
void reset_on_close(int fd, bool on);

class Loop {
  public:
    // `events` are epoll's; `token` is the one of add(). Called for every event.
    using OnEvent = std::function<void(std::uint64_t token, std::uint32_t events)>;
    using OnTimer = std::function<void(std::uint64_t token)>;
    Loop();
    // Edge-triggered, for all events, until the descriptor is closed.
    void add(int fd, std::uint64_t token);
    // Calls on_timer(token) at `when` or later. Timers cannot be cancelled; the callback checks.
    void wake(std::uint64_t token, std::uint64_t when) { timers_.push({when, token}); }
    // One round; waits at most `limit` milliseconds.
    void turn(int limit, const OnEvent& on_event, const OnTimer& on_timer);

  private:
    struct Timer {
        std::uint64_t when;
        std::uint64_t token;
        bool operator<(const Timer& other) const { return when > other.when; }
    };
    int epoll_;
    std::priority_queue<Timer> timers_;
};

// A record of 16 bytes in the programs' files; soak_audit reads it.
struct Record {
    std::uint64_t id;
    std::uint8_t what;
    std::uint8_t operation;
    std::uint16_t status;
    std::uint32_t detail;
};
static_assert(sizeof(Record) == 16);

enum class Operation : std::uint8_t {
    get,
    range,
    head,
    options,
    put,
    put_conditional,
    remove,
    create,
    part,
    complete,
    tunnel,
};
constexpr std::size_t kOperations = 11;
inline constexpr const char* kOperationNames[kOperations] = {
    "GET",        "GET with Range",          "HEAD",   "OPTIONS",
    "PUT",        "PUT with If-None-Match",  "DELETE", "CreateMultipartUpload",
    "UploadPart", "CompleteMultipartUpload", "tunnel"};

constexpr bool is_write(Operation operation) {
    return operation >= Operation::put && operation != Operation::tunnel;
}

// The fate of a request, as its client saw it (Record::what). `detail`: received body bytes.
enum class Outcome : std::uint8_t {
    ok,              // the expected answer, complete and correct
    error_of_proxy,  // a complete error of the proxy
    error_of_node,   // a complete error of a node
    cut,             // the connection ended before the answer
    aborted,         // by this client, before the whole request was sent
    aborted_late,    // by this client, later
    corrupt,         // a complete answer with a wrong byte, length, digest or id
    malformed,       // no HTTP message
    hung,            // no event for a minute
    refused,         // no connection
};
constexpr std::size_t kOutcomes = 10;
inline constexpr const char* kOutcomeNames[kOutcomes] = {
    "ok",
    "error of the proxy",
    "error of a node",
    "cut visibly",
    "aborted by the client before the request was sent",
    "aborted by the client later",
    "CORRUPT",
    "MALFORMED",
    "HUNG",
    "CONNECTION REFUSED"};

// A node's note (Record::what).
enum class Note : std::uint8_t {
    executed,   // a write was executed once
    corrupt,    // a complete request with a wrong byte, length, digest or field
    malformed,  // no HTTP message
};

}  // namespace soak
