// s3gate-demo-nodes: a cluster of MinIO-like nodes in memory, to try s3gate without a cluster. Runs
// as an ordinary user, writes no file and checks no signature: not for real data.
#include <CLI/CLI.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <cstdint>
#include <exception>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "control.hpp"
#include "node.hpp"
#include "object_store.hpp"
#include "s3_service.hpp"
#include "s3gate/base/address.hpp"

namespace s3gate::demo {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

struct Options {
    std::string listen_base = "127.0.2.1";
    int nodes = 6;
    std::uint16_t port = 9000;
    std::string spread = "address";
    std::string control = "127.0.0.1:9100";
    std::uint64_t memory = 256;
    std::vector<std::string> buckets;
};

tcp::endpoint node_endpoint(const Options& options, int index) {
    const auto base = asio::ip::make_address_v4(options.listen_base);
    if (options.spread == "address") {
        return {asio::ip::address_v4(base.to_uint() + static_cast<std::uint32_t>(index)),
                options.port};
    }
    // Port 0 stays 0: the system chooses a port for each node.
    const int port = options.port == 0 ? 0 : options.port + index;
    if (port > 65535) {
        throw CLI::ValidationError("--port", "leaves no room for all nodes");
    }
    return {base, static_cast<std::uint16_t>(port)};
}

tcp::endpoint control_endpoint(const Options& options) {
    const auto address = base::SocketAddress::parse(options.control);
    if (!address) {
        throw CLI::ValidationError("--control", "must be an address with a port");
    }
    return {asio::ip::make_address(address->ip().to_string()), address->port()};
}

int run(const Options& options) {
    ObjectStore store(options.memory * 1024 * 1024);
    for (const std::string& name : options.buckets) {
        store.buckets()[name].created = std::chrono::system_clock::now();
    }
    S3Service service(store);
    asio::io_context context(1);
    std::vector<std::unique_ptr<Node>> nodes;
    for (int i = 0; i < options.nodes; ++i) {
        const tcp::endpoint endpoint = node_endpoint(options, i);
        try {
            nodes.push_back(std::make_unique<Node>(context, service, store, i + 1, endpoint));
        } catch (const boost::system::system_error& error) {
            std::cerr << "s3gate-demo-nodes: cannot listen on " << endpoint << ": "
                      << error.code().message() << '\n';
            return 1;
        }
    }
    const tcp::endpoint control_address = control_endpoint(options);
    std::unique_ptr<Control> control;
    try {
        control = std::make_unique<Control>(context, nodes, control_address);
    } catch (const boost::system::system_error& error) {
        std::cerr << "s3gate-demo-nodes: cannot listen on " << control_address << ": "
                  << error.code().message() << '\n';
        return 1;
    }
    asio::signal_set signals(context, SIGINT, SIGTERM);
    signals.async_wait([&nodes, &control](const boost::system::error_code&, int) {
        control->stop();
        for (const auto& node : nodes) {
            node->stop();
        }
    });
    for (const auto& node : nodes) {
        std::cout << "node " << node->number() << ' ' << node->endpoint() << '\n';
    }
    std::cout << "control " << control->endpoint() << "\nready" << std::endl;
    context.run();
    return 0;
}

int main_of(int argc, char** argv) {
    CLI::App app("A cluster of MinIO-like nodes in memory, for trying s3gate. No authentication.",
                 "s3gate-demo-nodes");
    Options options;
    app.add_option("--listen-base", options.listen_base, "IPv4 address of the first node")
        ->capture_default_str();
    app.add_option("--nodes", options.nodes, "how many nodes")
        ->check(CLI::Range(1, 64))
        ->capture_default_str();
    app.add_option("--port", options.port, "port of the first node; 0: the system chooses")
        ->capture_default_str();
    app.add_option("--spread", options.spread,
                   "what differs from node to node: address (same port) or port (same address)")
        ->check(CLI::IsMember({"address", "port"}))
        ->capture_default_str();
    app.add_option("--control", options.control,
                   "where faults are switched: POST /demo/fault?node=N|all&mode=ok|down|offline|"
                   "500|503|hang|refuse, GET /demo/nodes")
        ->capture_default_str();
    app.add_option("--memory", options.memory, "MiB that all objects together may take")
        ->check(CLI::Range(1, 65536))
        ->capture_default_str();
    app.add_option("--bucket", options.buckets, "bucket to begin with; may be repeated");
    try {
        app.parse(argc, argv);
        return run(options);
    } catch (const CLI::ParseError& error) {
        return app.exit(error);
    } catch (const std::exception& error) {
        std::cerr << "s3gate-demo-nodes: " << error.what() << '\n';
        return 1;
    }
}

}  // namespace
}  // namespace s3gate::demo

int main(int argc, char** argv) {
    return s3gate::demo::main_of(argc, argv);
}
