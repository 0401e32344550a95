// The life of one request (docs/architecture.md): read its head, decide who serves it, try
// backends, relay the answer, write one line into the log. A fresh object for each request, in
// memory that the worker keeps.
#pragma once

#include <memory>
#include <optional>

#include "attempts.hpp"
#include "exchange_context.hpp"
#include "request.hpp"
#include "response.hpp"

namespace s3gate::proxy {

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

    // A request of this client, whose first bytes may already be in client.leftover. They came at
    // `asked_at`.
    Exchange(Worker& worker, ClientConnection& client, base::TimePoint asked_at,
             Memory& memory);
    ~Exchange();
    Exchange(const Exchange&) = delete;
    Exchange& operator=(const Exchange&) = delete;

    // Serves it.
    net::task<ClientFate> run();

    // The worker calls this when active checks took a backend down hard.
    void on_backend_down(std::uint32_t slot);
    // The worker is being stopped: cut everything.
    void cut();
    // True while its answer has no end that a drain could wait for.
    bool is_endless() const { return request_.waiting() == policy::Waiting::endless; }
    // Ends such an answer. False if this exchange has none, or it was ended already.
    bool end_waiting_answer();
    // True while a request is being served (not merely a head being read).
    bool is_serving() const { return is_serving_; }
    // True while it is a tunnel (which may never end by itself).
    bool is_tunnelling() const { return response_.is_tunnelling(); }

  private:
    Attempts& begin_attempts();
    bool relay_at_once(Attempts& attempts);
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
