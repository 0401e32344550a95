// Options, subcommands, exit codes.

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "commands.hpp"
#include "s3gate/base/address.hpp"
#include "s3gate/control/server.hpp"

namespace {

using namespace s3gate;

// The command line for CLI11, and the values it found.
struct CommandLine {
    CLI::App app{
        "S3-aware reverse proxy. Without a command: serve, in the foreground.\n"
        "The configuration is /etc/s3gate/s3gate.yaml unless another FILE is named.",
        "s3gate"};
    CLI::App* check = nullptr;
    CLI::App* route = nullptr;
    CLI::App* ctl = nullptr;
    CLI::App* version = nullptr;
    CLI::App* help = nullptr;
    CLI::Option* config = nullptr;
    CLI::Option* check_file = nullptr;
    CLI::Option* diff = nullptr;
    CLI::Option* diff_socket = nullptr;
    CLI::Option* route_socket = nullptr;

    std::vector<std::string> words;  // the whole command line
    std::string file;
    // True for -t and -T that expand_habits() left in place: in one word with other options, as in
    // -tc FILE.
    bool is_test = false;
    bool is_dump = false;
    app::CheckOptions check_options;
    app::RouteOptions route_options;
    app::CtlOptions ctl_options;
    std::string help_for;

    CommandLine();

  private:
    void add_check();
    void add_diff();
    void add_route();
    void add_ctl();
    void add_ctl_servers();
};

CommandLine::CommandLine() {
    config =
        app.add_option("-c,-f,--config", file, "The main configuration file")->type_name("FILE");
    app.add_flag("-t,--test", is_test, "The same as the command check")->disable_flag_override();
    app.add_flag("-T", is_dump, "The same as check --dump")->disable_flag_override();
    app.set_version_flag("-v,-V,--version", "s3gate " S3GATE_VERSION, "Print the version");
    app.allow_extras();  // run() reports them
    app.require_subcommand(0, 1);
    add_check();
    add_route();
    add_ctl();
    version = app.add_subcommand("version", "Print the version");
    help = app.add_subcommand("help", "Print this, or what a command takes");
    help->add_option("COMMAND", help_for, "The command")->type_name("");
}

void CommandLine::add_check() {
    check = app.add_subcommand("check", "Check the configuration and say what it amounts to");
    check->fallthrough();  // --config is accepted after the subcommand as well
    check_file =
        check->add_option("FILE", check_options.file, "The main configuration file")->type_name("");
    check->add_flag("--strict", check_options.is_strict, "Warnings are failures: exit code 2")
        ->disable_flag_override();
    check->add_flag("--json", check_options.as_json, "Print one JSON object")
        ->disable_flag_override();
    check
        ->add_flag("--dump", check_options.with_dump,
                   "Print every value in effect, salts included, as a file that can be loaded")
        ->disable_flag_override();
    check
        ->add_option("--unit", check_options.unit,
                     "Look with the eyes of this systemd unit (default: the installed "
                     "s3gate.service)")
        ->type_name("FILE");
    add_diff();
}

void CommandLine::add_diff() {
    diff = check
               ->add_option("--diff", check_options.diff,
                            "Instead: print what changes from this configuration to FILE, and the "
                            "share of keys that move. `running` is the one that serves")
               ->type_name("OLD");
    diff_socket = check
                      ->add_option("--socket", check_options.socket,
                                   "With --diff running: the daemon's control socket. Default: "
                                   "that of FILE")
                      ->type_name("PATH");
    check
        ->add_flag("--exit-code", check_options.with_exit_code,
                   "With --diff: differences are exit code 1")
        ->disable_flag_override();
}

void CommandLine::add_route() {
    route = app.add_subcommand("route", "Say which backend requests go to, and why");
    route->fallthrough();
    route->add_option("-s,--site", route_options.site, "Only this site")->type_name("NAME");
    route->add_option("--host", route_options.host, "Host of the requests, where no URL has one")
        ->type_name("HOST");
    route->add_option("--ip", route_options.ip, "Client address; the fingerprint needs it")
        ->type_name("IP");
    route->add_option("--user-agent", route_options.user_agent, "User-Agent, for the fingerprint")
        ->type_name("TEXT");
    route
        ->add_option("--accept-language", route_options.accept_language,
                     "Accept-Language, for the fingerprint")
        ->type_name("TEXT");
    route
        ->add_flag("--live", route_options.is_live,
                   "With the health, marks and drains of the running daemon, and its configuration")
        ->disable_flag_override();
    route_socket = route
                       ->add_option("--socket", route_options.socket,
                                    "With --live: the daemon's control socket. Default: that of "
                                    "the --config FILE, or /run/s3gate/ctl.sock")
                       ->type_name("PATH");
    route
        ->add_option("ARG", route_options.arguments,
                     "A key, a query string (holds '=' or begins with '?'), or a URL (holds '://' "
                     "or begins with '/')")
        ->type_name("");
}

void CommandLine::add_ctl() {
    ctl = app.add_subcommand("ctl", "Ask a running daemon, or tell it what to do");
    ctl->fallthrough();
    ctl->require_subcommand(0, 1);
    ctl->add_option("--socket", ctl_options.sockets,
                    "The daemon's control socket; more than one asks one after another. Default: "
                    "that of the --config FILE, or /run/s3gate/ctl.sock")
        ->type_name("PATH")
        ->allow_extra_args(false);
    ctl->add_flag("--json", ctl_options.as_json, "Print the daemon's answer as it is")
        ->disable_flag_override();
    const auto add = [this](const char* name, const char* what) {
        CLI::App* const command = ctl->add_subcommand(name, what);
        command->fallthrough();
        return command;
    };
    add("status", "Show sites, servers, connections, counters");
    add("reload", "Read the configuration again and use it; waits for the outcome")
        ->add_option("--confirm", ctl_options.confirm,
                     "Take it back unless `s3gate ctl confirm` follows within this time")
        ->type_name("DURATION");
    add("confirm", "Keep what `reload --confirm` brought");
    add("upgrade", "Hand over to the binary that is installed now; waits until that one serves");
    CLI::App* const connections = add("connections", "Show what every client connection does");
    connections
        ->add_option("--client", ctl_options.client,
                     "Only clients, or peers, of this address or block")
        ->type_name("CIDR");
    connections
        ->add_option("--limit", ctl_options.limit,
                     "At most so many: requests that have taken longest first. Default: 1000")
        ->type_name("N");
    CLI::App* const level = add("log-level", "Show or set the level of the operational log");
    level
        ->add_option("LEVEL", ctl_options.level,
                     "debug, info, warn, error, or default: what log.level says")
        ->type_name("");
    level->add_option("--for", ctl_options.time, "Back to log.level after this time")
        ->type_name("DURATION");
    add("standby", "Let /healthz answer 503, so that traffic leaves; serve on");
    add("active", "End the standby");
    CLI::App* const health = add("health", "Exit with 0 if this host should get requests");
    health
        ->add_flag("--strict", ctl_options.is_strict,
                   "A group without a usable server is a failure")
        ->disable_flag_override();
    health->add_flag("--live", ctl_options.is_live, "Standby and a drain are none")
        ->disable_flag_override();
    add_ctl_servers();
}

void CommandLine::add_ctl_servers() {
    const auto add = [this](const char* name, const char* what) {
        CLI::App* const command = ctl->add_subcommand(name, what);
        command->fallthrough();
        command->add_option("SERVER", ctl_options.server, "The server, as it is configured")
            ->type_name("")
            ->required();
        command
            ->add_option("--site", ctl_options.site,
                         "Only in this site. Default: in every site that has the server")
            ->type_name("NAME");
        return command;
    };
    const auto add_force = [this](CLI::App* command, const char* what) {
        command->add_flag("--force", ctl_options.is_forced, what)->disable_flag_override();
    };
    constexpr const char* kForce = "Also if no usable server is left";
    CLI::App* const drain = add("drain", "Send a server no further requests; those it has go on");
    drain
        ->add_flag("--sessions", ctl_options.keeps_sessions,
                   "Requests of sessions that it has, and of uploads, still go there")
        ->disable_flag_override();
    add_force(drain, kForce);
    add("undrain", "End the drain");
    add_force(add("down", "Send a server nothing at all; requests that it has go on"), kForce);
    add("up", "End the down: its checks decide again");
    CLI::App* const maintain =
        add("maintain",
            "Ask a node whether the cluster can do without it, drain it, and wait until no request "
            "is in progress there");
    maintain
        ->add_option("--timeout", ctl_options.timeout,
                     "Wait no longer than this; the node stays in maintenance")
        ->type_name("DURATION");
    maintain->add_flag("--done", ctl_options.is_done, "End the maintenance")
        ->disable_flag_override();
    add_force(maintain, "Do not ask the node; also if no usable server is left");
}

// nginx's `-t` and `-T` become the commands check and check --dump, in any order of the options.
std::vector<std::string> expand_habits(int argc, char** argv) {
    std::vector<std::string> out(argv + 1, argv + argc);
    for (auto word = out.begin(); word != out.end(); ++word) {
        const bool is_command = *word == "check" || *word == "route" || *word == "help" ||
                                *word == "version" || *word == "ctl" || *word == "--";
        if (is_command) {
            return out;
        }
        // HAProxy's `-c -f FILE`; our own -c requires a FILE.
        const bool is_haproxy = *word == "-c" && word + 1 != out.end() && word[1] == "-f";
        if (*word == "-t" || *word == "--test" || *word == "-T" || is_haproxy) {
            const bool with_dump = *word == "-T";
            *word = "check";
            if (with_dump) {
                out.insert(word + 1, "--dump");
            }
            return out;
        }
    }
    return out;
}

int usage_error(const CommandLine& line, const std::string& message) {
    const bool is_ctl = line.ctl->parsed();
    app::complain(message + "; see s3gate " + (is_ctl ? "ctl " : "") + "--help");
    return is_ctl ? app::kExitUsage : control::kExitFailure;
}

void print_help_of(const CLI::App& command) {
    const std::string name =
        command.get_parent() == nullptr ? "s3gate" : "s3gate " + command.get_name();
    std::fputs(
        command.get_formatter()->make_help(&command, name, CLI::AppFormatMode::Normal).c_str(),
        stdout);
}

int print_help(const CommandLine& line) {
    const CLI::App* of = &line.app;
    if (!line.help_for.empty()) {
        const auto commands = line.app.get_subcommands(
            [&](const CLI::App* command) { return command->get_name() == line.help_for; });
        if (commands.empty()) {
            return usage_error(line, "there is no command \"" + line.help_for + "\"");
        }
        of = commands.front();
    }
    print_help_of(*of);
    return control::kExitOk;
}

// The same about --diff and its options.
std::string find_mistake_of_diff(const CommandLine& line) {
    const app::CheckOptions& check = line.check_options;
    if (line.diff->count() == 0) {
        return check.with_exit_code || line.diff_socket->count() > 0
                   ? "--exit-code and --socket belong to --diff"
                   : "";
    }
    if (check.diff.empty()) {
        return "the OLD of --diff has an empty name";
    }
    if (line.diff_socket->count() > 0 && check.diff != app::kRunning) {
        return "--socket belongs to --diff running";
    }
    if (check.with_dump || line.is_dump || check.is_strict || !check.unit.empty()) {
        return "--diff compares only: check FILE on its own for --dump, --strict or --unit";
    }
    return {};
}

// The message about a mistake on the command line; empty if there is none.
std::string find_mistake(const CommandLine& line) {
    const std::vector<std::string> extras = line.app.remaining(true);  // of all commands
    const app::CheckOptions& check = line.check_options;
    if (!extras.empty() && extras.front().starts_with('-')) {
        return "there is no option \"" + extras.front() + "\"";
    }
    if ((line.check->parsed() && !extras.empty()) ||
        (!line.file.empty() && !check.file.empty() && line.file != check.file)) {
        return "check takes one FILE";
    }
    // An empty argument comes from an unset variable of a script; the default file is not meant.
    if ((line.config->count() > 0 && line.file.empty()) ||
        (line.check_file->count() > 0 && check.file.empty())) {
        return "the FILE has an empty name";
    }
    if (check.as_json && (check.with_dump || line.is_dump)) {
        return "--json and --dump each want the output for themselves: leave one of them out";
    }
    if (std::string mistake = find_mistake_of_diff(line); !mistake.empty()) {
        return mistake;
    }
    if (line.route->parsed() && line.route_options.arguments.empty()) {
        return "route needs a key, a query string or a URL";
    }
    if (line.route_socket->count() > 0 && !line.route_options.is_live) {
        return "--socket belongs to --live";
    }
    if (!line.ctl_options.time.empty() && line.ctl_options.level.empty()) {
        return "--for belongs to a LEVEL";
    }
    if (!line.ctl_options.client.empty() && !base::Cidr::parse(line.ctl_options.client)) {
        return "--client takes an address or a block such as 10.0.0.0/8";
    }
    if (line.ctl_options.limit.find_first_not_of("0123456789") != std::string::npos) {
        return "--limit takes a number";
    }
    if (extras.empty()) {
        return {};
    }
    const auto commands = line.app.get_subcommands();  // the given ones
    return commands.empty()
               ? "there is no command \"" + extras.front() + "\""
               : commands.front()->get_name() + " does not take \"" + extras.front() + "\"";
}

// The file from the command line, else the default.
std::string config_file(const CommandLine& line) {
    if (!line.file.empty()) {
        return line.file;
    }
    if (!line.check_options.file.empty()) {
        return line.check_options.file;
    }
    if (::access(app::kDefaultFile, F_OK) != 0) {
        app::complain("no FILE is named, and the default " + std::string(app::kDefaultFile) +
                      " does not exist; name one with --config FILE");
    }
    return app::kDefaultFile;
}

int run_ctl(CommandLine& line) {
    const auto commands = line.ctl->get_subcommands();  // those that were given
    if (commands.empty()) {
        print_help_of(*line.ctl);
        return app::kExitUsage;  // a script whose variable is empty has not done anything
    }
    line.ctl_options.command = commands.front()->get_name();
    line.ctl_options.file = line.file;
    return app::run_ctl(line.ctl_options);
}

int run(CommandLine& line) {
    if (const std::string mistake = find_mistake(line); !mistake.empty()) {
        return usage_error(line, mistake);
    }
    if (line.version->parsed()) {
        std::puts("s3gate " S3GATE_VERSION);
        return control::kExitOk;
    }
    if (line.help->parsed()) {
        return print_help(line);
    }
    if (line.ctl->parsed()) {
        return run_ctl(line);
    }
    if (line.route->parsed() && line.route_options.is_live) {
        return app::run_route(line.file, line.route_options);
    }
    const std::string file = config_file(line);
    const bool is_check = line.app.get_subcommands().empty() && (line.is_test || line.is_dump);
    if (line.check->parsed() || is_check) {
        line.check_options.file = file;
        line.check_options.with_dump = line.check_options.with_dump || line.is_dump;
        return line.diff->count() > 0 ? app::run_diff(line.check_options)
                                      : app::run_check(line.check_options);
    }
    if (line.route->parsed()) {
        return app::run_route(file, line.route_options);
    }
    return app::run_daemon(file, line.words);
}

// CLI11's reason in our words.
std::string explain(const CLI::ParseError& error) {
    const std::string said = error.what();
    const std::string option = said.substr(0, said.find_first_of(": "));
    if (said.ends_with(" missing")) {
        return option + " needs a value";
    }
    if (said.find(" but received ") != std::string::npos) {
        return option + " is given more than once";
    }
    if (said.ends_with(" flag override")) {
        // CLI11 leaves out the dashes here.
        return (option.size() == 1 ? "-" : "--") + option + " takes no value";
    }
    return said;
}

int dispatch(int argc, char** argv) {
    CommandLine line;
    line.words.assign(argv, argv + argc);
    std::vector<std::string> words = expand_habits(argc, argv);
    std::ranges::reverse(words);  // CLI11 expects the reverse order
    try {
        line.app.parse(std::move(words));
    } catch (const CLI::ParseError& error) {
        // CLI11 reports help and version as errors too.
        return error.get_exit_code() == 0 ? line.app.exit(error)
                                          : usage_error(line, explain(error));
    }
    return run(line);
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return dispatch(argc, argv);
    } catch (const std::exception& error) {
        app::complain(error.what());
        return s3gate::control::kExitFailure;
    }
}
