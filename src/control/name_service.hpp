// Interim.
#pragma once

#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "s3gate/base/clock.hpp"
#include "s3gate/config/model.hpp"
#include "s3gate/control/resolver.hpp"
#include "s3gate/state/counters.hpp"
#include "s3gate/state/snapshot.hpp"

namespace s3gate::control {

class NameService {
  public:
    using OnChange = std::function<void(const state::Resolution&)>;
    NameService(boost::asio::io_context& context, state::ControlCounters& counters,
                OnChange on_change);
    void use(const config::Config& config);
    void resolve_first(base::Duration limit);
    void when_known(const std::set<std::string>& hosts, base::Duration limit,
                    std::function<void()> done);
    const state::Resolution& addresses() const { return addresses_; }
    void stop() {}

  private:
    std::set<std::string> hosts_;
    state::Resolution addresses_;
    state::ControlCounters& counters_;
};

}  // namespace s3gate::control
