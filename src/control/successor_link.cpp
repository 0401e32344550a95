#include "successor_link.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <string>
#include <utility>

#include "timer.hpp"

namespace s3gate::control {

namespace asio = boost::asio;
using asio::local::stream_protocol;

namespace {

constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);
// A command has a few letters, a list of room (link_command::kRoom) up to a hundred servers.
constexpr std::size_t kLongestLine = std::size_t{256} * 1024;

}  // namespace

struct SuccessorLink::Impl {
    Impl(asio::io_context& context, stream_protocol::socket socket_, std::string first_,
         std::function<OldProcessReport()> report_,
         std::function<void(std::string_view)> on_command_, std::function<void()> on_end_)
        : socket(std::move(socket_)),
          beat(context),
          text(std::move(first_)),
          report(std::move(report_)),
          on_command(std::move(on_command_)),
          on_end(std::move(on_end_)) {}

    stream_protocol::socket socket;
    Timer beat;
    std::string text;  // that is sent next
    std::function<OldProcessReport()> report;
    std::function<void(std::string_view)> on_command;
    std::function<void()> on_end;
    bool is_closed = false;

    static asio::awaitable<void> take_commands(std::shared_ptr<Impl> self) {
        std::string text;
        while (!self->is_closed) {
            const auto [error, size] = co_await asio::async_read_until(
                self->socket, asio::dynamic_buffer(text, kLongestLine), '\n', kTuple);
            if (self->is_closed) {
                co_return;
            }
            if (error) {
                self->on_end();
                co_return;
            }
            self->on_command(std::string_view(text).substr(0, size - 1));
            text.erase(0, size);
        }
    }

    static asio::awaitable<void> send_reports(std::shared_ptr<Impl> self) {
        while (!self->is_closed) {
            self->text += text_of(self->report()) + "\n";
            const auto [error, size] =
                co_await asio::async_write(self->socket, asio::buffer(self->text), kTuple);
            if (error || self->is_closed) {
                co_return;
            }
            self->text.clear();
            self->beat.expires_after(kReportEvery);
            co_await self->beat.async_wait(kTuple);
        }
    }
};

SuccessorLink::SuccessorLink(asio::io_context& context, stream_protocol::socket socket,
                             std::string first, std::function<OldProcessReport()> report,
                             std::function<void(std::string_view)> on_command,
                             std::function<void()> on_end)
    : impl_(std::make_shared<Impl>(context, std::move(socket), std::move(first), std::move(report),
                                   std::move(on_command), std::move(on_end))) {
    asio::co_spawn(context, Impl::take_commands(impl_), asio::detached);
    asio::co_spawn(context, Impl::send_reports(impl_), asio::detached);
}

SuccessorLink::~SuccessorLink() {
    impl_->is_closed = true;
    impl_->socket.close();
    impl_->beat.cancel();
}

}  // namespace s3gate::control
