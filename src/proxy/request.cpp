// The head of a request: receives it, derives its meaning, fills the log record. prepare.cpp
// prepares the attempts.
#include "request.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "s3gate/s3/path.hpp"

namespace s3gate::proxy {
namespace {

// Fits real heads; grows on demand up to limits.head.
constexpr std::size_t kHeadBuffer = 16 * 1024;
// A larger head buffer is freed after its request.
constexpr std::size_t kKeptHeadBuffer = 64 * 1024;

policy::MethodClass method_class_of(std::string_view method) {
    if (method == "GET") {
        return policy::MethodClass::get;
    }
    if (method == "HEAD") {
        return policy::MethodClass::head;
    }
    if (method == "PUT") {
        return policy::MethodClass::put;
    }
    if (method == "DELETE") {
        return policy::MethodClass::delete_;
    }
    return method == "OPTIONS" ? policy::MethodClass::options : policy::MethodClass::other;
}

}  // namespace

Request::Request(ExchangeContext& context, Memory& memory) : context_(context), memory_(memory) {
    if (memory.head_buffer.empty()) {
        memory.head_buffer.resize(kHeadBuffer);
    }
    memory.head.clear();
    memory.key.clear();
    memory.session_text.clear();
}

Request::~Request() {
    if (replay_hold_) {
        memory_.replay.reset(0);
    }
    if (memory_.head_buffer.size() > kKeptHeadBuffer) {
        std::vector<char>().swap(memory_.head_buffer);
    }
}

HeadRead Request::receive_head() {
    const std::size_t limit = context_.site().config->limits.head;
    http::HeadScanner::State state = take_leftover();
    while (state == http::HeadScanner::State::incomplete) {
        if (head_fill_ >= limit) {
            return HeadRead::too_long;
        }
        make_room();
        const std::size_t room =
            std::min(memory_.head_buffer.size(), std::max(limit, kHeadBuffer)) - head_fill_;
        const ssize_t got =
            context_.client.stream.receive(memory_.head_buffer.data() + head_fill_, room);
        if (got <= 0) {
            return take_end(got);
        }
        head_fill_ += static_cast<std::size_t>(got);
        state = scanner_.scan({memory_.head_buffer.data(), head_fill_}, memory_.head);
    }
    return take_head(state);
}

// Takes the bytes that came after the previous request.
inline http::HeadScanner::State Request::take_leftover() {
    std::string& leftover = context_.client.leftover;
    if (leftover.empty()) {
        return http::HeadScanner::State::incomplete;
    }
    if (leftover.size() > memory_.head_buffer.size()) {
        memory_.head_buffer.resize(leftover.size());
    }
    std::memcpy(memory_.head_buffer.data(), leftover.data(), leftover.size());
    head_fill_ = leftover.size();
    // Frees the memory too: an idle connection keeps none. (Assigning {} would keep it.)
    std::string().swap(leftover);
    return scanner_.scan({memory_.head_buffer.data(), head_fill_}, memory_.head);
}

inline void Request::make_room() {
    std::vector<char>& buffer = memory_.head_buffer;
    if (head_fill_ == buffer.size()) {
        const std::size_t limit = context_.site().config->limits.head;
        buffer.resize(std::min(buffer.size() * 2, std::max(limit, head_fill_)));
    }
}

// Called when no byte was received: for now, or because the connection ended.
inline HeadRead Request::take_end(ssize_t got) {
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return HeadRead::incomplete;
    }
    if (head_fill_ > scanner_.begin()) {
        context_.record.status = 499;
        context_.record.error = "client closed in head";
        context_.blame(policy::Side::client, policy::Stage::head);
        context_.note_client(ClientFault::gone);
    }
    return got == 0 ? HeadRead::ended : HeadRead::broken;
}

// Called when the scanner has found the end of the head, or an error.
inline HeadRead Request::take_head(http::HeadScanner::State state) {
    if (state == http::HeadScanner::State::bad) {
        meaning_.error = scanner_.error();
        return HeadRead::malformed;
    }
    http::RequestHead& head = memory_.head;
    const std::string_view raw(memory_.head_buffer.data() + scanner_.begin(),
                               scanner_.end() - scanner_.begin());
    if (raw.size() > context_.site().config->limits.head) {
        return HeadRead::too_long;
    }
    if (head.raw.empty()) {
        meaning_.error = http::parse_request_head(raw, head);
    }
    if (meaning_.error == http::HeadError::none) {
        meaning_ = http::meaning_of(head);
    }
    if (meaning_.error != http::HeadError::none) {
        context_.record.method = head.method;
        context_.record.target = head.target;
        return HeadRead::malformed;
    }
    const std::string_view rest(memory_.head_buffer.data() + scanner_.end(),
                                head_fill_ - scanner_.end());
    net::BodySource& body = body_.emplace(context_.client.stream, meaning_.body, rest);
    body.prefix_is_stable = true;
    body.surplus = &context_.client.leftover;
    if (body.complete) {
        body.surplus->assign(body.prefix);
        body.prefix = {};
    }
    return HeadRead::complete;
}

net::task<HeadRead> Request::wait_for_head() {
    // The whole head has one deadline, so a client that sends single bytes cannot extend it.
    Worker& worker = context_.worker;
    ClientConnection& client = context_.client;
    const net::Tick deadline = worker.reactor.now() + context_.address.client_head;
    for (;;) {
        const auto left = static_cast<std::int32_t>(deadline - worker.reactor.now());
        net::Wake wake = net::Wake::timed_out;
        if (left > 0) {
            // An empty line after the last request (RFC 9112 §2.2) does not begin the next one.
            const bool is_idle = head_fill_ == scanner_.begin();
            client.set_awaits_request(is_idle);
            wake = co_await client.stream.readable(static_cast<net::Tick>(left));
            client.set_awaits_request(false);
            if (context_.is_cut() || client.cut) {
                co_return HeadRead::broken;
            }
            if (is_idle && wake == net::Wake::interrupted && worker.draining &&
                !client.stream.has_unread()) {
                co_return HeadRead::ended;
            }
        }
        if (wake == net::Wake::timed_out) {
            break;
        }
        if (const HeadRead head = receive_head(); head != HeadRead::incomplete) {
            co_return head;
        }
    }
    if (head_fill_ == scanner_.begin()) {
        state::bump(worker.counters.client_idle_closed);
        co_return HeadRead::ended;
    }
    state::bump(worker.counters.client_head_timeouts);
    co_return HeadRead::timed_out;
}

void Request::understand() {
    state::bump(context_.worker.counters.requests);
    const http::RequestHead& head = memory_.head;
    observe::RequestRecord& record = context_.record;
    record.method = head.method;
    record.target = head.target;
    record.host = meaning_.host;
    if (context_.is_s3()) {
        const std::vector<std::string>& domains = context_.site().config->domains;
        record.host_bucket =
            domains.empty() ? std::string_view() : s3::bucket_of_host(meaning_.host, domains);
    }
    traits_.method = method_class_of(head.method);
    waiting_ = context_.is_s3() ? policy::waiting_of(head.method, meaning_.path, meaning_.query)
                                : policy::Waiting::no;
    for (const http::Field& field : head.fields) {
        if (field.id == http::FieldId::user_agent) {
            record.user_agent = field.value;
        } else if (field.id == http::FieldId::referer) {
            record.referer = field.value;
        } else if (field.id == http::FieldId::x_forwarded_for) {
            record.forwarded_for = field.value;
        }
    }
}

std::string_view Request::received_line() const {
    const std::string_view received(memory_.head_buffer.data() + scanner_.begin(),
                                    head_fill_ - scanner_.begin());
    return received.substr(0, received.find('\r'));
}

std::string_view Request::path() const {
    if (!meaning_.path.empty()) {
        return meaning_.path;
    }
    const std::string_view line = received_line();
    const std::size_t begin = line.find(" /");
    if (!scanner_.has_start_line() || begin == std::string_view::npos) {
        return "/";
    }
    return line.substr(begin + 1, line.find_first_of(" ?", begin + 1) - begin - 1);
}

bool Request::is_head() const {
    return memory_.head.method.empty() ? std::string_view(memory_.head_buffer.data(), head_fill_)
                                             .substr(scanner_.begin())
                                             .starts_with("HEAD ")
                                       : memory_.head.method == "HEAD";
}

}  // namespace s3gate::proxy
