#include "survey_walk.hpp"

#include <algorithm>
#include <utility>

#include "client_connection.hpp"
#include "exchange.hpp"
#include "s3gate/observe/access_log.hpp"
#include "s3gate/s3/operation.hpp"
#include "s3gate/s3/path.hpp"

namespace s3gate::proxy {
namespace {

// Of a target. The names of secrets stand before their values, so a cut value is still known for
// one.
constexpr std::size_t kMostTarget = 512;

// Without an exchange.
ClientState state_of(const ClientConnection& client) {
    return client.lingers          ? ClientState::lingering
           : client.awaits_request ? ClientState::idle
                                   : ClientState::reading_head;
}

bool is_asked_for(const ClientSurvey::Question& question, const ClientConnection& client) {
    if (!question.clients) {
        return true;
    }
    const base::Cidr& wanted = *question.clients;
    return wanted.contains(client.peer.ip()) || wanted.contains(client.source.ip()) ||
           (client.named && wanted.contains(client.named->ip));
}

void add_request(ClientReport& report, const Exchange& exchange) {
    const observe::RequestRecord& record = exchange.record();
    const std::string_view target = record.target.substr(0, kMostTarget);
    report.method = record.method.substr(0, kMostTarget);
    observe::append_url_redacted(report.target, target);
    if (record.is_s3 && !record.target.empty()) {
        const s3::Path path = s3::path_of(record.target);
        report.operation = s3::operation_of(record.method, path, record.has_copy_source);
        observe::append_url_redacted(report.bucket, path.bucket.substr(0, kMostTarget));
    }
    if (exchange.is_at_backend()) {
        const observe::AttemptRecord& attempt = record.attempts[record.attempt_count - 1];
        report.server = attempt.name;
        report.address = attempt.address;
    }
    const Exchange::Transfer moved = exchange.transfer();
    report.bytes_in = moved.in;
    report.bytes_out = moved.out;
    report.client = exchange.client_text();
    report.site = record.site;
}

// Where the connection counts, in the present generation; the leading one if it counts nowhere.
const state::Site& site_of(const ClientConnection& client) {
    const std::vector<state::Site>& sites = client.acceptor.generation().snapshot().sites;
    const auto found = std::ranges::find_if(
        sites, [&](const state::Site& site) { return site.cell.index == client.site; });
    return found == sites.end() ? *client.acceptor.address().leading.site : *found;
}

ClientReport report_of(const ClientConnection& client, ClientReport report) {
    report.worker = static_cast<std::uint32_t>(client.worker.index);
    report.peer = client.peer.to_string();
    report.listener = client.acceptor.listener().address().to_string();
    report.requests = client.requests + (report.has_request ? 1 : 0);
    if (client.exchange != nullptr) {
        add_request(report, *client.exchange);
    } else {
        report.client = client.named ? client.named->text.view() : client.source_ip.view();
        report.site = site_of(client).config->name;
    }
    return report;
}

}  // namespace

SurveyWalk::SurveyWalk(Worker& worker, std::shared_ptr<ClientSurvey> survey)
    : worker_(worker),
      survey_(std::move(survey)),
      part_(survey_->part(worker.index)),
      next_(worker.clients().rbegin()) {}

// Only what decides the order is read before it is certain that the report has a place.
bool SurveyWalk::take(const ClientConnection& client) {
    const ClientSurvey::Question& question = survey_->question();
    if (!is_asked_for(question, client)) {
        return false;
    }
    ++part_.matching;
    ClientReport report;
    report.came = client.came;
    report.since = client.exchange != nullptr ? client.exchange->started() : client.came;
    report.has_request = client.exchange != nullptr;
    report.state = client.exchange != nullptr ? client.exchange->state() : state_of(client);
    std::vector<ClientReport>& reports = part_.reports;
    if (reports.size() >= question.limit) {
        if (reports.empty() || !comes_before(report, reports.front())) {
            return false;
        }
        std::ranges::pop_heap(reports, comes_before);
        reports.pop_back();
    }
    reports.push_back(report_of(client, std::move(report)));
    std::ranges::push_heap(reports, comes_before);
    return true;
}

bool SurveyWalk::step() {
    if (survey_->is_given_up()) {
        return false;
    }
    std::size_t reports = 0;
    for (std::size_t i = 0; i < kClientsPerStep && reports < kReportsPerStep; ++i) {
        // The list is in the order in which the clients came, so all others came later too.
        if (next_ == worker_.clients().rend() || next_->came > survey_->began()) {
            survey_->finish(worker_.index);
            return false;
        }
        const ClientConnection& client = *next_++;
        reports += take(client) ? 1 : 0;
    }
    return true;
}

// A reverse iterator holds the node before the one that it stands for, in the list's own order.
void SurveyWalk::leave(const ClientConnection& client) {
    if (next_.base() != worker_.clients().end() && &*next_.base() == &client) {
        next_ = Worker::Clients::reverse_iterator(std::next(next_.base()));
    }
}

}  // namespace s3gate::proxy
