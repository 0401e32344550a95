#include "message.hpp"

#include <charconv>

namespace soak {
namespace {

bool is_token(std::string_view text) {
    return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
    });
}

bool is_value(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return byte == '\t' || (byte >= 0x20 && byte != 0x7f);
    });
}

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) {
        text.remove_prefix(1);
    }
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) {
        text.remove_suffix(1);
    }
    return text;
}

char folded(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// Digits only, without any other byte.
bool read_number(std::string_view text, int base, std::uint64_t& value) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    return !text.empty() && text.size() <= 16 && error == std::errc{} &&
           end == text.data() + text.size();
}

}  // namespace

bool equals_folded(std::string_view a, std::string_view b) {
    return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) {
               return folded(x) == folded(y);
           });
}

void Message::reset() {
    state_ = State::head;
    problem_ = "";
    text_.clear();
    line_.clear();
    fields_.clear();
    framing_ = Framing::none;
    length_ = left_ = 0;
    status_ = 0;
    part_ = Part::size;
}

void Message::expect_request() {
    reset();
    is_request_ = true;
}

void Message::expect_response(bool has_body) {
    reset();
    is_request_ = false;
    has_body_ = has_body;
}

std::string_view Message::field(std::string_view name) const {
    std::string_view found;
    std::size_t seen = 0;
    for (const Field& field : fields_) {
        if (equals_folded(field.name, name)) {
            found = field.value;
            ++seen;
        }
    }
    return seen == 1 ? found : std::string_view{};
}

std::size_t Message::count(std::string_view name) const {
    return static_cast<std::size_t>(
        std::count_if(fields_.begin(), fields_.end(),
                      [name](const Field& field) { return equals_folded(field.name, name); }));
}

bool Message::closes() const {
    bool keeps = minor_ == 1;
    for (const Field& field : fields_) {
        if (!equals_folded(field.name, "connection")) {
            continue;
        }
        std::string_view rest = field.value;
        while (!rest.empty()) {
            const std::size_t comma = rest.find(',');
            const std::string_view option = trimmed(rest.substr(0, comma));
            rest = comma == std::string_view::npos ? std::string_view{} : rest.substr(comma + 1);
            if (equals_folded(option, "close")) {
                return true;
            }
            keeps = keeps || equals_folded(option, "keep-alive");
        }
    }
    return !keeps || framing_ == Framing::until_close;
}

bool Message::read_start(std::string_view line) {
    if (is_request_) {
        const std::size_t first = line.find(' ');
        const std::size_t last = line.rfind(' ');
        if (first == std::string_view::npos || last == first) {
            return false;
        }
        method_ = line.substr(0, first);
        target_ = line.substr(first + 1, last - first - 1);
        const std::string_view version = line.substr(last + 1);
        minor_ = version == "HTTP/1.0" ? 0 : 1;
        return is_token(method_) && target_.starts_with('/') &&
               std::all_of(target_.begin(), target_.end(),
                           [](char c) { return c > 0x20 && c < 0x7f; }) &&
               (version == "HTTP/1.1" || version == "HTTP/1.0");
    }
    if (line.size() < 13 || (!line.starts_with("HTTP/1.1 ") && !line.starts_with("HTTP/1.0 ")) ||
        line[12] != ' ') {
        return false;
    }
    minor_ = line[7] == '1' ? 1 : 0;
    std::uint64_t code = 0;
    if (!read_number(line.substr(9, 3), 10, code) || code < 100 || !is_value(line.substr(13))) {
        return false;
    }
    status_ = static_cast<int>(code);
    return true;
}

bool Message::read_framing() {
    const std::size_t codings = count("transfer-encoding");
    const std::size_t lengths = count("content-length");
    if (codings + lengths > 1) {
        return false;
    }
    if (codings == 1) {
        framing_ = Framing::chunked;
        if (!equals_folded(field("transfer-encoding"), "chunked") || minor_ == 0) {
            return false;
        }
    } else if (lengths == 1) {
        framing_ = Framing::length;
        if (!read_number(field("content-length"), 10, length_)) {
            return false;
        }
        left_ = length_;
    } else {
        framing_ = is_request_ ? Framing::none : Framing::until_close;
    }
    if (!is_request_ && (!has_body_ || status_ < 200 || status_ == 204 || status_ == 304)) {
        // 1xx and 204 announce no body (RFC 9110 §8.6, RFC 9112 §6.1).
        if (framing_ != Framing::until_close && (status_ < 200 || status_ == 204)) {
            return false;
        }
        framing_ = Framing::none;
    }
    return true;
}

void Message::read_head() {
    std::string_view rest = text_;
    rest.remove_suffix(2);
    bool is_first = true;
    while (!rest.empty()) {
        const std::size_t end = rest.find("\r\n");
        const std::string_view line = rest.substr(0, end);
        rest.remove_prefix(end + 2);
        if (line.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos) {
            return fail("CR, LF or NUL in a line");
        }
        if (is_first) {
            is_first = false;
            if (!read_start(line)) {
                return fail("start line");
            }
            continue;
        }
        const std::size_t colon = line.find(':');
        if (colon == std::string_view::npos || !is_token(line.substr(0, colon)) ||
            !is_value(line.substr(colon + 1))) {
            return fail("field line");
        }
        fields_.push_back({line.substr(0, colon), trimmed(line.substr(colon + 1))});
    }
    if (is_first) {
        return fail("empty head");
    }
    if (is_request_ && count("host") != 1) {
        return fail("not one Host");
    }
    if (!read_framing()) {
        return fail("framing");
    }
    const bool is_empty =
        framing_ == Framing::none || (framing_ == Framing::length && length_ == 0);
    state_ = is_empty ? State::done : State::body;
}

void Message::on_chunk_line(std::string_view line) {
    if (!line.ends_with("\r\n")) {
        return fail("bare LF in the chunked coding");
    }
    line.remove_suffix(2);
    switch (part_) {
        case Part::size:
            if (!read_number(line, 16, left_)) {
                return fail("chunk size");
            }
            part_ = left_ == 0 ? Part::trailer : Part::data;
            return;
        case Part::data_end:
            if (!line.empty()) {
                return fail("chunk longer than it said");
            }
            part_ = Part::size;
            return;
        case Part::trailer:
            if (line.empty()) {
                state_ = State::done;
            }
            return;
        case Part::data:
            return;
    }
}

void Message::end_of_stream() {
    if (state_ == State::body && framing_ == Framing::until_close) {
        state_ = State::done;
    }
}

}  // namespace soak
