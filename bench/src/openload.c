/* Open-loop load generator: requests are due at a constant rate, whatever becomes of those before
 * them, and every latency is counted from the moment a request was due, not from when it could be
 * sent. A server that stalls therefore shows its stall in every request that was due meanwhile
 * (a closed loop would have sent, and counted, none of them).
 *
 *     openload host=127.0.0.1 port=9000 rate=2000 secs=5 conns=256
 *              [sources=8] [source=127.0.9.1] [path=/bucket/obj] [deadline_ms=1000] [fresh=1]
 *              [timeline=1]
 *     openload host=… port=… closed=32 secs=5       the same as a closed loop of 32 connections
 *
 * `conns` bounds the open connections; a request that is due while all are busy waits for one, and
 * its wait counts. `sources` client addresses in a row from `source` are used in turn. `fresh=1`
 * opens a connection for each request. Each request has a key of its own. Good is a complete answer
 * with status 2xx within `deadline_ms`. Prints one JSON object. Loopback only. One thread. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { kInput = 16384, kMostConnections = 20000, kHistogram = 64 * 32, kSeconds = 3600 };

struct options {
    struct sockaddr_in server;
    uint32_t source; /* host order; 0 = the kernel's choice */
    unsigned sources;
    double rate;
    double seconds;
    unsigned connections;
    bool closed;
    bool fresh;
    bool timeline;
    uint64_t deadline; /* ns */
    const char* path;
};

enum state { idle, connecting, busy, unused };

struct connection {
    int fd;
    enum state state;
    unsigned next; /* in a free list */
    uint64_t due;  /* when its request was due */
    uint64_t sequence;
    uint64_t body_left;
    size_t have;
    bool in_body;
    bool closes;
    int status;
    char input[kInput];
};

/* Latencies in buckets of 1/32 of a power of two of nanoseconds: at most 3 % off. */
struct histogram {
    uint64_t count[kHistogram];
    uint64_t total;
    uint64_t most;
};

static struct options options;
static struct connection* connections;
static unsigned* idle_stack;
static unsigned idle_count;
static unsigned unused_head;
static int epoll_fd;
static uint64_t* waiting; /* due times of requests without a connection, a ring */
static size_t waiting_first, waiting_count, waiting_room;
static uint64_t sequence;
static uint64_t sent, good, late, refused, other_status, failed, connect_failed;
static uint64_t by_second[kSeconds];
static struct histogram good_times, refused_times;
static uint64_t begin_time;

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char* what) {
    perror(what);
    exit(1);
}

static unsigned bucket_of(uint64_t ns) {
    if (ns < 32) {
        return (unsigned)ns;
    }
    const unsigned power = 63u - (unsigned)__builtin_clzll(ns);
    return (power - 4) * 32 + (unsigned)((ns >> (power - 5)) & 31u);
}

static double middle_us(unsigned bucket) {
    if (bucket < 32) {
        return bucket / 1000.0;
    }
    const unsigned power = bucket / 32 + 4;
    return (double)(((uint64_t)32 + bucket % 32) << (power - 5)) * (1 + 1.0 / 64) / 1000.0;
}

static void record(struct histogram* h, uint64_t ns) {
    ++h->count[bucket_of(ns)];
    ++h->total;
    h->most = ns > h->most ? ns : h->most;
}

static double quantile_us(const struct histogram* h, double q) {
    const uint64_t wanted = (uint64_t)(q * (double)h->total);
    uint64_t seen = 0;
    for (unsigned i = 0; i < kHistogram; ++i) {
        seen += h->count[i];
        if (seen > wanted) {
            return middle_us(i);
        }
    }
    return (double)h->most / 1000.0;
}

static void push_waiting(uint64_t due) {
    if (waiting_count == waiting_room) {
        const size_t room = waiting_room ? waiting_room * 2 : 4096;
        uint64_t* grown = malloc(room * sizeof *grown);
        if (!grown) {
            die("malloc");
        }
        for (size_t i = 0; i < waiting_count; ++i) {
            grown[i] = waiting[(waiting_first + i) % waiting_room];
        }
        free(waiting);
        waiting = grown;
        waiting_room = room;
        waiting_first = 0;
    }
    waiting[(waiting_first + waiting_count++) % waiting_room] = due;
}

static void begin_request(unsigned index, uint64_t due);

static void give_back(unsigned index) {
    connections[index].state = unused;
    connections[index].next = unused_head;
    unused_head = index;
}

static void close_connection(unsigned index) {
    close(connections[index].fd);
    connections[index].fd = -1;
    give_back(index);
}

/* Counts a request once: its answer, or the missing one. */
static void count_answer(struct connection* c, int status) {
    const uint64_t now = now_ns();
    const uint64_t took = now > c->due ? now - c->due : 0;
    if (status >= 200 && status < 300) {
        record(&good_times, took);
        if (took <= options.deadline) {
            ++good;
            const uint64_t second = (now - begin_time) / 1000000000u;
            ++by_second[second < kSeconds ? second : kSeconds - 1];
        } else {
            ++late;
        }
    } else if (status == 503 || status == 429) {
        ++refused;
        record(&refused_times, took);
    } else if (status == 0) {
        ++failed;
    } else {
        ++other_status;
    }
}

static void send_request(unsigned index) {
    struct connection* c = &connections[index];
    char head[1024];
    const int length = snprintf(
        head, sizeof head, "GET %s?sessionid=k%llu HTTP/1.1\r\nHost: bench\r\n%s\r\n", options.path,
        (unsigned long long)c->sequence % 100003, options.fresh ? "Connection: close\r\n" : "");
    c->state = busy;
    c->have = 0;
    c->in_body = false;
    if (send(c->fd, head, (size_t)length, MSG_NOSIGNAL) != length) {
        count_answer(c, 0);
        close_connection(index);
    }
}

static void open_connection(unsigned index) {
    struct connection* c = &connections[index];
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        die("socket");
    }
    const int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (options.source != 0) {
        struct sockaddr_in from = {.sin_family = AF_INET};
        from.sin_addr.s_addr = htonl(options.source + (uint32_t)(c->sequence % options.sources));
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        if (bind(fd, (struct sockaddr*)&from, sizeof from) != 0) {
            die("bind");
        }
    }
    c->fd = fd;
    c->state = connecting;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.u32 = index};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        die("epoll_ctl");
    }
    if (connect(fd, (struct sockaddr*)&options.server, sizeof options.server) != 0 &&
        errno != EINPROGRESS) {
        ++connect_failed;
        count_answer(c, 0);
        close_connection(index);
    }
}

static void begin_request(unsigned index, uint64_t due) {
    struct connection* c = &connections[index];
    c->due = due;
    c->sequence = sequence++;
    ++sent;
    if (c->state == idle) {
        send_request(index);
    } else {
        open_connection(index);
    }
}

/* Assigns due requests to idle connections. */
static void serve_waiting(void) {
    while (waiting_count > 0) {
        unsigned index;
        if (idle_count > 0) {
            index = idle_stack[--idle_count];
        } else if (unused_head != kMostConnections) {
            index = unused_head;
            unused_head = connections[index].next;
        } else {
            return;
        }
        const uint64_t due = waiting[waiting_first];
        waiting_first = (waiting_first + 1) % waiting_room;
        --waiting_count;
        begin_request(index, due);
    }
}

static void end_answer(unsigned index) {
    struct connection* c = &connections[index];
    count_answer(c, c->status);
    if (c->closes || options.fresh) {
        close_connection(index);
    } else {
        c->state = idle;
        idle_stack[idle_count++] = index;
    }
    if (options.closed && now_ns() - begin_time < (uint64_t)(options.seconds * 1e9)) {
        push_waiting(now_ns());
    }
}

/* Strict enough for the bench's servers: every answer has a Content-Length. */
static bool parse_head(struct connection* c, size_t length) {
    c->input[length - 1] = '\0';
    c->status = strncmp(c->input, "HTTP/1.", 7) == 0 ? atoi(c->input + 9) : 0;
    const char* field = strcasestr(c->input, "\r\ncontent-length:");
    c->closes = strcasestr(c->input, "\r\nconnection: close") != NULL;
    c->body_left = field ? strtoull(field + 17, NULL, 10) : 0;
    return c->status != 0 && (field || c->status == 204 || c->status == 304);
}

static void fail(unsigned index) {
    struct connection* c = &connections[index];
    const bool was_idle = c->state == idle;
    if (was_idle) {
        for (unsigned i = 0; i < idle_count; ++i) {
            if (idle_stack[i] == index) {
                idle_stack[i] = idle_stack[--idle_count];
                break;
            }
        }
    } else {
        count_answer(c, 0);
    }
    close_connection(index);
    if (!was_idle && options.closed && now_ns() - begin_time < (uint64_t)(options.seconds * 1e9)) {
        push_waiting(now_ns());
    }
}

static void read_answer(unsigned index) {
    struct connection* c = &connections[index];
    for (;;) {
        if (c->state == busy && c->in_body && c->body_left == 0) {
            end_answer(index);
            return;
        }
        const size_t room = kInput - 1 - c->have;
        const ssize_t got = recv(c->fd, c->input + c->have, room, 0);
        if (got < 0) {
            if (errno == EAGAIN) {
                return;
            }
            fail(index);
            return;
        }
        if (got == 0 || c->state == idle) {
            fail(index);
            return;
        }
        if (c->in_body) {
            c->body_left -= (uint64_t)got < c->body_left ? (uint64_t)got : c->body_left;
            continue;
        }
        c->have += (size_t)got;
        const char* end = memmem(c->input, c->have, "\r\n\r\n", 4);
        if (!end) {
            if (c->have == kInput - 1) {
                fail(index);
                return;
            }
            continue;
        }
        const size_t head = (size_t)(end - c->input) + 4;
        const size_t rest = c->have - head;
        if (!parse_head(c, head)) {
            fail(index);
            return;
        }
        c->body_left -= rest < c->body_left ? rest : c->body_left;
        c->in_body = true;
        c->have = 0;
    }
}

static void on_event(unsigned index, uint32_t events) {
    struct connection* c = &connections[index];
    if (c->state == unused) {
        return;
    }
    if (c->state == connecting) {
        int error = 0;
        socklen_t length = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length);
        if (error != 0) {
            ++connect_failed;
            fail(index);
            return;
        }
        if (!(events & EPOLLOUT)) {
            return;
        }
        send_request(index);
        if (c->state != busy) {
            return;
        }
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        read_answer(index);
    }
}

static const char* value_of(int argc, char** argv, const char* name, const char* otherwise) {
    const size_t length = strlen(name);
    for (int i = 1; i < argc; ++i) {
        if (strncmp(argv[i], name, length) == 0 && argv[i][length] == '=') {
            return argv[i] + length + 1;
        }
    }
    return otherwise;
}

static void read_options(int argc, char** argv) {
    options.server.sin_family = AF_INET;
    options.server.sin_port = htons((uint16_t)atoi(value_of(argc, argv, "port", "9000")));
    if (inet_pton(AF_INET, value_of(argc, argv, "host", "127.0.0.1"), &options.server.sin_addr) !=
            1 ||
        (ntohl(options.server.sin_addr.s_addr) >> 24) != 127) {
        fprintf(stderr, "openload: host must be a loopback address\n");
        exit(2);
    }
    struct in_addr source = {0};
    inet_pton(AF_INET, value_of(argc, argv, "source", "0.0.0.0"), &source);
    options.source = ntohl(source.s_addr);
    options.sources = (unsigned)atoi(value_of(argc, argv, "sources", "1"));
    options.rate = atof(value_of(argc, argv, "rate", "0"));
    options.seconds = atof(value_of(argc, argv, "secs", "5"));
    options.path = value_of(argc, argv, "path", "/bucket/obj-1k");
    options.fresh = atoi(value_of(argc, argv, "fresh", "0")) != 0;
    options.timeline = atoi(value_of(argc, argv, "timeline", "0")) != 0;
    options.deadline = (uint64_t)(atof(value_of(argc, argv, "deadline_ms", "1000")) * 1e6);
    const unsigned closed = (unsigned)atoi(value_of(argc, argv, "closed", "0"));
    options.closed = closed > 0;
    options.connections =
        closed > 0 ? closed : (unsigned)atoi(value_of(argc, argv, "conns", "256"));
    if ((options.rate <= 0) == (closed == 0) || options.connections == 0 || options.sources == 0 ||
        options.connections > kMostConnections || options.seconds <= 0 ||
        options.seconds >= kSeconds || options.rate > 1e6 || strlen(options.path) > 512) {
        fprintf(stderr, "openload: give rate= or closed=, and sensible figures\n");
        exit(2);
    }
}

int main(int argc, char** argv) {
    read_options(argc, argv);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    connections = calloc(options.connections, sizeof *connections);
    idle_stack = calloc(options.connections, sizeof *idle_stack);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (!connections || !idle_stack || epoll_fd < 0) {
        die("start");
    }
    unused_head = kMostConnections;
    for (unsigned i = options.connections; i-- > 0;) {
        connections[i].fd = -1;
        give_back(i);
    }
    begin_time = now_ns();
    const uint64_t end = begin_time + (uint64_t)(options.seconds * 1e9);
    /* Requests in progress at the end may still be answered, within their deadline and a second. */
    const uint64_t last = end + options.deadline + 1000000000u;
    const double interval = options.closed ? 0 : 1e9 / options.rate;
    const uint64_t total = options.closed ? 0 : (uint64_t)(options.rate * options.seconds);
    uint64_t scheduled = 0;
    for (unsigned i = 0; options.closed && i < options.connections; ++i) {
        push_waiting(begin_time);
    }
    struct epoll_event events[512];
    for (;;) {
        const uint64_t now = now_ns();
        while (scheduled < total && begin_time + (uint64_t)((double)scheduled * interval) <= now) {
            push_waiting(begin_time + (uint64_t)((double)scheduled * interval));
            ++scheduled;
        }
        serve_waiting();
        const uint64_t answered = good + late + refused + other_status + failed;
        if (now >= last ||
            (now >= end && scheduled == total && waiting_count == 0 && answered == sent)) {
            break;
        }
        struct timespec wait = {0, 10000000};
        if (scheduled < total) {
            const uint64_t due = begin_time + (uint64_t)((double)scheduled * interval);
            const uint64_t left = due > now ? due - now : 0;
            wait.tv_nsec = left < 10000000u ? (long)left : 10000000;
        }
        const int count = epoll_pwait2(epoll_fd, events, 512, &wait, NULL);
        for (int i = 0; i < count; ++i) {
            on_event(events[i].data.u32, events[i].events);
        }
    }
    const uint64_t answered = good + late + refused + other_status + failed;
    const uint64_t unanswered = sent - answered + waiting_count;
    const double seconds = options.seconds;
    printf(
        "{\"offered\": %llu, \"good\": %llu, \"late\": %llu, \"refused\": %llu, "
        "\"other\": %llu, \"failed\": %llu, \"connect_failed\": %llu, \"unanswered\": %llu, "
        "\"seconds\": %.3f, \"goodput\": %.1f, \"p50_us\": %.0f, \"p99_us\": %.0f, "
        "\"p999_us\": %.0f, \"max_us\": %.0f, \"refused_p50_us\": %.0f, "
        "\"refused_p99_us\": %.0f",
        (unsigned long long)(sent + waiting_count), (unsigned long long)good,
        (unsigned long long)late, (unsigned long long)refused, (unsigned long long)other_status,
        (unsigned long long)failed, (unsigned long long)connect_failed,
        (unsigned long long)unanswered, seconds, (double)good / seconds,
        quantile_us(&good_times, 0.5), quantile_us(&good_times, 0.99),
        quantile_us(&good_times, 0.999), (double)good_times.most / 1000.0,
        quantile_us(&refused_times, 0.5), quantile_us(&refused_times, 0.99));
    if (options.timeline) {
        printf(", \"by_second\": [");
        for (unsigned i = 0; i < (unsigned)seconds; ++i) {
            printf("%s%llu", i ? ", " : "", (unsigned long long)by_second[i]);
        }
        printf("]");
    }
    printf("}\n");
    return 0;
}
