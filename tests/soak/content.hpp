// The bodies of the soak test: each is a pure function of its request's id. Both ends know a body
// before it is sent, whichever node answers, and no two requests share one. A piece that is lost,
// repeated, moved or from another request changes the bytes, the length or the SHA-256.
#pragma once

#include <openssl/evp.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace soak {

// A bijection that scatters consecutive numbers over all 64 bits (splitmix64's finaliser).
std::uint64_t scatter(std::uint64_t value);

// A small, fast, reproducible random generator.
class Chance {
  public:
    explicit Chance(std::uint64_t seed) : state_(seed) {}
    std::uint64_t next() { return scatter(state_ += 0x9e3779b97f4a7c15ULL); }
    // 0 … limit - 1; 0 for a limit of 0.
    std::uint64_t below(std::uint64_t limit) { return limit == 0 ? 0 : next() % limit; }
    // `first` … `last`.
    std::uint64_t between(std::uint64_t first, std::uint64_t last) {
        return first + below(last - first + 1);
    }
    // True in `permille` of a thousand cases.
    bool permille(std::uint64_t permille) { return below(1000) < permille; }

  private:
    std::uint64_t state_;
};

enum class Way : std::uint64_t { up = 1, down = 2 };

// The possible lengths of a body, in thousandths: `large` up to `kLargest`, `middle` up to 256 KiB,
// the rest up to 8 KiB; log-uniform within each class, including zero.
struct Sizes {
    std::uint64_t middle = 47;
    std::uint64_t large = 3;
    static constexpr std::size_t kLargest = 4 << 20;
};

class Content {
  public:
    explicit Content(const Sizes& sizes);
    // Valid as long as this object lives. Any thread.
    std::string_view body_of(std::uint64_t id, Way way) const;

  private:
    Sizes sizes_;
    std::vector<char> table_;
};

// SHA-256 in pieces; reusable.
class Sha256 {
  public:
    Sha256();
    void begin();
    void add(std::string_view bytes);
    // Lower-case hexadecimal digits.
    std::string end();

  private:
    std::unique_ptr<EVP_MD, void (*)(EVP_MD*)> algorithm_;
    std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context_;
};

std::string sha256_of(Sha256& hash, std::string_view bytes);

// Compares a body with the expected one as it arrives, and hashes it.
class BodyCheck {
  public:
    void begin(std::string_view expected) {
        expected_ = expected;
        length_ = 0;
        is_equal_ = true;
        hash_.begin();
    }
    void add(std::string_view piece);
    std::uint64_t length() const { return length_; }
    // True if every byte so far is the expected one.
    bool is_equal_so_far() const { return is_equal_; }
    // Ends the hash. True if the whole body equals the expected one and `digest`, computed by the
    // sender, is its SHA-256.
    bool ends_right(std::string_view digest);

  private:
    std::string_view expected_;
    std::uint64_t length_ = 0;
    bool is_equal_ = true;
    Sha256 hash_;
};

// 16 hexadecimal digits, and back; false if `text` has any other form.
std::string text_of(std::uint64_t id);
bool read_id(std::string_view text, std::uint64_t& id);

}  // namespace soak
