#include "health_probe.hpp"

#include <algorithm>
#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/error.hpp>
#include <cerrno>
#include <optional>
#include <string_view>
#include <utility>

#include "s3gate/base/text.hpp"
#include "s3gate/http/framing.hpp"
#include "s3gate/http/head.hpp"
#include "s3gate/http/proxy_protocol.hpp"

namespace s3gate::control {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using asio::ip::tcp;
using boost::system::error_code;

using Executor = asio::io_context::executor_type;
// Its deadline ends the operation that is in progress.
using Stream = beast::basic_stream<tcp, Executor>;
constexpr asio::as_tuple_t<asio::use_awaitable_t<Executor>> kAwait{};

constexpr std::size_t kMaxHead = 64 * 1024;
constexpr std::size_t kRead = 4 * 1024;
// RFC 9110 §15.2: a client must be able to read interim answers it did not ask for; no server
// sends many.
constexpr unsigned kMaxInterim = 8;
constexpr std::size_t kMaxReasonValue = 100;
const std::string kNoPreamble;

// Header values come from the network; the log shows them on one line.
std::string printable(std::string_view text) {
    std::string out(text.substr(0, kMaxReasonValue));
    std::ranges::replace_if(out, [](char c) { return c < ' ' || c > '~'; }, '?');
    return out;
}

// The value for the log; hidden if the field may carry a credential.
std::string shown_value(std::string_view name, std::string_view value) {
    static constexpr std::string_view kParts[] = {"cookie", "auth",      "token",
                                                  "secret", "signature", "key"};
    std::string folded(name);
    std::ranges::transform(folded, folded.begin(), base::to_lower);
    const bool is_secret = std::ranges::any_of(
        kParts, [&](std::string_view part) { return folded.find(part) != std::string::npos; });
    return is_secret ? "***" : printable(value);
}

// True if the error says nothing about the backend: we ran out of something. EADDRNOTAVAIL means
// no free port for IPv4, but for IPv6 also a host where it is disabled, which never gets better.
bool is_our_fault(const error_code& error, bool is_v6) {
    const int code = error.value();
    return error.category() == boost::system::system_category() &&
           (code == EMFILE || code == ENFILE || code == ENOBUFS || code == ENOMEM ||
            (code == EADDRNOTAVAIL && !is_v6));
}

tcp::endpoint endpoint_of(const base::SocketAddress& address) {
    sockaddr_storage storage{};
    const socklen_t length = address.to_sockaddr(storage);
    tcp::endpoint endpoint;
    endpoint.resize(length);
    std::copy_n(reinterpret_cast<const char*>(&storage), length,
                reinterpret_cast<char*>(endpoint.data()));
    return endpoint;
}

ProbeResult failed(std::string reason) {
    return {ProbeEnd::failed, std::move(reason)};
}

ProbeResult timed_out(const ProbePlan& plan) {
    return {ProbeEnd::unreachable,
            "timed out after " + std::to_string(plan.timeout.count()) + " ms"};
}

ProbeResult not_connected(const error_code& error, const ProbePlan& plan, bool is_v6) {
    if (error == beast::error::timeout) {
        return timed_out(plan);
    }
    if (is_our_fault(error, is_v6)) {
        return {ProbeEnd::inconclusive, error.message()};
    }
    return {ProbeEnd::unreachable, error == asio::error::connection_refused
                                       ? "connect refused"
                                       : "connect failed: " + error.message()};
}

// `had` is the number of bytes of the answer that came before the error.
ProbeResult broke_off(const error_code& error, const ProbePlan& plan, std::size_t had) {
    if (error == beast::error::timeout) {
        return timed_out(plan);
    }
    if (error == asio::error::eof) {
        return failed(had == 0 ? "closed without an answer"
                               : "closed in the middle of the answer's head");
    }
    return failed(error.message());
}

ProbeResult judge(const ProbePlan& plan, const http::ResponseHead& answer) {
    const auto has_status = [&](const config::StatusRange& range) {
        return answer.status >= range.first && answer.status <= range.last;
    };
    if (std::ranges::none_of(plan.expect_status, has_status)) {
        return {ProbeEnd::failed, "status " + std::to_string(answer.status), answer.status};
    }
    for (const http::Field& field : answer.fields) {
        for (const auto& [rejected, pattern] : plan.reject_headers) {
            if (base::iequals(field.name, rejected) && base::glob_imatch(pattern, field.value)) {
                return failed("header " + printable(field.name) + ": " +
                              shown_value(field.name, field.value));
            }
        }
    }
    return {ProbeEnd::passed, {}, answer.status};
}

// Judges the answer while it arrives. The relay reads answers with the same parser, so both refuse
// the same malformed answers.
class AnswerJudge {
  public:
    explicit AnswerJudge(const ProbePlan& plan) : plan_(plan) {}

    // Returns nothing while more must be read. `input` holds what was received. Interim answers are
    // removed from it.
    std::optional<ProbeResult> look(std::string& input);

  private:
    const ProbePlan& plan_;
    http::HeadScanner scanner_{http::HeadScanner::Kind::response};
    http::ResponseHead answer_;
    unsigned interim_ = 0;
};

std::optional<ProbeResult> AnswerJudge::look(std::string& input) {
    for (;;) {
        const http::HeadScanner::State state = scanner_.scan(input);
        const bool is_complete = state == http::HeadScanner::State::complete;
        if ((is_complete ? scanner_.end() : input.size()) > kMaxHead) {
            return failed("answer's head larger than " + std::to_string(kMaxHead / 1024) + " KiB");
        }
        if (state == http::HeadScanner::State::incomplete) {
            return std::nullopt;
        }
        http::HeadError error = scanner_.error();
        if (is_complete) {
            error = http::parse_response_head_softly({input.data(), scanner_.end()}, answer_);
            if (error == http::HeadError::none) {
                error = http::meaning_of(answer_, plan_.asks_head).error;
            }
        }
        if (error != http::HeadError::none) {
            return failed("malformed answer: " + std::string(http::to_string(error)));
        }
        // RFC 9110 §15.2: 1xx is not the answer yet; 101 is one, and not what we asked for.
        const bool is_interim = answer_.status < 200 && answer_.status != 101;
        if (!is_interim || interim_ == kMaxInterim) {
            return judge(plan_, answer_);
        }
        ++interim_;
        input.erase(0, scanner_.end());
        scanner_.reset();
    }
}

// Does not wait for the body: the head decides.
Task<ProbeResult> ask(const ProbePlan& plan, const base::SocketAddress& address, bool is_own_port,
                      base::TimePoint deadline) {
    Stream stream(co_await asio::this_coro::executor);
    stream.expires_at(deadline);  // covers all operations together
    // The connect opens the socket and reports a failure of that like its own.
    const auto [connect_error] = co_await stream.async_connect(endpoint_of(address), kAwait);
    if (connect_error) {
        co_return not_connected(connect_error, plan, address.ip().is_v6());
    }
    const std::string& preamble = is_own_port ? plan.preamble : kNoPreamble;
    const std::array<asio::const_buffer, 2> bytes{asio::buffer(preamble),
                                                  asio::buffer(plan.request)};
    const auto [write_error, sent] = co_await asio::async_write(stream, bytes, kAwait);
    if (write_error) {
        co_return broke_off(write_error, plan, 0);
    }
    if (plan.request.empty()) {
        co_return ProbeResult{ProbeEnd::passed, {}, 0};
    }
    std::string input;
    AnswerJudge answer(plan);
    for (;;) {
        const std::size_t had = input.size();
        input.resize(had + kRead);
        const auto [read_error, got] =
            co_await stream.async_read_some(asio::buffer(input.data() + had, kRead), kAwait);
        input.resize(had + got);
        if (read_error) {
            co_return broke_off(read_error, plan, had);
        }
        if (std::optional<ProbeResult> verdict = answer.look(input)) {
            co_return *std::move(verdict);
        }
    }
}

}  // namespace

ProbePlan probe_plan_of(const config::Health& health, const config::Backends& backends) {
    ProbePlan plan;
    plan.timeout = health.timeout;
    if (backends.send_proxy != config::SendProxy::off) {
        plan.preamble = http::kLocalProxyHeader;
    }
    if (health.type == config::HealthType::tcp) {
        return plan;
    }
    plan.request = health.method + " " + health.path + " HTTP/1.1\r\nHost: " + health.host +
                   "\r\nUser-Agent: s3gate/" S3GATE_VERSION
                   " (health check)\r\nAccept: */*\r\nConnection: close\r\n\r\n";
    plan.asks_head = health.method == "HEAD";
    plan.expect_status = health.expect_status;
    plan.reject_headers = health.reject_headers;
    return plan;
}

Task<ProbeResult> probe(std::shared_ptr<const ProbePlan> plan, base::SocketAddress address,
                        bool is_own_port) {
    const base::TimePoint deadline = base::Clock::now() + plan->timeout;
    ProbeResult result = co_await ask(*plan, address, is_own_port, deadline);
    // Our own process stood still (VM pause, SIGSTOP): a timeout or any other later result is not
    // the backend's fault (docs/architecture.md).
    if (base::Clock::now() > deadline + kOwnStall) {
        co_return ProbeResult{ProbeEnd::inconclusive, "this process stood still"};
    }
    co_return result;
}

}  // namespace s3gate::control
