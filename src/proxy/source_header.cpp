#include "source_header.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <string_view>

#include "client_connection.hpp"

namespace s3gate::proxy {
namespace {

using End = SourceRead::End;
using State = http::ProxyHeaderReader::State;

// PROXY protocol §2: "a few seconds (at least 3 seconds to cover a TCP retransmit)".
constexpr base::Duration kHeaderTime{5000};
// Of what is in the socket, looked at with one call. All real headers fit.
constexpr std::size_t kLook = 1024;

bool begins_like_request(std::string_view bytes) {
    static constexpr auto kMethods = std::to_array<std::string_view>(
        {"GET ", "HEAD ", "PUT ", "POST ", "DELETE ", "OPTIONS ", "PATCH "});
    return std::ranges::any_of(
        kMethods, [bytes](std::string_view method) { return bytes.starts_with(method); });
}

// Takes what the socket has of the header. True if the end is known.
bool receive(net::Stream& stream, http::ProxyHeaderReader& reader, SourceRead& read) {
    char bytes[kLook];
    for (;;) {
        const ssize_t got = stream.peek(bytes, sizeof bytes);
        if (got <= 0) {
            return got == 0 || (errno != EAGAIN && errno != EINTR);
        }
        read.has_begun = true;
        const std::string_view seen(bytes, static_cast<std::size_t>(got));
        const std::size_t taken = reader.take(seen);
        if (taken > 0 && stream.discard(taken) != static_cast<ssize_t>(taken)) {
            return true;
        }
        if (reader.state() == State::complete) {
            read.end = End::named;
            return true;
        }
        if (reader.state() == State::malformed) {
            read.end = End::refused;
            read.error = reader.error();
            read.is_request =
                read.error == http::ProxyHeaderError::not_a_header &&
                begins_like_request(std::string(reader.received()).append(seen.substr(0, 16)));
            return true;
        }
    }
}

// Waits for more bytes. False if the time is over, or a drain or a stop ends the connection.
net::task<bool> wait(ClientConnection& client, net::Tick deadline, SourceRead& read) {
    const auto left = static_cast<std::int32_t>(deadline - client.stream.reactor().now());
    if (left <= 0) {
        read.end = End::timed_out;
        co_return false;
    }
    client.set_awaits_request(!read.has_begun);
    const net::Wake wake = co_await client.stream.readable(static_cast<net::Tick>(left));
    client.set_awaits_request(false);
    if (client.cut || (wake == net::Wake::interrupted && !client.stream.has_unread())) {
        read.end = End::cut;
        co_return false;
    }
    co_return true;
}

}  // namespace

net::task<SourceRead> read_source(ClientConnection& client) {
    const net::Tick deadline = client.stream.reactor().now() + net::ticks_of(kHeaderTime);
    http::ProxyHeaderReader reader;
    SourceRead read;
    while (!receive(client.stream, reader, read)) {
        const bool goes_on = co_await wait(client, deadline, read);
        if (!goes_on) {
            co_return read;
        }
    }
    if (read.end == End::named && reader.addresses()) {
        client.set_source(reader.addresses()->source);
        client.local.emplace(reader.addresses()->destination);
    } else if (read.end == End::named) {
        // PROXY protocol §2.1, §2.2: the ends of the connection itself count. Anybody may have
        // connected to the peer.
        client.has_unnamed_source = true;
    }
    co_return read;
}

}  // namespace s3gate::proxy
