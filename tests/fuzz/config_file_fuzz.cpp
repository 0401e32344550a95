// Any text as a configuration: problems name their place, nothing is thrown, and an accepted
// configuration has a summary. An input that begins with the line "#site" goes to a site file below
// a valid main file.
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "fuzz_target.hpp"
#include "s3gate/config/load.hpp"

namespace {

// A directory for this process, removed at its end.
class Folder {
  public:
    Folder() {
        std::string pattern =
            (std::filesystem::temp_directory_path() / "s3gate-fuzz-XXXXXX").string();
        const char* made = ::mkdtemp(pattern.data());
        FUZZ_CHECK(made != nullptr);
        root_ = made;
        std::filesystem::create_directory(root_ / "sites");
    }
    ~Folder() {
        std::error_code ignored;
        std::filesystem::remove_all(root_, ignored);
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;

    std::string write(const char* name, std::string_view text) const {
        const std::filesystem::path path = root_ / name;
        std::filesystem::remove(
            path);  // rewriting in place makes some file systems flush at every close
        std::ofstream(path, std::ios::binary) << text;
        return path.string();
    }
    void remove(const char* name) const { std::filesystem::remove(root_ / name); }

  private:
    std::filesystem::path root_;
};

std::optional<std::string> environment(const std::string& name) {
    return name == "SET" ? std::optional<std::string>("value: [1") : std::nullopt;
}

}  // namespace

FUZZ_TARGET(input) {
    // An include may name any path: devices are excluded, because a read may never end.
    if (input.size() > 16384 || input.find("/dev") != std::string_view::npos ||
        input.find("/proc") != std::string_view::npos) {
        return;
    }
    static const Folder folder;
    std::string main_file;
    if (input.starts_with("#site\n")) {
        folder.write("sites/a.yaml", input);
        main_file = folder.write("s3gate.yaml", "include: [\"sites/*.yaml\"]\n");
    } else {
        folder.remove("sites/a.yaml");
        main_file = folder.write("s3gate.yaml", input);
    }
    const s3gate::config::LoadResult result = s3gate::config::load(main_file, environment);
    for (const auto& problem : result.problems) {
        FUZZ_CHECK(!problem.message.empty());
    }
    if (result.ok()) {
        FUZZ_CHECK(!s3gate::config::summary(result.config).empty());
    }
}
