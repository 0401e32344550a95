// Shared by the tests of this module: a real Reactor that turns until a condition holds, and
// loopback TCP connections whose far end the test reads and writes in the same thread, without
// blocking.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>

#include "s3gate/base/descriptor.hpp"
#include "s3gate/net/reactor.hpp"
#include "s3gate/net/stream.hpp"

namespace s3gate::net {

// Only a failure ever takes this long.
inline constexpr std::chrono::seconds kPatience{60};

class Loop {
  public:
    Loop() {
        std::signal(SIGPIPE, SIG_IGN);  // as in the daemon: splice() has no MSG_NOSIGNAL
        reactor.start(nullptr, nullptr);
    }

    // Turns the loop until `done()`; checks after every round, at least every few milliseconds.
    template <class Done>
    [[nodiscard]] bool run_until(const Done& done) {
        const auto end = std::chrono::steady_clock::now() + kPatience;
        while (!done()) {
            if (std::chrono::steady_clock::now() > end) {
                return false;
            }
            reactor.turn(std::chrono::milliseconds(2));
        }
        return true;
    }
    // Runs all that is ready now.
    void settle() {
        for (int i = 0; i < 20; ++i) {
            reactor.turn(std::chrono::milliseconds(0));
        }
    }

    Reactor reactor;
};

class Fd : public base::Descriptor {
  public:
    using base::Descriptor::Descriptor;
    void close_with_reset() {
        const linger hard{1, 0};
        ::setsockopt(get(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        close();
    }
};

inline void set_size(int fd, int option, int size) {
    if (size > 0) {
        ASSERT_EQ(::setsockopt(fd, SOL_SOCKET, option, &size, sizeof size), 0);
    }
}

inline std::string bytes_of(std::size_t size) {
    // Not periodic in any power of two, so a lost, doubled or moved block is noticed.
    std::string out(size, '\0');
    std::mt19937 random(static_cast<unsigned>(size));
    for (char& c : out) {
        c = static_cast<char>(random());
    }
    return out;
}

struct BufferSizes {
    int ours_send = 0;       // SO_SNDBUF of our end
    int theirs_receive = 0;  // SO_RCVBUF of the far end
};

// One connection over 127.0.0.1, both ends non-blocking.
struct TcpPair {
    Fd ours;
    Fd theirs;

    explicit TcpPair(BufferSizes sizes = {}) {
        const Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        set_size(listener.get(), SO_RCVBUF,
                 sizes.theirs_receive);  // inherited, and in effect from the first byte
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t length = sizeof address;
        EXPECT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
        EXPECT_EQ(::listen(listener.get(), 1), 0);
        EXPECT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &length), 0);
        ours = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        set_size(ours.get(), SO_SNDBUF, sizes.ours_send);
        EXPECT_EQ(::connect(ours.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
        EXPECT_EQ(::fcntl(ours.get(), F_SETFL, O_NONBLOCK), 0);
        theirs = Fd(::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
        EXPECT_GE(theirs.get(), 0);
    }
};

// Sends as much of `bytes` as the socket takes, at most `most`, and removes it.
inline void send_some(const Fd& fd, std::string_view& bytes, std::size_t most = 256 * 1024) {
    if (bytes.empty()) {
        return;
    }
    const ssize_t sent = ::send(fd.get(), bytes.data(), std::min(bytes.size(), most), MSG_NOSIGNAL);
    if (sent > 0) {
        bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
}

enum class Received { bytes, nothing, end, reset };

// Appends what has arrived, at most `most` bytes.
inline Received receive_some(const Fd& fd, std::string& out, std::size_t most = 256 * 1024) {
    std::string buffer(most, '\0');
    const ssize_t got = ::recv(fd.get(), buffer.data(), buffer.size(), 0);
    if (got > 0) {
        out.append(buffer, 0, static_cast<std::size_t>(got));
        return Received::bytes;
    }
    if (got == 0) {
        return Received::end;
    }
    return errno == EAGAIN ? Received::nothing : Received::reset;
}

}  // namespace s3gate::net
