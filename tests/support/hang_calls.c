/* Makes the user database and the opening of some files hang, as a network does whose server is
 * gone, and workers when they accept. Preloaded into a daemon by the fixture `hang` of
 * tests/e2e/conftest.py. While the file that HANG_WHILE names exists, getpwnam() and getpwuid()
 * wait, and so does the opening of every path that ends in ".hangs". While the file with ".accept"
 * behind that name exists, a worker's accept4() waits. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

static void wait_while(const char* ending) {
    const char* const file = getenv("HANG_WHILE");
    char path[4096];
    snprintf(path, sizeof path, "%s%s", file == NULL ? "" : file, ending);
    while (access(path, F_OK) == 0) {
        usleep(10000);
    }
}

struct passwd* getpwnam(const char* name) {
    struct passwd* (*const next)(const char*) = dlsym(RTLD_NEXT, "getpwnam");
    wait_while("");
    return next(name);
}

struct passwd* getpwuid(uid_t uid) {
    struct passwd* (*const next)(uid_t) = dlsym(RTLD_NEXT, "getpwuid");
    wait_while("");
    return next(uid);
}

int accept4(int socket, struct sockaddr* address, socklen_t* length, int flags) {
    int (*const next)(int, struct sockaddr*, socklen_t*, int) = dlsym(RTLD_NEXT, "accept4");
    char thread[16] = "";
    prctl(PR_GET_NAME, thread);
    if (strncmp(thread, "s3gate/w", 8) == 0) {
        wait_while(".accept");
    }
    return next(socket, address, length, flags);
}

static int open_by(const char* symbol, const char* path, int flags, mode_t mode) {
    int (*const next)(const char*, int, ...) = dlsym(RTLD_NEXT, symbol);
    const char* const end = strrchr(path, '.');
    if (end != NULL && strcmp(end, ".hangs") == 0) {
        wait_while("");
    }
    return next(path, flags, mode);
}

#define OPEN(symbol)                                        \
    int symbol(const char* path, int flags, ...) {          \
        va_list rest;                                       \
        va_start(rest, flags);                              \
        const mode_t mode = (mode_t)va_arg(rest, unsigned); \
        va_end(rest);                                       \
        return open_by(#symbol, path, flags, mode);         \
    }
OPEN(open)
OPEN(open64)
