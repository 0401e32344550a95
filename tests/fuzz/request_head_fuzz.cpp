// For any client bytes the verdict on a head does not depend on their segmentation. An accepted
// head is forwarded as exactly one message, which our parser and a lenient reader frame in the same
// way.
#include <string>
#include <vector>

#include "fuzz_target.hpp"
#include "one_pass.hpp"
#include "s3gate/http/framing.hpp"
#include "s3gate/http/head.hpp"
#include "s3gate/http/header_rules.hpp"
#include "sloppy_reader.hpp"

namespace {

using namespace s3gate::http;

struct Verdict {
    HeadScanner::State state;
    std::size_t begin;
    std::size_t end;
    HeadError error;
    bool operator==(const Verdict&) const = default;
};

Verdict scan_in_steps(std::string_view bytes, std::size_t step) {
    HeadScanner scanner(HeadScanner::Kind::request);
    HeadScanner::State state = HeadScanner::State::incomplete;
    for (std::size_t end = 0; state == HeadScanner::State::incomplete && end < bytes.size();) {
        end = std::min(bytes.size(), end + step);
        state = scanner.scan(bytes.substr(0, end));
    }
    return {state, scanner.begin(), state == HeadScanner::State::complete ? scanner.end() : 0,
            scanner.error()};
}

bool has_bare_cr(std::string_view bytes) {
    for (std::size_t i = 0; i + 1 < bytes.size(); ++i) {
        if (bytes[i] == '\r' && bytes[i + 1] != '\n') {
            return true;
        }
    }
    return false;
}

bool is_accepted(std::string_view input, const Verdict& verdict) {
    RequestHead head;
    return verdict.state == HeadScanner::State::complete &&
           parse_request_head(input.substr(verdict.begin, verdict.end - verdict.begin), head) ==
               HeadError::none;
}

void check_forwarded(const RequestHead& head, const RequestMeaning& meaning,
                     const ForwardRules& rules) {
    Pieces pieces;
    std::string own;
    forward_request(head, meaning, rules, pieces, own);
    std::string out;
    for (const std::string_view piece : pieces) {
        out += piece;
    }
    const std::size_t size = out.size();
    out += "GET /next HTTP/1.1\r\n\r\n";

    HeadScanner scanner(HeadScanner::Kind::request);
    FUZZ_CHECK(scanner.scan(out) == HeadScanner::State::complete);
    FUZZ_CHECK(scanner.begin() == 0 && scanner.end() == size);
    RequestHead second;
    FUZZ_CHECK(parse_request_head(std::string_view(out).substr(0, size), second) ==
               HeadError::none);
    const RequestMeaning again = meaning_of(second);
    FUZZ_CHECK(again.error == HeadError::none);
    FUZZ_CHECK(second.minor == 1 && again.keep_alive);
    FUZZ_CHECK(second.method == head.method);
    FUZZ_CHECK(second.target ==
               (meaning.missing_slash ? "/" : "") + std::string(meaning.origin_target));
    FUZZ_CHECK(second.target.front() == '/' || second.target == "*");
    FUZZ_CHECK(again.path == meaning.path && again.query == meaning.query);
    FUZZ_CHECK(again.body.kind == meaning.body.kind && again.body.length == meaning.body.length);
    FUZZ_CHECK(again.host == (meaning.needs_host ? rules.local_host : meaning.host));
    FUZZ_CHECK(again.expects_continue == meaning.expects_continue);
    FUZZ_CHECK(second.count(FieldId::x_real_ip) == 1);
    FUZZ_CHECK(second.find(FieldId::x_real_ip) == rules.client_ip);
    FUZZ_CHECK(second.count(FieldId::x_forwarded_for) == 1);
    FUZZ_CHECK(second.find(FieldId::x_forwarded_for).ends_with(rules.source_ip));
    FUZZ_CHECK(second.count(FieldId::x_forwarded_proto) == 1);
    FUZZ_CHECK(second.count(FieldId::te) == 0 && second.count(FieldId::keep_alive) == 0);
    FUZZ_CHECK(second.count(FieldId::connection) == (rules.relay_upgrade ? 1u : 0u));
    FUZZ_CHECK(second.count(FieldId::authorization) == head.count(FieldId::authorization));

    const s3gate::fuzz::SloppyHead sloppy = s3gate::fuzz::read_sloppily(out);
    FUZZ_CHECK(sloppy.complete && sloppy.end == size);
    FUZZ_CHECK(sloppy.lines == second.fields.size() + 1);
    FUZZ_CHECK(sloppy.hosts == 1);
    FUZZ_CHECK(sloppy.codings == (meaning.body.kind == BodyKind::chunked ? 1u : 0u));
    FUZZ_CHECK(sloppy.chunked == sloppy.codings);
    FUZZ_CHECK(sloppy.lengths.size() == (meaning.body.kind == BodyKind::length ? 1u : 0u));
    FUZZ_CHECK(sloppy.lengths.empty() || sloppy.lengths[0] == std::to_string(meaning.body.length));
}

}  // namespace

FUZZ_TARGET(input) {
    s3gate::fuzz::check_one_pass(HeadScanner::Kind::request, input, &parse_request_head);
    const Verdict whole = scan_in_steps(input, std::max<std::size_t>(input.size(), 1));
    for (const std::size_t step : {std::size_t{1}, std::size_t{2}, std::size_t{7}}) {
        const Verdict stepped = input.empty() ? whole : scan_in_steps(input, step);
        // The scanner refuses a CR inside a line as long as no LF has come, later the parser does.
        FUZZ_CHECK(stepped == whole || (stepped.error == HeadError::bad_line_end &&
                                        has_bare_cr(input) && !is_accepted(input, whole)));
    }
    if (whole.state != HeadScanner::State::complete) {
        return;
    }
    RequestHead head;
    const std::string_view raw = input.substr(whole.begin, whole.end - whole.begin);
    if (parse_request_head(raw, head) != HeadError::none) {
        return;
    }
    FUZZ_CHECK(head.raw == raw);
    const RequestMeaning meaning = meaning_of(head);
    if (meaning.error != HeadError::none) {
        return;
    }
    FUZZ_CHECK(meaning.needs_host || is_valid_host(meaning.host));
    FUZZ_CHECK(meaning.body.kind != BodyKind::until_close);
    ForwardRules rules;
    rules.client_ip = "192.0.2.7";
    rules.source_ip = "198.51.100.7";
    rules.scheme = "http";
    rules.local_host = "10.0.0.1:9000";
    check_forwarded(head, meaning, rules);
    rules.append = true;
    rules.relay_upgrade = meaning.wants_upgrade;
    const std::vector<std::string> names = {"x-site", "user-agent"};
    rules.extra_lines = "X-Site: a\r\nUser-Agent: b\r\n";
    rules.replaced = &names;
    check_forwarded(head, meaning, rules);
}
