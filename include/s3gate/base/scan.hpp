// Searches text for the few bytes that matter, sixteen at a time: most bytes of message heads and
// URLs need no action. SSE2 is part of x86-64; other processors use a loop over single bytes. Reads
// nothing outside [begin, end). Pure; any thread.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace s3gate::base {

#if defined(__SSE2__)
namespace detail {

inline __m128i load16(const char* at) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
}
inline __m128i equal16(__m128i bytes, char c) {
    return _mm_cmpeq_epi8(bytes, _mm_set1_epi8(c));
}
// A mask of the unsigned bytes that are at most `limit`.
inline __m128i at_most16(__m128i bytes, unsigned char limit) {
    const __m128i most = _mm_set1_epi8(static_cast<char>(limit));
    return _mm_cmpeq_epi8(_mm_min_epu8(bytes, most), bytes);
}
inline __m128i between16(__m128i bytes, char low, char high) {
    return at_most16(_mm_sub_epi8(bytes, _mm_set1_epi8(low)),
                     static_cast<unsigned char>(high - low));
}
inline unsigned mask16(__m128i bytes) {
    return static_cast<unsigned>(_mm_movemask_epi8(bytes));
}

}  // namespace detail
#endif

// The searched sets of bytes. Each class defines its set twice: for one byte and for sixteen.

// Every byte but HTAB, SP, VCHAR and obs-text: a field value contains none (RFC 9110 §5.5).
struct ControlBytes {
    static bool matches(char c) {
        const auto byte = static_cast<unsigned char>(c);
        return (byte < 0x20 && byte != '\t') || byte == 0x7f;
    }
#if defined(__SSE2__)
    static unsigned matches16(__m128i bytes) {
        const __m128i low = detail::at_most16(bytes, 0x1f);
        return detail::mask16(_mm_or_si128(_mm_andnot_si128(detail::equal16(bytes, '\t'), low),
                                           detail::equal16(bytes, 0x7f)));
    }
#endif
};

// Every byte but ASCII letters, digits and '-'.
struct NotPlainName {
    static bool matches(char c) {
        return !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                 c == '-');
    }
#if defined(__SSE2__)
    static unsigned matches16(__m128i bytes) {
        const __m128i letter =
            detail::between16(_mm_or_si128(bytes, _mm_set1_epi8(0x20)), 'a', 'z');
        const __m128i digit = detail::between16(bytes, '0', '9');
        return detail::mask16(
                   _mm_or_si128(_mm_or_si128(letter, digit), detail::equal16(bytes, '-'))) ^
               0xffffU;
    }
#endif
};

// Controls, quotes, backslashes and non-ASCII bytes: a JSON string must escape them, or check them
// as UTF-8.
struct JsonSpecials {
    static bool matches(char c) {
        const auto byte = static_cast<unsigned char>(c);
        return byte < 0x20 || byte >= 0x80 || c == '"' || c == '\\';
    }
#if defined(__SSE2__)
    static unsigned matches16(__m128i bytes) {
        // As signed numbers the bytes from 0x80 on are below 0x20 too.
        const __m128i low = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20));
        return detail::mask16(_mm_or_si128(
            low, _mm_or_si128(detail::equal16(bytes, '"'), detail::equal16(bytes, '\\'))));
    }
#endif
};

// The separators of a URL's parts, and '%', which may encode one of them.
struct UrlSpecials {
    static bool matches(char c) {
        return c == '?' || c == '&' || c == '=' || c == ';' || c == '#' || c == '%' || c == ':';
    }
#if defined(__SSE2__)
    static unsigned matches16(__m128i bytes) {
        const __m128i one = _mm_or_si128(detail::equal16(bytes, '?'), detail::equal16(bytes, '&'));
        const __m128i two = _mm_or_si128(detail::equal16(bytes, '='), detail::equal16(bytes, ';'));
        const __m128i three =
            _mm_or_si128(detail::equal16(bytes, '#'), detail::equal16(bytes, '%'));
        const __m128i four = _mm_or_si128(three, detail::equal16(bytes, ':'));
        return detail::mask16(_mm_or_si128(_mm_or_si128(one, two), four));
    }
#endif
};

// Line feeds.
struct LineFeeds {
    static bool matches(char c) { return c == '\n'; }
#if defined(__SSE2__)
    static unsigned matches16(__m128i bytes) {
        return detail::mask16(detail::equal16(bytes, '\n'));
    }
#endif
};

// SP, controls and '#', which no request target contains. (Bytes from 0x80 on are allowed.)
struct NotTarget {
    static bool matches(char c) {
        const auto byte = static_cast<unsigned char>(c);
        return byte <= 0x20 || byte == 0x7f || c == '#';
    }
#if defined(__SSE2__)
    static unsigned matches16(__m128i bytes) {
        return detail::mask16(
            _mm_or_si128(detail::at_most16(bytes, 0x20),
                         _mm_or_si128(detail::equal16(bytes, 0x7f), detail::equal16(bytes, '#'))));
    }
#endif
};

#if defined(__SSE2__)
namespace detail {

// Loads both ends of a text of 8 to 16 bytes (of 4 to 8) into one register, so a short text takes
// one step. The ends overlap in the middle.
inline __m128i load_ends8(const char* begin, const char* end) {
    return _mm_unpacklo_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(begin)),
                              _mm_loadl_epi64(reinterpret_cast<const __m128i*>(end - 8)));
}
inline __m128i load_ends4(const char* begin, const char* end) {
    return _mm_unpacklo_epi32(_mm_loadu_si32(begin), _mm_loadu_si32(end - 4));
}
// The offset of the first match in such a register. A bit of the second end counts only if the
// first end has none; then no byte before the end of the overlap matches.
inline std::size_t first_of_ends(unsigned found, std::size_t size, std::size_t half) {
    const auto at = static_cast<std::size_t>(std::countr_zero(found));
    return at < half ? at : size - 2 * half + at;
}

}  // namespace detail
#endif

// The first byte of [begin, end) that `Bytes` matches; `end` if there is none.
template <class Bytes>
inline const char* find_first(const char* begin, const char* end) {
#if defined(__SSE2__)
    const auto size = static_cast<std::size_t>(end - begin);
    if (size >= 16) {
        const char* const last = end - 16;
        for (;; begin += 16) {
            begin = begin > last ? last : begin;  // the last sixteen overlap the previous ones
            const unsigned found = Bytes::matches16(detail::load16(begin));
            if (found != 0) {
                return begin + std::countr_zero(found);
            }
            if (begin == last) {
                return end;
            }
        }
    }
    if (size >= 8) {
        const unsigned found = Bytes::matches16(detail::load_ends8(begin, end));
        return found == 0 ? end : begin + detail::first_of_ends(found, size, 8);
    }
    if (size >= 4) {
        const unsigned found = Bytes::matches16(detail::load_ends4(begin, end)) & 0xffU;
        return found == 0 ? end : begin + detail::first_of_ends(found, size, 4);
    }
#endif
    while (begin != end && !Bytes::matches(*begin)) {
        ++begin;
    }
    return begin;
}

// find_first<ControlBytes>() for texts that usually end with CR and are ASCII without HTAB, such as
// field values.
inline const char* find_control(const char* begin, const char* end) {
#if defined(__SSE2__)
    for (; end - begin >= 16; begin += 16) {
        // Controls and non-ASCII bytes, plus one, are at most 0x20 as signed numbers: DEL and the
        // bytes above become negative, 0xff becomes 0.
        const __m128i more = _mm_add_epi8(detail::load16(begin), _mm_set1_epi8(1));
        const unsigned odd = detail::mask16(_mm_cmplt_epi8(more, _mm_set1_epi8(0x21)));
        if (odd == 0) {
            continue;
        }
        const char* const first = begin + std::countr_zero(odd);
        return *first == '\r' ? first : find_first<ControlBytes>(first, end);
    }
#endif
    return find_first<ControlBytes>(begin, end);
}

// Copies [begin, end) to `out` up to the first byte that `Bytes` matches; returns the number of
// bytes copied. `out` needs room for 16 bytes more; they are overwritten.
template <class Bytes>
[[gnu::always_inline]] inline std::size_t copy_until(char* out, const char* begin,
                                                     const char* end) {
    const auto size = static_cast<std::size_t>(end - begin);
    std::size_t at = 0;
#if defined(__SSE2__)
    if (size >= 16) {
        for (;; at += 16) {
            at = at > size - 16 ? size - 16 : at;  // the last sixteen overlap the previous ones
            const __m128i bytes = detail::load16(begin + at);
            _mm_storeu_si128(reinterpret_cast<__m128i*>(out + at), bytes);
            const unsigned found = Bytes::matches16(bytes);
            if (found != 0) {
                return at + static_cast<std::size_t>(std::countr_zero(found));
            }
            if (at == size - 16) {
                return size;
            }
        }
    }
    if (size >= 8) {
        const __m128i bytes = detail::load_ends8(begin, end);
        _mm_storel_epi64(reinterpret_cast<__m128i*>(out), bytes);
        _mm_storel_epi64(reinterpret_cast<__m128i*>(out + size - 8), _mm_srli_si128(bytes, 8));
        const unsigned found = Bytes::matches16(bytes);
        return found == 0 ? size : detail::first_of_ends(found, size, 8);
    }
    if (size >= 4) {
        const __m128i bytes = detail::load_ends4(begin, end);
        _mm_storeu_si32(out, bytes);
        _mm_storeu_si32(out + size - 4, _mm_srli_si128(bytes, 4));
        const unsigned found =
            Bytes::matches16(bytes) & 0xffU;  // ignores the zeros after the eight bytes
        return found == 0 ? size : detail::first_of_ends(found, size, 4);
    }
#endif
    for (; at != size && !Bytes::matches(begin[at]); ++at) {
        out[at] = begin[at];
    }
    return at;
}

// Calls visit(position) for each match in order until it returns false.
template <class Bytes, class Visit>
inline void for_each_match(const char* begin, const char* end, const Visit& visit) {
#if defined(__SSE2__)
    while (end - begin >= 16) {
        unsigned found = Bytes::matches16(detail::load16(begin));
        while (found != 0) {
            if (!visit(begin + std::countr_zero(found))) {
                return;
            }
            found &= found - 1;
        }
        begin += 16;
    }
#endif
    for (; begin != end; ++begin) {
        if (Bytes::matches(*begin) && !visit(begin)) {
            return;
        }
    }
}

}  // namespace s3gate::base
