// The connection of an old process to its successor, or to the successor's successor: commands come
// in, reports go out. The other side is old_processes.hpp. Control thread.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "old_processes.hpp"
#include "s3gate/base/clock.hpp"

namespace s3gate::control {

class SuccessorLink {
  public:
    static constexpr base::Duration kReportEvery{250};

    // Sends `first` at once: lines, each with its end. `report` makes what is sent regularly;
    // `on_command` takes a link_command; `on_end` is called once nobody is at the other end. All
    // are called in the loop until this object is destroyed.
    SuccessorLink(boost::asio::io_context& context,
                  boost::asio::local::stream_protocol::socket socket, std::string first,
                  std::function<OldProcessReport()> report,
                  std::function<void(std::string_view)> on_command, std::function<void()> on_end);
    ~SuccessorLink();
    SuccessorLink(const SuccessorLink&) = delete;
    SuccessorLink& operator=(const SuccessorLink&) = delete;

  private:
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace s3gate::control
