// The data of the demo nodes: buckets, objects and multipart uploads in memory. All nodes share one
// store, as the nodes of a cluster share their drives. Bounded by a budget; used by the program's
// only thread; independent of HTTP.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace s3gate::demo {

// The memory limit of all stored data. Outlives its Reservations.
struct Budget {
    std::uint64_t limit = 0;
    std::uint64_t used = 0;
};

// Bytes taken from a budget; returned on destruction.
class Reservation {
  public:
    explicit Reservation(Budget& budget) : budget_(&budget) {}
    Reservation(Reservation&& other) noexcept
        : budget_(other.budget_), bytes_(std::exchange(other.bytes_, 0)) {}
    Reservation& operator=(Reservation&& other) noexcept {
        std::swap(budget_, other.budget_);
        std::swap(bytes_, other.bytes_);
        return *this;
    }
    ~Reservation() { budget_->used -= bytes_; }

    // True if the budget had the bytes.
    bool add(std::uint64_t bytes);

  private:
    Budget* budget_;
    std::uint64_t bytes_ = 0;
};

// A run of stored bytes, shared by the objects and answers that contain it.
struct Segment {
    std::string bytes;
    Reservation held;
};
using Data = std::vector<std::shared_ptr<const Segment>>;

std::uint64_t size_of(const Data& data);

// Collects an incoming body into segments and its MD5.
class Collector {
  public:
    explicit Collector(Budget& budget);
    ~Collector();
    Collector(const Collector&) = delete;
    Collector& operator=(const Collector&) = delete;

    // False if the budget is spent; the collected data is useless then.
    bool append(std::string_view bytes);
    // The collected data; call it once.
    Data take_data();
    // The 16 bytes of the digest; call it once, after the last append.
    std::string take_md5();

  private:
    void seal();

    Budget* budget_;
    std::string open_;
    Reservation held_;
    Data sealed_;
    struct DigestDeleter {
        void operator()(void* context) const;
    };
    std::unique_ptr<void, DigestDeleter> digest_;
};

using Headers = std::vector<std::pair<std::string, std::string>>;

struct Object {
    Data data;
    std::uint64_t size = 0;
    std::string etag;  // without quotes
    Headers headers;   // Content-Type, x-amz-meta-… and the like, as uploaded
    std::chrono::system_clock::time_point modified;
    Reservation held;  // for its name and headers
};
using ObjectPointer = std::shared_ptr<const Object>;

struct Bucket {
    std::map<std::string, ObjectPointer> objects;
    std::chrono::system_clock::time_point created;
};

struct Part {
    Data data;
    std::string md5;  // 16 bytes
};

struct Upload {
    std::string bucket;
    std::string key;
    Headers headers;
    std::map<int, Part> parts;
    Reservation held;
};

struct ListRequest {
    std::string prefix;
    std::string delimiter;
    std::string after;  // leaves out names up to and including this one
    std::size_t limit = 1000;
};

struct ListResult {
    std::vector<std::pair<std::string, ObjectPointer>> objects;
    std::vector<std::string> common_prefixes;
    bool is_truncated = false;
    std::string last;  // where the next page continues
};

class ObjectStore {
  public:
    explicit ObjectStore(std::uint64_t memory_limit) : budget_{memory_limit, 0} {}
    ObjectStore(const ObjectStore&) = delete;
    ObjectStore& operator=(const ObjectStore&) = delete;

    Budget& budget() { return budget_; }
    std::map<std::string, Bucket>& buckets() { return buckets_; }
    Bucket* find_bucket(std::string_view name);
    ObjectPointer find_object(std::string_view bucket, std::string_view key);
    // False if the budget has no room for another name.
    bool put_object(Bucket& bucket, const std::string& key, Object object);

    // The new upload's id; nullopt if the budget is spent.
    std::optional<std::string> create_upload(std::string bucket, std::string key, Headers headers);
    // The upload, if the id belongs to this object.
    Upload* find_upload(const std::string& id, std::string_view bucket, std::string_view key);
    void forget_upload(const std::string& id) { uploads_.erase(id); }

  private:
    Budget budget_;
    std::map<std::string, Bucket> buckets_;
    std::map<std::string, Upload> uploads_;
};

ListResult list_objects(const Bucket& bucket, const ListRequest& request);

// MD5 of some bytes, 16 of them.
std::string md5_of(std::string_view bytes);
std::string hex_of(std::string_view bytes);
// `count` bytes from the system's generator.
std::string random_bytes(std::size_t count);

}  // namespace s3gate::demo
