#include "successor.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <system_error>
#include <utility>

#include "hand_over.hpp"

namespace s3gate::control {
namespace {

namespace asio = boost::asio;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

// A shell script in the place of the program. Without passed sockets the descriptors are 3 for the
// pipe, 4 for the state and 5 for the link.
class SuccessorTest : public testing::Test {
  protected:
    SuccessorTest() {
        std::string pattern = testing::TempDir() + "successor-XXXXXX";
        folder = ::mkdtemp(pattern.data());
    }
    ~SuccessorTest() override { std::filesystem::remove_all(folder); }

    std::string script(const std::string& text) {
        const std::string path = folder + "/program";
        std::ofstream(path) << "#!/bin/sh\n" << text << "\n";
        ::chmod(path.c_str(), 0755);
        return path;
    }

    // As script(), and the process lives as long as this one has its end of the link, descriptor
    // `link`.
    std::string living(const std::string& text, int link = 5) {
        return script("cat <&" + std::to_string(link) + " >/dev/null & " + text);
    }

    static SuccessorPlan plan(const std::string& program) {
        SuccessorPlan out;
        out.program = program;
        out.arguments = {"s3gate", "--config", "a file"};
        out.state = sealed_file("state\n");
        return out;
    }

    std::string outcome_of(Successor& successor, base::Duration limit = seconds{30}) {
        std::string reason = "no outcome";
        const auto wait = [&]() -> asio::awaitable<void> {
            reason = co_await successor.serves(limit);
        };
        asio::co_spawn(context, wait, asio::detached);
        context.restart();
        context.run();
        return reason;
    }

    std::string content_of(const std::string& name) const {
        std::stringstream out;
        out << std::ifstream(folder + "/" + name).rdbuf();
        return out.str();
    }

    asio::io_context context;
    std::string folder;
};

TEST_F(SuccessorTest, ServesOnceItSaysSo) {
    Successor successor(context, plan(living("echo \"pid 4711\" >&3; echo serving >&3")));

    EXPECT_EQ(outcome_of(successor), "");
    EXPECT_EQ(successor.pid(), 4711);
}

TEST_F(SuccessorTest, GetsArgumentsStateAndLink) {
    Successor successor(
        context, plan(living("echo \"$0|$1|$2|$LISTEN_FDS|$S3GATE_UPGRADE\" > " + folder +
                             "/said; cat <&4 >> " + folder +
                             "/said; echo hello >&5; echo \"pid $$\" >&3; echo serving >&3")));

    EXPECT_EQ(outcome_of(successor), "");
    EXPECT_EQ(content_of("said"), folder + "/program|--config|a file|0|3:4:5\nstate\n");
    auto link = successor.take_link();
    std::array<char, 16> text{};
    EXPECT_EQ(link.receive(asio::buffer(text)), 6u);
}

TEST_F(SuccessorTest, GetsTheSocketsWithTheirNames) {
    SuccessorPlan with = plan(living("echo \"$LISTEN_FDS $LISTEN_FDNAMES $S3GATE_UPGRADE\" > " +
                                         folder + "/said; readlink /proc/self/fd/3 >> " + folder +
                                         "/said; echo \"pid $$\" >&5; echo serving >&5",
                                     7));
    std::array<int, 2> pair{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()), 0);
    for (const int descriptor : pair) {
        with.sockets.push_back(
            {"name-" + std::to_string(with.sockets.size()), base::Descriptor(descriptor)});
    }
    const std::string first =
        std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(pair[0]));
    Successor successor(context, std::move(with));

    EXPECT_EQ(outcome_of(successor), "");
    EXPECT_EQ(content_of("said"), "2 name-0:name-1 5:6:7\n" + first + "\n");
}

TEST_F(SuccessorTest, GetsNothingElse) {
    const base::Descriptor other(::dup2(STDERR_FILENO, 100));  // no O_CLOEXEC
    ASSERT_TRUE(other);
    Successor successor(context, plan(living("ls -l /proc/$$/fd > " + folder +
                                             "/said; echo \"pid $$\" >&3; echo serving >&3")));

    EXPECT_EQ(outcome_of(successor), "");
    EXPECT_THAT(content_of("said"), HasSubstr(" 5 -> "));
    EXPECT_THAT(content_of("said"), Not(HasSubstr(" 100 -> ")));
}

TEST_F(SuccessorTest, GetsTheVariablesOfThisProcess) {
    ::setenv("LISTEN_ADDRESS", "10.0.0.1", 1);  // not systemd's
    ::setenv("LISTEN_FDNAMES", "of-this-process", 1);
    Successor successor(context,
                        plan(living("echo \"$LISTEN_ADDRESS|$LISTEN_FDNAMES\" > " + folder +
                                    "/said; echo \"pid $$\" >&3; echo serving >&3")));
    ::unsetenv("LISTEN_ADDRESS");
    ::unsetenv("LISTEN_FDNAMES");

    EXPECT_EQ(outcome_of(successor), "");
    EXPECT_EQ(content_of("said"), "10.0.0.1|\n");
}

TEST_F(SuccessorTest, ThatSaysALineWithoutEndIsKilled) {
    Successor successor(context, plan(script("echo \"pid $$\" >&3; exec cat /dev/zero >&3")));

    EXPECT_THAT(outcome_of(successor), HasSubstr("no version of s3gate"));
    EXPECT_NE(::kill(successor.pid(), 0), 0);
}

TEST_F(SuccessorTest, ThatEndsAtOnceDoesNotServe) {
    Successor successor(context, plan(script("exit 2")));

    EXPECT_THAT(outcome_of(successor), HasSubstr("ended before it served"));
}

TEST_F(SuccessorTest, ThatEndsAsSoonAsItServesHasNotServed) {
    Successor successor(context, plan(script("echo \"pid $$\" >&3; exec 5>&-; echo serving >&3")));

    EXPECT_EQ(outcome_of(successor), "it ended as soon as it served");
}

TEST_F(SuccessorTest, SaysWhyItDoesNotServe) {
    Successor successor(context,
                        plan(script("echo \"pid $$\" >&3; echo \"failed no disk\" >&3; exit 1")));

    EXPECT_EQ(outcome_of(successor), "no disk");
}

TEST_F(SuccessorTest, ThatHangsIsKilled) {
    Successor successor(context, plan(script("echo \"pid $$\" >&3; exec sleep 600")));

    EXPECT_THAT(outcome_of(successor, milliseconds{200}), HasSubstr("did not serve within"));
    EXPECT_NE(::kill(successor.pid(), 0), 0);
}

TEST_F(SuccessorTest, ThatSaysNothingIsKilled) {
    Successor successor(context, plan(script("echo $$ > " + folder + "/pid; exec sleep 600 3>&-")));
    EXPECT_THAT(outcome_of(successor), HasSubstr("ended before it served"));

    Successor silent(context, plan(script("exec sleep 600")));
    EXPECT_THAT(outcome_of(silent, milliseconds{200}), HasSubstr("did not serve within"));
}

TEST_F(SuccessorTest, ThatIsNoProgramIsRefusedAtOnce) {
    EXPECT_THROW(Successor(context, plan(folder + "/missing")), std::system_error);
    std::ofstream(folder + "/text") << "text";
    EXPECT_THROW(Successor(context, plan(folder + "/text")), std::system_error);
}

TEST(AbsoluteProgram, IsFoundAsTheShellFoundIt) {
    EXPECT_EQ(absolute_program("/usr/bin/s3gate"), "/usr/bin/s3gate");
    EXPECT_THAT(absolute_program("./s3gate"), testing::EndsWith("/./s3gate"));
    EXPECT_THAT(absolute_program("./s3gate"), StartsWith("/"));
    EXPECT_THAT(absolute_program("sh"), testing::EndsWith("/sh"));
    EXPECT_EQ(absolute_program("no-such-program-anywhere"), "");
}

}  // namespace
}  // namespace s3gate::control
