#include "health_probe.hpp"

#include <algorithm>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <cerrno>
#include <string_view>
#include <utility>

#include "s3gate/base/text.hpp"
#include "s3gate/http/framing.hpp"
#include "s3gate/http/head.hpp"

namespace s3gate::control {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

using Executor = asio::io_context::executor_type;
using Socket = asio::basic_stream_socket<tcp, Executor>;
using Timer = asio::basic_waitable_timer<base::Clock, asio::wait_traits<base::Clock>, Executor>;

constexpr std::size_t kMaxHead = 64 * 1024;
constexpr std::size_t kRead = 4 * 1024;
// RFC 9110 §15.2: a client must be able to read interim answers it did not ask for; no server
// sends many.
constexpr unsigned kMaxInterim = 8;
constexpr std::size_t kMaxReasonValue = 100;

// Header values come from the network; the log shows them on one line.
std::string printable(std::string_view text) {
    std::string out(text.substr(0, kMaxReasonValue));
    std::ranges::replace_if(out, [](char c) { return c < ' ' || c > '~'; }, '?');
    return out;
}

// The value as the log may show it: of a field that carries a credential nothing.
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

std::string connect_reason(const error_code& error) {
    return error == asio::error::connection_refused ? "connect refused"
                                                    : "connect failed: " + error.message();
}

class HttpProbe final : public Probe, public std::enable_shared_from_this<HttpProbe> {
  public:
    HttpProbe(asio::io_context& context, std::shared_ptr<const ProbePlan> plan, Done done)
        : plan_(std::move(plan)), done_(std::move(done)), socket_(context), timer_(context) {}

    void begin(const base::SocketAddress& address);
    void cancel() override;

  private:
    void send_request();
    void read_on();
    void look_for_answer();
    void judge();
    void finish(ProbeEnd end, std::string reason);
    void close();

    std::shared_ptr<const ProbePlan> plan_;
    Done done_;  // empty once finished or cancelled
    Socket socket_;
    Timer timer_;
    base::TimePoint deadline_{};
    std::string input_;  // received, and not an interim answer that has been read
    http::HeadScanner scanner_{http::HeadScanner::Kind::response};
    http::ResponseHead answer_;
    unsigned interim_ = 0;
};

void HttpProbe::begin(const base::SocketAddress& address) {
    deadline_ = base::Clock::now() + plan_->timeout;
    timer_.expires_at(deadline_);
    timer_.async_wait([self = shared_from_this()](error_code error) {
        if (!error) {
            self->finish(ProbeEnd::unreachable,
                         "timed out after " + std::to_string(self->plan_->timeout.count()) + " ms");
        }
    });
    sockaddr_storage storage{};
    const socklen_t length = address.to_sockaddr(storage);
    tcp::endpoint endpoint;
    endpoint.resize(length);
    std::copy_n(reinterpret_cast<const char*>(&storage), length,
                reinterpret_cast<char*>(endpoint.data()));
    // Opens the socket itself; a failure of that arrives in the handler like any other.
    const bool is_v6 = address.ip().is_v6();
    socket_.async_connect(endpoint, [self = shared_from_this(), is_v6](error_code error) {
        if (!error) {
            self->send_request();
        } else if (is_our_fault(error, is_v6)) {
            self->finish(ProbeEnd::inconclusive, error.message());
        } else {
            self->finish(ProbeEnd::unreachable, connect_reason(error));
        }
    });
}

void HttpProbe::send_request() {
    if (!done_) {
        return;
    }
    asio::async_write(socket_, asio::buffer(plan_->request),
                      [self = shared_from_this()](error_code error, std::size_t) {
                          if (error) {
                              self->finish(ProbeEnd::failed, error.message());
                          } else {
                              self->read_on();
                          }
                      });
}

void HttpProbe::read_on() {
    if (!done_) {
        return;
    }
    const std::size_t had = input_.size();
    input_.resize(had + kRead);
    socket_.async_read_some(asio::buffer(input_.data() + had, kRead), [self = shared_from_this(),
                                                                       had](error_code error,
                                                                            std::size_t got) {
        self->input_.resize(had + got);
        if (!error) {
            self->look_for_answer();
        } else if (error == asio::error::eof) {
            self->finish(ProbeEnd::failed, had == 0 ? "closed without an answer"
                                                    : "closed in the middle of the answer's head");
        } else {
            self->finish(ProbeEnd::failed, error.message());
        }
    });
}

// Read by the parser of requests' answers: what is malformed for them is so here. The body is never
// waited for: the verdict stands in the head.
void HttpProbe::look_for_answer() {
    for (;;) {
        const http::HeadScanner::State state = scanner_.scan(input_);
        const bool is_complete = state == http::HeadScanner::State::complete;
        if ((is_complete ? scanner_.end() : input_.size()) > kMaxHead) {
            finish(ProbeEnd::failed,
                   "answer's head larger than " + std::to_string(kMaxHead / 1024) + " KiB");
            return;
        }
        if (state == http::HeadScanner::State::incomplete) {
            read_on();
            return;
        }
        http::HeadError error = scanner_.error();
        if (is_complete) {
            error = http::parse_response_head_softly({input_.data(), scanner_.end()}, answer_);
            if (error == http::HeadError::none) {
                error = http::meaning_of(answer_, plan_->asks_head).error;
            }
        }
        if (error != http::HeadError::none) {
            finish(ProbeEnd::failed, "malformed answer: " + std::string(http::to_string(error)));
            return;
        }
        // RFC 9110 §15.2: 1xx is not the answer yet; 101 is one, and not what we asked for.
        const bool is_interim = answer_.status < 200 && answer_.status != 101;
        if (!is_interim || interim_ == kMaxInterim) {
            judge();
            return;
        }
        ++interim_;
        input_.erase(0, scanner_.end());
        scanner_.reset();
    }
}

void HttpProbe::judge() {
    const auto& expected = plan_->expect_status;
    if (std::ranges::find(expected, answer_.status) == expected.end()) {
        finish(ProbeEnd::failed, "status " + std::to_string(answer_.status));
        return;
    }
    for (const http::Field& field : answer_.fields) {
        for (const auto& [rejected, pattern] : plan_->reject_headers) {
            if (base::iequals(field.name, rejected) && base::glob_imatch(pattern, field.value)) {
                finish(ProbeEnd::failed, "header " + printable(field.name) + ": " +
                                             shown_value(field.name, field.value));
                return;
            }
        }
    }
    finish(ProbeEnd::passed, {});
}

void HttpProbe::finish(ProbeEnd end, std::string reason) {
    if (!done_) {
        return;
    }
    close();
    // Our own process stood still (VM pause, SIGSTOP): whatever was seen after that, a timeout
    // above all, is not the backend's fault (docs/architecture.md).
    if (base::Clock::now() > deadline_ + kOwnStall) {
        end = ProbeEnd::inconclusive;
        reason = "this process stood still";
    }
    std::exchange(done_, nullptr)({end, std::move(reason)});
}

void HttpProbe::cancel() {
    done_ = nullptr;
    close();
}

void HttpProbe::close() {
    error_code ignored;
    socket_.close(ignored);
    timer_.cancel();
}

}  // namespace

ProbePlan probe_plan_of(const config::Health& health) {
    ProbePlan plan;
    plan.request = health.method + " " + health.path + " HTTP/1.1\r\nHost: " + health.host +
                   "\r\nUser-Agent: s3gate/" S3GATE_VERSION
                   " (health check)\r\nAccept: */*\r\nConnection: close\r\n\r\n";
    plan.asks_head = health.method == "HEAD";
    plan.expect_status = health.expect_status;
    plan.reject_headers = health.reject_headers;
    plan.timeout = health.timeout;
    return plan;
}

std::shared_ptr<Probe> Probe::start(asio::io_context& context,
                                    std::shared_ptr<const ProbePlan> plan,
                                    const base::SocketAddress& address, Done done) {
    auto probe = std::make_shared<HttpProbe>(context, std::move(plan), std::move(done));
    probe->begin(address);
    return probe;
}

}  // namespace s3gate::control
