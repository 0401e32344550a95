#include "health_probe.hpp"

#include <algorithm>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <cerrno>
#include <optional>
#include <string_view>
#include <utility>

#include "s3gate/base/text.hpp"

namespace s3gate::proxy {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;

using Executor = asio::io_context::executor_type;
using Socket = asio::basic_stream_socket<tcp, Executor>;
using Timer = asio::basic_waitable_timer<base::Clock, asio::wait_traits<base::Clock>, Executor>;

constexpr std::uint32_t kMaxHead = 64 * 1024;
// More than the head, so that a head which is too large is told from a buffer which is too small.
constexpr std::size_t kBufferLimit = kMaxHead + 4096;
// RFC 9110 §15.2: a client must be able to read interim answers it did not ask for; no server
// sends many.
constexpr unsigned kMaxInterim = 8;
constexpr std::size_t kMaxReasonValue = 100;

// Header values come from the network; the log shows them on one line.
std::string printable(std::string_view text) {
    std::string out(text.substr(0, kMaxReasonValue));
    std::ranges::replace_if(
        out, [](char c) { return c < ' ' || c > '~'; }, '?');
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

std::string exchange_reason(const error_code& error) {
    if (error == http::error::end_of_stream || error == asio::error::eof) {
        return "closed without an answer";
    }
    if (error == http::error::partial_message) {
        return "closed in the middle of the answer's head";
    }
    if (error == http::error::header_limit || error == http::error::buffer_overflow) {
        return "answer's head larger than " + std::to_string(kMaxHead / 1024) + " KiB";
    }
    if (error.category() == make_error_code(http::error::bad_version).category()) {
        return "malformed answer: " + error.message();
    }
    return error.message();
}

class HttpProbe final : public Probe, public std::enable_shared_from_this<HttpProbe> {
  public:
    HttpProbe(asio::io_context& context, std::shared_ptr<const ProbePlan> plan, Done done)
        : plan_(std::move(plan)),
          done_(std::move(done)),
          socket_(context),
          timer_(context),
          buffer_(kBufferLimit) {}

    void begin(const base::SocketAddress& address);
    void cancel() override;

  private:
    void send_request();
    void read_head();
    void judge();
    void finish(ProbeEnd end, std::string reason);
    void close();

    std::shared_ptr<const ProbePlan> plan_;
    Done done_;  // empty once finished or cancelled
    Socket socket_;
    Timer timer_;
    base::TimePoint deadline_{};
    beast::flat_buffer buffer_;
    std::optional<http::response_parser<http::empty_body>> parser_;
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
                              self->finish(ProbeEnd::failed, exchange_reason(error));
                          } else {
                              self->read_head();
                          }
                      });
}

// The body is never waited for: the verdict stands in the head.
void HttpProbe::read_head() {
    if (!done_) {
        return;
    }
    parser_.emplace();
    parser_->header_limit(kMaxHead);
    parser_->body_limit(boost::none);  // else a large Content-Length alone would be an error
    http::async_read_header(socket_, buffer_, *parser_,
                            [self = shared_from_this()](error_code error, std::size_t) {
                                if (error) {
                                    self->finish(ProbeEnd::failed, exchange_reason(error));
                                } else {
                                    self->judge();
                                }
                            });
}

void HttpProbe::judge() {
    const auto& answer = parser_->get();
    const int status = static_cast<int>(answer.result_int());
    // RFC 9110 §15.2: 1xx is not the answer yet; 101 is one, and not what we asked for.
    if (status >= 100 && status < 200 && status != 101 && interim_ < kMaxInterim) {
        ++interim_;
        read_head();
        return;
    }
    const auto& expected = plan_->expect_status;
    if (std::ranges::find(expected, status) == expected.end()) {
        finish(ProbeEnd::failed, "status " + std::to_string(status));
        return;
    }
    for (const auto& field : answer) {
        const std::string_view name(field.name_string().data(), field.name_string().size());
        const std::string_view value(field.value().data(), field.value().size());
        for (const auto& [rejected, pattern] : plan_->reject_headers) {
            if (base::iequals(name, rejected) && base::glob_imatch(pattern, value)) {
                finish(ProbeEnd::failed,
                       "header " + printable(name) + ": " + shown_value(name, value));
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

}  // namespace s3gate::proxy
