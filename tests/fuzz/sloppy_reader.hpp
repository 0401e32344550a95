// A second reader of message heads that shares no code with the proxy and is as lenient as the
// worst peers: LF ends a line, a line that begins with white space continues the previous one,
// names are trimmed and '_' reads as '-', any value that contains "chunked" is chunked. The proxy's
// output must mean the same to both, so no message can be smuggled.
#pragma once

#include <cctype>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace s3gate::fuzz {

struct SloppyHead {
    bool complete = false;
    std::size_t end = 0;    // after the empty line
    std::size_t lines = 0;  // including the start line
    std::vector<std::string> lengths;
    std::size_t chunked = 0;
    std::size_t codings = 0;
    std::size_t hosts = 0;
};

inline SloppyHead read_sloppily(std::string_view bytes) {
    SloppyHead head;
    std::vector<std::string> lines;
    std::size_t position = 0;
    while (position < bytes.size()) {
        const std::size_t lf = bytes.find('\n', position);
        if (lf == std::string_view::npos) {
            return head;
        }
        std::string_view line = bytes.substr(position, lf - position);
        position = lf + 1;
        while (!line.empty() && line.back() == '\r') {
            line.remove_suffix(1);
        }
        if (line.empty()) {
            head.complete = true;
            head.end = position;
            break;
        }
        if ((line.front() == ' ' || line.front() == '\t') && !lines.empty()) {
            lines.back() += line;
        } else {
            lines.emplace_back(line);
        }
    }
    head.lines = lines.size();
    for (std::size_t i = 1; i < lines.size(); ++i) {
        std::string name;
        std::string value;
        bool behind = false;
        for (const char c : lines[i]) {
            const char lower = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
            if (behind) {
                value += lower;
            } else if (c == ':') {
                behind = true;
            } else if (static_cast<unsigned char>(c) > ' ') {
                name += c == '_' ? '-' : lower;
            }
        }
        if (name == "content-length") {
            value.erase(0, value.find_first_not_of(" \t\r\v\f"));
            value.erase(value.find_last_not_of(" \t\r\v\f") + 1);
            head.lengths.push_back(value);
        } else if (name == "transfer-encoding") {
            ++head.codings;
            head.chunked += value.find("chunked") != std::string::npos ? 1 : 0;
        } else if (name == "host") {
            ++head.hosts;
        }
    }
    return head;
}

}  // namespace s3gate::fuzz
