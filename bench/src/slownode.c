/* Storage nodes with a known capacity, for overload.py: each serves `slots` requests at a time,
 * each for a fixed time, and lets the others wait in the order they came, without bound, as a
 * disk's queue does. What they can carry is therefore nodes × slots / time, whatever is offered.
 *
 *     slownode PORT NODES SLOTS SERVICE_US LIFETIME_S
 *
 * Node i listens on 127.0.2.i. Answers GET with 1,024 bytes; health checks at once. A request whose
 * connection is gone when its turn comes still takes its time, as a read that was queued does.
 * Prints READY; ends by itself. Loopback only. */
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

enum { kMostNodes = 64, kMostFiles = 65536, kInput = 8192, kBody = 1024 };

struct request {
    int fd;
    uint32_t generation; /* of the descriptor, which may belong to another connection now */
};

struct queue {
    struct request* items;
    size_t first, count, room;
};

struct slot {
    struct request request;
    uint64_t end;
};

struct node {
    struct queue waiting;
    struct slot* slots;
    unsigned busy;
};

struct connection {
    uint32_t generation;
    unsigned node;
    size_t have;
    char* input;
};

static struct node nodes[kMostNodes];
static unsigned node_count, slot_count;
static uint64_t service;
static struct connection connections[kMostFiles];
static int epoll_fd;
static char answer[kBody + 256];
static size_t answer_length;
static const char kHealthy[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char* what) {
    perror(what);
    exit(1);
}

static void push(struct queue* q, struct request request) {
    if (q->count == q->room) {
        const size_t room = q->room ? q->room * 2 : 1024;
        struct request* grown = malloc(room * sizeof *grown);
        if (!grown) {
            die("malloc");
        }
        for (size_t i = 0; i < q->count; ++i) {
            grown[i] = q->items[(q->first + i) % q->room];
        }
        free(q->items);
        q->items = grown;
        q->room = room;
        q->first = 0;
    }
    q->items[(q->first + q->count++) % q->room] = request;
}

static void start_waiting(struct node* node, uint64_t now) {
    while (node->busy < slot_count && node->waiting.count > 0) {
        struct slot* slot = &node->slots[node->busy++];
        slot->request = node->waiting.items[node->waiting.first];
        slot->end = now + service;
        node->waiting.first = (node->waiting.first + 1) % node->waiting.room;
        --node->waiting.count;
    }
}

static void end_connection(int fd) {
    ++connections[fd].generation;
    free(connections[fd].input);
    connections[fd].input = NULL;
    close(fd);
}

/* Returns the time at which the node's next request ends; 0 = never. */
static uint64_t finish(struct node* node, uint64_t now) {
    uint64_t next = 0;
    for (unsigned i = 0; i < node->busy;) {
        struct slot* slot = &node->slots[i];
        if (slot->end <= now) {
            const struct request request = slot->request;
            *slot = node->slots[--node->busy];
            if (connections[request.fd].generation == request.generation) {
                (void)!send(request.fd, answer, answer_length, MSG_NOSIGNAL | MSG_DONTWAIT);
            }
            continue;
        }
        next = next == 0 || slot->end < next ? slot->end : next;
        ++i;
    }
    if (node->waiting.count > 0 && node->busy < slot_count) {
        start_waiting(node, now);
        const uint64_t end = now + service;
        next = next == 0 || end < next ? end : next;
    }
    return next;
}

static void read_requests(int fd) {
    struct connection* c = &connections[fd];
    for (;;) {
        const ssize_t got = recv(fd, c->input + c->have, kInput - c->have, MSG_DONTWAIT);
        if (got < 0 && errno == EAGAIN) {
            return;
        }
        if (got <= 0) {
            end_connection(fd);
            return;
        }
        c->have += (size_t)got;
        const char* end;
        while ((end = memmem(c->input, c->have, "\r\n\r\n", 4)) != NULL) {
            const size_t length = (size_t)(end - c->input) + 4;
            if (memmem(c->input, length, "/health/", 8)) {
                (void)!send(fd, kHealthy, sizeof kHealthy - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
            } else {
                push(&nodes[c->node].waiting, (struct request){fd, c->generation});
                start_waiting(&nodes[c->node], now_ns());
            }
            memmove(c->input, c->input + length, c->have - length);
            c->have -= length;
        }
        if (c->have == kInput) {
            end_connection(fd);
            return;
        }
    }
}

int main(int argc, char** argv) {
    if (argc != 6) {
        fprintf(stderr, "slownode PORT NODES SLOTS SERVICE_US LIFETIME_S\n");
        return 2;
    }
    node_count = (unsigned)atoi(argv[2]);
    slot_count = (unsigned)atoi(argv[3]);
    service = (uint64_t)(atof(argv[4]) * 1000);
    const uint64_t last = now_ns() + (uint64_t)(atof(argv[5]) * 1e9);
    if (node_count < 1 || node_count > kMostNodes || slot_count < 1 || slot_count > 1024) {
        return 2;
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max < kMostFiles ? files.rlim_max : kMostFiles;
    setrlimit(RLIMIT_NOFILE, &files);
    const int head = snprintf(answer, sizeof answer,
                              "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
                              "ETag: \"0\"\r\nContent-Length: %d\r\n\r\n",
                              kBody);
    memset(answer + head, 'x', kBody);
    answer_length = (size_t)head + kBody;
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int listeners[kMostNodes];
    for (unsigned i = 0; i < node_count; ++i) {
        nodes[i].slots = calloc(slot_count, sizeof *nodes[i].slots);
        listeners[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        const int one = 1;
        setsockopt(listeners[i], SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        struct sockaddr_in address = {.sin_family = AF_INET};
        address.sin_port = htons((uint16_t)atoi(argv[1]));
        address.sin_addr.s_addr = htonl(0x7f000200u + i + 1);
        if (bind(listeners[i], (struct sockaddr*)&address, sizeof address) != 0 ||
            listen(listeners[i], 4096) != 0) {
            die("listen");
        }
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)i << 32};
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listeners[i], &event);
    }
    printf("READY\n");
    fflush(stdout);
    struct epoll_event events[512];
    while (now_ns() < last) {
        uint64_t now = now_ns();
        uint64_t next = now + 100000000u;
        for (unsigned i = 0; i < node_count; ++i) {
            const uint64_t end = finish(&nodes[i], now);
            next = end != 0 && end < next ? end : next;
        }
        now = now_ns();
        const struct timespec wait = {0, next > now ? (long)(next - now) : 0};
        const int count = epoll_pwait2(epoll_fd, events, 512, &wait, NULL);
        for (int i = 0; i < count; ++i) {
            const int fd = (int)(events[i].data.u64 & 0xffffffffu);
            if (fd != 0) {
                if (connections[fd].input) {
                    read_requests(fd);
                }
                continue;
            }
            const unsigned node = (unsigned)(events[i].data.u64 >> 32);
            for (;;) {
                const int client =
                    accept4(listeners[node], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
                if (client < 0) {
                    break;
                }
                if (client >= kMostFiles) {
                    close(client);
                    continue;
                }
                const int one = 1;
                setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                connections[client].node = node;
                connections[client].have = 0;
                connections[client].input = malloc(kInput);
                struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)client};
                epoll_ctl(epoll_fd, EPOLL_CTL_ADD, client, &event);
            }
        }
    }
    return 0;
}
