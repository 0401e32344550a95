// Options of TCP sockets that listeners and backend connections both set. Any thread.
#pragma once

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace s3gate::net {

// Without an error: a socket that lacks the option serves all the same.
inline void set_option(int fd, int level, int name, int value) {
    ::setsockopt(fd, level, name, &value, sizeof value);
}

// When a peer that says nothing is asked whether it is there, in seconds, and how often (tcp(7)).
struct KeepAlive {
    int idle;
    int interval;
    int count;
};

// TCP_NODELAY, and keepalive.
inline void set_stream_options(int fd, const KeepAlive& keep_alive) {
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, keep_alive.idle);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, keep_alive.interval);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, keep_alive.count);
}

}  // namespace s3gate::net
