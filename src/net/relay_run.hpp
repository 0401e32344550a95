// One run of a relay: what it holds between two system calls, and its steps. relay_body() calls
// them in turn, and suspends where wait() says so.
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
    // `relay` must outlive it.
    explicit RelayRun(BodyRelay& relay);
    // What is unread dies with it and cannot be received again: what was kept for replay is then no
    // longer all of the body.
    ~RelayRun();
    RelayRun(const RelayRun&) = delete;
    RelayRun& operator=(const RelayRun&) = delete;

    // The steps. Each does as much as it can at once, and nothing where it has nothing to do.
    //
    // Fills an empty batch: the head, what was kept from an earlier attempt, what came with the
    // head, what the socket has. Takes a pipe instead where what comes next is to be spliced.
    void gather();
    // Fills that pipe from the source and empties it into the sink.
    void splice();
    // Sends the batch, and tells the end of the message.
    void send();
    // What has to be waited for before the next of these: room in the sink, the end of the turns of
    // others, more from the source.
    enum class Wait : std::uint8_t { for_nothing, for_sink, for_turn, for_source };
    Wait wait();
    // The waits are over. A wait that was cancelled ends the relay in the next gather().
    void on_sink(Wake wake);
    void on_source(Wake wake);
    // True for what has taken a whole turn already: short messages go before its news.
    bool is_long() const;

    // How the relay ended; nothing while it goes on.
    const std::optional<RelayEnd>& end() const { return end_; }

  private:
    // What was gathered and is to be sent before more is gathered; the pieces themselves are in
    // pieces_.
    struct Batch {
        std::size_t first = 0;        // first unsent piece
        std::size_t head_left = 0;    // unsent bytes of the head, which are the first
        std::uint64_t payload = 0;    // bytes of the body
        bool lies_in_buffer = false;  // some pieces point into buffer_
    };
    // What was done since others had their turn.
    struct Turn {
        std::size_t bytes = 0;  // sent
        unsigned calls = 0;     // system calls
        bool is_over() const;
    };

    // True if something gathered is not sent yet.
    bool is_sending() const { return batch_.first < pieces_.size() || pipe_.held > 0; }
    // True if there are bytes to gather, as far as is known.
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
    // Received, not yet turned into pieces (chunked with very many chunks); lies in buffer_.
    std::string_view unread_;
    char chunk_lines_[2][24];  // a batch has at most two: what was at hand, and what joined it
    unsigned chunk_count_ = 0;
    bool has_begun_ = false;     // the head, and what was kept, are gathered
    bool was_complete_;          // before it began
    bool has_end_ = false;       // the end of the message is gathered
    bool is_held_back_ = false;  // sent with MSG_MORE, and nothing behind it yet
};

}  // namespace s3gate::net
