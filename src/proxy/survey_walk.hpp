// Answers a ClientSurvey for one worker: walks along its clients in steps of bounded work, from the
// oldest one on. One worker's thread.
#pragma once

#include <cstddef>
#include <memory>

#include "s3gate/proxy/client_survey.hpp"
#include "worker.hpp"

namespace s3gate::proxy {

class SurveyWalk {
  public:
    // Work of one step: far below a millisecond.
    static constexpr std::size_t kClientsPerStep = 1024;  // looked at
    static constexpr std::size_t kReportsPerStep = 64;    // made

    SurveyWalk(Worker& worker, std::shared_ptr<ClientSurvey> survey);
    SurveyWalk(const SurveyWalk&) = delete;
    SurveyWalk& operator=(const SurveyWalk&) = delete;

    // True if another step is needed. After the last one the worker's part is finished, unless
    // nobody waits for it.
    bool step();
    // The client is about to leave the worker's list.
    void leave(const ClientConnection& client);

  private:
    // True if a report was made of it.
    bool take(const ClientConnection& client);

    Worker& worker_;
    std::shared_ptr<ClientSurvey> survey_;
    ClientSurvey::Part& part_;  // its reports are a heap: the one that comes last is on top
    Worker::Clients::reverse_iterator next_;
};

}  // namespace s3gate::proxy
