// One demo node: a listener, its connections and its fault. All nodes run on the program's only
// thread and share the service and its store.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "s3_service.hpp"

namespace s3gate::demo {

enum class Fault {
    none,
    down,       // accepts and closes at once
    offline,    // not initialised: 200 with X-Minio-Server-Status for checks, 503 for the rest
    error_500,  // S3 requests are answered 500; checks pass
    error_503,  // S3 requests are answered 503; checks pass
    hang,       // accepts, reads and never answers
    refuse,     // does not listen
};

std::optional<Fault> fault_of(std::string_view word);
std::string_view word_of(Fault fault);

class Node {
  public:
    // Listens at once; throws boost::system::system_error if the address cannot be bound. `number`
    // counts from 1.
    Node(boost::asio::io_context& context, S3Service& service, ObjectStore& store, int number,
         const boost::asio::ip::tcp::endpoint& endpoint);
    Node(const Node&) = delete;
    Node& operator=(const Node&) = delete;

    int number() const { return number_; }
    Fault fault() const { return fault_; }
    const boost::asio::ip::tcp::endpoint& endpoint() const { return endpoint_; }

    // Changes the node's fault; cuts connections that hang in the old one. Returns an error text
    // (the port was taken meanwhile), or an empty one.
    std::string play(Fault fault);
    // Closes everything, so the loop runs out of work.
    void stop();

  private:
    using Stream = boost::beast::tcp_stream;
    using Parser = boost::beast::http::request_parser<boost::beast::http::buffer_body>;
    // Shared with the connections' frames, which may outlive the node if the loop is destroyed with
    // work left.
    using Streams = std::set<Stream*>;
    struct Connection;

    void listen();
    void cut_connections();
    boost::asio::awaitable<void> accept_loop(unsigned generation);
    boost::asio::awaitable<void> serve(boost::asio::ip::tcp::socket socket);
    boost::asio::awaitable<bool> serve_one(Connection& connection);
    boost::asio::awaitable<std::optional<Response>> read_body(Connection& connection,
                                                              Parser& parser,
                                                              const Request& request, Body& body);
    boost::asio::awaitable<bool> send(Connection& connection, const Request& request,
                                      const Response& response, bool keep_alive);
    // The answer to a request before its body is read, if any.
    std::optional<Response> early_answer(const Request& request);
    std::optional<Response> health_answer(const Request& request) const;
    std::optional<Response> fault_answer(const Request& request) const;

    boost::asio::io_context& context_;
    S3Service& service_;
    ObjectStore& store_;
    int number_;
    boost::asio::ip::tcp::endpoint endpoint_;
    boost::asio::ip::tcp::acceptor acceptor_;
    unsigned generation_ = 0;  // of the listener; an earlier accept loop ends when it differs
    Fault fault_ = Fault::none;
    std::shared_ptr<Streams> streams_ = std::make_shared<Streams>();
};

}  // namespace s3gate::demo
