// The chunked decoder against a reference encoder and every kind of error. An accepted body has one
// reading, independent of the segments in which it arrived.
#include "s3gate/http/chunked.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "heads.hpp"

namespace s3gate::http {
namespace {

using Kind = ChunkDecoder::Kind;

struct Decoded {
    Kind end = Kind::need_more;
    std::size_t consumed = 0;
    std::string payload;
    std::string trailers;
    bool operator==(const Decoded&) const = default;
};

void PrintTo(const Decoded& decoded, std::ostream* out) {
    *out << "end " << static_cast<int>(decoded.end) << " consumed " << decoded.consumed
         << " payload " << escaped(decoded.payload.substr(0, 80)) << " trailers "
         << escaped(decoded.trailers.substr(0, 80));
}

// Feeds `bytes` in parts that end at the given positions (rising; the last one may be before the
// end).
Decoded decode(std::string_view bytes, const std::vector<std::size_t>& ends) {
    ChunkDecoder decoder;
    Decoded result;
    for (const std::size_t end : ends) {
        std::string_view part = bytes.substr(result.consumed, end - result.consumed);
        for (;;) {
            const ChunkDecoder::Step step = decoder.step(part);
            EXPECT_LE(step.consumed, part.size());
            result.consumed += step.consumed;
            part.remove_prefix(step.consumed);
            if (step.kind == Kind::payload) {
                EXPECT_FALSE(step.payload.empty());
                result.payload += step.payload;
                continue;
            }
            if (step.kind == Kind::need_more) {
                EXPECT_TRUE(part.empty()) << "need_more leaves nothing";
                break;
            }
            result.end = step.kind;
            EXPECT_EQ(decoder.is_done(), step.kind == Kind::done);
            result.trailers = decoder.trailers();
            return result;
        }
    }
    EXPECT_FALSE(decoder.is_done());
    return result;
}

Decoded decode(std::string_view bytes) {
    return decode(bytes, {bytes.size()});
}

std::vector<std::size_t> every_position(std::size_t size) {
    std::vector<std::size_t> ends(size);
    for (std::size_t i = 0; i < size; ++i) {
        ends[i] = i + 1;
    }
    return ends;
}

// Every way to cut `bytes` into two or three parts, and single bytes, give the result of one call.
void expect_same_for_every_split(const std::string& bytes) {
    const Decoded whole = decode(bytes);
    EXPECT_EQ(decode(bytes, every_position(bytes.size())), whole);
    for (std::size_t first = 1; first < bytes.size(); ++first) {
        ASSERT_EQ(decode(bytes, {first, bytes.size()}), whole) << "split at " << first;
        for (std::size_t second = first + 1; bytes.size() < 80 && second < bytes.size(); ++second) {
            ASSERT_EQ(decode(bytes, {first, second, bytes.size()}), whole)
                << first << ' ' << second;
        }
    }
}

struct GoodRow {
    std::string bytes;
    std::string payload;
    std::string trailers = {};
};

TEST(ChunkDecoder, ReadsGoodBodiesWhateverTheSplit) {
    const std::vector<GoodRow> rows = {
        {"0\r\n\r\n", ""},
        {"5\r\nhello\r\n0\r\n\r\n", "hello"},
        {"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world"},
        {"A\r\n0123456789\r\n000\r\n\r\n", "0123456789"},
        {"a\r\n0123456789\r\n0\r\n\r\n", "0123456789"},
        {"00000000000000a\r\n0123456789\r\n000000000000000\r\n\r\n", "0123456789"},
        {"1;x\r\nA\r\n0;last\r\n\r\n", "A"},
        {"1;x=y;z=\"q;\\\"\t \"\r\nA\r\n0\r\n\r\n", "A"},
        {"1; x = y \r\nA\r\n0\r\n\r\n", "A"},
        {"1;chunk-signature="
         "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\nA\r\n0\r\n\r\n",
         "A"},
        {"1;\xc3\xbc\r\nA\r\n0\r\n\r\n", "A"},
        {"2\r\n\r\n\r\n0\r\n\r\n", "\r\n"},
        {"7\r\n0\r\n\r\nGE\r\n0\r\n\r\n", "0\r\n\r\nGE"},
        {"1\r\n\n\r\n1\r\n\r\r\n0\r\n\r\n", "\n\r"},
        {"0\r\nx: y\r\n\r\n", "", "x: y\r\n"},
        {"3\r\nabc\r\n0\r\nx-amz-checksum-crc32: a==\r\nB:\r\n\r\n", "abc",
         "x-amz-checksum-crc32: a==\r\nB:\r\n"},
    };
    for (const GoodRow& row : rows) {
        SCOPED_TRACE(escaped(row.bytes));
        const Decoded expected{Kind::done, row.bytes.size(), row.payload, row.trailers};
        EXPECT_EQ(decode(row.bytes), expected);
        expect_same_for_every_split(row.bytes);
        // Bytes after the body belong to the next message and are not consumed.
        EXPECT_EQ(decode(row.bytes + "GET / HTTP/1.1\r\n"), expected);
        EXPECT_EQ(decode(row.bytes + "\r\n"), expected);
        // No proper prefix is a complete body.
        for (std::size_t size = 0; size < row.bytes.size(); ++size) {
            EXPECT_EQ(decode(row.bytes.substr(0, size)).end, Kind::need_more) << size;
        }
    }
}

struct BadRow {
    std::string bytes;
    std::size_t at;  // the deciding byte
};

TEST(ChunkDecoder, RefusesBadBodiesAtTheByteThatDecides) {
    const std::vector<BadRow> rows = {
        {"\r\n0\r\n\r\n", 0},
        {"\n0\r\n\r\n", 0},
        {" 5\r\nhello\r\n", 0},
        {"\t5\r\nhello\r\n", 0},
        {"5 \r\nhello\r\n", 1},
        {"5\t\r\nhello\r\n", 1},
        {"5 ;x\r\nhello\r\n", 1},
        {"+5\r\nhello\r\n", 0},
        {"-5\r\nhello\r\n", 0},
        {"0x5\r\nhello\r\n", 1},
        {"5h\r\nhello\r\n", 1},
        {"g\r\n", 0},
        {"G\r\n", 0},
        {"/\r\n", 0},
        {":\r\n", 0},
        {"@\r\n", 0},
        {"`\r\n", 0},
        {"5,5\r\n", 1},
        {"5.\r\n", 1},
        {"5_0\r\n", 1},
        {"\"5\"\r\n", 0},
        {"5\"\r\n", 1},
        {";x\r\n", 0},
        {std::string("5\0\r\n", 4), 1},
        {"\xef\xbc\x95\r\n", 0},
        // line ends
        {"5\nhello\r\n0\r\n\r\n", 1},
        {"5\rhello\r\n0\r\n\r\n", 2},
        {"5\r\r\nhello\r\n", 2},
        {"5;x\nhello\r\n", 3},
        {"5;x\rhello\r\n", 4},
        {"5\r\nhello\n0\r\n\r\n", 8},
        {"5\r\nhello\r0\r\n\r\n", 9},
        {"5\r\nhello0\r\n\r\n", 8},
        {"5\r\nhellox\r\n0\r\n\r\n", 8},
        {"5\r\nhello \r\n0\r\n\r\n", 8},
        {"4\r\nhello\r\n0\r\n\r\n", 7},
        {"6\r\nhello\r\n0\r\n\r\n", 9},
        {"5\r\nhello\r\n\r\n0\r\n\r\n", 10},
        {"0\n\r\n", 1},
        {"0\r\n\n", 3},
        {"0\r\n\rx", 4},
        {"0\r\n\r\r\n", 4},
        // extensions
        {"5;\x01\r\n", 2},
        {"5;a=\x7f\r\n", 4},
        {std::string("5;a\0b\r\n", 7), 3},
        // trailers
        {"0\r\nx: y\n\r\n", 7},
        {"0\r\nx: y\rz\r\n\r\n", 8},
        {"0\r\nx: y\r\n\n", 9},
        {"0\r\nx: y\r\n\rz", 10},
        // sizes that would overflow, also when all but the last digits are zero
        {"1000000000000000\r\n", 15},
        {"0000000000000000\r\n", 15},
        {"0000000000000005\r\nhello\r\n", 15},
        {"ffffffffffffffff\r\n", 15},
        {"10000000000000005\r\nhello\r\n", 15},
    };
    for (const BadRow& row : rows) {
        SCOPED_TRACE(escaped(row.bytes));
        const Decoded decoded = decode(row.bytes);
        EXPECT_EQ(decoded.end, Kind::bad);
        EXPECT_EQ(decoded.consumed, row.at);
        EXPECT_EQ(decode(row.bytes.substr(0, row.at)).end, Kind::need_more);
        EXPECT_EQ(decode(row.bytes.substr(0, row.at + 1)).end, Kind::bad)
            << "known as soon as the byte is there";
        expect_same_for_every_split(row.bytes);
        // The same fault after a valid chunk.
        const Decoded later = decode("3\r\nabc\r\n" + row.bytes);
        EXPECT_EQ(later.end, Kind::bad);
        EXPECT_EQ(later.consumed, row.at + 8);
    }
}

TEST(ChunkDecoder, HoldsTheGreatestSize) {
    ChunkDecoder decoder;
    const ChunkDecoder::Step step = decoder.step("fffffffffffffff\r\nab");
    EXPECT_EQ(step.kind, Kind::payload);
    EXPECT_EQ(step.payload, "ab");
    EXPECT_EQ(decoder.chunk_left(), 0xfffffffffffffffu - 2);
    EXPECT_EQ(decoder.step("c").payload, "c");
    EXPECT_EQ(decoder.chunk_left(), 0xfffffffffffffffu - 3);
}

TEST(ChunkDecoder, BoundsExtensions) {
    const std::string most(ChunkDecoder::kMaxLine, 'x');
    const Decoded good = decode("1;" + most + "\r\nA\r\n1;" + most + "\r\nB\r\n0\r\n\r\n");
    EXPECT_EQ(good.end, Kind::done) << "the bound is per chunk";
    EXPECT_EQ(good.payload, "AB");
    const Decoded bad = decode("1;" + most + "x\r\nA\r\n0\r\n\r\n");
    EXPECT_EQ(bad.end, Kind::bad);
    EXPECT_EQ(bad.consumed, 2 + most.size());
    EXPECT_EQ(decode("1;" + most + "x\r\nA\r\n", every_position(2 + most.size() + 1)), bad);
}

TEST(ChunkDecoder, BoundsTrailers) {
    // Lines of 64 bytes, CRLF included.
    const std::string line = "x: " + std::string(59, 'y') + "\r\n";
    std::string most;
    while (most.size() < ChunkDecoder::kMaxTrailers) {
        most += line;
    }
    ASSERT_EQ(most.size(), ChunkDecoder::kMaxTrailers);
    EXPECT_EQ(decode("0\r\n" + most + "\r\n").end, Kind::done);
    EXPECT_EQ(decode("0\r\n" + most + "\r\n").trailers, most);
    EXPECT_EQ(decode("0\r\n" + most + "z: 1\r\n\r\n").end, Kind::bad);
    EXPECT_EQ(decode("0\r\nx: " + std::string(ChunkDecoder::kMaxTrailers, 'y')).end, Kind::bad)
        << "one endless line";
}

TEST(ChunkDecoder, StartsAnewWhereverItStood) {
    for (const std::string_view before :
         {"", "5", "5\r\nhe", "1;x", "0\r\nx: y\r\n", "0\r\n\r\n", "zz", "000000000000000"}) {
        ChunkDecoder decoder;
        std::string_view rest = before;
        while (!rest.empty()) {
            const ChunkDecoder::Step step = decoder.step(rest);
            rest.remove_prefix(step.consumed);
            if (step.kind == Kind::bad || step.kind == Kind::done) {
                break;
            }
        }
        decoder = {};
        EXPECT_FALSE(decoder.is_done());
        EXPECT_EQ(decoder.chunk_left(), 0u);
        EXPECT_EQ(decoder.trailers(), "");
        EXPECT_EQ(decoder.step("00000000000001\r\nA").payload, "A") << before;
        EXPECT_EQ(decoder.step("\r\n0\r\n\r\n").kind, Kind::done);
    }
}

// Writes a payload as chunks of random sizes, with all that the grammar allows.
struct Encoder {
    std::mt19937_64 random;

    std::size_t below(std::size_t bound) { return static_cast<std::size_t>(random() % bound); }

    std::string size_text(std::size_t size) {
        char digits[24];
        std::snprintf(digits, sizeof digits, below(2) == 0 ? "%zx" : "%zX", size);
        const std::string plain = digits;
        return std::string(below(2) == 0 ? 0 : below(16 - plain.size()), '0') + plain;
    }
    std::string extension() {
        static constexpr std::string_view kSome[] = {
            "", "", "", ";a", ";a=b", ";a=\"b;c\"; d = \t e", ";chunk-signature=00ff"};
        return std::string(kSome[below(std::size(kSome))]);
    }
    std::string encode(std::string_view payload, std::string_view trailers) {
        std::string out;
        while (!payload.empty()) {
            const std::size_t size =
                1 +
                below(below(4) == 0 ? payload.size() : std::min<std::size_t>(payload.size(), 17));
            out += size_text(size) + extension() + "\r\n";
            out += payload.substr(0, size);
            out += "\r\n";
            payload.remove_prefix(size);
        }
        return out + std::string(1 + below(15), '0') + extension() + "\r\n" +
               std::string(trailers) + "\r\n";
    }
};

TEST(ChunkDecoder, AgreesWithAReferenceEncoder) {
    for (std::uint64_t seed = 1; seed <= 400; ++seed) {
        SCOPED_TRACE(seed);
        Encoder encoder{std::mt19937_64(seed)};
        std::string payload(encoder.below(seed % 10 == 0 ? 20000 : 200), '\0');
        for (char& c : payload) {
            // Mostly bytes that the decoder treats specially.
            c = encoder.below(3) == 0 ? static_cast<char>(encoder.below(256))
                                      : "\r\n0;1aF "[encoder.below(8)];
        }
        std::string trailers;
        for (std::size_t i = encoder.below(4); i > 0; --i) {
            trailers += "x-amz-checksum-" + std::to_string(i) + ": " +
                        std::string(encoder.below(40), 'v') + "\r\n";
        }
        const std::string body = encoder.encode(payload, trailers);
        const Decoded expected{Kind::done, body.size(), payload, trailers};
        ASSERT_EQ(decode(body), expected);
        ASSERT_EQ(decode(body, every_position(body.size())), expected);
        for (int round = 0; round < 8; ++round) {
            std::vector<std::size_t> ends;
            for (std::size_t end = 0; end < body.size();) {
                end = std::min(body.size(), end + 1 + encoder.below(round % 2 == 0 ? 5 : 500));
                ends.push_back(end);
            }
            ASSERT_EQ(decode(body, ends), expected);
        }
    }
}

TEST(TrailerFilter, LeavesOutWhatATrailerMustNotSay) {
    struct Row {
        std::string name;
        bool kept;
    };
    const std::vector<Row> rows = {
        {"x-amz-checksum-crc32", true},
        {"x-amz-checksum-sha256", true},
        {"x-amz-trailer-signature", true},
        {"X-Anything", true},
        {"Server-Timing", true},
        {"Digest", true},
        {"ETag", true},
        {"Content-Length", false},
        {"Transfer-Encoding", false},
        {"transfer-encoding", false},
        {"Content_Length", false},
        {"Transfer_Encoding", false},
        {"ContentLength", false},
        {"Content-Type", false},
        {"Content-Encoding", false},
        {"Content-Range", false},
        {"Content-MD5", false},
        {"Host", false},
        {"Connection", false},
        {"Keep-Alive", false},
        {"Proxy-Connection", false},
        {"Proxy-Authorization", false},
        {"Proxy-Whatever", false},
        {"TE", false},
        {"Trailer", false},
        {"Upgrade", false},
        {"Expect", false},
        {"Authorization", false},
        {"Cookie", false},
        {"Set-Cookie", false},
        {"WWW-Authenticate", false},
        {"x-amz-security-token", false},
        {"X-Amz-Date", false},
        {"x-amz-content-sha256", false},
        {"X-Forwarded-For", false},
        {"X-Forwarded-Host", false},
        {"X-Real-IP", false},
        {"Forwarded", false},
        {"Range", false},
        {"If-Match", false},
        {"If-Unmodified-Since", false},
        {"Max-Forwards", false},
        {"Cache-Control", false},
        {"Date", false},
        {"Age", false},
        {"Location", false},
        {"Via", false},
        {"Access-Control-Allow-Origin", false},
        {"Authentication-Info", false},
        {"X-HTTP-Method-Override", false},
        {"X-Original-URL", false},
        {"X_Forwarded_For", false},
        {"x-amz-acl", false},
        {"x-amz-decoded-content-length", false},
        {"x_amz_date", false},
        {"x_amz_checksum_crc32", false},
        {"x-minio-internal-a", false},
        {"if_match", false},
        {"Via2", true},
        {"Ages", true},
    };
    std::string all;
    std::string expected;
    for (const Row& row : rows) {
        const std::string line = row.name + ":  v \r\n";
        std::string out = "before\r\n";
        EXPECT_TRUE(filter_trailers(line, TrailersOf::client, out));
        EXPECT_EQ(out, "before\r\n" + (row.kept ? line : std::string())) << row.name;
        all += line;
        expected += row.kept ? line : "";
    }
    std::string out;
    EXPECT_TRUE(filter_trailers(all, TrailersOf::client, out));
    EXPECT_EQ(out, expected) << "the kept lines byte for byte and in order";
}

TEST(TrailerFilter, RefusesWhatIsNoFieldSection) {
    std::string out;
    EXPECT_TRUE(filter_trailers("", TrailersOf::client, out));
    EXPECT_EQ(out, "");
    for (const std::string bad :
         {"x\r\n", "x : y\r\n", ": y\r\n", " x: y\r\n", "x: y\r\n z\r\n", "x: y\x01\r\n", "x: y",
          "x: y\n", "\r\nGET / HTTP/1.1\r\nHost: h\r\n", "GET / HTTP/1.1\r\n"}) {
        EXPECT_FALSE(filter_trailers(bad, TrailersOf::client, out)) << escaped(bad);
    }
}

TEST(TrailerFilter, SoftensControlsOfBackendsOnly) {
    const std::string lines =
        "X-Sum: a\x01"
        "b\x7f\r\nx-amz-checksum-crc32: AA==\r\n";
    std::string out;
    EXPECT_FALSE(filter_trailers(lines, TrailersOf::client, out));
    EXPECT_EQ(out, "");
    EXPECT_TRUE(filter_trailers(lines, TrailersOf::backend, out));
    EXPECT_EQ(out, "X-Sum: a b \r\nx-amz-checksum-crc32: AA==\r\n");
    using namespace std::string_literals;
    for (const std::string& bad : {"x: y\0\r\n"s, "x: y\x01\rz\r\n"s, "x\x01: y\r\n"s,
                                   "x: y\x01\r\n z\r\n"s, "\x01: y\r\n"s}) {
        EXPECT_FALSE(filter_trailers(bad, TrailersOf::backend, out)) << escaped(bad);
    }
}

}  // namespace
}  // namespace s3gate::http
