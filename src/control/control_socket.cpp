#include "control_socket.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "admin_door.hpp"

namespace s3gate::control {

namespace asio = boost::asio;

namespace {

constexpr mode_t kMode = 0660;

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

}  // namespace

ControlSocket::ControlSocket(asio::io_context& context, std::string path, Operators operators,
                             Commands& commands, std::optional<pid_t> before)
    : path_(std::move(path)), operators_(std::make_shared<Operators>(std::move(operators))) {
    struct stat file{};
    socket_ = listen_at(path_, before, file);
    device_ = file.st_dev;
    inode_ = file.st_ino;
    const auto recognize = [operators = operators_](int socket) -> std::optional<Asker> {
        const std::optional<ucred> peer = peer_of(socket);
        return peer ? std::optional(operators->asker_of(peer->uid, peer->pid)) : std::nullopt;
    };
    acceptor_.emplace(context, socket_.get(), std::make_shared<AdminDoor>(commands), recognize);
}

ControlSocket::~ControlSocket() {
    acceptor_.reset();
    socket_.close();
    if (is_in_place()) {
        ::unlink(path_.c_str());
    }
}

bool ControlSocket::is_in_place() const {
    struct stat file{};
    return ::lstat(path_.c_str(), &file) == 0 && file.st_dev == device_ && file.st_ino == inode_;
}

void ControlSocket::use(Operators operators) {
    *operators_ = std::move(operators);
}

}  // namespace s3gate::control
