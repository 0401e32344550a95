// One run of a relay: its state between two system calls, and its steps. relay_body() calls the
// steps in turn and suspends as wait() says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "s3gate/net/body_relay.hpp"

namespace s3gate::net {

inline iovec piece_of(std::string_view bytes) {
    return {const_cast<char*>(bytes.data()), bytes.size()};
}

class RelayRun {
  public:
    // `relay` must outlive the run.
    explicit RelayRun(BodyRelay& relay);
    // Unread bytes are lost with the run. The replay buffer then lacks a part of the body and is
    // dropped.
    ~RelayRun();
    RelayRun(const RelayRun&) = delete;
    RelayRun& operator=(const RelayRun&) = delete;

    // The steps. Each does as much as possible without waiting.
    //
    // gather() fills an empty batch: the head, bytes kept from an earlier attempt, bytes that came
    // with the head, input of the socket. If the next bytes will be spliced it acquires a pipe
    // instead.
    void gather();
    // Fills that pipe from the source and empties it into the sink.
    void splice();
    // Sends the batch; detects the end of the message.
    void send();
    // The condition for the next step: room in the sink, the relay's next turn, or input from the
    // source.
    enum class Wait : std::uint8_t { for_nothing, for_sink, for_turn, for_source };
    Wait wait();
    // Called after a wait. A cancelled wait ends the relay in the next gather().
    void on_sink(Wake wake);
    void on_source(Wake wake);
    // True for a relay that has taken a whole turn; short messages go before it.
    bool is_long() const;

    // The relay's end; nullopt while it runs.
    const std::optional<RelayEnd>& end() const { return end_; }

  private:
    // Gathered bytes, to be sent before more are gathered; the pieces are in pieces_.
    struct Batch {
        std::size_t first = 0;        // first unsent piece
        std::size_t head_left = 0;    // unsent bytes of the head, at the front
        std::uint64_t payload = 0;    // bytes of the body
        bool lies_in_buffer = false;  // some pieces point into buffer_
    };
    // Work since other relays had their turn.
    struct Turn {
        std::size_t bytes = 0;  // sent
        unsigned calls = 0;     // system calls
        bool is_over() const;
    };

    // True if gathered bytes are unsent.
    bool is_sending() const { return batch_.first < pieces_.size() || pipe_.held > 0; }
    // True if bytes to gather are known.
    bool has_input() const {
        return !source_.prefix.empty() || !unread_.empty() || source_.stream->is_readable();
    }
    bool is_to_be_spliced() const;
    std::size_t room_to_keep() const;

    void add_head();
    void add_kept();
    void add_body();
    bool add_received();
    bool add_input(std::string_view& input, bool stable);
    std::optional<std::size_t> add_chunks(std::string_view& input, bool stable);
    std::size_t add_plain(std::string_view& input, bool stable);
    void add_payload(std::string_view bytes, bool stable);
    void add_chunk_line(std::size_t slot, std::size_t payload);
    void receive();
    void take_received(std::size_t bytes, std::size_t kept);
    void add_end();
    void add_last_chunk();

    void fill_pipe();
    void note_sent(std::size_t bytes);
    void note_sent_of_batch(std::size_t bytes);
    void end_batch();
    std::uint64_t payload_sent_of_batch() const;
    void end_with(RelayEnd end, int error = 0);

    BodyRelay& relay_;
    BodySource& source_;
    Stream& sink_;
    std::vector<iovec>& pieces_;
    std::optional<RelayEnd> end_;
    Batch batch_;
    Turn turn_;
    Pipe pipe_;
    Buffer buffer_;
    // Received bytes in buffer_ that are no pieces yet (a body of very many chunks).
    std::string_view unread_;
    char chunk_lines_[2][24];  // a batch has at most two chunks: the bytes at hand, and those that
                               // joined them
    unsigned chunk_count_ = 0;
    bool has_begun_ = false;     // the head and the kept bytes are gathered
    bool was_complete_;          // the body was complete before the run
    bool has_end_ = false;       // the end of the message is gathered
    bool is_held_back_ = false;  // sent with MSG_MORE, and nothing after it yet
};

}  // namespace s3gate::net
