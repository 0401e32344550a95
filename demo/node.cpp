#include "node.hpp"

#include <algorithm>
#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/status.hpp>
#include <chrono>
#include <ctime>
#include <exception>
#include <iostream>
#include <utility>
#include <vector>

#include "aws_chunked.hpp"
#include "s3gate/base/text.hpp"

namespace s3gate::demo {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;

constexpr auto kResult = asio::as_tuple(asio::use_awaitable);
// MinIO's own limit: idle connections and stalled bodies are closed after 30 s.
constexpr std::chrono::seconds kPatience{30};
constexpr std::chrono::seconds kLinger{1};
constexpr std::size_t kLingerBytes = 1024 * 1024;
constexpr std::uint32_t kHeadLimit = 1024 * 1024;
constexpr std::size_t kChunk = 64 * 1024;

void report(const std::exception_ptr& escaped) {
    if (!escaped) {
        return;
    }
    try {
        std::rethrow_exception(escaped);
    } catch (const std::exception& error) {
        std::cerr << "s3gate-demo-nodes: " << error.what() << '\n';
    }
}

struct FaultWord {
    std::string_view word;
    Fault fault;
};
constexpr std::array kFaultWords = std::to_array<FaultWord>({{"ok", Fault::none},
                                                             {"down", Fault::down},
                                                             {"offline", Fault::offline},
                                                             {"500", Fault::error_500},
                                                             {"503", Fault::error_503},
                                                             {"hang", Fault::hang},
                                                             {"refuse", Fault::refuse}});

bool holds_or_cuts(Fault fault) {
    return fault == Fault::down || fault == Fault::hang || fault == Fault::refuse;
}

std::string date_now() {
    const std::time_t now = std::time(nullptr);
    std::tm utc{};
    ::gmtime_r(&now, &utc);
    std::array<char, 64> text;
    return {text.data(),
            std::strftime(text.data(), text.size(), "%a, %d %b %Y %H:%M:%S GMT", &utc)};
}

std::string upper_hex(std::string_view bytes) {
    std::string text = hex_of(bytes);
    for (char& c : text) {
        c = c >= 'a' ? static_cast<char>(c - 'a' + 'A') : c;
    }
    return text;
}

// The buffers of `slice`, in order.
void append_buffers(std::vector<asio::const_buffer>& buffers, const Slice& slice) {
    std::uint64_t skip = slice.offset;
    std::uint64_t left = slice.length;
    for (const auto& segment : slice.data) {
        const std::uint64_t size = segment->bytes.size();
        if (skip >= size) {
            skip -= size;
            continue;
        }
        const std::uint64_t count = std::min(size - skip, left);
        buffers.emplace_back(segment->bytes.data() + skip, static_cast<std::size_t>(count));
        left -= count;
        skip = 0;
        if (left == 0) {
            return;
        }
    }
}

}  // namespace

struct Node::Connection {
    Connection(tcp::socket socket, std::shared_ptr<Streams> all)
        : stream(std::move(socket)), streams(std::move(all)), chunk(kChunk) {
        streams->insert(&stream);
    }
    ~Connection() { streams->erase(&stream); }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    Stream stream;
    std::shared_ptr<Streams> streams;
    beast::flat_buffer buffer;
    std::vector<char> chunk;
};

std::optional<Fault> fault_of(std::string_view word) {
    for (const FaultWord& row : kFaultWords) {
        if (row.word == word) {
            return row.fault;
        }
    }
    return std::nullopt;
}

std::string_view word_of(Fault fault) {
    for (const FaultWord& row : kFaultWords) {
        if (row.fault == fault) {
            return row.word;
        }
    }
    return "?";
}

Node::Node(asio::io_context& context, S3Service& service, ObjectStore& store, int number,
           const tcp::endpoint& endpoint)
    : context_(context),
      service_(service),
      store_(store),
      number_(number),
      endpoint_(endpoint),
      acceptor_(context) {
    listen();
}

void Node::listen() {
    tcp::acceptor fresh(context_);
    fresh.open(endpoint_.protocol());
    fresh.set_option(tcp::acceptor::reuse_address(true));
    fresh.bind(endpoint_);
    fresh.listen();
    endpoint_ = fresh.local_endpoint();
    acceptor_ = std::move(fresh);
    asio::co_spawn(context_, accept_loop(++generation_), report);
}

std::string Node::play(Fault fault) {
    const bool cuts = holds_or_cuts(fault) || holds_or_cuts(fault_);
    if (fault == Fault::refuse) {
        error_code ignored;
        acceptor_.close(ignored);
    } else if (!acceptor_.is_open()) {
        try {
            listen();
        } catch (const boost::system::system_error& error) {
            return error.what();
        }
    }
    fault_ = fault;
    if (cuts) {
        cut_connections();
    }
    return {};
}

void Node::stop() {
    error_code ignored;
    acceptor_.close(ignored);
    cut_connections();
}

void Node::cut_connections() {
    for (Stream* stream : *streams_) {
        stream->close();
    }
}

asio::awaitable<void> Node::accept_loop(unsigned generation) {
    for (;;) {
        auto [error, socket] = co_await acceptor_.async_accept(kResult);
        if (generation != generation_ || !acceptor_.is_open()) {
            co_return;
        }
        if (error) {
            // Probably out of descriptors: waits instead of spinning.
            asio::steady_timer pause(context_, std::chrono::milliseconds(100));
            co_await pause.async_wait(kResult);
            continue;
        }
        error_code ignored;
        if (fault_ == Fault::down) {
            socket.set_option(asio::socket_base::linger(true, 0), ignored);
            continue;
        }
        socket.set_option(tcp::no_delay(true), ignored);
        asio::co_spawn(context_, serve(std::move(socket)), report);
    }
}

asio::awaitable<void> Node::serve(tcp::socket socket) {
    Connection connection(std::move(socket), streams_);
    bool goes_on = true;
    while (goes_on) {
        goes_on = co_await serve_one(connection);
    }
    // Bytes that still arrive must not cause a reset, which would destroy the last answer.
    error_code ignored;
    connection.stream.socket().shutdown(tcp::socket::shutdown_send, ignored);
    connection.stream.expires_after(kLinger);
    std::size_t drained = 0;
    while (drained < kLingerBytes) {
        auto [error, count] =
            co_await connection.stream.async_read_some(asio::buffer(connection.chunk), kResult);
        if (error) {
            co_return;
        }
        drained += count;
    }
}

// Serves one request; true if the connection can be reused.
asio::awaitable<bool> Node::serve_one(Connection& connection) {
    Parser parser;
    parser.header_limit(kHeadLimit);
    parser.body_limit(boost::none);
    connection.stream.expires_after(kPatience);
    auto [error, count] =
        co_await http::async_read_header(connection.stream, connection.buffer, parser, kResult);
    const auto& head = parser.get();
    if (error) {
        if (error.category() == make_error_code(http::error::end_of_stream).category() &&
            error != http::error::end_of_stream && error != http::error::partial_message) {
            const Request nothing = parse_target("GET", "/");
            co_await send(connection, nothing,
                          error_response(nothing, 400, "InvalidRequest", error.message()), false);
        }
        co_return false;
    }
    if (fault_ == Fault::hang) {
        // Only the peer or the next fault ends this connection.
        connection.stream.expires_never();
        for (;;) {
            auto [cut, ignored] =
                co_await connection.stream.async_read_some(asio::buffer(connection.chunk), kResult);
            if (cut) {
                co_return false;
            }
        }
    }
    Request request = parse_target(head.method_string(), head.target());
    request.id = upper_hex(random_bytes(8));
    for (const auto& field : head) {
        request.headers.emplace_back(field.name_string(), field.value());
    }

    std::optional<Response> response = early_answer(request);
    if (response) {
        // Answered before the body: as in Go, a connection with an unread body is not reused.
        const bool has_body = !parser.is_done();
        co_return co_await send(connection, request, *response, head.keep_alive() && !has_body);
    }
    Body body;
    if (!parser.is_done() && base::iequals(request.header("Expect"), "100-continue")) {
        static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
        auto [failed, sent] =
            co_await asio::async_write(connection.stream, asio::buffer(kContinue), kResult);
        if (failed) {
            co_return false;
        }
    }
    response = co_await read_body(connection, parser, request, body);
    if (response) {
        co_return co_await send(connection, request, *response, false);
    }
    if (!parser.is_done()) {
        co_return false;  // the client left
    }
    co_return co_await send(connection, request, service_.handle(request, std::move(body)),
                            head.keep_alive());
}

// Reads the body into `body`. Returns an answer if the body is refused; the parser is not done if
// the client left.
asio::awaitable<std::optional<Response>> Node::read_body(Connection& connection, Parser& parser,
                                                         const Request& request, Body& body) {
    const bool is_streaming = request.header("x-amz-content-sha256").starts_with("STREAMING-");
    AwsChunkedDecoder decoder;
    std::string payload;
    Collector collector(store_.budget());
    while (!parser.is_done()) {
        parser.get().body().data = connection.chunk.data();
        parser.get().body().size = connection.chunk.size();
        connection.stream.expires_after(kPatience);
        auto [error, count] =
            co_await http::async_read(connection.stream, connection.buffer, parser, kResult);
        if (error && error != http::error::need_buffer) {
            co_return std::nullopt;
        }
        std::string_view bytes(connection.chunk.data(),
                               connection.chunk.size() - parser.get().body().size);
        if (is_streaming) {
            payload.clear();
            if (!decoder.decode(bytes, payload)) {
                co_return error_response(request, 400, "IncompleteBody",
                                         "The chunks of the body are not well-formed");
            }
            bytes = payload;
        }
        if (!collector.append(bytes)) {
            co_return error_response(request, 507, "XMinioStorageFull",
                                     "The demo cluster's memory is full");
        }
    }
    if (is_streaming && !decoder.is_complete()) {
        co_return error_response(request, 400, "IncompleteBody",
                                 "You did not provide the number of bytes specified");
    }
    body.data = collector.take_data();
    body.md5 = collector.take_md5();
    co_return std::nullopt;
}

asio::awaitable<bool> Node::send(Connection& connection, const Request& request,
                                 const Response& response, bool keep_alive) {
    std::string head = "HTTP/1.1 " + std::to_string(response.status) + ' ';
    head += http::obsolete_reason(http::int_to_status(response.status));
    head += "\r\nServer: MinIO\r\nAccept-Ranges: bytes\r\nVary: Origin\r\nx-amz-request-id: ";
    head += request.id;
    head += "\r\nX-Demo-Node: " + std::to_string(number_) + "\r\nDate: " + date_now() + "\r\n";
    for (const auto& [name, value] : response.headers) {
        head += name;
        head += ": ";
        head += value;
        head += "\r\n";
    }
    if (!response.is_bodiless) {
        const std::uint64_t length = response.slice ? response.slice->length : response.text.size();
        head += "Content-Length: " + std::to_string(length) + "\r\n";
    }
    head += keep_alive ? "\r\n" : "Connection: close\r\n\r\n";

    std::vector<asio::const_buffer> buffers = {asio::buffer(head)};
    if (request.method != "HEAD" && !response.is_bodiless) {
        if (response.slice) {
            append_buffers(buffers, *response.slice);
        } else {
            buffers.push_back(asio::buffer(response.text));
        }
    }
    // Piece by piece, so the limit applies per piece and not to a whole object of any size.
    for (const asio::const_buffer& piece : buffers) {
        connection.stream.expires_after(kPatience);
        auto [error, count] = co_await asio::async_write(connection.stream, piece, kResult);
        if (error) {
            co_return false;
        }
    }
    co_return keep_alive;
}

std::optional<Response> Node::early_answer(const Request& request) {
    if (auto answer = health_answer(request)) {
        return answer;
    }
    if (auto answer = fault_answer(request)) {
        return answer;
    }
    return service_.refuse_early(request);
}

std::optional<Response> Node::health_answer(const Request& request) const {
    if (!request.path.starts_with("/minio/health/") ||
        (request.method != "GET" && request.method != "HEAD")) {
        return std::nullopt;
    }
    const std::string_view which = std::string_view(request.path).substr(14);
    const bool is_cluster = which == "cluster" || which == "cluster/read";
    if (which != "ready" && which != "live" && !is_cluster) {
        return std::nullopt;
    }
    Response response;
    if (fault_ == Fault::offline) {
        response.headers.emplace_back("X-Minio-Server-Status", "offline");
        response.status = is_cluster ? 503 : 200;
    }
    return response;
}

std::optional<Response> Node::fault_answer(const Request& request) const {
    switch (fault_) {
        case Fault::offline: {
            Response response = error_response(request, 503, "XMinioServerNotInitialized",
                                               "Server not initialized yet, please try again.");
            response.headers.emplace_back("Retry-After", "60");
            return response;
        }
        case Fault::error_500:
            return error_response(request, 500, "InternalError",
                                  "We encountered an internal error, please try again.");
        case Fault::error_503:
            return error_response(request, 503, "ServiceUnavailable",
                                  "The service is unavailable. Please retry.");
        default:
            return std::nullopt;
    }
}

}  // namespace s3gate::demo
