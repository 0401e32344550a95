// The judge of the soak test.
//
//     soak_audit digest OUT < access-log        appends a record per line to OUT
//     soak_audit judge FIRST CLIENTS LINES NODE…
//
// `digest` reads access log lines strictly as JSON and keeps the parts that the judgement needs.
// `judge` compares, per request, the client's result (CLIENTS), the proxy's log (LINES) and the
// nodes' executions (NODE…), and prints one JSON object. Its "violations" are counts that must all
// be zero; up to ten ids of each kind go to stderr.

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "content.hpp"
#include "peer.hpp"

namespace soak {
namespace {

// Flags in a line's Record::what; `detail` is its `size`, `operation` its tries.
constexpr std::uint8_t kHasError = 1;
constexpr std::uint8_t kHasBackend = 2;

int digest(const char* out_name) {
    std::FILE* const out = std::fopen(out_name, "ab");
    if (out == nullptr) {
        std::perror(out_name);
        return 3;
    }
    std::ios::sync_with_stdio(false);
    std::string line;
    unsigned long long bad = 0;
    unsigned long long foreign = 0;
    while (std::getline(std::cin, line)) {
        std::array<unsigned char, 8192> space;
        boost::json::monotonic_resource arena(space.data(), space.size());
        boost::json::error_code error;
        const boost::json::value value = boost::json::parse(line, error, &arena);
        const boost::json::object* const fields = error ? nullptr : value.if_object();
        const auto text_at = [fields](const char* name) -> std::string_view {
            const boost::json::value* const found = fields->if_contains(name);
            const boost::json::string* const text = found == nullptr ? nullptr : found->if_string();
            return text == nullptr ? std::string_view{}
                                   : std::string_view(text->data(), text->size());
        };
        const auto number_at = [fields](const char* name) -> std::int64_t {
            const boost::json::value* const found = fields->if_contains(name);
            return found != nullptr && found->is_int64() ? found->as_int64() : -1;
        };
        if (fields == nullptr) {
            ++bad;
            std::fprintf(stderr, "soak_audit: not a line: %.300s\n", line.c_str());
            continue;
        }
        const std::string_view request = text_at("request");
        const std::size_t mark = request.find("?id=");
        Record record{};
        if (mark == std::string_view::npos || !read_id(request.substr(mark + 4, 16), record.id)) {
            ++foreign;
            std::fprintf(stderr, "soak_audit: nobody's line: %.300s\n", line.c_str());
            continue;
        }
        const std::string_view failure = text_at("error");
        const std::string_view backend = text_at("upstreamaddr");
        record.what =
            static_cast<std::uint8_t>((failure != "-" && !failure.empty() ? kHasError : 0) |
                                      (backend != "-" && !backend.empty() ? kHasBackend : 0));
        record.operation = static_cast<std::uint8_t>(number_at("tries"));
        record.status = static_cast<std::uint16_t>(number_at("status"));
        record.detail = static_cast<std::uint32_t>(number_at("size"));
        if (std::fwrite(&record, sizeof record, 1, out) != 1) {
            std::perror(out_name);
            return 3;
        }
    }
    if (std::fclose(out) != 0) {
        std::perror(out_name);
        return 3;
    }
    std::printf("{\"bad\": %llu, \"foreign\": %llu}\n", bad, foreign);
    return 0;
}

template <class Each>
void read_records(const char* name, Each&& each) {
    std::FILE* const file = std::fopen(name, "rb");
    if (file == nullptr) {
        std::perror(name);
        std::exit(3);
    }
    std::vector<Record> records(65536);
    for (;;) {
        const std::size_t got = std::fread(records.data(), sizeof(Record), records.size(), file);
        for (std::size_t i = 0; i < got; ++i) {
            each(records[i]);
        }
        if (got < records.size()) {
            break;
        }
    }
    std::fclose(file);
}

// All facts about one request.
struct Story {
    std::uint32_t got = 0;
    std::uint32_t logged_size = 0;
    std::uint16_t status = 0;
    std::uint16_t logged_status = 0;
    std::uint8_t outcome = 0xff;
    std::uint8_t operation = 0;
    std::uint8_t executed = 0;
    std::uint8_t lines = 0;
    std::uint8_t flags = 0;
    std::uint8_t tries = 0;
};

struct Violation {
    const char* name;
    unsigned long long count = 0;
};

enum Kind : std::size_t {
    corrupt,
    malformed,
    hung,
    refused,
    corrupt_at_node,
    malformed_at_node,
    executed_twice,
    part_executed_thrice,
    acknowledged_not_executed,
    aborted_upload_executed,
    unexplained,
    no_single_line,
    other_status_logged,
    other_size_logged,
    unknown_id,
    kKinds,
};

class Judgement {
  public:
    explicit Judgement(std::uint64_t first) : first_(first) {}
    void read(const char* clients, const char* lines, int nodes, char** node_names);
    void judge();
    void print() const;

  private:
    Story* story_of(std::uint64_t id);
    void judge(std::uint64_t id, const Story& story);
    void blame(Kind kind, std::uint64_t id);

    std::uint64_t first_;
    std::vector<Story> stories_;
    std::array<Violation, kKinds> violations_{
        {{"answers complete but wrong"},
         {"answers that are no HTTP"},
         {"requests that hung"},
         {"connections refused"},
         {"uploads complete at a node but wrong"},
         {"requests at a node that are no HTTP"},
         {"writes executed twice"},
         {"UploadParts executed more than twice"},
         {"writes acknowledged but not executed"},
         {"writes executed whose client left before their end"},
         {"failures without an explanation in the access log"},
         {"answered requests without exactly one line in the access log"},
         {"answers whose status is not the logged one"},
         {"answers whose length is not the logged one"},
         {"ids nobody sent"}}};
    unsigned long long parts_executed_twice_ = 0;
    unsigned long long failures_ = 0;
    unsigned long long explained_by_error_ = 0;
    unsigned long long explained_by_backend_ = 0;
    unsigned long long executions_ = 0;
    unsigned long long retried_ = 0;
    unsigned long long lines_ = 0;
};

Story* Judgement::story_of(std::uint64_t id) {
    const std::uint64_t number = id - first_;
    constexpr std::uint64_t kMost = 1ULL << 30;
    if (number >= kMost) {
        return nullptr;
    }
    if (number >= stories_.size()) {
        stories_.resize(std::max<std::size_t>(number + 1, stories_.size() * 3 / 2));
    }
    return &stories_[number];
}

void Judgement::blame(Kind kind, std::uint64_t id) {
    if (violations_[kind].count++ < 10) {
        const Story* const s = story_of(id);
        std::fprintf(stderr, "soak_audit: %s: %s", violations_[kind].name, text_of(id).c_str());
        if (s != nullptr && s->outcome < kOutcomes) {
            std::fprintf(stderr,
                         " %s: %s, status %u, %u bytes; %u line(s): status %u, size %u, tries %u, "
                         "error %d, backend %d; executed %u",
                         kOperationNames[s->operation], kOutcomeNames[s->outcome], s->status,
                         s->got, s->lines, s->logged_status, s->logged_size, s->tries,
                         (s->flags & kHasError) != 0, (s->flags & kHasBackend) != 0, s->executed);
        }
        std::fputc('\n', stderr);
    }
}

void Judgement::read(const char* clients, const char* lines, int nodes, char** node_names) {
    read_records(clients, [this](const Record& record) {
        Story* const story = story_of(record.id);
        if (story == nullptr || record.what >= kOutcomes || record.operation >= kOperations) {
            return blame(unknown_id, record.id);
        }
        story->outcome = record.what;
        story->operation = record.operation;
        story->status = record.status;
        story->got = record.detail;
    });
    read_records(lines, [this](const Record& record) {
        ++lines_;
        Story* const story = story_of(record.id);
        if (story == nullptr) {
            return blame(unknown_id, record.id);
        }
        ++story->lines;
        story->flags = record.what;
        story->tries = record.operation;
        story->logged_status = record.status;
        story->logged_size = record.detail;
    });
    std::vector<std::pair<Kind, std::uint64_t>> at_nodes;
    for (int i = 0; i < nodes; ++i) {
        read_records(node_names[i], [this, &at_nodes](const Record& record) {
            Story* const story = story_of(record.id);
            if (record.what == static_cast<std::uint8_t>(Note::corrupt)) {
                at_nodes.emplace_back(corrupt_at_node, record.id);
            } else if (record.what == static_cast<std::uint8_t>(Note::malformed)) {
                at_nodes.emplace_back(malformed_at_node, record.id);
            } else if (story != nullptr) {
                ++executions_;
                ++story->executed;
            } else {
                at_nodes.emplace_back(unknown_id, record.id);
            }
        });
    }
    for (const auto& [kind, id] : at_nodes) {
        blame(kind, id);
    }
}

void Judgement::judge() {
    for (std::size_t i = 0; i < stories_.size(); ++i) {
        if (stories_[i].outcome != 0xff) {
            judge(first_ + i, stories_[i]);
        } else if (stories_[i].lines > 0 || stories_[i].executed > 0) {
            blame(unknown_id, first_ + i);
        }
    }
}

void Judgement::judge(std::uint64_t id, const Story& story) {
    const auto outcome = static_cast<Outcome>(story.outcome);
    const auto operation = static_cast<Operation>(story.operation);
    const bool is_complete = outcome == Outcome::ok || outcome == Outcome::error_of_proxy ||
                             outcome == Outcome::error_of_node;
    retried_ += story.tries > 1;
    switch (outcome) {
        case Outcome::corrupt:
            blame(corrupt, id);
            break;
        case Outcome::malformed:
            blame(malformed, id);
            break;
        case Outcome::hung:
            blame(hung, id);
            break;
        case Outcome::refused:
            blame(refused, id);
            break;
        default:
            break;
    }
    if (is_write(operation)) {
        // Only the same part may be written twice (docs/architecture.md, "Retry", row 7).
        if (operation == Operation::part) {
            parts_executed_twice_ += story.executed == 2;
            if (story.executed > 2) {
                blame(part_executed_thrice, id);
            }
        } else if (story.executed > 1) {
            blame(executed_twice, id);
        }
        if (outcome == Outcome::ok && story.executed == 0) {
            blame(acknowledged_not_executed, id);
        }
        if (outcome == Outcome::aborted && story.executed > 0) {
            blame(aborted_upload_executed, id);
        }
    }
    if (is_complete && story.lines != 1) {
        blame(no_single_line, id);
    } else if (is_complete && story.status != story.logged_status) {
        blame(other_status_logged, id);
    } else if (is_complete && story.got != story.logged_size) {
        blame(other_size_logged, id);
    }
    if (outcome == Outcome::error_of_proxy || outcome == Outcome::cut ||
        outcome == Outcome::error_of_node) {
        ++failures_;
        const bool has_error = (story.flags & kHasError) != 0;
        const bool has_status =
            outcome == Outcome::error_of_node && (story.flags & kHasBackend) != 0;
        if (story.lines > 0 && has_error) {
            ++explained_by_error_;
        } else if (story.lines > 0 && has_status) {
            ++explained_by_backend_;
        } else {
            blame(unexplained, id);
        }
    }
}

void Judgement::print() const {
    std::printf(
        "{\"failures\": %llu, \"explained_by_error\": %llu, \"explained_by_status\": %llu, "
        "\"parts_executed_twice\": %llu, \"executions\": %llu, \"retried\": %llu, \"lines\": %llu, "
        "\"violations\": {",
        failures_, explained_by_error_, explained_by_backend_, parts_executed_twice_, executions_,
        retried_, lines_);
    for (std::size_t i = 0; i < kKinds; ++i) {
        std::printf("%s\"%s\": %llu", i == 0 ? "" : ", ", violations_[i].name,
                    violations_[i].count);
    }
    std::puts("}}");
}

}  // namespace
}  // namespace soak

int main(int argc, char** argv) {
    if (argc == 3 && std::strcmp(argv[1], "digest") == 0) {
        return soak::digest(argv[2]);
    }
    std::uint64_t first = 0;
    if (argc < 6 || std::strcmp(argv[1], "judge") != 0 || !soak::read_id(argv[2], first)) {
        std::fprintf(stderr,
                     "usage: soak_audit digest OUT | soak_audit judge FIRST CLIENTS LINES NODE…\n");
        return 2;
    }
    soak::Judgement judgement(first);
    judgement.read(argv[3], argv[4], argc - 5, argv + 5);
    judgement.judge();
    judgement.print();
    return 0;
}
