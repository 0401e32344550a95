#include "ctl_client.hpp"

#include <grp.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/error.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <system_error>
#include <utility>

#include "commands.hpp"
#include "s3gate/base/descriptor.hpp"
#include "s3gate/config/duration.hpp"
#include "s3gate/config/load.hpp"

namespace s3gate::app {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::local::stream_protocol;
using boost::system::error_code;
using Stream = beast::basic_stream<stream_protocol>;

// Where the packaged unit has it.
constexpr const char* kDefaultSocket = "/run/s3gate/ctl.sock";

constexpr base::TimePoint kNever = base::TimePoint::max();

// A status of some ten thousand servers.
constexpr std::uint64_t kMostBody = 256ULL * 1024 * 1024;

std::string name_of_user(uid_t uid) {
    const passwd* const entry = ::getpwuid(uid);
    return entry == nullptr ? "uid " + std::to_string(uid) : entry->pw_name;
}

std::string name_of_group(gid_t gid) {
    const group* const entry = ::getgrgid(gid);
    return entry == nullptr ? "gid " + std::to_string(gid) : entry->gr_name;
}

// Advice: the users that can connect, if the file's mode can be read.
std::string who_may(const std::string& path) {
    struct stat file{};
    if (::stat(path.c_str(), &file) != 0) {
        return "ask root";
    }
    return "try as root" + (file.st_uid == 0 ? "" : ", as " + name_of_user(file.st_uid)) +
           " or as a member of the group " + name_of_group(file.st_gid);
}

std::string explain_connect(const std::string& path, int code) {
    const std::string reason = std::generic_category().message(code);
    switch (code) {
        case EACCES:
        case EPERM:
            return reason + "; " + who_may(path);
        case ENOENT:
            return reason + "; is the daemon running, and is this its admin.socket?";
        case ECONNREFUSED:
            return reason + "; the daemon that made it has ended";
        case EAGAIN:
            return "it takes no connection in time";
        default:
            return reason;
    }
}

timeval remaining(base::TimePoint deadline) {
    if (deadline == kNever) {
        return {};  // none
    }
    const auto left =
        std::chrono::duration_cast<std::chrono::microseconds>(std::max<base::Clock::duration>(
            deadline - base::Clock::now(), std::chrono::milliseconds{1}));
    return {.tv_sec = left.count() / 1'000'000, .tv_usec = left.count() % 1'000'000};
}

// Blocks for at most SO_SNDTIMEO if the daemon's accept queue is full. A negative result is an
// errno.
int connect_to(const std::string& path, base::TimePoint deadline) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) {
        return -ENAMETOOLONG;
    }
    std::ranges::copy(path, address.sun_path);
    base::Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const timeval limit = remaining(deadline);
    if (!socket || ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0 ||
        ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        return -errno;
    }
    return socket.release();
}

std::string explain_exchange(error_code error, const std::optional<base::Duration>& limit) {
    if (error == beast::error::timeout) {
        return "no answer within " + config::print_duration(limit.value_or(base::Duration{0}));
    }
    return error == http::error::end_of_stream || error == http::error::partial_message
               ? "the daemon ended the connection without an answer"
               : error.message();
}

http::request<http::string_body> message_of(const CtlRequest& request) {
    http::request<http::string_body> out;
    out.method_string(request.method);
    out.target(request.target);
    out.set(http::field::host, "s3gate");
    out.set(http::field::user_agent, "s3gate ctl");
    out.body() = request.body;
    out.prepare_payload();
    return out;
}

// Why the daemon does not show what it is asked for.
std::string reason_of(const CtlAnswer& answer) {
    if (answer.status == 404) {
        return "it is of a version that does not show its configuration";
    }
    boost::system::error_code failed;
    const json::value body = json::parse(answer.body, failed);
    const json::object* const object = failed ? nullptr : body.if_object();
    const json::value* const error = object == nullptr ? nullptr : object->if_contains("error");
    return error != nullptr && error->is_string() ? std::string(error->get_string())
                                                  : "what answers there is no s3gate";
}

asio::awaitable<void> exchange(Stream& stream, const CtlRequest& request, CtlAnswer& answer) {
    constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);
    const auto message = message_of(request);
    const auto [write_error, written] = co_await http::async_write(stream, message, kTuple);
    // A daemon that closed early may have said why: its answer is read all the same.
    beast::flat_buffer buffer;
    http::response_parser<http::string_body> parser;
    parser.body_limit(kMostBody);
    const auto [read_error, read] = co_await http::async_read(stream, buffer, parser, kTuple);
    if (read_error) {
        answer.error = explain_exchange(write_error ? write_error : read_error, request.limit);
        co_return;
    }
    answer.status = parser.get().result_int();
    answer.body = std::move(parser.get().body());
}

}  // namespace

std::string socket_of(const config::Admin& admin) {
    const std::string found = config::control_socket(admin, config::process_environment());
    return found.empty() && admin.socket != "off" ? kDefaultSocket : found;
}

CtlAnswer ask_daemon(const std::string& socket, const CtlRequest& request) {
    const base::TimePoint deadline = request.limit ? base::Clock::now() + *request.limit : kNever;
    const int descriptor = connect_to(socket, deadline);
    if (descriptor < 0) {
        return {.error = explain_connect(socket, -descriptor)};
    }
    asio::io_context context{1};
    Stream stream(stream_protocol::socket(context, stream_protocol(), descriptor));
    if (deadline != kNever) {
        stream.expires_at(deadline);
    }
    CtlAnswer answer;
    asio::co_spawn(context, exchange(stream, request, answer), asio::detached);
    context.run();
    return answer;
}

std::optional<std::string> get_from_daemon(const std::string& socket, const std::string& target) {
    CtlAnswer answer =
        ask_daemon(socket, {.method = "GET", .target = target, .limit = kAnswerLimit});
    if (answer.status == 0) {
        complain("cannot reach the daemon at " + socket + ": " + answer.error);
        return std::nullopt;
    }
    if (answer.status != 200) {
        complain("the daemon at " + socket + ": " + reason_of(answer));
        return std::nullopt;
    }
    return std::move(answer.body);
}

std::optional<config::LoadResult> load_running(const std::string& socket) {
    const auto text = get_from_daemon(socket, "/config");
    return text ? std::optional(config::load_dump(*text, kRunning)) : std::nullopt;
}

}  // namespace s3gate::app
