#include "lookup_pool.hpp"

#include <array>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "process_setup.hpp"

namespace s3gate::control {

struct LookupPool::State {
    struct Job {
        std::string host;
        Lane lane = Lane::quick;
    };

    // Call these, except run(), with `mutex` held.
    std::optional<Job> next();
    void deliver(Answer answer);
    void start_thread(const std::shared_ptr<State>& self);
    void run();

    Lookup lookup;
    std::mutex mutex;
    std::condition_variable answered;
    std::function<void()> on_answer;
    std::array<std::deque<Job>, 2> queues;  // by lane
    std::vector<Answer> answers;
    std::size_t threads = 0;
    std::size_t slow = 0;  // threads with a job of the slow lane
    bool is_closed = false;

    std::deque<Job>& queue_of(Lane lane) { return queues[static_cast<std::size_t>(lane)]; }
};

std::optional<LookupPool::State::Job> LookupPool::State::next() {
    if (is_closed) {
        return std::nullopt;
    }
    for (const Lane lane : {Lane::quick, Lane::slow}) {
        std::deque<Job>& queue = queue_of(lane);
        if (!queue.empty() && (lane == Lane::quick || slow < kMaxSlow)) {
            Job job = std::move(queue.front());
            queue.pop_front();
            return job;
        }
    }
    return std::nullopt;
}

void LookupPool::State::deliver(Answer answer) {
    answers.push_back(std::move(answer));
    answered.notify_all();
    if (!is_closed && on_answer) {
        on_answer();
    }
}

// The loop of a thread; it ends when there is no job for it.
void LookupPool::State::run() {
    std::unique_lock lock(mutex);
    while (const std::optional<Job> job = next()) {
        slow += job->lane == Lane::slow ? 1 : 0;
        lock.unlock();
        const base::TimePoint begun = base::Clock::now();
        LookupResult result = lookup(job->host);
        const auto took = std::chrono::duration_cast<base::Duration>(base::Clock::now() - begun);
        lock.lock();
        slow -= job->lane == Lane::slow ? 1 : 0;
        deliver({job->host, std::move(result), took});
    }
    --threads;
}

void LookupPool::State::start_thread(const std::shared_ptr<State>& self) {
    const SignalsBlocked blocked;
    try {
        // The thread's share of the state keeps alive all that it touches.
        std::thread([self] { self->run(); }).detach();
        ++threads;
    } catch (const std::system_error& error) {
        if (threads > 0) {
            return;  // an existing thread takes the job
        }
        for (std::deque<Job>& queue : queues) {
            for (const Job& job : std::exchange(queue, {})) {
                LookupResult result;
                result.error = "cannot start a thread: " + error.code().message();
                deliver({job.host, std::move(result), {}});
            }
        }
    }
}

LookupPool::LookupPool(Lookup lookup, std::function<void()> on_answer)
    : state_(std::make_shared<State>()) {
    state_->lookup = std::move(lookup);
    state_->on_answer = std::move(on_answer);
}

LookupPool::~LookupPool() {
    const std::lock_guard lock(state_->mutex);
    state_->is_closed = true;
}

void LookupPool::ask(const std::string& host, Lane lane) {
    const std::lock_guard lock(state_->mutex);
    state_->queue_of(lane).push_back({host, lane});
    if (state_->threads < kMaxThreads) {
        state_->start_thread(state_);
    }
}

bool LookupPool::withdraw(const std::string& host) {
    const std::lock_guard lock(state_->mutex);
    std::size_t withdrawn = 0;
    for (std::deque<State::Job>& queue : state_->queues) {
        withdrawn += std::erase_if(queue, [&](const State::Job& job) { return job.host == host; });
    }
    return withdrawn > 0;
}

std::vector<LookupPool::Answer> LookupPool::take() {
    const std::lock_guard lock(state_->mutex);
    return std::exchange(state_->answers, {});
}

bool LookupPool::wait_until(base::TimePoint deadline) {
    std::unique_lock lock(state_->mutex);
    return state_->answered.wait_until(lock, deadline, [this] { return !state_->answers.empty(); });
}

}  // namespace s3gate::control
