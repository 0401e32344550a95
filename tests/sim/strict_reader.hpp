// A third reader of HTTP/1 messages, independent of the proxy's and as strict as RFC 9112. It
// judges the bytes of a connection. It reads a growing stream one message at a time; an ambiguous
// message is invalid.
#pragma once

#include <cctype>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace s3gate::sim {

enum class BodyFraming { none, length, chunked, until_close };

struct FieldLine {
    std::string line;   // as sent, without CRLF
    std::string name;   // lower case
    std::string value;  // without white space around
};

struct Message {
    enum class State { head, body, complete, invalid };
    State state = State::head;
    std::size_t begin = 0;     // of the start line
    std::size_t head_end = 0;  // after the empty line
    std::size_t end = 0;       // end of a complete message
    std::string method;
    std::string target;
    int status = 0;
    std::string reason;
    int minor = 1;
    std::vector<FieldLine> fields;
    BodyFraming framing = BodyFraming::none;
    std::uint64_t length = 0;
    // A response without a body whose framing fields would be invalid with a body.
    bool is_oddly_framed = false;
    bool follows_odd_interim = false;  // for tests that read interim responses one by one
    std::string payload;               // received part of the body
    std::vector<FieldLine> trailers;

    bool has_head() const { return state == State::body || state == State::complete; }
    bool is_complete() const { return state == State::complete; }
    std::size_t count(std::string_view name) const {
        std::size_t found = 0;
        for (const FieldLine& field : fields) {
            found += field.name == name ? 1 : 0;
        }
        return found;
    }
    std::string_view find(std::string_view name) const {
        for (const FieldLine& field : fields) {
            if (field.name == name) {
                return field.value;
            }
        }
        return {};
    }
    // True for a response without a body, whatever its fields say (RFC 9112 section 6.3 rule 1).
    bool is_bodyless(bool to_head) const {
        return to_head || status < 200 || status == 204 || status == 304;
    }
    // True if the comma-separated list of a field `name` has this member, in any case.
    bool lists(std::string_view name, std::string_view member) const {
        for (const FieldLine& field : fields) {
            if (field.name != name) {
                continue;
            }
            std::string word;
            for (const char c : field.value + ",") {
                if (c != ',') {
                    word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
                    continue;
                }
                word.erase(0, word.find_first_not_of(" \t"));
                word.erase(word.find_last_not_of(" \t") + 1);
                if (word == member) {
                    return true;
                }
                word.clear();
            }
        }
        return false;
    }
};

// True for a lower-case name that a lenient reader takes for Content-Length or Transfer-Encoding.
inline bool looks_like_framing(std::string_view name) {
    if (name.size() > 24 || name == "content-length" || name == "transfer-encoding") {
        return false;
    }
    std::string letters;
    for (const char c : name) {
        if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
            letters += c;
        }
    }
    return letters == "contentlength" || letters == "transferencoding";
}

class StrictReader {
  public:
    enum class Kind { request, response };
    explicit StrictReader(Kind kind, std::size_t at = 0) : kind_(kind), at_(at) {
        message.begin = at;
    }

    Message message;
    // For responses: the request was HEAD.
    bool to_head = false;
    // Reads controls in field values as spaces, or as '?' in framing fields, like the proxy for
    // backends. NUL and CR stay invalid.
    bool softens_controls = false;
    // For requests: allowed empty lines before the message (RFC 9112 §2.2).
    unsigned empty_lines = 0;

    // Continues to read `stream`, whose earlier bytes must be unchanged. `ended`: the stream is
    // complete, with an orderly end.
    void advance(std::string_view stream, bool ended) {
        while (step(stream, ended)) {
        }
    }

  private:
    enum class Phase { start, head, plain, size, data, data_end, trailers };

    static bool is_token_char(char c) {
        return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
               std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
    }
    static bool is_token(std::string_view text) {
        for (const char c : text) {
            if (!is_token_char(c)) {
                return false;
            }
        }
        return !text.empty();
    }
    static bool is_text(std::string_view text) {
        for (const char c : text) {
            const auto byte = static_cast<unsigned char>(c);
            if ((byte < 0x20 && c != '\t') || byte == 0x7f) {
                return false;
            }
        }
        return true;
    }

    bool invalid() {
        message.state = Message::State::invalid;
        return false;
    }
    bool complete() {
        message.state = Message::State::complete;
        message.end = at_;
        return false;
    }

    // The next line without its CRLF; false if it is incomplete or invalid.
    bool take_line(std::string_view stream, std::string_view& line) {
        const std::size_t lf = stream.find('\n', at_);
        if (lf == std::string_view::npos) {
            return false;
        }
        if (lf == at_ || stream[lf - 1] != '\r') {
            return invalid();
        }
        line = stream.substr(at_, lf - 1 - at_);
        if (line.find('\r') != std::string_view::npos) {
            return invalid();
        }
        at_ = lf + 1;
        return true;
    }

    bool read_field(std::string_view line, std::vector<FieldLine>& fields) const {
        const std::size_t colon = line.find(':');
        if (colon == std::string_view::npos || !is_token(line.substr(0, colon))) {
            return false;
        }
        FieldLine field;
        field.line = line;
        for (const char c : line.substr(0, colon)) {
            field.name += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
        }
        const bool frames = field.name == "content-length" || field.name == "transfer-encoding";
        for (char& c : field.line) {
            c = !softens_controls || c == '\0' || is_text({&c, 1}) ? c : frames ? '?' : ' ';
        }
        if (!is_text(field.line)) {
            return false;
        }
        field.value = field.line.substr(colon + 1);
        field.value.erase(0, field.value.find_first_not_of(" \t"));
        field.value.erase(field.value.find_last_not_of(" \t") + 1);
        fields.push_back(std::move(field));
        return true;
    }

    bool read_start(std::string_view line) {
        if (kind_ == Kind::response) {
            if (line.size() < 12 || !line.starts_with("HTTP/1.") ||
                (line[7] != '0' && line[7] != '1') || line[8] != ' ' ||
                (line.size() > 12 && line[12] != ' ') || !is_text(line)) {
                return false;
            }
            message.minor = line[7] - '0';
            for (const char c : line.substr(9, 3)) {
                if (c < '0' || c > '9') {
                    return false;
                }
                message.status = message.status * 10 + (c - '0');
            }
            message.reason = line.size() > 13 ? line.substr(13) : std::string_view{};
            return message.status >= 100 && message.status <= 599;
        }
        const std::size_t first = line.find(' ');
        const std::size_t last = line.rfind(' ');
        if (first == std::string_view::npos || first == last) {
            return false;
        }
        message.method = line.substr(0, first);
        message.target = line.substr(first + 1, last - first - 1);
        const std::string_view version = line.substr(last + 1);
        if (!is_token(message.method) || message.target.empty() ||
            (version != "HTTP/1.1" && version != "HTTP/1.0")) {
            return false;
        }
        message.minor = version.back() - '0';
        for (const char c : message.target) {
            const auto byte = static_cast<unsigned char>(c);
            if (byte <= 0x20 || byte == 0x7f || c == '#') {
                return false;
            }
        }
        return true;
    }

    // Sets the framing that the fields announce; false if they announce none.
    bool read_announced() {
        bool has_length = false;
        bool has_coding = false;
        for (const FieldLine& field : message.fields) {
            if (field.name == "content-length") {
                const std::string& digits = field.value;
                if (has_length || digits.empty() || digits.size() > 19 ||
                    digits.find_first_not_of("0123456789") != std::string::npos ||
                    (digits.size() > 1 && digits[0] == '0')) {
                    return false;
                }
                has_length = true;
                message.length = std::stoull(digits);  // 19 digits fit
                if (message.length > INT64_MAX) {
                    return false;
                }
            } else if (field.name == "transfer-encoding") {
                std::string coding;
                for (const char c : field.value) {
                    coding += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
                }
                if (has_coding || coding != "chunked" || message.minor == 0) {
                    return false;
                }
                has_coding = true;
            }
        }
        if (has_length && has_coding) {
            return false;
        }
        message.framing = has_coding   ? BodyFraming::chunked
                          : has_length ? BodyFraming::length
                                       : BodyFraming::none;
        return true;
    }

    bool read_framing() {
        const bool good = read_announced();
        if (kind_ == Kind::request) {
            const std::size_t hosts = message.count("host");
            return good && (hosts == 1 || (hosts == 0 && message.minor == 0));
        }
        if (message.is_bodyless(to_head)) {
            message.is_oddly_framed = !good;
            for (const FieldLine& field : message.fields) {
                message.is_oddly_framed = message.is_oddly_framed || looks_like_framing(field.name);
            }
            message.framing = BodyFraming::none;
            return true;
        }
        if (message.framing == BodyFraming::none) {
            message.framing = BodyFraming::until_close;
        }
        return good;
    }

    bool end_of_head() {
        if (!read_framing()) {
            return invalid();
        }
        message.head_end = at_;
        message.state = Message::State::body;
        switch (message.framing) {
            case BodyFraming::none:
                return complete();
            case BodyFraming::chunked:
                phase_ = Phase::size;
                return true;
            default:
                phase_ = Phase::plain;
                return true;
        }
    }

    bool read_plain(std::string_view stream, bool ended) {
        const std::size_t there = stream.size() - at_;
        std::size_t take = there;
        if (message.framing == BodyFraming::length) {
            take = static_cast<std::size_t>(
                std::min<std::uint64_t>(there, message.length - message.payload.size()));
        }
        message.payload.append(stream.substr(at_, take));
        at_ += take;
        if (message.framing == BodyFraming::length) {
            return message.payload.size() == message.length ? complete() : false;
        }
        return ended ? complete() : false;
    }

    bool read_size(std::string_view line) {
        std::size_t digits = 0;
        left_ = 0;
        while (digits < line.size() && std::isxdigit(static_cast<unsigned char>(line[digits]))) {
            const char c = line[digits++];
            left_ =
                left_ * 16 + static_cast<unsigned>(c <= '9' ? c - '0' : std::tolower(c) - 'a' + 10);
        }
        if (digits == 0 || digits > 15 || (digits < line.size() && line[digits] != ';') ||
            !is_text(line)) {
            return invalid();
        }
        phase_ = left_ == 0 ? Phase::trailers : Phase::data;
        return true;
    }

    bool step(std::string_view stream, bool ended) {
        if (message.state == Message::State::complete || message.state == Message::State::invalid) {
            return false;
        }
        std::string_view line;
        switch (phase_) {
            case Phase::start:
                if (!take_line(stream, line)) {
                    return false;
                }
                if (line.empty() && empty_lines > 0) {
                    --empty_lines;
                    message.begin = at_;
                    return true;
                }
                phase_ = Phase::head;
                return read_start(line) ? true : invalid();
            case Phase::head:
                if (!take_line(stream, line)) {
                    return false;
                }
                if (line.empty()) {
                    return end_of_head();
                }
                return read_field(line, message.fields) ? true : invalid();
            case Phase::plain:
                return read_plain(stream, ended);
            case Phase::size:
                return take_line(stream, line) && read_size(line);
            case Phase::data: {
                const auto take =
                    static_cast<std::size_t>(std::min<std::uint64_t>(stream.size() - at_, left_));
                message.payload.append(stream.substr(at_, take));
                at_ += take;
                left_ -= take;
                phase_ = left_ == 0 ? Phase::data_end : Phase::data;
                return left_ == 0;
            }
            case Phase::data_end:
                if (!take_line(stream, line)) {
                    return false;
                }
                phase_ = Phase::size;
                return line.empty() ? true : invalid();
            case Phase::trailers:
                if (!take_line(stream, line)) {
                    return false;
                }
                if (line.empty()) {
                    return complete();
                }
                return read_field(line, message.trailers) ? true : invalid();
        }
        return false;
    }

    Kind kind_;
    std::size_t at_;
    Phase phase_ = Phase::start;
    std::uint64_t left_ = 0;
};

}  // namespace s3gate::sim
