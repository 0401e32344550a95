// Parsing a head in one pass and in two gives the same result for any bytes.
#pragma once

#include <string_view>

#include "fuzz_target.hpp"
#include "s3gate/http/head.hpp"

namespace s3gate::fuzz {

template <class Head>
void check_one_pass(http::HeadScanner::Kind kind, std::string_view input,
                    http::HeadError (*parse)(std::string_view, Head&)) {
    http::HeadScanner twice(kind);
    http::HeadScanner once(kind);
    Head head;
    const http::HeadScanner::State state = twice.scan(input);
    FUZZ_CHECK(once.scan(input, head) == state);
    FUZZ_CHECK(once.error() == twice.error());
    FUZZ_CHECK(once.begin() == twice.begin() && once.end() == twice.end());
    Head expected;
    const bool is_good = state == http::HeadScanner::State::complete && twice.begin() == 0 &&
                         parse(input.substr(0, twice.end()), expected) == http::HeadError::none;
    FUZZ_CHECK(head.raw.empty() == !is_good);
    if (is_good) {
        FUZZ_CHECK(head.raw == expected.raw && head.line == expected.line);
        FUZZ_CHECK(head.seen == expected.seen && head.fields.size() == expected.fields.size());
    }
}

}  // namespace s3gate::fuzz
