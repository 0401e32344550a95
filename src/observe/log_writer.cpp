#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstddef>
#include <list>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "s3gate/base/clock.hpp"
#include "s3gate/base/descriptor.hpp"
#include "s3gate/base/line_limit.hpp"
#include "s3gate/observe/access_log.hpp"

namespace s3gate::observe {
namespace {

using base::Clock;
using base::Descriptor;
using base::TimePoint;
using std::chrono::milliseconds;

// The thread gives up on a silent target shortly before the destructor gives up on the thread.
constexpr milliseconds kThreadGivesUp{800};
constexpr milliseconds kDestructorGivesUp{1000};
// A target that takes a few bytes now and then must not delay a stop forever.
constexpr milliseconds kLongestStop{10000};
// poll() guarantees room for this many bytes in a pipe (pipe(7)); a blocking pipe is written in
// such pieces.
constexpr std::size_t kPollPromise = 4096;
// Blocks in circulation. They are allocated at the start; the first write touches their memory. If
// the thread lags further behind, blocks are allocated, and freed later.
constexpr std::size_t kSpareBlocks = 32;

// An open target, and a way to write it so that the thread can always be stopped.
struct Output {
    enum class Kind {
        file,          // write() returns without waiting for a reader
        non_blocking,  // O_NONBLOCK on a file description of our own
        blocking,      // shared file description: pieces for which poll() guarantees room
        socket,        // send() with MSG_DONTWAIT
    };
    Descriptor fd;
    Kind kind = Kind::file;
    dev_t device = 0;
    ino_t inode = 0;
};

[[noreturn]] void throw_errno(const std::string& what) {
    throw std::system_error(errno, std::generic_category(), what);
}

Output output_of(Descriptor fd, Output::Kind kind, const std::string& name) {
    struct stat status{};
    if (::fstat(fd.get(), &status) != 0) {
        throw_errno(name);
    }
    return Output{std::move(fd), kind, status.st_dev, status.st_ino};
}

Output open_path(const std::string& path) {
    constexpr int kFlags = O_APPEND | O_CREAT | O_NONBLOCK | O_CLOEXEC | O_NOCTTY;
    Descriptor fd(::open(path.c_str(), O_WRONLY | kFlags, 0640));
    // fifo(7): opening for writing alone fails with ENXIO without a reader. Opening for both never
    // waits, and a reader that leaves and returns finds its lines instead of a broken pipe.
    const bool is_lonely_fifo = fd.get() < 0 && errno == ENXIO;
    if (fd.get() < 0 && !is_lonely_fifo) {
        throw_errno(path);
    }
    struct stat status{};
    if (is_lonely_fifo || (::fstat(fd.get(), &status) == 0 && S_ISFIFO(status.st_mode))) {
        Descriptor both(::open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
        if (both.get() >= 0) {
            fd = std::move(both);
        } else if (is_lonely_fifo) {
            throw_errno(path);
        }
    }
    if (::fstat(fd.get(), &status) != 0) {
        throw_errno(path);
    }
    const auto kind = S_ISREG(status.st_mode) ? Output::Kind::file : Output::Kind::non_blocking;
    return output_of(std::move(fd), kind, path);
}

// The parent process shares the flags of standard output, so they must not be changed.
Output open_stdout() {
    const std::string name = "stdout";
    struct stat status{};
    if (::fstat(STDOUT_FILENO, &status) != 0) {
        throw_errno(name);
    }
    if (S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode)) {
        Descriptor own(::open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
        if (own.get() >= 0) {
            return output_of(std::move(own), Output::Kind::non_blocking, name);
        }
    }
    Descriptor copy(::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3));
    if (copy.get() < 0) {
        throw_errno(name);
    }
    const auto kind = S_ISREG(status.st_mode)    ? Output::Kind::file
                      : S_ISSOCK(status.st_mode) ? Output::Kind::socket
                                                 : Output::Kind::blocking;
    return output_of(std::move(copy), kind, name);
}

std::uint64_t count_lines(std::string_view text) {
    return static_cast<std::uint64_t>(std::count(text.begin(), text.end(), '\n'));
}

struct Block {
    std::string text;
    std::uint64_t lines = 0;
};

}  // namespace

// Shared with the thread, which outlives the writer if a disk blocks it in write().
struct LogWriter::Impl {
    // The thread and submitters share the members above the line; those below belong to the thread.
    std::string target;
    bool enabled = false;
    std::mutex mutex;
    std::condition_variable work;
    std::condition_variable done;
    std::list<Block> queue;
    std::list<Block> spare;        // written blocks, kept for reuse
    std::size_t queued_bytes = 0;  // including the block being written
    bool reopen_wanted = false;
    bool stopping = false;
    bool finished = false;
    std::atomic<std::uint64_t> dropped{0};
    std::atomic<std::uint64_t> written{0};
    std::atomic<TimePoint::rep> last_progress{0};
    std::thread thread;
    Descriptor wake;  // eventfd: readable when the thread must stop waiting for the target
    // ----
    Output output;
    std::string torn;  // the rest of a line that is partly in the file; written first
    bool is_failing = false;
    int last_error = 0;
    base::LineLimit state_lines;

    enum class Written { all, failed, interrupted };

    void run();
    Written write_all(std::string_view text, std::size_t& taken);
    Written wait_writable();
    void write_block(const Block& block);
    bool flush_torn();
    void keep_torn(std::string_view text, std::size_t taken);
    void open_anew();
    void note_failure(int error);
    void note_success();
    void tell_state(std::uint64_t changes) const;
    void await_work(std::unique_lock<std::mutex>& lock);
    void drop(std::uint64_t lines) { dropped.fetch_add(lines, std::memory_order_relaxed); }
    bool must_give_up();
    void signal_thread();
};

void LogWriter::Impl::signal_thread() {
    const std::uint64_t one = 1;
    // It fails only if the counter is full, and then the eventfd is readable already.
    [[maybe_unused]] const auto ignored = ::write(wake.get(), &one, sizeof one);
}

// True if a stop was requested and the target has taken nothing since, or nothing for
// kThreadGivesUp.
bool LogWriter::Impl::must_give_up() {
    const std::lock_guard lock(mutex);
    const TimePoint::duration since =
        Clock::now().time_since_epoch() -
        TimePoint::duration(last_progress.load(std::memory_order_relaxed));
    return stopping && since >= kThreadGivesUp;
}

LogWriter::Impl::Written LogWriter::Impl::wait_writable() {
    for (;;) {
        if (must_give_up()) {
            return Written::interrupted;
        }
        {
            const std::lock_guard lock(mutex);
            if (reopen_wanted) {
                return Written::interrupted;
            }
        }
        pollfd watched[2] = {{output.fd.get(), POLLOUT, 0}, {wake.get(), POLLIN, 0}};
        const int ready = ::poll(watched, 2, 100);
        if (ready < 0 && errno != EINTR) {
            return Written::failed;
        }
        if ((watched[1].revents & POLLIN) != 0) {
            std::uint64_t count = 0;
            [[maybe_unused]] const auto ignored = ::read(wake.get(), &count, sizeof count);
        }
        if (watched[0].revents != 0) {
            return Written::all;  // writable, or an error that the next write returns
        }
    }
}

// Writes until all is written, the target fails (errno), or a reopen or a stop interrupts the wait.
LogWriter::Impl::Written LogWriter::Impl::write_all(std::string_view text, std::size_t& taken) {
    while (taken < text.size()) {
        std::string_view piece = text.substr(taken);
        if (output.kind == Output::Kind::blocking) {
            const Written waited = wait_writable();
            if (waited != Written::all) {
                return waited;
            }
            piece = piece.substr(0, kPollPromise);
        }
        const ssize_t result =
            output.kind == Output::Kind::socket
                ? ::send(output.fd.get(), piece.data(), piece.size(), MSG_DONTWAIT | MSG_NOSIGNAL)
                : ::write(output.fd.get(), piece.data(), piece.size());
        if (result > 0) {
            taken += static_cast<std::size_t>(result);
            last_progress.store(Clock::now().time_since_epoch().count(), std::memory_order_relaxed);
            continue;
        }
        if (result < 0 && errno == EINTR) {
            continue;
        }
        if (result < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) &&
            output.kind != Output::Kind::file) {
            const Written waited = wait_writable();
            if (waited != Written::all) {
                return waited;
            }
            continue;
        }
        if (result == 0) {
            errno = EIO;  // write() of a positive count never returns 0 on these targets
        }
        return Written::failed;
    }
    return Written::all;
}

void LogWriter::Impl::note_failure(int error) {
    if (!is_failing) {
        is_failing = true;
        last_error = error;
        tell_state(state_lines.note(1, Clock::now(), 0));
    }
}

void LogWriter::Impl::note_success() {
    if (is_failing) {
        is_failing = false;
        tell_state(state_lines.note(1, Clock::now(), 1));
    }
}

// A disk that is full again and again gets two lines a minute, one of each state.
void LogWriter::Impl::tell_state(std::uint64_t changes) const {
    if (changes == 0) {
        return;
    }
    const std::string more =
        changes > 1 ? " (and " + std::to_string(changes - 1) + " changes before)" : "";
    if (is_failing) {
        spdlog::error("access log {}: {}: lines are being dropped{}", target,
                      std::generic_category().message(last_error), more);
    } else {
        spdlog::info("access log {}: writable again, {} lines were dropped so far{}", target,
                     dropped.load(std::memory_order_relaxed), more);
    }
}

// Until there is work, or a line of note_failure() or note_success() is due.
void LogWriter::Impl::await_work(std::unique_lock<std::mutex>& lock) {
    const auto has_work = [this] { return stopping || reopen_wanted || !queue.empty(); };
    while (!has_work()) {
        if (const auto due = state_lines.due_at()) {
            work.wait_until(lock, *due, has_work);
            lock.unlock();  // the line may come back here: the operational log has a writer, too
            tell_state(state_lines.note(0, Clock::now()));
            lock.lock();
        } else {
            work.wait(lock, has_work);
        }
    }
}

// Keeps the missing part of the line in which the first `taken` bytes of `text` end.
void LogWriter::Impl::keep_torn(std::string_view text, std::size_t taken) {
    if (taken == 0 || text[taken - 1] == '\n') {
        torn.clear();
        return;
    }
    const std::size_t end = std::min(text.find('\n', taken), text.size() - 1);
    torn.assign(text.substr(taken, end + 1 - taken));
}

// Completes a line that a failure cut; true if nothing is pending.
bool LogWriter::Impl::flush_torn() {
    while (!torn.empty()) {
        std::size_t taken = 0;
        const Written result = write_all(torn, taken);
        const int error = errno;
        torn.erase(0, taken);
        if (result == Written::failed) {
            note_failure(error);
            return false;
        }
        if (result == Written::interrupted) {
            if (must_give_up()) {
                return false;
            }
            open_anew();
            continue;
        }
        written.fetch_add(1, std::memory_order_relaxed);
    }
    return true;
}

void LogWriter::Impl::write_block(const Block& block) {
    std::string_view rest = block.text;
    std::uint64_t lines = block.lines;
    for (;;) {
        if (!flush_torn()) {
            drop(lines);
            return;
        }
        std::size_t taken = 0;
        const Written result = write_all(rest, taken);
        const int error = errno;
        if (result == Written::all) {
            written.fetch_add(lines, std::memory_order_relaxed);
            note_success();
            return;
        }
        const std::uint64_t complete = std::min(lines, count_lines(rest.substr(0, taken)));
        written.fetch_add(complete, std::memory_order_relaxed);
        lines -= complete;
        keep_torn(rest, taken);
        if (!torn.empty() && lines > 0) {
            --lines;  // counted when its rest is written or dropped
        }
        if (result == Written::failed) {
            note_failure(error);
            drop(lines);
            return;
        }
        rest.remove_prefix(taken + torn.size());
        if (must_give_up()) {
            drop(lines);
            return;
        }
        open_anew();
    }
}

// For log rotation. If the path cannot be opened the old file stays in use: lines in the wrong file
// are better than none.
void LogWriter::Impl::open_anew() {
    {
        const std::lock_guard lock(mutex);
        if (!std::exchange(reopen_wanted, false)) {
            return;
        }
    }
    if (target == "stdout") {
        return;
    }
    try {
        Output fresh = open_path(target);
        if (!torn.empty() && (fresh.device != output.device || fresh.inode != output.inode)) {
            // The first part of the line is in the old file; its rest would be a broken line here.
            torn.clear();
            drop(1);
        }
        output = std::move(fresh);
        is_failing = false;
    } catch (const std::system_error& error) {
        spdlog::error("access log: cannot reopen {}: {}; the old file stays in use", target,
                      error.code().message());
    }
}

void LogWriter::Impl::run() {
    for (;;) {
        std::list<Block> taken;  // one block
        bool reopen_now = false;
        {
            std::unique_lock lock(mutex);
            await_work(lock);
            reopen_now = reopen_wanted;
            if (!reopen_now) {
                if (queue.empty()) {
                    break;  // stopping, and all is written
                }
                taken.splice(taken.begin(), queue, queue.begin());
            }
        }
        if (reopen_now) {
            open_anew();
            continue;
        }
        Block& block = taken.front();
        if (must_give_up()) {
            drop(block.lines);
        } else {
            write_block(block);
        }
        tell_state(state_lines.note(0, Clock::now()));
        const std::lock_guard lock(mutex);
        queued_bytes -= block.text.size();
        if (spare.size() < kSpareBlocks) {
            block.text.clear();
            spare.splice(spare.begin(), taken);
        }
    }
    if (!flush_torn()) {
        drop(1);
    }
    tell_state(state_lines.tell(Clock::now()));
    const std::lock_guard lock(mutex);
    finished = true;
    done.notify_all();
}

LogWriter::LogWriter(const std::string& target) : impl_(std::make_shared<Impl>()) {
    impl_->target = target;
    if (target == "off") {
        return;
    }
    impl_->output = target == "stdout" ? open_stdout() : open_path(target);
    impl_->wake = Descriptor(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    if (impl_->wake.get() < 0) {
        throw_errno("eventfd");
    }
    // The control thread handles signals. A broken pipe must return EPIPE, and a file size limit
    // EFBIG.
    sigset_t all;
    sigset_t before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
        impl_->thread = std::thread([state = impl_] { state->run(); });
    } catch (...) {
        ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
        throw;
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    for (std::size_t i = 0; i < kSpareBlocks; ++i) {
        impl_->spare.emplace_back().text.reserve(kBlockBytes);
    }
    impl_->enabled = true;
}

LogWriter::~LogWriter() {
    if (!impl_->enabled) {
        return;
    }
    const TimePoint begin = Clock::now();
    std::unique_lock lock(impl_->mutex);
    impl_->stopping = true;
    // Only silence from now on counts.
    impl_->last_progress.store(begin.time_since_epoch().count(), std::memory_order_relaxed);
    impl_->work.notify_one();
    impl_->signal_thread();
    while (!impl_->finished) {
        const TimePoint silent_since{
            TimePoint::duration(impl_->last_progress.load(std::memory_order_relaxed))};
        const TimePoint deadline =
            std::min(silent_since + kDestructorGivesUp, begin + kLongestStop);
        if (Clock::now() >= deadline) {
            impl_->thread.detach();  // it keeps its state and ends by itself, or with the process
            return;
        }
        impl_->done.wait_until(lock, deadline);
    }
    lock.unlock();
    impl_->thread.join();
}

bool LogWriter::enabled() const {
    return impl_->enabled;
}

std::uint64_t LogWriter::submit(std::string&& lines, std::uint64_t line_count) {
    if (!impl_->enabled || lines.empty()) {
        return 0;
    }
    {
        const std::lock_guard lock(impl_->mutex);
        if (lines.size() > kMaxQueued - impl_->queued_bytes) {
            impl_->drop(line_count);
            return line_count;
        }
        impl_->queued_bytes += lines.size();
        if (impl_->spare.empty()) {
            impl_->spare.emplace_back();
        }
        // Gives the caller the memory of a block that was written before.
        Block& block = impl_->spare.front();
        block.text.swap(lines);
        block.lines = line_count;
        lines.clear();
        impl_->queue.splice(impl_->queue.end(), impl_->spare, impl_->spare.begin());
    }
    impl_->work.notify_one();
    return 0;
}

void LogWriter::reopen() {
    if (!impl_->enabled) {
        return;
    }
    {
        const std::lock_guard lock(impl_->mutex);
        impl_->reopen_wanted = true;
    }
    impl_->work.notify_one();
    impl_->signal_thread();
}

std::uint64_t LogWriter::dropped_lines() const {
    return impl_->dropped.load(std::memory_order_relaxed);
}

std::uint64_t LogWriter::written_lines() const {
    return impl_->written.load(std::memory_order_relaxed);
}

}  // namespace s3gate::observe
