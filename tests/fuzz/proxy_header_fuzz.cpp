// A header of the PROXY protocol has the same reading in any segments, and none before its last
// byte. Its addresses, written as a header, are read again.
#include "fuzz_target.hpp"
#include "s3gate/http/proxy_protocol.hpp"

namespace {

using namespace s3gate::http;
using State = ProxyHeaderReader::State;

struct Outcome {
    State state = State::incomplete;
    ProxyHeaderError error = ProxyHeaderError::none;
    std::size_t taken = 0;
    std::optional<ProxyAddresses> addresses;
};

// `seed` 0 = all at once, 1 = byte by byte, else random steps.
Outcome read(std::string_view bytes, std::uint32_t seed) {
    ProxyHeaderReader reader;
    Outcome outcome;
    std::uint32_t state = seed;
    std::size_t given = 0;
    while (given < bytes.size() && reader.state() == State::incomplete) {
        state = state * 1664525u + 1013904223u;
        const std::size_t step = seed == 0 ? bytes.size() : seed == 1 ? 1 : 1 + (state >> 24) % 29;
        const std::string_view part = bytes.substr(given, step);
        const std::size_t taken = reader.take(part);
        FUZZ_CHECK(taken <= part.size());
        FUZZ_CHECK(reader.state() != State::incomplete || taken == part.size());
        FUZZ_CHECK(reader.state() != State::malformed || taken == 0);
        if (reader.error() == ProxyHeaderError::not_a_header) {
            FUZZ_CHECK(reader.received() == bytes.substr(0, given));
        }
        given += part.size();
        outcome.taken += taken;
    }
    outcome.state = reader.state();
    outcome.error = reader.error();
    outcome.addresses = reader.addresses();
    return outcome;
}

void check_same(const Outcome& a, const Outcome& b) {
    FUZZ_CHECK(a.state == b.state && a.error == b.error && a.addresses == b.addresses);
    FUZZ_CHECK(a.state != State::complete || a.taken == b.taken);
}

}  // namespace

FUZZ_TARGET(input) {
    const Outcome whole = read(input, 0);
    check_same(read(input, 1), whole);
    check_same(read(input, 2), whole);
    check_same(read(input, 0x5eed), whole);
    FUZZ_CHECK((whole.state == State::malformed) == (whole.error != ProxyHeaderError::none));
    FUZZ_CHECK((whole.state == State::malformed) == !to_string(whole.error).empty());
    FUZZ_CHECK(whole.state == State::complete || !whole.addresses);
    if (whole.state != State::complete) {
        return;
    }
    FUZZ_CHECK(whole.taken >= 15 && whole.taken <= 16 + 65535);
    FUZZ_CHECK(begins_like_proxy_header(input));
    const std::string_view header = input.substr(0, whole.taken);
    check_same(read(header, 0), whole);
    FUZZ_CHECK(read(header.substr(0, header.size() - 1), 0).state == State::incomplete);
    if (whole.addresses) {
        const ProxyHeader written(*whole.addresses);
        const Outcome again = read(written.bytes(), 3);
        FUZZ_CHECK(again.state == State::complete && again.taken == written.bytes().size());
        FUZZ_CHECK(again.addresses == whole.addresses);
    }
}
