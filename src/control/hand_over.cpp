#include "hand_over.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value_to.hpp>
#include <boost/system/error_code.hpp>
#include <cerrno>
#include <system_error>
#include <utility>

#include "s3gate/control/findings_json.hpp"

namespace s3gate::control {
namespace {

namespace json = boost::json;

// MFD_NOEXEC_SEAL of memfd_create(2), which older headers lack. A host may demand it (sysctl
// vm.memfd_noexec).
constexpr unsigned kNotExecutable = 0x0008U;
constexpr int kSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
// More than 262,144 backends and their names need.
constexpr off_t kLargestFile = off_t{256} * 1024 * 1024;
constexpr unsigned kMostFailures = 255;

void append_line(std::string& text, const char* kind, json::value value) {
    json::object line;
    line[kind] = std::move(value);
    text += json::serialize(line) + "\n";
}

json::object object_of(const HandOver::Backend& backend) {
    json::object out;
    out["group"] = json_text(backend.group);
    out["server"] = json_text(backend.server);
    out["address"] = json_text(backend.address);
    out["up"] = backend.is_up;
    out["marked"] = backend.is_marked;
    out["failures"] = backend.failures;
    out["failing_for_ms"] = backend.failing_for.count();
    if (backend.back_for) {
        out["back_for_ms"] = backend.back_for->count();
    }
    return out;
}

// Readers of members: a missing one, or one of another type, throws.
std::string text_at(const json::value& object, std::string_view key) {
    return std::string(object.at(key).as_string());
}

HandOver::Backend backend_of(const json::value& object) {
    HandOver::Backend out;
    out.group = text_at(object, "group");
    out.server = text_at(object, "server");
    out.address = text_at(object, "address");
    out.is_up = object.at("up").as_bool();
    out.is_marked = object.at("marked").as_bool();
    out.failures = static_cast<unsigned>(std::clamp<std::int64_t>(
        object.at("failures").to_number<std::int64_t>(), 0, kMostFailures));
    out.failing_for = base::Duration(
        std::max<std::int64_t>(object.at("failing_for_ms").to_number<std::int64_t>(), 0));
    if (const json::value* const back = object.as_object().if_contains("back_for_ms")) {
        out.back_for = base::Duration(std::max<std::int64_t>(back->to_number<std::int64_t>(), 0));
    }
    return out;
}

std::vector<base::IpAddress> addresses_of(const json::value& object) {
    std::vector<base::IpAddress> out;
    for (const json::value& item : object.at("addresses").as_array()) {
        if (const auto address = base::IpAddress::parse(std::string_view(item.as_string()))) {
            out.push_back(*address);
        }
    }
    return out;
}

HandOver::Bucket bucket_of(const json::value& object) {
    return {text_at(object, "site"), base::IpAddress::parse(text_at(object, "client")).value(),
            object.at("full_at_ns").to_number<std::uint64_t>()};
}

HandOver::LogLevel log_level_of(const json::value& object) {
    HandOver::LogLevel out{text_at(object, "level"), text_at(object, "configured"), {}};
    if (!object.at("left_ms").is_null()) {
        out.left = base::Duration(
            std::max<std::int64_t>(object.at("left_ms").to_number<std::int64_t>(), 0));
    }
    return out;
}

json::object object_of(const HandOver::Alarm& alarm) {
    json::object out;
    out["group"] = json_text(alarm.group);
    out["server"] = json_text(alarm.server);
    out["kind"] = json_text(alarm.kind);
    out["began_s"] = alarm.began;
    out["bad"] = alarm.since.bad;
    out["all"] = alarm.since.all;
    out["text"] = json_text(alarm.text);
    return out;
}

HandOver::Alarm alarm_of(const json::value& object) {
    HandOver::Alarm out;
    out.group = text_at(object, "group");
    out.server = text_at(object, "server");
    out.kind = text_at(object, "kind");
    out.began = object.at("began_s").to_number<std::uint64_t>();
    out.since = {object.at("bad").to_number<std::uint64_t>(),
                 object.at("all").to_number<std::uint64_t>()};
    out.text = text_at(object, "text");
    return out;
}

json::object object_of(const HandOver::Sessions& sessions) {
    json::object out;
    out["group"] = json_text(sessions.group);
    json::array& words = out["words"].emplace_array();
    for (const auto& [word, bits] : sessions.words) {
        words.emplace_back(word);
        words.emplace_back(bits);
    }
    return out;
}

HandOver::Sessions sessions_of(const json::value& object) {
    HandOver::Sessions out{text_at(object, "group"), {}};
    const json::array& words = object.at("words").as_array();
    for (std::size_t i = 0; i + 1 < words.size(); i += 2) {
        out.words.emplace_back(words[i].to_number<std::size_t>(),
                               words[i + 1].to_number<std::uint64_t>());
    }
    return out;
}

BoundSocket socket_of(const json::value& object) {
    const auto address = base::SocketAddress::parse(text_at(object, "address"));
    return {address.value(), object.at("inode").to_number<std::uint64_t>()};
}

// False for a line of a kind that this version does not have.
bool take(const json::object& line, HandOver& state) {
    if (const json::value* const version = line.if_contains("s3gate")) {
        state.version = version->as_string();
    } else if (const json::value* const backend = line.if_contains("backend")) {
        state.backends.push_back(backend_of(*backend));
    } else if (const json::value* const bucket = line.if_contains("bucket")) {
        state.buckets.push_back(bucket_of(*bucket));
    } else if (const json::value* const sessions = line.if_contains("sessions")) {
        state.sessions.push_back(sessions_of(*sessions));
    } else if (const json::value* const override = line.if_contains("override")) {
        state.overrides.push_back(*override);
    } else if (const json::value* const process = line.if_contains("process")) {
        state.processes.emplace_back(process->as_string());
    } else if (const json::value* const name = line.if_contains("name")) {
        std::vector<base::IpAddress> addresses = addresses_of(*name);
        if (!addresses.empty()) {
            state.names[text_at(*name, "host")] = std::move(addresses);
        }
    } else if (const json::value* const standby = line.if_contains("standby")) {
        state.is_on_standby = standby->as_bool();
    } else if (const json::value* const level = line.if_contains("log_level")) {
        state.log_level = log_level_of(*level);
    } else if (const json::value* const alarm = line.if_contains("alarm")) {
        state.alarms.push_back(alarm_of(*alarm));
    } else if (const json::value* const closing = line.if_contains("closing")) {
        state.closing.push_back(socket_of(*closing));
    } else if (const json::value* const pid = line.if_contains("pid")) {
        state.pid = static_cast<pid_t>(pid->to_number<std::int32_t>());
    } else if (const json::value* const unit = line.if_contains("unit")) {
        state.unit = unit->as_string();
    } else {
        return false;
    }
    return true;
}

bool take_line(std::string_view text, HandOver& state) {
    boost::system::error_code error;
    const json::value line = json::parse(text, error);
    try {
        return !error && take(line.as_object(), state);
    } catch (const std::exception&) {
        return false;
    }
}

}  // namespace

std::string text_of(const HandOver& state) {
    std::string text;
    append_line(text, "s3gate", json_text(state.version));
    append_line(text, "pid", state.pid);
    append_line(text, "unit", json_text(state.unit));
    append_line(text, "standby", state.is_on_standby);
    if (state.log_level) {
        const auto& left = state.log_level->left;
        json::object level;
        level["level"] = json_text(state.log_level->level);
        level["configured"] = json_text(state.log_level->configured);
        level["left_ms"] = left ? json::value(left->count()) : json::value();
        append_line(text, "log_level", std::move(level));
    }
    for (const auto& [host, addresses] : state.names) {
        json::object name;
        name["host"] = json_text(host);
        json::array& list = name["addresses"].emplace_array();
        for (const base::IpAddress& address : addresses) {
            list.emplace_back(address.to_string());
        }
        append_line(text, "name", std::move(name));
    }
    for (const BoundSocket& socket : state.closing) {
        json::object closing;
        closing["address"] = socket.address.to_string();
        closing["inode"] = socket.inode;
        append_line(text, "closing", std::move(closing));
    }
    for (const std::string& process : state.processes) {
        append_line(text, "process", json_text(process));
    }
    for (const HandOver::Bucket& bucket : state.buckets) {
        json::object item;
        item["site"] = json_text(bucket.site);
        item["client"] = bucket.client.to_string();
        item["full_at_ns"] = bucket.full_at;
        append_line(text, "bucket", std::move(item));
    }
    for (const json::value& override : state.overrides) {
        append_line(text, "override", override);
    }
    for (const HandOver::Alarm& alarm : state.alarms) {
        append_line(text, "alarm", object_of(alarm));
    }
    for (const HandOver::Sessions& sessions : state.sessions) {
        append_line(text, "sessions", object_of(sessions));
    }
    for (const HandOver::Backend& backend : state.backends) {
        append_line(text, "backend", object_of(backend));
    }
    return text;
}

ReadHandOver read_hand_over(std::string_view text) {
    ReadHandOver out;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        out.ignored += take_line(text.substr(0, end), out.state) ? 0 : 1;
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return out;
}

base::Descriptor sealed_file(const std::string& text) {
    const auto fail = [] { throw std::system_error(errno, std::generic_category(), "memfd"); };
    constexpr const char* kName = "s3gate-hand-over";
    constexpr unsigned kFlags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    base::Descriptor file(::memfd_create(kName, kFlags | kNotExecutable));
    if (!file && errno == EINVAL) {  // before Linux 6.3
        file = base::Descriptor(::memfd_create(kName, kFlags));
    }
    if (!file) {
        fail();
    }
    for (std::size_t written = 0; written < text.size();) {
        const ssize_t some = ::write(file.get(), text.data() + written, text.size() - written);
        if (some < 0) {
            fail();
        }
        written += static_cast<std::size_t>(some);
    }
    if (::fcntl(file.get(), F_ADD_SEALS, kSeals) != 0 || ::lseek(file.get(), 0, SEEK_SET) != 0) {
        fail();
    }
    return file;
}

std::optional<std::string> read_sealed_file(int descriptor) {
    struct stat status{};
    const int seals = ::fcntl(descriptor, F_GET_SEALS);
    if (seals < 0 || (seals & kSeals) != kSeals || ::fstat(descriptor, &status) != 0 ||
        status.st_size > kLargestFile) {
        return std::nullopt;
    }
    std::string text(static_cast<std::size_t>(status.st_size), '\0');
    for (std::size_t done = 0; done < text.size();) {
        const ssize_t some =
            ::pread(descriptor, text.data() + done, text.size() - done, static_cast<off_t>(done));
        if (some <= 0) {
            return std::nullopt;
        }
        done += static_cast<std::size_t>(some);
    }
    return text;
}

}  // namespace s3gate::control
