// Options, subcommands, exit codes.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>

#include "commands.hpp"
#include "s3gate/proxy/server.hpp"

namespace {

int dispatch(int argc, char** argv) {
    using namespace s3gate;
    CLI::App options("S3-aware reverse proxy. Without a subcommand: serve, in the foreground.",
                     "s3gate");
    std::string file;
    options.add_option("-c,--config", file, "The main configuration file")->type_name("FILE");
    options.require_subcommand(0, 1);

    CLI::App* check =
        options.add_subcommand("check", "Check the configuration and say what it amounts to");
    CLI::App* route = options.add_subcommand("route", "Say which backend requests go to, and why");
    CLI::App* version = options.add_subcommand("version", "Print the version");
    check->fallthrough();  // --config is accepted after the subcommand as well
    route->fallthrough();

    app::RouteOptions request;
    route->add_option("-s,--site", request.site, "Only this site")->type_name("NAME");
    route->add_option("--ip", request.ip, "Client address, for the fingerprint")->type_name("IP");
    route->add_option("--user-agent", request.user_agent, "User-Agent, for the fingerprint")
        ->type_name("TEXT");
    route
        ->add_option("--accept-language", request.accept_language,
                     "Accept-Language, for the fingerprint")
        ->type_name("TEXT");
    route
        ->add_option("ARG", request.arguments,
                     "A key, a query string (holds '=' or begins with '?'), or a URL (holds '://' "
                     "or begins with '/')")
        ->required()
        ->type_name("");

    try {
        options.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        // CLI11 prints the help or what is wrong; its own codes would collide with ours.
        return options.exit(error) == 0 ? proxy::kExitOk : proxy::kExitFailure;
    }
    if (version->parsed()) {
        std::puts("s3gate " S3GATE_VERSION);
        return proxy::kExitOk;
    }
    if (file.empty()) {
        std::fputs("s3gate: --config FILE is needed; see s3gate --help\n", stderr);
        return proxy::kExitFailure;
    }
    if (check->parsed()) {
        return app::run_check(file);
    }
    if (route->parsed()) {
        return app::run_route(file, request);
    }
    return app::run_daemon(file);
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return dispatch(argc, argv);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "s3gate: %s\n", error.what());
        return s3gate::proxy::kExitFailure;
    }
}
