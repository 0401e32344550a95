// Timers of the control loop: on the monotonic clock, with the loop's own executor type.
#pragma once

#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/io_context.hpp>

#include "s3gate/base/clock.hpp"

namespace s3gate::control {

using Timer = boost::asio::basic_waitable_timer<base::Clock, boost::asio::wait_traits<base::Clock>,
                                                boost::asio::io_context::executor_type>;

}  // namespace s3gate::control
