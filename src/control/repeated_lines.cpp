#include "repeated_lines.hpp"

#include <algorithm>
#include <chrono>
#include <optional>
#include <string_view>
#include <utility>

namespace s3gate::control {
namespace {

// What the lines of a topic are about.
constexpr std::array<std::string_view, kTopics> kAbout{
    "servers that went up or down",
    "passive marks",
    "groups without a usable server",
    "names",
    "addresses",
    "alarms",
    "connections to admin.listen",
    "requests to admin.listen",
    "refused commands",
    "refused commands",
    "failed commands",
    "stalls",
};

std::string number_of_lines(std::uint64_t lines) {
    return std::to_string(lines) + (lines == 1 ? " more line" : " more lines");
}

}  // namespace

// The lines of their own that the topic has left in this minute.
std::size_t RepeatedLines::room(Book& book, base::TimePoint now) {
    if (book.written > 0 && now - book.since >= base::LineLimit::kEvery) {
        book.written = 0;
    }
    return kMostLines - book.written;
}

void RepeatedLines::write(Book& book, Entry& entry, base::TimePoint now) {
    const auto since = std::chrono::ceil<std::chrono::seconds>(now - entry.since).count();
    book.since = book.written == 0 ? now : book.since;
    ++book.written;
    entry.since = now;
    const std::uint64_t times = entry.limit.tell(now);
    write_(entry.level, times == 1 ? entry.text
                                   : entry.text + " (" + number_of_lines(times - 1) +
                                         " about it in the last " +
                                         std::to_string(std::max<std::int64_t>(since, 1)) + " s)");
}

void RepeatedLines::write_others(Topic topic, Book& book, const Items& items, base::TimePoint now) {
    std::string names;
    auto level = spdlog::level::info;
    std::uint64_t lines = std::exchange(book.unnamed, 0);
    for (std::size_t i = 0; i < items.size(); ++i) {
        auto& [subject, entry] = *items[i];
        level = std::max(level, entry.level);
        lines += entry.limit.tell(now);
        entry.since = now;
        if (i < kMostNames) {
            names += (i == 0 ? ": " : ", ") + subject;
        }
    }
    if (items.size() > kMostNames) {
        names += " and " + std::to_string(items.size() - kMostNames) + " others";
    }
    book.others.note(1, now);
    write_(level, number_of_lines(lines) + " about " +
                      std::string(kAbout[static_cast<std::size_t>(topic)]) + names +
                      "; s3gate ctl status shows the present state");
}

void RepeatedLines::note(RepeatedLine line, base::TimePoint now) {
    Book& book = books_[static_cast<std::size_t>(line.topic)];
    auto found = book.entries.find(line.subject);
    if (found == book.entries.end()) {
        if (book.entries.size() >= kMostSubjects) {
            book.unnamed += line.times;
            return;
        }
        found = book.entries.try_emplace(std::move(line.subject)).first;
        found->second.since = now;
    }
    Entry& entry = found->second;
    entry.limit.count(line.times, line.is_end ? 0 : 1 + line.variant);
    entry.level = line.level;
    entry.text = std::move(line.text);
    if (entry.limit.is_due(now) && room(book, now) > 0) {
        write(book, entry, now);
    }
}

RepeatedLines::Items RepeatedLines::write_own(Book& book, Items items, base::TimePoint now) {
    const std::size_t own = std::min(room(book, now), items.size());
    for (std::size_t i = 0; i < own; ++i) {
        write(book, items[i]->second, now);
    }
    items.erase(items.begin(), items.begin() + static_cast<std::ptrdiff_t>(own));
    return items;
}

void RepeatedLines::tick(Topic topic, Book& book, base::TimePoint now) {
    std::erase_if(book.entries, [&](const auto& item) { return item.second.limit.is_fresh(now); });
    Items due;
    for (auto& item : book.entries) {
        if (item.second.limit.is_due(now)) {
            due.push_back(&item);
        }
    }
    const Items others = write_own(book, std::move(due), now);
    if ((!others.empty() || book.unnamed > 0) && book.others.is_fresh(now)) {
        write_others(topic, book, others, now);
    }
}

void RepeatedLines::flush(Topic topic, Book& book, base::TimePoint now) {
    Items left;
    for (auto& item : book.entries) {
        if (item.second.limit.untold() > 0) {
            left.push_back(&item);
        }
    }
    const Items others = write_own(book, std::move(left), now);
    if (!others.empty() || book.unnamed > 0) {
        write_others(topic, book, others, now);
    }
}

void RepeatedLines::tick(base::TimePoint now) {
    for (std::size_t i = 0; i < kTopics; ++i) {
        tick(static_cast<Topic>(i), books_[i], now);
    }
}

void RepeatedLines::flush(base::TimePoint now) {
    for (std::size_t i = 0; i < kTopics; ++i) {
        flush(static_cast<Topic>(i), books_[i], now);
    }
}

}  // namespace s3gate::control
