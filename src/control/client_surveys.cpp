#include "client_surveys.hpp"

#include <unistd.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/system/error_code.hpp>
#include <cstdint>
#include <iterator>
#include <utility>

#include "in_background.hpp"
#include "s3gate/control/findings_json.hpp"

namespace s3gate::control {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;
using proxy::ClientReport;
using proxy::ClientSurvey;

constexpr base::Duration kPoll{2};

std::int64_t milliseconds(base::TimePoint from, base::TimePoint to) {
    const auto time = std::chrono::duration_cast<base::Duration>(to - from).count();
    return std::max<std::int64_t>(time, 0);
}

// A text that is escaped already.
json::value unescaped(const std::string& text) {
    boost::system::error_code error;
    json::value out = json::parse("\"" + text + "\"", error);
    return error ? json::value(json_text(text)) : out;
}

json::object request_of(const ClientReport& report, base::TimePoint now) {
    json::object out;
    out["age_ms"] = milliseconds(report.since, now);
    out["method"] = json_text(report.method);
    out["target"] = unescaped(report.target);
    out["op"] = report.operation;
    out["bucket"] = unescaped(report.bucket);
    out["server"] = json_text(report.server);
    out["address"] = report.address;
    out["bytes_in"] = report.bytes_in;
    out["bytes_out"] = report.bytes_out;
    return out;
}

json::object json_of(const ClientReport& report, base::TimePoint now) {
    json::object out;
    out["client"] = report.client;
    out["peer"] = report.peer;
    out["site"] = json_text(report.site);
    out["listener"] = report.listener;
    out["worker"] = report.worker;
    out["age_ms"] = milliseconds(report.came, now);
    out["state"] = proxy::to_string(report.state);
    out["requests"] = report.requests;
    out["request"] = report.has_request ? json::value(request_of(report, now)) : json::value();
    return out;
}

json::array json_of(const std::vector<OldProcessReport>& processes) {
    json::array out;
    for (const OldProcessReport& process : processes) {
        json::object one;
        one["pid"] = process.pid == 0 ? json::value() : json::value(process.pid);
        one["connections"] = process.connections;
        out.push_back(std::move(one));
    }
    return out;
}

}  // namespace

std::string connections_text(const ClientSurvey& survey, base::TimePoint now,
                             const std::vector<OldProcessReport>& others) {
    std::vector<const ClientReport*> reports;
    std::size_t matching = 0;
    json::array silent;
    for (std::size_t i = 0; i < survey.workers(); ++i) {
        if (const ClientSurvey::Part* const part = survey.answer(i)) {
            matching += part->matching;
            std::ranges::transform(part->reports, std::back_inserter(reports),
                                   [](const ClientReport& report) { return &report; });
        } else {
            silent.emplace_back(i);
        }
    }
    std::ranges::sort(reports, [](const ClientReport* left, const ClientReport* right) {
        return proxy::comes_before(*left, *right);
    });
    reports.resize(std::min(reports.size(), survey.question().limit));
    json::array connections;
    connections.reserve(reports.size());
    for (const ClientReport* const report : reports) {
        connections.push_back(json_of(*report, now));
    }
    json::object out;
    out["pid"] = ::getpid();
    out["matching"] = matching;
    out["more"] = matching - reports.size();
    out["silent_workers"] = std::move(silent);
    out["old_processes"] = json_of(others);
    out["connections"] = std::move(connections);
    return json::serialize(out) + "\n";
}

class ClientSurveys::Turn {
  public:
    explicit Turn(std::shared_ptr<Turns> turns) : turns_(std::move(turns)) {
        turns_->is_taken = true;
    }
    ~Turn() {
        turns_->is_taken = false;
        turns_->ended.cancel();
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

  private:
    std::shared_ptr<Turns> turns_;
};

ClientSurveys::ClientSurveys(asio::io_context& context,
                             const std::vector<proxy::WorkerHandle>& workers,
                             const OldProcesses& old_processes)
    : context_(context),
      workers_(workers),
      old_processes_(old_processes),
      turns_(std::make_shared<Turns>(context)) {}

// A worker that has ended has no clients, and answers nothing any more.
bool ClientSurveys::is_answered(const ClientSurvey& survey) const {
    for (std::size_t i = 0; i < survey.workers(); ++i) {
        if (survey.answer(i) == nullptr && !workers_[i].is_finished()) {
            return false;
        }
    }
    return true;
}

asio::awaitable<std::string> ClientSurveys::ask(ClientSurvey::Question question) {
    const std::shared_ptr<Turns> turns = turns_;
    while (turns->is_taken) {
        co_await turns->ended.async_wait(asio::as_tuple(asio::use_awaitable));
    }
    const Turn turn(turns);
    const auto survey = std::make_shared<ClientSurvey>(question, workers_.size());
    for (const proxy::WorkerHandle& worker : workers_) {
        worker.post_survey(survey);
    }
    const base::TimePoint end = survey->began() + kPatience;
    Timer pause(context_);
    while (!is_answered(*survey) && base::Clock::now() < end) {
        pause.expires_after(kPoll);
        co_await pause.async_wait(asio::use_awaitable);
    }
    survey->give_up();
    for (std::size_t i = 0; i < survey->workers(); ++i) {
        if (survey->answer(i) == nullptr && workers_[i].is_finished()) {
            survey->part(i) = {};
            survey->finish(i);
        }
    }
    // Named: GCC 12 destroys a temporary with captures twice within co_await (PR 99576).
    const auto write = [survey, others = old_processes_.reports()] {
        return connections_text(*survey, base::Clock::now(), others);
    };
    co_return co_await in_background(write);
}

}  // namespace s3gate::control
