// The life of one request (docs/architecture.md): read its head, decide whether a backend or the
// proxy itself answers, try backends, relay the answer, settle. A fresh object for each request, in
// memory that the worker keeps (ExchangePool). One worker's thread.
#pragma once

#include <memory>
#include <optional>

#include "attempts.hpp"
#include "dispatch.hpp"
#include "exchange_context.hpp"
#include "request.hpp"
#include "response.hpp"

namespace s3gate::proxy {

// Base ActiveHook: the worker's list of exchanges in progress, which ExchangePool keeps.
class Exchange final : public net::StreamObserver, public ActiveHook {
  public:
    // Everything a request needs in memory; reused from request to request.
    struct Memory {
        explicit Memory(Worker& worker) : request(worker.replay_blocks) {}
        observe::RequestRecord record;
        Request::Memory request;
        Response::Memory response;
        Attempts::Memory attempts;
    };

    // The client's next request. `asked_at`: when its first byte arrived; what arrived behind the
    // request before it is in client.leftover.
    Exchange(Worker& worker, ClientConnection& client, base::TimePoint asked_at, Memory& memory);
    ~Exchange();
    Exchange(const Exchange&) = delete;
    Exchange& operator=(const Exchange&) = delete;

    // Runs the request to its end; returns what becomes of the client's connection. To be called
    // once.
    net::task<ClientFate> run();

    // The active checks took a backend down because it refused or did not answer: an attempt that
    // waits for its first byte ends. An answer that has begun goes on.
    void on_backend_down(std::uint32_t slot);
    // The worker stops now: this request ends without its answer.
    void cut();
    // True if its answer may never end (a listener to bucket notifications, a trace). A drain does
    // not wait for such an answer.
    bool is_endless() const { return request_.waiting() == policy::Waiting::endless; }
    // Ends such an answer. Returns false if there is none, or if it was ended already.
    bool end_endless_answer();
    // True once a whole head was read.
    bool is_serving() const { return is_serving_; }
    // True while it is a tunnel, which may never end by itself.
    bool is_tunnelling() const { return response_.is_tunnelling(); }

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

// An exchange and the memory it is made in.
struct ExchangeSlot {
    explicit ExchangeSlot(Worker& worker) : memory(worker) {}
    Exchange::Memory memory;
    std::optional<Exchange> exchange;
};

}  // namespace s3gate::proxy
