#include "content.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>

namespace soak {
namespace {

constexpr std::size_t kTable = 24 << 20;

// 0 … 2^bits; each power of two is equally likely.
std::size_t log_uniform(std::uint64_t draw, unsigned low_bits, unsigned bits) {
    const unsigned power = low_bits + static_cast<unsigned>((draw >> 40) % (bits - low_bits + 1));
    const std::uint64_t top = 1ULL << power;
    if (power == 0) {
        return draw & 1;
    }
    return static_cast<std::size_t>(top / 2 + (draw & 0xffffffffffULL) % (top / 2 + 1));
}

}  // namespace

std::uint64_t scatter(std::uint64_t value) {
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ULL;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebULL;
    return value ^ (value >> 31);
}

Content::Content(const Sizes& sizes) : sizes_(sizes), table_(kTable) {
    Chance chance(0x50a4);
    for (std::size_t at = 0; at + 8 <= kTable; at += 8) {
        const std::uint64_t word = chance.next();
        std::memcpy(table_.data() + at, &word, 8);
    }
}

std::string_view Content::body_of(std::uint64_t id, Way way) const {
    Chance chance(scatter(id) ^ static_cast<std::uint64_t>(way));
    const std::uint64_t kind = chance.below(1000);
    const std::uint64_t draw = chance.next();
    std::size_t size = 0;
    if (kind < sizes_.large) {
        size = log_uniform(draw, 18, 22);
    } else if (kind < sizes_.large + sizes_.middle) {
        size = log_uniform(draw, 13, 18);
    } else {
        size = log_uniform(draw, 0, 13);
    }
    return {table_.data() + chance.below(kTable - size), size};
}

Sha256::Sha256()
    : algorithm_(EVP_MD_fetch(nullptr, "SHA256", nullptr), EVP_MD_free),
      context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {}

void Sha256::begin() {
    EVP_DigestInit_ex2(context_.get(), algorithm_.get(), nullptr);
}

void Sha256::add(std::string_view bytes) {
    EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size());
}

std::string Sha256::end() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> raw;
    unsigned length = 0;
    EVP_DigestFinal_ex(context_.get(), raw.data(), &length);
    std::string text;
    text.reserve(2 * length);
    for (unsigned i = 0; i < length; ++i) {
        text += "0123456789abcdef"[raw[i] >> 4];
        text += "0123456789abcdef"[raw[i] & 15];
    }
    return text;
}

std::string sha256_of(Sha256& hash, std::string_view bytes) {
    hash.begin();
    hash.add(bytes);
    return hash.end();
}

void BodyCheck::add(std::string_view piece) {
    hash_.add(piece);
    is_equal_ = is_equal_ && length_ + piece.size() <= expected_.size() &&
                std::memcmp(expected_.data() + length_, piece.data(), piece.size()) == 0;
    length_ += piece.size();
}

bool BodyCheck::ends_right(std::string_view digest) {
    return hash_.end() == digest && is_equal_ && length_ == expected_.size();
}

std::string text_of(std::uint64_t id) {
    std::string text(16, '0');
    for (std::size_t i = 0; i < 16; ++i) {
        text[15 - i] = "0123456789abcdef"[(id >> (4 * i)) & 15];
    }
    return text;
}

bool read_id(std::string_view text, std::uint64_t& id) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id, 16);
    return text.size() == 16 && error == std::errc{} && end == text.data() + text.size();
}

}  // namespace soak
