#include "control.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <chrono>
#include <exception>
#include <iostream>
#include <sstream>

namespace s3gate::demo {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;

constexpr auto kResult = asio::as_tuple(asio::use_awaitable);

void report(const std::exception_ptr& escaped) {
    if (!escaped) {
        return;
    }
    try {
        std::rethrow_exception(escaped);
    } catch (const std::exception& error) {
        std::cerr << "s3gate-demo-nodes: control: " << error.what() << '\n';
    }
}

}  // namespace

Control::Control(asio::io_context& context, std::vector<std::unique_ptr<Node>>& nodes,
                 const tcp::endpoint& endpoint)
    : context_(context), nodes_(nodes), acceptor_(context, endpoint) {
    asio::co_spawn(context_, accept_loop(), report);
}

void Control::stop() {
    boost::system::error_code ignored;
    acceptor_.close(ignored);
    for (beast::tcp_stream* stream : *streams_) {
        stream->close();
    }
}

asio::awaitable<void> Control::accept_loop() {
    for (;;) {
        auto [error, socket] = co_await acceptor_.async_accept(kResult);
        if (!acceptor_.is_open()) {
            co_return;
        }
        if (error) {
            asio::steady_timer pause(context_, std::chrono::milliseconds(100));
            co_await pause.async_wait(kResult);
            continue;
        }
        asio::co_spawn(context_, serve(std::move(socket)), report);
    }
}

asio::awaitable<void> Control::serve(tcp::socket socket) {
    beast::tcp_stream stream(std::move(socket));
    struct Registration {
        std::shared_ptr<Streams> streams;
        beast::tcp_stream* stream;
        ~Registration() { streams->erase(stream); }
    };
    streams_->insert(&stream);
    const Registration registration{streams_, &stream};
    beast::flat_buffer buffer;
    for (;;) {
        http::request<http::string_body> request;
        stream.expires_after(std::chrono::seconds(30));
        auto [error, count] = co_await http::async_read(stream, buffer, request, kResult);
        if (error) {
            co_return;
        }
        Answer answered = answer(request.method_string(), request.target());
        http::response<http::string_body> response(http::int_to_status(answered.status),
                                                   request.version());
        response.set(http::field::content_type, "text/plain");
        response.keep_alive(request.keep_alive());
        response.body() = std::move(answered.text);
        response.prepare_payload();
        auto [failed, sent] = co_await http::async_write(stream, response, kResult);
        if (failed || !response.keep_alive()) {
            co_return;
        }
    }
}

Control::Answer Control::answer(std::string_view method, std::string_view target) {
    const Request request = parse_target(method, target);
    if (request.path == "/demo/nodes" && method == "GET") {
        return {200, node_lines()};
    }
    if (request.path == "/demo/fault" && method == "POST") {
        return switch_fault(request.argument("node"), request.argument("mode"));
    }
    return {404,
            "POST /demo/fault?node=N|all&mode=ok|down|offline|500|503|hang|refuse\n"
            "GET /demo/nodes\n"};
}

Control::Answer Control::switch_fault(std::string_view node, std::string_view mode) {
    const std::optional<Fault> fault = fault_of(mode);
    if (!fault) {
        return {400, "mode must be one of ok, down, offline, 500, 503, hang, refuse\n"};
    }
    std::string text;
    for (const auto& candidate : nodes_) {
        if (node != "all" && node != std::to_string(candidate->number())) {
            continue;
        }
        const std::string problem = candidate->play(*fault);
        if (!problem.empty()) {
            return {409, "node " + std::to_string(candidate->number()) + ": " + problem + "\n"};
        }
        text += "node " + std::to_string(candidate->number()) + ": ";
        text += word_of(candidate->fault());
        text += '\n';
    }
    if (text.empty()) {
        return {400, "node must be all or 1…" + std::to_string(nodes_.size()) + "\n"};
    }
    return {200, text};
}

std::string Control::node_lines() const {
    std::ostringstream lines;
    for (const auto& node : nodes_) {
        lines << "node " << node->number() << ' ' << node->endpoint() << ' '
              << word_of(node->fault()) << '\n';
    }
    return lines.str();
}

}  // namespace s3gate::demo
