#include "control_socket.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "admin_door.hpp"
#include "s3gate/base/descriptor.hpp"

namespace s3gate::control {

namespace asio = boost::asio;
using asio::local::stream_protocol;
using boost::system::error_code;

namespace {

constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);
constexpr mode_t kMode = 0660;
// Pause in accepting while the process has no descriptor left; other connections may end meanwhile.
constexpr std::chrono::milliseconds kPause{100};

[[noreturn]] void refuse(const std::string& path, const std::string& reason) {
    throw std::runtime_error("control socket " + path + ": " + reason);
}

[[noreturn]] void refuse_errno(const std::string& path, const std::string& what) {
    refuse(path, what + ": " + std::generic_category().message(errno));
}

sockaddr_un address_of(const std::string& path, const std::string& name) {
    sockaddr_un out{};
    out.sun_family = AF_UNIX;
    if (name.size() >= sizeof out.sun_path) {
        refuse(path, "the path is too long");
    }
    std::ranges::copy(name, out.sun_path);
    return out;
}

base::Descriptor make_socket(const std::string& path) {
    base::Descriptor out(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!out) {
        refuse_errno(path, "socket");
    }
    return out;
}

std::optional<ucred> peer_of(int socket) {
    ucred peer{};
    socklen_t length = sizeof peer;
    if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) {
        return std::nullopt;
    }
    return peer;
}

// Throws unless `path` is free, or has a socket at which no process listens any more, or `before`.
void make_sure_of_no_owner(const std::string& path, std::optional<pid_t> before) {
    struct stat found{};
    if (::lstat(path.c_str(), &found) != 0) {
        return;  // bind() reports any other problem
    }
    if (!S_ISSOCK(found.st_mode)) {
        refuse(path, "there is something else of that name, which is no socket");
    }
    const base::Descriptor probe = make_socket(path);
    const sockaddr_un address = address_of(path, path);
    const bool is_answered =
        ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    if (!is_answered && errno != EAGAIN) {  // EAGAIN: its queue is full
        if (errno != ECONNREFUSED && errno != ENOENT) {
            refuse_errno(path, "cannot tell whether another process uses it");
        }
        return;
    }
    const std::optional<ucred> owner = is_answered ? peer_of(probe.get()) : std::nullopt;
    if (owner && owner->pid == before) {
        return;
    }
    throw SocketTaken("control socket " + path + ": another process" +
                      (owner ? " (pid " + std::to_string(owner->pid) + ")" : std::string()) +
                      " serves it; stop that one, or choose another admin.socket");
}

// Removes the file unless it got its final name.
struct TemporaryFile {
    std::string name;
    ~TemporaryFile() {
        if (!name.empty()) {
            ::unlink(name.c_str());
        }
    }
};

// Makes the socket under a temporary name and renames it once it has its mode and listens, so no
// client finds it half made.
base::Descriptor listen_at(const std::string& path, std::optional<pid_t> before,
                           struct stat& file) {
    make_sure_of_no_owner(path, before);
    base::Descriptor out = make_socket(path);
    TemporaryFile temporary{path.substr(0, path.rfind('/') + 1) + "." + std::to_string(::getpid())};
    ::unlink(temporary.name.c_str());
    const sockaddr_un address = address_of(path, temporary.name);
    if (::bind(out.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        temporary.name.clear();
        refuse_errno(path, "cannot be made");
    }
    if (::chmod(temporary.name.c_str(), kMode) != 0) {
        refuse_errno(path, "chmod");
    }
    if (::listen(out.get(), SOMAXCONN) != 0) {
        refuse_errno(path, "listen");
    }
    if (::lstat(temporary.name.c_str(), &file) != 0 ||
        ::rename(temporary.name.c_str(), path.c_str()) != 0) {
        refuse_errno(path, "rename");
    }
    temporary.name.clear();
    return out;
}

bool lacks_descriptors(const error_code& error) {
    return error == asio::error::no_descriptors || error.value() == ENFILE ||
           error == asio::error::no_memory || error == asio::error::no_buffer_space;
}

}  // namespace

struct ControlSocket::Listening {
    Listening(asio::io_context& context, int socket, Operators operators_, Commands& commands)
        : acceptor(context, stream_protocol(), socket),
          pause(context),
          door(commands),
          operators(std::move(operators_)) {}

    stream_protocol::acceptor acceptor;
    asio::steady_timer pause;
    AdminDoor door;
    Operators operators;
};

ControlSocket::ControlSocket(asio::io_context& context, std::string path, Operators operators,
                             Commands& commands, std::optional<pid_t> before)
    : path_(std::move(path)) {
    struct stat file{};
    base::Descriptor socket = listen_at(path_, before, file);
    device_ = file.st_dev;
    inode_ = file.st_ino;
    listening_ = std::make_shared<Listening>(context, socket.get(), std::move(operators), commands);
    socket.release();
    asio::co_spawn(context, accept(listening_), asio::detached);
}

ControlSocket::~ControlSocket() {
    listening_->acceptor.close();
    listening_->pause.cancel();
    if (is_in_place()) {
        ::unlink(path_.c_str());
    }
}

bool ControlSocket::is_in_place() const {
    struct stat file{};
    return ::lstat(path_.c_str(), &file) == 0 && file.st_dev == device_ && file.st_ino == inode_;
}

void ControlSocket::use(Operators operators) {
    listening_->operators = std::move(operators);
}

asio::awaitable<void> ControlSocket::accept(std::shared_ptr<Listening> listening) {
    while (listening->acceptor.is_open()) {
        // accept() fails for want of a descriptor also where nobody waits. A spare that is closed
        // before a client is there would go to a worker.
        co_await listening->acceptor.async_wait(stream_protocol::acceptor::wait_read, kTuple);
        auto [error, socket] = co_await listening->acceptor.async_accept(kTuple);
        if (!error) {
            if (const std::optional<ucred> peer = peer_of(socket.native_handle())) {
                listening->door.let_in(AdminDoor::Socket(std::move(socket)),
                                       listening->operators.asker_of(peer->uid, peer->pid));
            }
        } else if (lacks_descriptors(error) && !listening->door.make_room()) {
            listening->pause.expires_after(kPause);
            co_await listening->pause.async_wait(kTuple);
        }
    }
}

}  // namespace s3gate::control
