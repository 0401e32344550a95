// For any backend bytes the verdict does not depend on their segmentation. The client gets one head
// with a reason, framed according to the rules, for our parser and for a lenient reader.
#include <string>

#include "fuzz_target.hpp"
#include "one_pass.hpp"
#include "s3gate/base/text.hpp"
#include "s3gate/http/framing.hpp"
#include "s3gate/http/head.hpp"
#include "s3gate/http/header_rules.hpp"
#include "sloppy_reader.hpp"

namespace {

using namespace s3gate::http;

HeadScanner::State scan_in_steps(std::string_view bytes, std::size_t step, std::size_t& end_of_head,
                                 HeadError& error) {
    HeadScanner scanner(HeadScanner::Kind::response);
    HeadScanner::State state = HeadScanner::State::incomplete;
    for (std::size_t end = 0; state == HeadScanner::State::incomplete && end < bytes.size();) {
        end = std::min(bytes.size(), end + step);
        state = scanner.scan(bytes.substr(0, end));
    }
    end_of_head = state == HeadScanner::State::complete ? scanner.end() : 0;
    error = scanner.error();
    return state;
}

// Softening changes only controls in values, and only if the head has no other fault.
bool parse_softly(std::string_view raw, std::string& softened, ResponseHead& head) {
    const HeadError strict = parse_response_head(raw, head);
    softened = raw;
    const HeadError error = parse_response_head_softly(softened, head);
    FUZZ_CHECK(strict == error || strict == HeadError::bad_field_value);
    FUZZ_CHECK(strict == HeadError::bad_field_value || softened == raw);
    for (std::size_t i = 0; i < raw.size(); ++i) {
        const auto byte = static_cast<unsigned char>(raw[i]);
        const bool is_control = (byte > 0 && byte < 0x20) || byte == 0x7f;
        FUZZ_CHECK(softened[i] == raw[i] ||
                   (is_control && raw[i] != '\r' && raw[i] != '\n' && raw[i] != '\t' &&
                    (softened[i] == ' ' || softened[i] == '?')));
    }
    return error == HeadError::none;
}

void check_forwarded(const ResponseHead& head, const ResponseMeaning& meaning,
                     ResponseRules rules) {
    // As in an exchange.
    rules.drop_framing = rules.drop_framing || meaning.is_oddly_framed;
    rules.stated_length = meaning.stated_length;
    Pieces pieces;
    std::string own;
    forward_response(head, rules, pieces, own);
    std::string out;
    for (const std::string_view piece : pieces) {
        out += piece;
    }
    const std::size_t size = out.size();
    out += "HTTP/1.1 200 OK\r\n\r\n";

    HeadScanner scanner(HeadScanner::Kind::response);
    FUZZ_CHECK(scanner.scan(out) == HeadScanner::State::complete);
    FUZZ_CHECK(scanner.end() == size);
    ResponseHead second;
    FUZZ_CHECK(parse_response_head(std::string_view(out).substr(0, size), second) ==
               HeadError::none);
    FUZZ_CHECK(second.minor == 1 && second.status == head.status);
    FUZZ_CHECK(!s3gate::base::trim_ows(second.reason).empty());
    FUZZ_CHECK(second.count(FieldId::connection) == (rules.close || rules.keep_alive_10 ? 1u : 0u));
    FUZZ_CHECK(second.count(FieldId::x_amz_request_id) >= 1);
    const ResponseMeaning again = meaning_of(second, false);
    FUZZ_CHECK(again.error == HeadError::none);
    const s3gate::fuzz::SloppyHead sloppy = s3gate::fuzz::read_sloppily(out);
    FUZZ_CHECK(sloppy.complete && sloppy.end == size);
    FUZZ_CHECK(sloppy.lines == second.fields.size() + 1);
    FUZZ_CHECK(sloppy.codings <= 1 && sloppy.lengths.size() <= 1 &&
               sloppy.codings + sloppy.lengths.size() <= 1);
    if (rules.stated_length) {
        FUZZ_CHECK(sloppy.codings == 0 && sloppy.lengths.size() == 1 &&
                   sloppy.lengths[0] == std::to_string(*rules.stated_length));
    } else if (rules.drop_framing) {
        FUZZ_CHECK(sloppy.codings + sloppy.lengths.size() == 0);
    } else if (rules.chunked) {
        FUZZ_CHECK(sloppy.chunked == 1);
    } else if (meaning.body.kind == BodyKind::length) {
        FUZZ_CHECK(again.body.kind == BodyKind::length && again.body.length == meaning.body.length);
        FUZZ_CHECK(sloppy.lengths.size() == 1 &&
                   sloppy.lengths[0] == std::to_string(meaning.body.length));
    } else if (meaning.body.kind == BodyKind::chunked) {
        FUZZ_CHECK(sloppy.chunked == 1);
    }
}

}  // namespace

FUZZ_TARGET(input) {
    s3gate::fuzz::check_one_pass(HeadScanner::Kind::response, input, &parse_response_head);
    std::size_t end = 0;
    HeadError error = HeadError::none;
    ResponseHead head;
    std::string softened;
    const HeadScanner::State state =
        scan_in_steps(input, std::max<std::size_t>(input.size(), 1), end, error);
    for (const std::size_t step : {std::size_t{1}, std::size_t{3}}) {
        std::size_t other_end = 0;
        HeadError other_error = HeadError::none;
        const HeadScanner::State other = scan_in_steps(input, step, other_end, other_error);
        if (other_error == HeadError::bad_line_end && state != other) {
            // The scanner refuses a CR inside a line as long as no LF has come, later the parser
            // does.
            FUZZ_CHECK(state == HeadScanner::State::incomplete ||
                       parse_response_head(input.substr(0, end), head) != HeadError::none);
            continue;
        }
        FUZZ_CHECK(other == state && other_end == end);
        FUZZ_CHECK(other_error == error ||
                   (other_error == HeadError::bad_line_end && state == HeadScanner::State::bad));
    }
    if (state != HeadScanner::State::complete ||
        !parse_softly(input.substr(0, end), softened, head)) {
        return;
    }
    for (const bool to_head : {false, true}) {
        const ResponseMeaning meaning = meaning_of(head, to_head);
        const bool is_bodyless =
            to_head || head.status < 200 || head.status == 204 || head.status == 304;
        FUZZ_CHECK(is_bodyless || (!meaning.is_oddly_framed && !meaning.stated_length));
        if (meaning.error != HeadError::none) {
            // Framing fields without a body are never an error.
            FUZZ_CHECK(!is_bodyless || meaning.error == HeadError::too_many_fields);
            continue;
        }
        FUZZ_CHECK(!is_bodyless || meaning.body.kind == BodyKind::none);
        FUZZ_CHECK(!meaning.is_oddly_framed || !meaning.keep_alive);
        FUZZ_CHECK(meaning.body.kind != BodyKind::until_close || !meaning.keep_alive);
        ResponseRules rules;
        rules.request_id = "17A1B2C3D4E5F607";
        check_forwarded(head, meaning, rules);
        rules.close = true;
        rules.session_name = "X-Session-ID";
        rules.session_value = "key";
        rules.chunked =
            meaning.body.kind == BodyKind::until_close || meaning.body.kind == BodyKind::chunked;
        check_forwarded(head, meaning, rules);
        rules.close = rules.chunked = false;
        rules.keep_alive_10 = rules.drop_framing = true;
        check_forwarded(head, meaning, rules);
    }
}
