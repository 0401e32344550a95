#pragma once

#include <string_view>

namespace s3gate::config {

// Every key with a value that is not its default. `headers` and `unanswered_writes` need different
// site types, so there are two sites.
inline constexpr std::string_view kNothingIsDefault = R"(
workers: 3
cpu_affinity: auto
log: {level: debug, target: /var/log/x.log, alarms: false}
access_log: {target: stdout, access_key: true}
admin: {listen: ["127.0.0.1:9180"], allow: [10.0.0.0/8], socket: /run/x/ctl.sock, operators: [a]}
metrics: {buckets: 12}
limits: {connections: 7, pipes: 8, replay_memory: 9MiB}
reload_grace: 3m
shutdown_delay: 5s
shutdown_timeout: 1500ms
upgrade_timeout: 2h
user: nobody
sites:
  - name: a
    type: http
    listen: ["127.0.0.1:1", {address: "[::1]:2", accept_proxy: [10.0.0.0/8, "::1"]}]
    hosts: ["*.lab", y]
    domains: [s3.lab, x]
    balance:
      method: least_conn
      key: [uploadid, "cookie:c", "header:X-H"]
      salt: "s $${X} \" \\ : # é"
      session_ttl: 3m
    backends:
      name: group
      servers:
        - address: "n{1...2}:1"
          weight: 2
          backup: true
          down: true
          drained: true
          max_connections: 5
          max_fails: 0
          health_port: 9
        - n3
      keepalive: 3
      idle_timeout: 4s
      send_proxy: v2
      max_connections: 6
      queue: off
      queue_timeout: 7s
      slow_start: 8s
    health:
      path: "/p?q=1"
      method: HEAD
      host: h
      port: 8
      interval: 9s
      timeout: 2s
      fall: 5
      rise: 6
      type: tcp
      expect_status: [201, 204-205]
      reject_headers: {X-A: "*b*"}
      concurrency: 7
    passive: {max_fails: 8, fail_timeout: 9s}
    resolve: {interval: 200ms, timeout: 2s}
    retry: {on: [error], max_tries: 4, max_time: 5s, replay_buffer: off, unanswered_writes: true}
    timeouts:
      connect: 1s
      client_head: 2s
      client_idle: 3s
      client_body: 4s
      client_write: 5s
      backend_head: 6s
      backend_body: 7s
      backend_stream: 8s
      tunnel_idle: 9s
    limits:
      head: 8KiB
      response_head: 5000
      connections: 10
      per_client: 3
      requests_per_client: {rate: 5/m, burst: 6}
    forwarded: {mode: append, trusted: ["fd00::/8"]}
    headers: {set: {X-A: "on"}}
    upgrade: true
    expect_empty_body: close
    client_half_close: serve
    status: {path: /s/, allow: []}
    session_header: X-S
    when_all_down: refuse
)";

}  // namespace s3gate::config
