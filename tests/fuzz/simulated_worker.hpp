// The worker under test and what it shares, for the exchange target: sites by options, turns, and
// the state it must be left in. Apart from the script and its judge, because of what its headers
// cost to compile.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace s3gate::fuzz {

// Bits of a site's options.
enum Option : unsigned {
    kHttp = 1u << 0,
    kRetryNothing = 1u << 1,
    kRetryNoStatus = 1u << 2,
    kSmallReplay = 1u << 3,
    kUpgrade = 1u << 4,
    kExpectClose = 1u << 5,
    kNoKeepalive = 1u << 6,
    kLeastConn = 1u << 7,
    kRoundRobin = 1u << 8,
    kRefuseAllDown = 1u << 9,
    kSmallLimits = 1u << 10,
    kQuickMarks = 1u << 11,
    kTwoTries = 1u << 12,
    kSession = 1u << 13,
    kBackup = 1u << 14,
    kConnectionLimit = 1u << 15,
};

// A worker with one site of three servers (four addresses: 10.1.0.1 … 10.1.0.4, port 9000) whose
// listening socket belongs to the current Network.
class SimulatedWorker {
  public:
    SimulatedWorker(unsigned options, int listener);
    ~SimulatedWorker();  // every descriptor and pipe must be given back
    SimulatedWorker(const SimulatedWorker&) = delete;
    SimulatedWorker& operator=(const SimulatedWorker&) = delete;

    // One round of the event loop.
    void turn();
    // The next round has something to do without any event.
    bool is_busy() const;
    void use_options(unsigned options);
    void set_up(std::size_t backend, bool up);
    void take_down(std::size_t backend);
    void drain();
    void stop();
    std::size_t clients() const;
    // It was told to end and has: nothing moves it any more.
    bool is_finished() const;
    // Nothing may be counted, held or running when the last client is gone.
    void check_idle() const;

  private:
    struct Parts;
    std::unique_ptr<Parts> parts_;
};

// Length of a tick of the worker's clock.
inline constexpr std::chrono::milliseconds kTick{250};

}  // namespace s3gate::fuzz
