// Owner of a file descriptor. A value type; one thread at a time.
#pragma once

#include <unistd.h>

#include <utility>

namespace s3gate::base {

class Descriptor {
  public:
    Descriptor() = default;
    // Takes over `fd`; a negative number is none.
    explicit Descriptor(int fd) : fd_(fd) {}
    ~Descriptor() { close(); }
    Descriptor(Descriptor&& other) noexcept : fd_(other.release()) {}
    Descriptor& operator=(Descriptor&& other) noexcept {
        if (this != &other) {
            close();
            fd_ = other.release();
        }
        return *this;
    }

    explicit operator bool() const { return fd_ >= 0; }
    // Negative if there is none.
    int get() const { return fd_; }
    // Passes the ownership to the caller.
    int release() { return std::exchange(fd_, -1); }
    // May be called twice. Keeps the errno of the close().
    void close() {
        if (fd_ >= 0) {
            ::close(release());
        }
    }

  private:
    int fd_ = -1;
};

}  // namespace s3gate::base
