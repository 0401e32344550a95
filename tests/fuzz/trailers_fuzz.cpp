// Forwarded trailer lines are received lines, form a valid field section, and never frame or route
// a message.
#include <string>
#include <vector>

#include "fuzz_target.hpp"
#include "s3gate/base/text.hpp"
#include "s3gate/http/chunked.hpp"
#include "s3gate/http/head.hpp"
#include "sloppy_reader.hpp"

FUZZ_TARGET(input) {
    using namespace s3gate::http;
    std::string of_client;
    const bool is_good = filter_trailers(input, TrailersOf::client, of_client);
    std::string out;
    if (!filter_trailers(input, TrailersOf::backend, out)) {
        FUZZ_CHECK(!is_good);
        return;
    }
    FUZZ_CHECK(!is_good || out == of_client);
    // Only controls in values may differ.
    std::string softened(input);
    soften_controls(softened);
    FUZZ_CHECK(is_good == (softened == input));
    const std::string section = out + "\r\n";
    std::vector<Field> fields;
    FUZZ_CHECK(parse_fields(section, fields) == HeadError::none);
    std::size_t from = 0;
    for (const Field& field : fields) {
        const std::size_t found = softened.find(field.line, from);
        FUZZ_CHECK(found != std::string_view::npos);
        from = found + field.line.size();
        FUZZ_CHECK(field.id == FieldId::other);
        FUZZ_CHECK(!s3gate::base::istarts_with(field.name, "content-"));
        FUZZ_CHECK(!s3gate::base::istarts_with(field.name, "x-forwarded-"));
    }
    const s3gate::fuzz::SloppyHead sloppy = s3gate::fuzz::read_sloppily("0\r\n" + out + "\r\nrest");
    FUZZ_CHECK(sloppy.complete && sloppy.end == out.size() + 5);
    FUZZ_CHECK(sloppy.lengths.empty() && sloppy.codings == 0 && sloppy.hosts == 0);
    std::string again;
    FUZZ_CHECK(filter_trailers(out, TrailersOf::client, again) && again == out);
}
