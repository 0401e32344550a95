// A directory for one test, removed with the object, and configurations written into it.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "s3gate/config/load.hpp"

namespace s3gate::config {

inline std::optional<std::string> no_environment(const std::string& /*name*/) {
    return std::nullopt;
}

class TempFiles {
  public:
    TempFiles() {
        std::string pattern =
            (std::filesystem::temp_directory_path() / "s3gate-config-XXXXXX").string();
        root_ = ::mkdtemp(pattern.data());
    }
    ~TempFiles() {
        std::error_code ignored;
        std::filesystem::remove_all(root_, ignored);
    }
    TempFiles(const TempFiles&) = delete;
    TempFiles& operator=(const TempFiles&) = delete;

    std::string path(const std::string& name) const { return (root_ / name).string(); }

    void write(const std::string& name, const std::string& text) const {
        std::filesystem::create_directories((root_ / name).parent_path());
        // Rewriting in place makes ext4 flush at every close, which is expensive for thousands of
        // writes.
        std::filesystem::remove(root_ / name);
        std::ofstream(root_ / name, std::ios::binary) << text;
    }

  private:
    std::filesystem::path root_;
};

// A site with all required keys. `more` is added at its end, indented as a site file's top level.
inline std::string site_text(const std::string& name, const std::string& more = {}) {
    return "name: " + name + "\nlisten: [\"127.0.0.1:0\"]\nbalance: {salt: pepper}\n" +
           (more.find("backends:") == std::string::npos
                ? "backends: {servers: [\"n1:9000\", \"n2:9000\"]}\n"
                : "") +
           more;
}

inline LoadResult load_site(const std::string& more,
                            const Environment& environment = no_environment) {
    const TempFiles files;
    files.write("main.yaml", "include: [site.yaml]\n");
    files.write("site.yaml", site_text("a", more));
    return load(files.path("main.yaml"), environment);
}

inline LoadResult load_main(const std::string& text,
                            const Environment& environment = no_environment) {
    const TempFiles files;
    files.write("main.yaml", text);
    files.write("sites/a.yaml", site_text("a"));
    return load(files.path("main.yaml"), environment);
}

}  // namespace s3gate::config
