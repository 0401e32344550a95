// The control endpoint: a small HTTP server besides the nodes, so a node without a listener can be
// brought back.
//   POST /demo/fault?node=N|all&mode=ok|down|offline|500|503|hang|refuse
//   GET  /demo/nodes
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "node.hpp"

namespace s3gate::demo {

class Control {
  public:
    // Listens at once; throws boost::system::system_error if the address cannot be bound. `nodes`
    // must outlive it.
    Control(boost::asio::io_context& context, std::vector<std::unique_ptr<Node>>& nodes,
            const boost::asio::ip::tcp::endpoint& endpoint);
    Control(const Control&) = delete;
    Control& operator=(const Control&) = delete;

    boost::asio::ip::tcp::endpoint endpoint() const { return acceptor_.local_endpoint(); }
    void stop();

  private:
    struct Answer {
        unsigned status;
        std::string text;
    };
    using Streams = std::set<boost::beast::tcp_stream*>;

    boost::asio::awaitable<void> accept_loop();
    boost::asio::awaitable<void> serve(boost::asio::ip::tcp::socket socket);
    Answer answer(std::string_view method, std::string_view target);
    Answer switch_fault(std::string_view node, std::string_view mode);
    std::string node_lines() const;

    boost::asio::io_context& context_;
    std::vector<std::unique_ptr<Node>>& nodes_;
    boost::asio::ip::tcp::acceptor acceptor_;
    std::shared_ptr<Streams> streams_ = std::make_shared<Streams>();
};

}  // namespace s3gate::demo
