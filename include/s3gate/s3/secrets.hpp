// Names of arguments whose values are secrets of S3, of MinIO and of their STS calls. Constant,
// read by any thread.
#pragma once

#include <array>
#include <string_view>

namespace s3gate::s3 {

// Lower case, for comparison with folded text.
inline constexpr std::array<std::string_view, 11> kSecretNames = {
    "x-amz-signature", "x-amz-credential", "x-amz-security-token", "signature", "awsaccesskeyid",
    // Header fields that a presigned URL may carry in its query.
    "authorization", "x-amz-server-side-encryption-customer-key",
    "x-amz-copy-source-server-side-encryption-customer-key",
    // Arguments of MinIO's STS calls, in a query or in a form.
    "webidentitytoken", "ldappassword", "token"};

}  // namespace s3gate::s3
