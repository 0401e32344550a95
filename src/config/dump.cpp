#include <yaml-cpp/emitter.h>
#include <yaml-cpp/emittermanip.h>

#include <string>
#include <string_view>
#include <variant>

#include "row.hpp"
#include "s3gate/config/load.hpp"

namespace s3gate::config {

namespace {

// Escapes "${", which the reader would replace.
std::string escaped(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        out += text.substr(i).starts_with("${") ? "$$" : text.substr(i, 1);
    }
    return out;
}

// Writes keys and values in the order of the calls. Texts of the operator are always quoted.
class Writer {
  public:
    Writer() { out_.SetIndent(2); }

    void open(std::string_view key) { out_ << YAML::Key << std::string(key) << YAML::BeginMap; }
    void open_item() { out_ << YAML::BeginMap; }
    void close() { out_ << YAML::EndMap; }
    void open_list(std::string_view key) {
        out_ << YAML::Key << std::string(key) << YAML::BeginSeq;
    }
    void close_list() { out_ << YAML::EndSeq; }

    void off(std::string_view key) { value(key, Word{"off"}); }
    void value(std::string_view key, const Printed& value) {
        out_ << YAML::Key << std::string(key) << YAML::Value;
        std::visit([&](const auto& printed) { write(printed); }, value);
    }

    std::string take() const { return std::string(out_.c_str()) + "\n"; }

  private:
    void write(const Word& word) { out_ << word.text; }
    void write(const Text& text) { out_ << YAML::DoubleQuoted << escaped(text.text); }
    void write(const Texts& texts) {
        out_ << YAML::Flow << YAML::BeginSeq;
        for (const std::string& item : texts.items) {
            write(Text{item});
        }
        out_ << YAML::EndSeq;
    }
    void write(const Addresses& addresses) {
        out_ << YAML::Flow << YAML::BeginSeq;
        for (const auto& [address, accept_proxy] : addresses.items) {
            if (accept_proxy.items.empty()) {
                write(Text{address});
                continue;
            }
            out_ << YAML::Flow << YAML::BeginMap;
            value("address", Text{address});
            value("accept_proxy", accept_proxy);
            out_ << YAML::EndMap;
        }
        out_ << YAML::EndSeq;
    }
    void write(const Fields& fields) {
        out_ << YAML::BeginMap;
        for (const auto& [name, value] : fields.items) {
            out_ << YAML::Key << YAML::DoubleQuoted << name << YAML::Value;
            write(Text{value});
        }
        out_ << YAML::EndMap;
    }

    YAML::Emitter out_;
};

template <class Model>
void write_keys(Writer& out, std::string_view table, const Model& model);

// The items of the model's only list of mappings.
void write_items(Writer& out, const Config& config) {
    for (const Site& site : config.sites) {
        out.open_item();
        write_keys(out, "site", site);
        out.close();
    }
}

void write_items(Writer& out, const Site& site) {
    for (const Server& server : site.backends.servers) {
        out.open_item();
        write_keys(out, "site.backends.servers[]", server);
        out.close();
    }
}

void write_items(Writer&, const Server&) {}  // has none

template <class Model>
bool is_written(const Row<Model>& row, const Model& model) {
    static const Model kDefaults;
    const bool is_default =
        !row.value.print || row.value.print(model) == row.value.print(kDefaults);
    return !is_default || row.is_default_written == nullptr || row.is_default_written(model);
}

template <class Model>
void write_row(Writer& out, std::string_view key, const Row<Model>& row, const Model& model) {
    if (row.value.form == Form::mappings) {
        out.open_list(key);
        write_items(out, model);
        out.close_list();
    } else if (row.value.form == Form::section && row.value.is_on && !row.value.is_on(model)) {
        out.off(key);
    } else if (row.value.form == Form::section) {
        out.open(key);
        write_keys(out, row.path, model);
        out.close();
    } else {
        out.value(key, row.value.print(model));
    }
}

// Writes the keys directly below the table, with their contents.
template <class Model>
void write_keys(Writer& out, std::string_view table, const Model& model) {
    for (const Row<Model>& row : rows<Model>()) {
        const auto key = name_below(table, row.path);
        if (key && is_written(row, model)) {
            write_row(out, *key, row, model);
        }
    }
}

}  // namespace

std::string dump(const Config& config) {
    constexpr const char* kNote =
        "# The values in effect. They hold the salts: keep them as safe as the files.\n";
    Writer out;
    out.open_item();
    write_keys(out, "main", config);
    out.close();
    return kNote + out.take();
}

}  // namespace s3gate::config
