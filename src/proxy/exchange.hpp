// The life of one request (docs/architecture.md): read its head, decide whether a backend or the
// proxy itself answers, try backends, relay the answer, settle. A new object per request, in memory
// that the worker keeps (ExchangePool). One worker's thread.
#pragma once

#include <memory>
#include <optional>

#include "attempts.hpp"
#include "dispatch.hpp"
#include "exchange_context.hpp"
#include "request.hpp"
#include "response.hpp"
#include "s3gate/proxy/client_survey.hpp"
#include "source_header.hpp"

namespace s3gate::proxy {

// Base ActiveHook: the worker's list of exchanges in progress, which ExchangePool keeps.
class Exchange final : public net::StreamObserver, public ActiveHook {
  public:
    // Memory for requests, reused between them.
    struct Memory {
        explicit Memory(Worker& worker) : request(worker.replay_blocks) {}
        observe::RequestRecord record;
        Request::Memory request;
        Response::Memory response;
        Attempts::Memory attempts;
    };

    // The client's next request. `asked_at`: arrival of its first byte. Bytes that came after the
    // previous request are in client.leftover.
    Exchange(Worker& worker, ClientConnection& client, base::TimePoint asked_at, Memory& memory);
    ~Exchange();
    Exchange(const Exchange&) = delete;
    Exchange& operator=(const Exchange&) = delete;

    // Runs the request to its end; returns the fate of the client's connection. Call it once.
    net::task<ClientFate> run();
    // Instead of run(), for a connection whose peer did not name its source as it must. Answers
    // what is readable for a client, and writes the access record.
    net::task<ClientFate> refuse_source(SourceRead read);

    // The active checks took a backend down because it refused or did not answer. An attempt that
    // waits for its first byte ends; an answer that has begun continues.
    void on_backend_down(std::uint32_t slot);
    // Ends this request without its answer. `reason` is a constant.
    void cut(const CutReason& reason);
    bool is_cut() const { return context_.is_cut(); }
    base::TimePoint started() const { return context_.started; }
    const Generation& generation() const { return *context_.generation; }
    // True if the answer may never end (bucket notifications, a trace). A drain does not wait for
    // such an answer.
    bool is_endless() const { return request_.waiting() == policy::Waiting::endless; }
    // Ends such an answer. False if there is none, or if it was ended already.
    bool end_endless_answer();
    // True after a complete head.
    bool is_serving() const { return is_serving_; }
    // True for a tunnel, which may never end by itself.
    bool is_tunnelling() const { return response_.is_tunnelling(); }

    // For an operator who looks (survey_walk.hpp).
    ClientState state() const;
    // Complete but for what the end of the request adds.
    const observe::RequestRecord& record() const { return context_.record; }
    std::string_view client_text() const { return context_.identity.text(); }
    // True while an attempt is made, or its answer is relayed.
    bool is_at_backend() const;
    // Bytes from and to the client so far, without heads.
    struct Transfer {
        std::uint64_t in = 0;
        std::uint64_t out = 0;
    };
    Transfer transfer() const { return {response_.bytes_in(), response_.bytes_out()}; }

  private:
    Dispatch take_request();
    Attempts& begin_attempts();
    bool commit(Attempts& attempts);
    net::task<void> finish(Attempts& attempts, Attempts::End end);
    void on_stream_event() override;

    Memory& memory_;
    ExchangeContext context_;
    Request request_;
    Response response_;
    std::optional<Attempts> attempts_;
    bool is_serving_ = false;
};

// An exchange and its memory.
struct ExchangeSlot {
    explicit ExchangeSlot(Worker& worker) : memory(worker) {}
    Exchange::Memory memory;
    std::optional<Exchange> exchange;
};

}  // namespace s3gate::proxy
