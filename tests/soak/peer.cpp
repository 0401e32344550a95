#include "peer.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>

namespace soak {

std::uint64_t now_ms() {
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                          std::chrono::steady_clock::now().time_since_epoch())
                                          .count());
}

void Script::clear() {
    steps_.clear();
    arena_.clear();
    next_ = offset_ = size_ = sent_ = 0;
    wake_at_ = 0;
}

void Script::text(std::string_view bytes) {
    if (bytes.empty()) {
        return;
    }
    steps_.push_back({Kind::text, arena_.size(), bytes.size(), nullptr});
    arena_.append(bytes);
    size_ += bytes.size();
}

void Script::body(std::string_view bytes) {
    if (bytes.empty()) {
        return;
    }
    steps_.push_back({Kind::body, 0, bytes.size(), bytes.data()});
    size_ += bytes.size();
}

void Script::chunked(std::string_view bytes, std::size_t piece) {
    std::array<char, 24> line;
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
        const std::string_view now = bytes.substr(at, piece);
        const int length = std::snprintf(line.data(), line.size(), "%zx\r\n", now.size());
        text({line.data(), static_cast<std::size_t>(length)});
        body(now);
        text("\r\n");
    }
    text("0\r\n\r\n");
}

void Script::cut(std::size_t bytes) {
    std::size_t at = 0;
    for (std::size_t i = 0; i < steps_.size(); ++i) {
        Step& step = steps_[i];
        if (step.kind != Kind::text && step.kind != Kind::body) {
            continue;
        }
        if (at + step.length >= bytes) {
            step.length = bytes - at;
            steps_.resize(i + 1);
            size_ = bytes;
            return;
        }
        at += step.length;
    }
}

void Script::slow_down(std::size_t bytes, std::size_t step, unsigned times,
                       std::uint64_t milliseconds) {
    std::vector<Step> out;
    std::size_t at = 0;
    std::size_t next = bytes;
    for (Step now : steps_) {
        while ((now.kind == Kind::text || now.kind == Kind::body) && times > 0 &&
               next < at + now.length) {
            Step first = now;
            first.length = next - at;
            if (first.length > 0) {
                out.push_back(first);
            }
            out.push_back({Kind::pause, 0, milliseconds, nullptr});
            now.begin += first.length;
            now.data = now.data == nullptr ? nullptr : now.data + first.length;
            now.length -= first.length;
            at = next;
            next += std::max<std::size_t>(step, 1);
            --times;
        }
        out.push_back(now);
        at += now.kind == Kind::text || now.kind == Kind::body ? now.length : 0;
    }
    steps_ = std::move(out);
}

Script::Result Script::send(int fd) {
    for (;;) {
        std::array<iovec, 64> vectors;
        std::size_t count = 0;
        std::size_t wanted = 0;
        for (std::size_t i = next_; i < steps_.size() && count < vectors.size(); ++i) {
            const Step& step = steps_[i];
            if (step.kind != Kind::text && step.kind != Kind::body) {
                break;
            }
            const std::size_t skip = i == next_ ? offset_ : 0;
            const char* const data =
                step.kind == Kind::text ? arena_.data() + step.begin : step.data;
            vectors[count++] = {const_cast<char*>(data) + skip, step.length - skip};
            wanted += step.length - skip;
        }
        if (count == 0) {
            if (is_done()) {
                return Result::done;
            }
            const Step& step = steps_[next_];
            if (step.kind == Kind::pause) {
                if (wake_at_ == 0) {
                    wake_at_ = now_ms() + step.length;
                }
                if (now_ms() < wake_at_) {
                    return Result::paused;
                }
                wake_at_ = 0;
                ++next_;
                continue;
            }
            ++next_;
            if (step.kind == Kind::fin) {
                ::shutdown(fd, SHUT_WR);
                return Result::finned;
            }
            reset_on_close(fd, true);
            return Result::ended;
        }
        msghdr message{};
        message.msg_iov = vectors.data();
        message.msg_iovlen = count;
        const ssize_t sent = ::sendmsg(fd, &message, MSG_NOSIGNAL);
        if (sent < 0) {
            return errno == EAGAIN ? Result::blocked : Result::ended;
        }
        sent_ += static_cast<std::size_t>(sent);
        std::size_t left = static_cast<std::size_t>(sent) + offset_;
        // Skips empty steps too; cut() may leave some.
        while (next_ < steps_.size() && left >= steps_[next_].length &&
               (steps_[next_].kind == Kind::text || steps_[next_].kind == Kind::body)) {
            left -= steps_[next_].length;
            ++next_;
        }
        offset_ = left;
    }
}

void reset_on_close(int fd, bool on) {
    const linger value{on ? 1 : 0, 0};
    ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, sizeof value);
}

Loop::Loop() : epoll_(::epoll_create1(EPOLL_CLOEXEC)) {}

void Loop::add(int fd, std::uint64_t token) {
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    event.data.u64 = token;
    if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) {
        std::perror("epoll_ctl");
        std::exit(3);
    }
}

void Loop::turn(int limit, const OnEvent& on_event, const OnTimer& on_timer) {
    int wait = limit;
    if (!timers_.empty()) {
        const std::uint64_t now = now_ms();
        const std::uint64_t when = timers_.top().when;
        wait = when <= now ? 0
                           : static_cast<int>(std::min<std::uint64_t>(
                                 when - now, static_cast<std::uint64_t>(limit)));
    }
    std::array<epoll_event, 128> events;
    const int ready = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), wait);
    for (int i = 0; i < ready; ++i) {
        on_event(events[static_cast<std::size_t>(i)].data.u64,
                 events[static_cast<std::size_t>(i)].events);
    }
    if (timers_.empty()) {
        return;
    }
    const std::uint64_t now = now_ms();
    while (!timers_.empty() && timers_.top().when <= now) {
        const std::uint64_t token = timers_.top().token;
        timers_.pop();
        on_timer(token);
    }
}

}  // namespace soak
