// The access key id of a request's credential: who signed it, as servers name users. Never a part
// of a signature. Pure, any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace s3gate::s3 {

// The texts of a request that name its credential; empty where it has none.
struct Credential {
    std::string_view header = {};     // Authorization
    std::string_view presigned = {};  // raw value of the argument X-Amz-Credential
    std::string_view version2 = {};   // raw value of the argument AWSAccessKeyId
};

// Longer ids are cut.
inline constexpr std::size_t kMostOfAccessKey = 128;

// The id; empty if there is none, or if the text around it is not what a signature has: what is
// secret in it is unknown then. The header comes first, as with servers. A view into `credential`
// or `memory`.
std::string_view access_key_of(const Credential& credential, std::string& memory);

}  // namespace s3gate::s3
