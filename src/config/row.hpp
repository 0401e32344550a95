// One row per key of the configuration: its path, its member, the rule, the printer, and its text
// in docs/config.md. The reader, the list of known keys, `check --dump` and the tables of the page
// use the rows, so a new key is a new row in main_rows.cpp or site_rows.cpp. The tables are built
// before main() and constant afterwards.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "section.hpp"
#include "values.hpp"

namespace s3gate::config {

// A value in the syntax of a configuration file. A word (also a number, a duration or a size) needs
// no quotes; a text comes from the operator and is quoted.
struct Word {
    std::string text;
    bool operator==(const Word&) const = default;
};
struct Text {
    std::string text;
    bool operator==(const Text&) const = default;
};
struct Texts {
    std::vector<std::string> items;
    bool operator==(const Texts&) const = default;
};
struct Fields {
    std::vector<std::pair<std::string, std::string>> items;
    bool operator==(const Fields&) const = default;
};
// Texts, each alone or with the keys of its own: {address: TEXT, accept_proxy: [...]}.
struct Addresses {
    struct Item {
        std::string address;
        Texts accept_proxy;
        bool operator==(const Item&) const = default;
    };
    std::vector<Item> items;
    bool operator==(const Addresses&) const = default;
};
using Printed = std::variant<Word, Text, Texts, Fields, Addresses>;

// The value in one line, as an operator writes it inside brackets: quoted only where YAML or a
// reader would need it.
std::string in_flow(const Printed& value);

enum class Form { scalar_or_list, section, mappings };

// The reader and the printer of a key.
template <class Model>
struct Value {
    using Read = std::function<void(const Section& section, std::string_view key, Model& out)>;

    Form form = Form::scalar_or_list;
    std::string range = {};  // as the page shows it
    // Reads a good value into the member and reports a bad one; keeps the default if the key is not
    // written. Empty if the section's own reader reads this key, after the others.
    Read read = {};
    std::function<Printed(const Model&)> print = {};  // for scalar_or_list only
    std::function<bool(const Model&)> is_on = {};     // for a section that can be off
    bool is_secret = false;       // nobody is shown that does not read the files
    bool is_for_a_start = false;  // a running process goes on with what it started with
};

template <class Model>
struct Row {
    std::string_view path;  // as known_keys() has it
    Value<Model> value;
    std::string_view meaning;  // Markdown without a line break
    // The page's text where there is no default value, such as "required".
    std::string_view no_default = {};
    // True if `check --dump` writes the key even with its default; null = always. False if a
    // written default would cause a warning or a problem.
    bool (*is_default_written)(const Model&) = nullptr;
};

// The rows in the order of `check --dump`. Config has the keys of the main file, Site those of a
// site file, Server those of a mapping in backends.servers.
template <class Model>
std::span<const Row<Model>> rows();
template <>
std::span<const Row<Config>> rows();
template <>
std::span<const Row<Site>> rows();
template <>
std::span<const Row<Server>> rows();

// "keepalive" for "site.backends.keepalive" and "site.backends"; nullopt for a path that is not
// directly below the table.
std::optional<std::string_view> name_below(std::string_view table, std::string_view path);

// Reads the keys of the section whose rows have a reader, in the order of the rows.
template <class Model>
void read_keys(const Section& section, Model& out) {
    for (const Row<Model>& row : rows<Model>()) {
        if (const auto key = name_below(section.table(), row.path); key && row.value.read) {
            row.value.read(section, *key, out);
        }
    }
}

// Parts of the kinds of values below; not for use elsewhere.
namespace detail {

// Never defined; deduces the class of a pointer to a member.
template <class Class, class Member>
Class class_of(Member Class::*);
template <auto First, auto... Rest>
struct BeginOf {
    using Model = decltype(class_of(First));
};
// The model that a path of members starts from: Site for <&Site::retry, &Retry::max_tries>.
template <auto... Path>
using ModelOf = typename BeginOf<Path...>::Model;

// Follows the pointers to members in turn: model.*First.*Second.
template <auto... Path>
auto& member(auto& model) {
    return (model.*....*Path);
}

template <auto... Path>
using MemberOf = std::decay_t<decltype(member<Path...>(std::declval<ModelOf<Path...>&>()))>;

std::string range_of(const NumberRule& rule);
std::string range_of(const DurationRule& rule);
std::string range_of(const SizeRule& rule);
std::string range_of(const std::vector<std::string_view>& words);

// `get` takes a section and a key and returns an optional; `print` takes the member's value.
template <auto... Path, class Get, class Print>
Value<ModelOf<Path...>> scalar(std::string range, Get get, Print print) {
    using Model = ModelOf<Path...>;
    return {
        .range = std::move(range),
        .read =
            [get](const Section& section, std::string_view key, Model& out) {
                if (auto value = get(section, key)) {
                    member<Path...>(out) = static_cast<MemberOf<Path...>>(*std::move(value));
                }
            },
        .print = [print](const Model& model) -> Printed { return print(member<Path...>(model)); }};
}

}  // namespace detail

// The kinds of values. Path leads from the model to the member: <&Site::upgrade>, or <&Site::retry,
// &Retry::max_tries>.

template <auto... Path>
auto boolean() {
    return detail::scalar<Path...>(
        "switch", [](const Section& section, std::string_view key) { return section.boolean(key); },
        [](bool value) { return Word{value ? "true" : "false"}; });
}

template <auto... Path>
auto number(const NumberRule& rule) {
    return detail::scalar<Path...>(
        detail::range_of(rule),
        [rule](const Section& section, std::string_view key) { return section.number(key, rule); },
        [rule](std::uint64_t value) {
            return Word{value == 0 && !rule.word.empty() ? std::string(rule.word)
                                                         : std::to_string(value)};
        });
}

template <auto... Path>
auto duration(const DurationRule& rule) {
    return detail::scalar<Path...>(
        detail::range_of(rule),
        [rule](const Section& section, std::string_view key) {
            return section.duration(key, rule);
        },
        [](Duration value) { return Word{print_duration(value)}; });
}

template <auto... Path>
auto size(const SizeRule& rule) {
    return detail::scalar<Path...>(
        detail::range_of(rule),
        [rule](const Section& section, std::string_view key) { return section.size(key, rule); },
        [](std::uint64_t value) { return Word{print_size(value)}; });
}

// One of several words. The member is an enumeration, a string that holds the word, or a bool,
// which also accepts on and off.
template <auto... Path>
auto choice(const Choices<detail::MemberOf<Path...>>& choices, const Synonyms& synonyms = {}) {
    using T = detail::MemberOf<Path...>;
    std::vector<std::string_view> words;
    for (const auto& choice : choices) {
        words.push_back(choice.first);
    }
    return detail::scalar<Path...>(
        detail::range_of(words),
        [choices, synonyms](const Section& section, std::string_view key) -> std::optional<T> {
            if constexpr (std::is_same_v<T, bool>) {
                if (section.is_on(key) || section.is_off(key)) {
                    return section.is_on(key);
                }
            }
            return section.choice<T>(key, choices, synonyms);
        },
        [choices](const T& value) {
            for (const auto& [word, meant] : choices) {
                if (meant == value) {
                    return Word{std::string(word)};
                }
            }
            return Word{};
        });
}

// Printers of members that several keys have.
Text print_text(const std::string& text);
Addresses print_listen(const std::vector<Listen>& listen);
Texts print_blocks(const std::vector<base::Cidr>& blocks);

// `what` completes "expected …". `check` reports a bad text. The text is kept: the problem forbids
// the start, and the rules between keys still examine it.
template <auto... Path>
auto text(std::string_view what, std::string range,
          void (*check)(const Section&, std::string_view key, const std::string&) = nullptr) {
    return detail::scalar<Path...>(
        std::move(range),
        [what, check](const Section& section, std::string_view key) {
            auto value = section.text(key, what);
            if (value && check != nullptr) {
                check(section, key, *value);
            }
            return value;
        },
        print_text);
}

// A key with a reader of its own, or with none (nullptr). `print` takes the member's value.
template <auto... Path, class Print>
auto custom(std::string range,
            void (*read)(const Section&, std::string_view, detail::ModelOf<Path...>&),
            Print print) {
    using Model = detail::ModelOf<Path...>;
    return Value<Model>{.range = std::move(range),
                        .read = read == nullptr ? typename Value<Model>::Read() : read,
                        .print = [print](const Model& model) -> Printed {
                            return print(detail::member<Path...>(model));
                        }};
}

// A mapping whose keys have rows. `what` completes "expected …".
template <auto... Path>
auto section(std::string_view what) {
    using Model = detail::ModelOf<Path...>;
    return Value<Model>{.form = Form::section,
                        .range = "mapping",
                        .read = [what](const Section& section, std::string_view key, Model& out) {
                            if (const auto mapping = section.mapping(key, what)) {
                                auto& member = detail::member<Path...>(out);
                                if constexpr (requires { member.where; }) {
                                    member.where = section.location_of(key);
                                }
                                read_keys(*mapping, out);
                            }
                        }};
}

// The same with its own reader.
template <class Model>
Value<Model> section_of(std::string range, void (*read)(const Section&, std::string_view, Model&)) {
    return {.form = Form::section, .range = std::move(range), .read = read};
}

// A section that can be off: the member (a bool or a number) is false or 0 then.
template <auto... Path>
auto switched_section(std::string range,
                      void (*read)(const Section&, std::string_view, detail::ModelOf<Path...>&)) {
    using Model = detail::ModelOf<Path...>;
    return Value<Model>{.form = Form::section,
                        .range = std::move(range),
                        .read = read,
                        .is_on = [](const Model& model) {
                            return static_cast<bool>(detail::member<Path...>(model));
                        }};
}

// A list of mappings that have rows as well.
template <class Model>
Value<Model> mappings(std::string range) {
    return {.form = Form::mappings, .range = std::move(range)};
}

// Skips the value if `refuses` has reported a problem and returns true.
template <class Model>
Value<Model> unless(bool (*refuses)(const Section&, std::string_view key), Value<Model> value) {
    value.read = [refuses, read = std::move(value.read)](const Section& section,
                                                         std::string_view key, Model& out) {
        if (!refuses(section, key)) {
            read(section, key, out);
        }
    };
    return value;
}

// A value that only the files and a dump may show.
template <class Model>
Value<Model> secret(Value<Model> value) {
    value.is_secret = true;
    return value;
}

// A value that a reload does not change.
template <class Model>
Value<Model> for_a_start(Value<Model> value) {
    value.is_for_a_start = true;
    return value;
}

// Warns of a good value.
template <class Model>
Value<Model> with_warning(std::string_view warning, Value<Model> value) {
    value.read = [warning, read = std::move(value.read)](const Section& section,
                                                         std::string_view key, Model& out) {
        const std::size_t problems = section.report().result().problems.size();
        read(section, key, out);
        if (section.find(key) != nullptr && section.report().result().problems.size() == problems) {
            section.warning(key, std::string(warning));
        }
    };
    return value;
}

}  // namespace s3gate::config
