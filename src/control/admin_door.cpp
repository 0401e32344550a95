#include "admin_door.hpp"

#include <fcntl.h>
#include <spdlog/fmt/fmt.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <exception>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "s3gate/base/descriptor.hpp"

namespace s3gate::control {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using boost::system::error_code;

namespace {

using Stream = beast::basic_stream<asio::generic::stream_protocol>;
using Response = http::response<http::string_body>;
constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);

Response response_of(AdminAnswer answer, bool is_head) {
    Response out(http::int_to_status(answer.status), 11);
    out.set(http::field::server, "s3gate");
    out.set(http::field::content_type, answer.type);
    out.set(http::field::cache_control, "no-store");
    out.keep_alive(false);
    if (!answer.allow.empty()) {
        out.set(http::field::allow, answer.allow);
    }
    out.content_length(answer.body.size());
    if (!is_head) {
        out.body() = std::move(answer.body);
    }
    return out;
}

std::vector<std::string_view> values_of(const http::fields& fields, http::field name) {
    std::vector<std::string_view> out;
    const auto [begin, end] = fields.equal_range(name);
    for (auto field = begin; field != end; ++field) {
        out.emplace_back(field->value());
    }
    return out;
}

RequestSource source_of(const http::request<http::string_body>& request) {
    return {.needs_host = request.version() >= 11,
            .hosts = values_of(request, http::field::host),
            .origins = values_of(request, http::field::origin)};
}

// The answer to a request that could not be read; nullopt if the connection ended or timed out.
std::optional<AdminAnswer> answer_to(error_code error) {
    if (error == http::error::header_limit || error == http::error::buffer_overflow) {
        return admin_error(431, "the head of the request is too large");
    }
    if (error == http::error::body_limit) {
        return admin_error(413, "the body of the request is too large");
    }
    if (error.category() == http::make_error_code(http::error::bad_method).category() &&
        error != http::error::end_of_stream && error != http::error::partial_message) {
        return admin_error(400, "the request is malformed: " + error.message());
    }
    return std::nullopt;
}

}  // namespace

// More than one: between the close of a spare and accept() a worker that waits for a descriptor may
// get it.
constexpr std::size_t kSpares = 4;

struct AdminDoor::Connection {
    Connection(Socket socket, Asker asker_) : stream(std::move(socket)), asker(std::move(asker_)) {}

    Stream stream;
    Asker asker;
    base::TimePoint since = base::Clock::now();  // the wait for the client began
};

struct AdminDoor::State {
    explicit State(Commands& commands_) : commands(commands_), handler(commands_) { keep_spares(); }

    void keep_spares() {
        while (spares.size() < kSpares) {
            base::Descriptor spare(::open("/dev/null", O_RDONLY | O_CLOEXEC));
            if (!spare) {
                return;
            }
            spares.push_back(std::move(spare));
        }
    }
    // Closes the connection. If a spare descriptor is missing, its own becomes one in one step:
    // otherwise a worker that waits for a descriptor could get it first.
    void end(Stream& stream) {
        error_code ignored;
        if (spares.size() >= kSpares || !nothing || !stream.socket().is_open()) {
            stream.close();
            return;
        }
        const int descriptor = stream.release_socket().release(ignored);
        if (::dup3(nothing.get(), descriptor, O_CLOEXEC) == descriptor) {
            spares.emplace_back(descriptor);
        } else {
            ::close(descriptor);
        }
    }

    Commands& commands;
    AdminHandler handler;
    // The connections that wait for their client. One whose client waits for an answer of
    // `handler`, which bounds their number, is not among them.
    std::list<std::shared_ptr<Connection>> waiting;
    const base::Descriptor nothing{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
    std::vector<base::Descriptor> spares;
};

AdminDoor::AdminDoor(Commands& commands) : state_(std::make_shared<State>(commands)) {}

AdminDoor::~AdminDoor() = default;

bool AdminDoor::make_room() {
    if (state_->spares.empty()) {
        return false;
    }
    state_->spares.pop_back();
    return true;
}

void AdminDoor::let_in(Socket socket, Asker asker) {
    auto& waiting = state_->waiting;
    while (waiting.size() >= kMostWaiting) {
        const auto oldest = std::ranges::min_element(waiting, {}, &Connection::since);
        state_->end((*oldest)->stream);
        waiting.erase(oldest);
    }
    state_->keep_spares();
    waiting.push_back(std::make_shared<Connection>(std::move(socket), std::move(asker)));
    const auto report = [state = state_](const std::exception_ptr& error) {
        try {
            if (error) {
                std::rethrow_exception(error);
            }
        } catch (const std::exception& what) {
            state->commands.lines().note(
                {.topic = Topic::broken,
                 .level = spdlog::level::err,
                 .text = fmt::format("a connection of an operator: {}", what.what())},
                base::Clock::now());
        }
    };
    asio::co_spawn(waiting.back()->stream.get_executor(), serve(state_, waiting.back()), report);
}

asio::awaitable<void> AdminDoor::serve(std::shared_ptr<State> state,
                                       std::shared_ptr<Connection> connection) {
    Stream& stream = connection->stream;
    beast::flat_buffer buffer(kMostHead + kMostBody);
    http::request_parser<http::string_body> parser;
    parser.header_limit(kMostHead);
    parser.body_limit(kMostBody);
    stream.expires_after(kPatience);
    const auto [read_error, bytes_read] = co_await http::async_read(stream, buffer, parser, kTuple);

    const http::request<http::string_body>& request = parser.get();
    std::optional<AdminAnswer> result = answer_to(read_error);
    if (!read_error) {
        state->waiting.remove(connection);
        stream.expires_never();
        const std::string method(request.method_string());
        const std::string target(request.target());
        const AdminRequest asked{.method = method,
                                 .target = target,
                                 .body = request.body(),
                                 .source = source_of(request)};
        result = co_await state->handler.answer(asked, connection->asker);
        connection->since = base::Clock::now();
        state->waiting.push_back(connection);
    }
    if (result) {
        const Response response =
            response_of(std::move(*result), request.method() == http::verb::head);
        stream.expires_after(kPatience);
        co_await http::async_write(stream, response, kTuple);
    }
    if (std::erase(state->waiting, connection) > 0) {
        state->end(stream);
    }
}

}  // namespace s3gate::control
