// The log writer against misbehaving targets: no thread ever waits for it, and it writes whole
// lines.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "s3gate/base/clock.hpp"
#include "s3gate/observe/access_log.hpp"

namespace s3gate::observe {
namespace {

using base::Clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

class LogWriterTest : public testing::Test {
  protected:
    LogWriterTest() {
        std::string pattern =
            (std::filesystem::temp_directory_path() / "s3gate-log-XXXXXX").string();
        directory_ = ::mkdtemp(pattern.data());
    }
    ~LogWriterTest() override { std::filesystem::remove_all(directory_); }

    std::string path(const char* name) const { return (directory_ / name).string(); }

    static std::string content(const std::string& file) {
        std::ifstream in(file, std::ios::binary);
        return {std::istreambuf_iterator<char>(in), {}};
    }

    // Waits for the writer's thread, with a limit far above any normal run.
    static bool eventually(const std::function<bool()>& condition) {
        const auto deadline = Clock::now() + seconds(20);
        while (!condition()) {
            if (Clock::now() > deadline) {
                return false;
            }
            std::this_thread::yield();
        }
        return true;
    }

    std::filesystem::path directory_;
};

// Numbered lines of `width` bytes: lost, torn and repeated ones are noticed.
std::string numbered_lines(unsigned first, unsigned count, std::size_t width) {
    std::string text;
    for (unsigned i = first; i < first + count; ++i) {
        std::string line = "line " + std::to_string(i) + ' ';
        line.resize(width - 1, 'x');
        text += line;
        text += '\n';
    }
    return text;
}

void expect_whole_lines(const std::string& text, std::size_t width) {
    ASSERT_EQ(text.size() % width, 0U);
    for (std::size_t at = 0; at < text.size(); at += width) {
        ASSERT_EQ(text.compare(at, 5, "line "), 0) << "at " << at;
        ASSERT_EQ(text.find('\n', at), at + width - 1);
    }
}

TEST_F(LogWriterTest, OffTakesEverythingAndKeepsNothing) {
    LogWriter writer("off");
    EXPECT_FALSE(writer.enabled());
    EXPECT_EQ(writer.submit("a\n", 1), 0U);
    writer.reopen();
    EXPECT_EQ(writer.written_lines(), 0U);
    EXPECT_EQ(writer.dropped_lines(), 0U);
}

TEST_F(LogWriterTest, AppendsToWhatIsThereAndWritesAllBeforeItEnds) {
    const std::string file = path("access.log");
    std::ofstream(file) << "old\n";
    {
        LogWriter writer(file);
        EXPECT_TRUE(writer.enabled());
        for (unsigned i = 0; i < 200; ++i) {
            EXPECT_EQ(writer.submit(numbered_lines(i * 10, 10, 64), 10), 0U);
        }
    }
    EXPECT_EQ(content(file), "old\n" + numbered_lines(0, 2000, 64));
}

TEST_F(LogWriterTest, CountsWhatItWrote) {
    LogWriter writer(path("access.log"));
    writer.submit("a\nb\n", 2);
    writer.submit("c\n", 1);
    EXPECT_TRUE(eventually([&] { return writer.written_lines() == 3; }));
    EXPECT_EQ(writer.dropped_lines(), 0U);
}

TEST_F(LogWriterTest, RefusesWhatCannotBeOpened) {
    EXPECT_THROW(LogWriter(path("no/such/directory.log")), std::system_error);
    EXPECT_THROW(LogWriter(directory_.string()), std::system_error);
}

TEST_F(LogWriterTest, ReopenFollowsARotation) {
    const std::string file = path("access.log");
    LogWriter writer(file);
    writer.submit("before\n", 1);
    ASSERT_TRUE(eventually([&] { return writer.written_lines() == 1; }));
    std::filesystem::rename(file, path("access.log.1"));
    writer.submit("between\n", 1);
    ASSERT_TRUE(eventually([&] { return writer.written_lines() == 2; }));
    writer.reopen();
    writer.submit("after\n", 1);
    ASSERT_TRUE(eventually([&] { return writer.written_lines() == 3; }));
    EXPECT_EQ(content(path("access.log.1")), "before\nbetween\n");
    EXPECT_EQ(content(file), "after\n");
}

TEST_F(LogWriterTest, ReopenThatFailsKeepsTheOldFile) {
    std::filesystem::create_directory(path("logs"));
    const std::string file = path("logs/access.log");
    LogWriter writer(file);
    std::filesystem::rename(path("logs"), path("moved"));
    writer.reopen();
    writer.submit("kept\n", 1);
    ASSERT_TRUE(eventually([&] { return writer.written_lines() == 1; }));
    EXPECT_EQ(content(path("moved/access.log")), "kept\n");
}

TEST_F(LogWriterTest, FullDiskCostsLinesAndIsCounted) {
    LogWriter writer("/dev/full");
    EXPECT_EQ(writer.submit("a\nb\n", 2), 0U);
    EXPECT_EQ(writer.submit("c\n", 1), 0U);
    EXPECT_TRUE(eventually([&] { return writer.dropped_lines() == 3; }));
    EXPECT_EQ(writer.written_lines(), 0U);
}

TEST_F(LogWriterTest, FifoThatNobodyReadsHoldsNobodyUp) {
    const std::string fifo = path("fifo");
    ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
    const auto begin = Clock::now();
    std::uint64_t refused = 0;
    {
        LogWriter writer(fifo);
        // More than the bound: the call drops the lines that do not fit.
        const std::string block = numbered_lines(0, 1024, 1024);
        for (unsigned i = 0; i < 70; ++i) {
            refused += writer.submit(std::string(block), 1024);
        }
        EXPECT_EQ(writer.dropped_lines(), refused);
        // 64 blocks fit. At most a pipe's content of the first block is written, and the whole
        // block still counts as queued.
        EXPECT_EQ(refused, 6U * 1024U);
    }
    // It does not wait for a reader. The bound is wide because the machine may be busy.
    EXPECT_LT(Clock::now() - begin, seconds(15));
}

TEST_F(LogWriterTest, EndWithAStuckTargetTakesAboutASecond) {
    const std::string fifo = path("fifo");
    ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
    const auto thread_count = [] {
        const std::filesystem::directory_iterator tasks("/proc/self/task");
        return std::distance(begin(tasks), end(tasks));
    };
    // Starts a first thread: the thread sanitizer then starts one of its own, which stays.
    {
        const LogWriter first(path("first"));
    }
    const auto threads_before = thread_count();
    auto writer = std::make_unique<LogWriter>(fifo);
    writer->submit(numbered_lines(0, 1024, 1024), 1024);
    const auto begin = Clock::now();
    writer.reset();
    const auto took = Clock::now() - begin;
    EXPECT_GE(took, milliseconds(700));
    EXPECT_LT(took, std::chrono::seconds(
                        15));  // it gave up; the bound is wide because the machine may be busy
    // The thread has ended too; it was not abandoned.
    EXPECT_TRUE(eventually([&] { return thread_count() == threads_before; }));
}

TEST_F(LogWriterTest, FifoReaderThatComesLateGetsWholeLinesInOrder) {
    const std::string fifo = path("fifo");
    ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
    LogWriter writer(fifo);
    constexpr unsigned kLines = 4000;
    constexpr std::size_t kWidth = 100;  // 400 KB: several times the pipe's capacity
    for (unsigned i = 0; i < kLines; i += 100) {
        writer.submit(numbered_lines(i, 100, kWidth), 100);
    }
    std::string got;
    const int reader = ::open(fifo.c_str(), O_RDONLY | O_CLOEXEC);
    ASSERT_GE(reader, 0);
    std::vector<char> buffer(10000);
    while (got.size() < kLines * kWidth) {
        const ssize_t n = ::read(reader, buffer.data(), buffer.size());
        ASSERT_GT(n, 0);
        got.append(buffer.data(), static_cast<std::size_t>(n));
    }
    ::close(reader);
    EXPECT_EQ(got, numbered_lines(0, kLines, kWidth));
    EXPECT_TRUE(eventually([&] { return writer.written_lines() == kLines; }));
    EXPECT_EQ(writer.dropped_lines(), 0U);
}

TEST_F(LogWriterTest, FifoSurvivesAReaderThatLeaves) {
    const std::string fifo = path("fifo");
    ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
    // Opened before the writer, so that the writer's first open finds a reader.
    const int first = ::open(fifo.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    ASSERT_GE(first, 0);
    LogWriter writer(fifo);
    ::close(first);
    writer.submit("a\n", 1);
    ASSERT_TRUE(eventually([&] { return writer.written_lines() == 1; }));
    EXPECT_EQ(writer.dropped_lines(), 0U);
}

TEST_F(LogWriterTest, ReopenIsHeardWhileTheTargetIsStuck) {
    const std::string target = path("access.log");
    ASSERT_EQ(::mkfifo(target.c_str(), 0600), 0);
    const int reader = ::open(target.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    ASSERT_GE(reader, 0);
    const int capacity = ::fcntl(reader, F_GETPIPE_SZ);
    constexpr std::size_t kWidth = 100;
    constexpr unsigned kLines = 4000;
    LogWriter writer(target);
    writer.submit(numbered_lines(0, kLines, kWidth), kLines);
    ASSERT_TRUE(eventually([&] {
        int held = 0;
        return ::ioctl(reader, FIONREAD, &held) == 0 && held == capacity;
    }));
    std::filesystem::rename(target, path("stuck"));
    writer.reopen();
    ASSERT_TRUE(
        eventually([&] { return writer.written_lines() + writer.dropped_lines() == kLines; }));
    ::close(reader);
    // The line that was cut between both files is lost; its rest does not begin the new file.
    EXPECT_EQ(writer.dropped_lines(), 1U);
    const unsigned in_pipe = static_cast<unsigned>(capacity) / kWidth;
    EXPECT_EQ(content(target), numbered_lines(in_pipe + 1, kLines - in_pipe - 1, kWidth));
}

// A file size limit cuts a write in the middle of a line, as a full disk does. When there is room
// again, the line is completed before the next one begins. In a child process, because the limit
// and the default action of SIGXFSZ apply to the whole process.
TEST_F(LogWriterTest, LineCutByAFullDiskIsCompletedNotGluedToTheNext) {
    const std::string file = path("access.log");
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        const auto limit_to = [](rlim_t size) {
            rlimit limit{};
            ::getrlimit(RLIMIT_FSIZE, &limit);
            limit.rlim_cur = size;
            return ::setrlimit(RLIMIT_FSIZE, &limit) == 0;
        };
        int result = 1;
        {
            LogWriter writer(file);
            if (limit_to(250)) {
                writer.submit(numbered_lines(0, 5, 100), 5);  // 2 lines, a half line, 2 lost
                const bool lost = eventually([&] { return writer.dropped_lines() == 2; });
                limit_to(RLIM_INFINITY);
                writer.submit(numbered_lines(5, 1, 100), 1);
                const bool went_on = eventually([&] { return writer.written_lines() == 4; });
                result = lost && went_on && writer.dropped_lines() == 2 ? 0 : 2;
            }
        }
        ::_exit(result);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status)) << status;
    EXPECT_EQ(WEXITSTATUS(status), 0);
    EXPECT_EQ(content(file), numbered_lines(0, 3, 100) + numbered_lines(5, 1, 100));
}

// A disk that is full again and again: a line of each state, and at the end what was left out. In a
// child process, as above.
TEST_F(LogWriterTest, ATargetThatFailsNowAndThenDoesNotFloodTheLog) {
    const std::string file = path("access.log");
    const std::string told = path("told");
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        std::ostringstream log;
        spdlog::set_default_logger(std::make_shared<spdlog::logger>(
            "test", std::make_shared<spdlog::sinks::ostream_sink_mt>(log)));
        spdlog::default_logger()->set_pattern("%v");
        const auto limit_to = [](rlim_t size) {
            rlimit limit{};
            ::getrlimit(RLIMIT_FSIZE, &limit);
            limit.rlim_cur = size;
            return ::setrlimit(RLIMIT_FSIZE, &limit) == 0;
        };
        bool is_well = true;
        {
            LogWriter writer(file);
            writer.submit(numbered_lines(0, 1, 100), 1);
            is_well = eventually([&] { return writer.written_lines() == 1; });
            for (unsigned i = 1; i <= 5; ++i) {
                limit_to(10);
                writer.submit(numbered_lines(i, 1, 100), 1);
                is_well = eventually([&] { return writer.dropped_lines() == i; }) && is_well;
                limit_to(RLIM_INFINITY);
                writer.submit(numbered_lines(i, 1, 100), 1);
                is_well = eventually([&] { return writer.written_lines() == i + 1; }) && is_well;
            }
        }
        std::ofstream(told) << log.str();
        ::_exit(is_well ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status)) << status;
    EXPECT_EQ(WEXITSTATUS(status), 0);
    const std::string writable = "access log " + file + ": writable again, ";
    EXPECT_EQ(content(told), "access log " + file + ": File too large: lines are being dropped\n" +
                                 writable + "1 lines were dropped so far\n" + writable +
                                 "5 lines were dropped so far (and 7 changes before)\n");
}

TEST_F(LogWriterTest, StandardOutputMayBeAPipeWhoseReaderIsGone) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        int ends[2];
        int result = 1;
        if (::pipe(ends) == 0 && ::dup2(ends[1], STDOUT_FILENO) == STDOUT_FILENO) {
            ::close(ends[1]);
            std::signal(SIGPIPE, SIG_DFL);
            LogWriter writer("stdout");
            writer.submit("a\n", 1);
            const bool wrote = eventually([&] { return writer.written_lines() == 1; });
            ::close(ends[0]);
            writer.submit("b\n", 1);
            const bool lost = eventually([&] { return writer.dropped_lines() == 1; });
            result = wrote && lost ? 0 : 2;
        }
        ::_exit(result);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status)) << status;
    EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(LogWriterTest, ManyThreadsLoseNothing) {
    const std::string file = path("access.log");
    constexpr unsigned kThreads = 4;
    constexpr unsigned kBlocks = 200;
    {
        LogWriter writer(file);
        std::vector<std::thread> threads;
        for (unsigned t = 0; t < kThreads; ++t) {
            threads.emplace_back([&writer, t] {
                for (unsigned i = 0; i < kBlocks; ++i) {
                    writer.submit(numbered_lines((t * kBlocks + i) * 3, 3, 64), 3);
                    if (i % 50 == 0) {
                        writer.reopen();
                    }
                }
            });
        }
        for (std::thread& thread : threads) {
            thread.join();
        }
    }
    const std::string text = content(file);
    expect_whole_lines(text, 64);
    std::set<std::string> lines;
    for (std::size_t at = 0; at < text.size(); at += 64) {
        lines.insert(text.substr(at, 64));
    }
    EXPECT_EQ(lines.size(), kThreads * kBlocks * 3U);
}

}  // namespace
}  // namespace s3gate::observe
