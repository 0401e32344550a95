// Parsers and printers of single values: durations, sizes, ranges in addresses, variables, names.
// Pure functions without file or line; an error is a sentence for the operator.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "s3gate/config/duration.hpp"
#include "s3gate/config/load.hpp"
#include "s3gate/config/model.hpp"

namespace s3gate::config {

// Limit on the servers from one text; more are taken for a typing error.
inline constexpr std::size_t kMaxExpansion = 1024;

// The text in quotes for messages: control bytes escaped, long texts cut.
std::string in_quotes(std::string_view text);

// "64KiB", "1MiB", "1GiB" or plain bytes.
Parsed<std::uint64_t> parse_size(std::string_view text);
// "100/s" or "6000/m": requests per second or minute, 1 to 1,000,000. The burst equals the number.
Parsed<RequestRate> parse_rate(std::string_view text);
// In the largest unit that fits: "64KiB".
std::string print_size(std::uint64_t size);
// In the syntax of parse_rate(), with the burst if it differs from the number: "100/s, burst 200".
std::string print_rate(const RequestRate& rate);

// Replaces every ${NAME}; "$${" stands for "${", any other '$' for itself. A variable's value is
// not scanned again.
Parsed<std::string> substitute(std::string_view text, const Environment& environment);

// "node{1...3}:9000" → node1:9000, node2:9000, node3:9000. Several ranges multiply; the last one
// varies fastest. A leading zero in the first number pads all numbers to its width.
Parsed<std::vector<std::string>> expand_ranges(std::string_view text);

// True for one or more digits and no other character.
bool all_digits(std::string_view text);
// RFC 9110 §5.5: no controls but the tab, no space or tab at the ends.
bool is_field_value(std::string_view text);
// Letters, digits and . _ : - only, at most 128: safe on the status page and as a metric label.
bool is_plain_name(std::string_view text);
// Begins with '/'; visible ASCII without '?', '#', '\\' and '"'.
bool is_url_path(std::string_view text);

// The nearest of `candidates` within a typing error; nullopt if none is near.
std::optional<std::string_view> nearest(std::string_view text,
                                        const std::vector<std::string_view>& candidates);

// "a, b or c".
std::string alternatives(const std::vector<std::string_view>& words);

}  // namespace s3gate::config
