// Texts that parse as addresses, blocks or hosts print as texts with the same meaning.
#include <string>

#include "fuzz_target.hpp"
#include "s3gate/base/address.hpp"
#include "s3gate/http/framing.hpp"

FUZZ_TARGET(input) {
    using namespace s3gate::base;
    if (const auto ip = IpAddress::parse(input)) {
        FUZZ_CHECK(IpAddress::parse(ip->to_string()) == ip);
        const auto block = Cidr::parse(input);
        FUZZ_CHECK(block && block->contains(*ip));
        sockaddr_storage storage;
        const SocketAddress address(*ip, 9000);
        const socklen_t length = address.to_sockaddr(storage);
        FUZZ_CHECK(SocketAddress::from_sockaddr(reinterpret_cast<const sockaddr*>(&storage),
                                                length) == address);
    }
    if (const auto address = SocketAddress::parse(input)) {
        FUZZ_CHECK(SocketAddress::parse(address->to_string()) == address);
        FUZZ_CHECK(s3gate::http::is_valid_host(address->to_string()));
    }
    if (const auto block = Cidr::parse(input)) {
        const std::string text = block->to_string();
        const auto again = Cidr::parse(text);
        FUZZ_CHECK(again && again->to_string() == text);
        const auto first = IpAddress::parse(std::string_view(text).substr(0, text.find('/')));
        FUZZ_CHECK(first && block->contains(*first) && again->contains(*first));
    }
    if (const auto host = parse_host_port(input)) {
        FUZZ_CHECK(!host->host.empty() && host->host.size() <= 253);
        FUZZ_CHECK(!host->port || *host->port != 0);
        const std::string bare =
            host->host.find(':') == std::string::npos ? host->host : "[" + host->host + "]";
        const std::string text = host->port ? bare + ":" + std::to_string(*host->port) : bare;
        const auto again = parse_host_port(text);
        FUZZ_CHECK(again && again->host == host->host && again->port == host->port);
        FUZZ_CHECK(s3gate::http::is_valid_host(text));
    }
    if (s3gate::http::is_valid_host(input)) {
        FUZZ_CHECK(input.find_first_of(std::string_view(" \t\r\n,@/?#\\\0", 11)) ==
                   std::string_view::npos);
    }
}
