// Asks the workers for their client connections (proxy/client_survey.hpp) and writes the answer for
// an operator. One question at a time: the answers are large. Control thread; it never waits for a
// worker.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "old_processes.hpp"
#include "s3gate/base/clock.hpp"
#include "s3gate/proxy/client_survey.hpp"
#include "s3gate/proxy/worker_handle.hpp"
#include "timer.hpp"

namespace s3gate::control {

// The answer of `GET /connections` as docs/operations.md has it, in one line. `others`: the
// connections of old processes. Any thread.
std::string connections_text(const proxy::ClientSurvey& survey, base::TimePoint now,
                             const std::vector<OldProcessReport>& others);

class ClientSurveys {
  public:
    static constexpr std::size_t kUsualLimit = 1000;
    static constexpr std::size_t kMostReports = 20'000;
    // A worker that has not answered by then is named as one that does not.
    static constexpr base::Duration kPatience = std::chrono::seconds{5};

    // They must outlive the object.
    ClientSurveys(boost::asio::io_context& context, const std::vector<proxy::WorkerHandle>& workers,
                  const OldProcesses& old_processes);
    ClientSurveys(const ClientSurveys&) = delete;
    ClientSurveys& operator=(const ClientSurveys&) = delete;

    boost::asio::awaitable<std::string> ask(proxy::ClientSurvey::Question question);

  private:
    // Shared with the coroutines, which end with the context.
    struct Turns {
        explicit Turns(boost::asio::io_context& context) : ended(context, base::TimePoint::max()) {}
        bool is_taken = false;
        Timer ended;  // never expires; cancelled when a question is answered
    };
    class Turn;

    bool is_answered(const proxy::ClientSurvey& survey) const;

    boost::asio::io_context& context_;
    const std::vector<proxy::WorkerHandle>& workers_;
    const OldProcesses& old_processes_;
    std::shared_ptr<Turns> turns_;
};

}  // namespace s3gate::control
