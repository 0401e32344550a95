// What the kernel says of this process. The files are opened once: where no descriptor is left, the
// figures must still say so. One thread at a time.
#pragma once

#include <dirent.h>

#include <cstdint>
#include <memory>
#include <optional>

#include "s3gate/base/descriptor.hpp"

namespace s3gate::control {

class ProcessSelf {
  public:
    // Takes two descriptors.
    ProcessSelf();

    // Each is nullopt where the kernel does not say.
    std::optional<std::uint64_t> resident_bytes() const;
    std::optional<std::int64_t> open_descriptors() const;
    // In seconds since 1970.
    std::optional<double> started_at() const { return started_at_; }

  private:
    struct CloseFolder {
        void operator()(DIR* folder) const { ::closedir(folder); }
    };
    base::Descriptor memory_;
    std::unique_ptr<DIR, CloseFolder> descriptors_;
    std::optional<double> started_at_;
};

}  // namespace s3gate::control
