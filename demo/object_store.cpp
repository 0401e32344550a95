#include "object_store.hpp"

#include <openssl/evp.h>
#include <openssl/rand.h>

#include <new>
#include <stdexcept>

#include "s3gate/base/text.hpp"

namespace s3gate::demo {
namespace {

// Large enough for few segments per object, small enough to seal one with little copying.
constexpr std::size_t kSegmentSize = 1024 * 1024;
// Approximate cost of a name, its headers and the map's node.
constexpr std::uint64_t kEntryCost = 1024;

}  // namespace

bool Reservation::add(std::uint64_t bytes) {
    if (bytes > budget_->limit - budget_->used) {
        return false;
    }
    budget_->used += bytes;
    bytes_ += bytes;
    return true;
}

std::uint64_t size_of(const Data& data) {
    std::uint64_t size = 0;
    for (const auto& segment : data) {
        size += segment->bytes.size();
    }
    return size;
}

void Collector::DigestDeleter::operator()(void* context) const {
    EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(context));
}

Collector::Collector(Budget& budget) : budget_(&budget), held_(budget), digest_(EVP_MD_CTX_new()) {
    if (!digest_ ||
        EVP_DigestInit_ex(static_cast<EVP_MD_CTX*>(digest_.get()), EVP_md5(), nullptr) != 1) {
        throw std::bad_alloc();
    }
}

Collector::~Collector() = default;

bool Collector::append(std::string_view bytes) {
    while (!bytes.empty()) {
        const std::string_view piece = bytes.substr(0, kSegmentSize - open_.size());
        if (!held_.add(piece.size())) {
            return false;
        }
        EVP_DigestUpdate(static_cast<EVP_MD_CTX*>(digest_.get()), piece.data(), piece.size());
        open_ += piece;
        bytes.remove_prefix(piece.size());
        if (open_.size() == kSegmentSize) {
            seal();
        }
    }
    return true;
}

void Collector::seal() {
    if (open_.empty()) {
        return;
    }
    open_.shrink_to_fit();
    sealed_.push_back(std::make_shared<const Segment>(Segment{std::move(open_), std::move(held_)}));
    open_.clear();
    held_ = Reservation(*budget_);
}

Data Collector::take_data() {
    seal();
    return std::move(sealed_);
}

std::string Collector::take_md5() {
    std::string digest(16, '\0');
    EVP_DigestFinal_ex(static_cast<EVP_MD_CTX*>(digest_.get()),
                       reinterpret_cast<unsigned char*>(digest.data()), nullptr);
    return digest;
}

Bucket* ObjectStore::find_bucket(std::string_view name) {
    const auto found = buckets_.find(std::string(name));
    return found == buckets_.end() ? nullptr : &found->second;
}

ObjectPointer ObjectStore::find_object(std::string_view bucket, std::string_view key) {
    const Bucket* in = find_bucket(bucket);
    if (in == nullptr) {
        return nullptr;
    }
    const auto found = in->objects.find(std::string(key));
    return found == in->objects.end() ? nullptr : found->second;
}

bool ObjectStore::put_object(Bucket& bucket, const std::string& key, Object object) {
    if (!object.held.add(kEntryCost)) {
        return false;
    }
    bucket.objects[key] = std::make_shared<const Object>(std::move(object));
    return true;
}

std::optional<std::string> ObjectStore::create_upload(std::string bucket, std::string key,
                                                      Headers headers) {
    Reservation held(budget_);
    if (!held.add(kEntryCost)) {
        return std::nullopt;
    }
    // Long and with a common beginning, like MinIO's: a proxy that hashes only a part of it is
    // noticed.
    std::string id = "ZGVtby1jbHVzdGVyLWRlbW8tY2x1c3Rlci1kZW1v" + hex_of(random_bytes(24));
    uploads_.emplace(
        id, Upload{std::move(bucket), std::move(key), std::move(headers), {}, std::move(held)});
    return id;
}

Upload* ObjectStore::find_upload(const std::string& id, std::string_view bucket,
                                 std::string_view key) {
    const auto found = uploads_.find(id);
    if (found == uploads_.end() || found->second.bucket != bucket || found->second.key != key) {
        return nullptr;
    }
    return &found->second;
}

ListResult list_objects(const Bucket& bucket, const ListRequest& request) {
    ListResult result;
    if (request.limit == 0) {
        return result;
    }
    auto at = request.after < request.prefix ? bucket.objects.lower_bound(request.prefix)
                                             : bucket.objects.upper_bound(request.after);
    while (at != bucket.objects.end() && at->first.starts_with(request.prefix)) {
        std::string group;
        if (!request.delimiter.empty()) {
            const auto found = at->first.find(request.delimiter, request.prefix.size());
            if (found != std::string::npos) {
                group = at->first.substr(0, found + request.delimiter.size());
            }
        }
        // After a page that ended with a common prefix, the next page continues after all names
        // with that prefix.
        const bool is_new = group.empty() || !request.after.starts_with(group);
        if (is_new && result.objects.size() + result.common_prefixes.size() == request.limit) {
            result.is_truncated = true;
            return result;
        }
        if (group.empty()) {
            result.objects.emplace_back(at->first, at->second);
            result.last = at->first;
            ++at;
            continue;
        }
        if (is_new) {
            result.common_prefixes.push_back(group);
            result.last = group;
        }
        while (at != bucket.objects.end() && at->first.starts_with(group)) {
            ++at;
        }
    }
    return result;
}

std::string md5_of(std::string_view bytes) {
    std::string digest(16, '\0');
    if (EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(digest.data()),
                   nullptr, EVP_md5(), nullptr) != 1) {
        throw std::runtime_error("MD5 is not available");
    }
    return digest;
}

std::string hex_of(std::string_view bytes) {
    std::string text;
    for (const char c : bytes) {
        base::append_hex(text, static_cast<std::uint8_t>(c));
    }
    return text;
}

std::string random_bytes(std::size_t count) {
    std::string bytes(count, '\0');
    if (RAND_bytes(reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(count)) != 1) {
        throw std::runtime_error("no random numbers");
    }
    return bytes;
}

}  // namespace s3gate::demo
