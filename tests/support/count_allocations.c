/* Counts the allocations of all threads of a process except the first one: in the daemon that is
 * the control thread, which works periodically and not per request. Preloaded into a daemon by
 * tests/e2e/costs/test_no_allocations.py, which reads the count from the file that
 * COUNT_ALLOCATIONS names: two words, the count and a switch. While the switch is on, the first
 * allocations also print their stack, so a failure shows their origin.
 *
 * glibc's own entry points do the work, so dlsym(), which allocates, is not needed. */
#define _GNU_SOURCE
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

extern void* __libc_malloc(size_t size);
extern void* __libc_calloc(size_t count, size_t size);
extern void* __libc_realloc(void* old, size_t size);
extern void* __libc_memalign(size_t alignment, size_t size);

struct Shared {
    atomic_ulong count;
    atomic_ulong is_on;
};

static struct Shared own;
static struct Shared* shared = &own;
static atomic_int stacks_left = 5;
static __thread int is_printing;

__attribute__((constructor)) static void open_count(void) {
    void* warm_up[1];
    backtrace(warm_up, 1); /* loads libgcc now, not inside an allocation */
    const char* path = getenv("COUNT_ALLOCATIONS");
    const int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return;
    }
    void* memory = mmap(NULL, sizeof(struct Shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (memory != MAP_FAILED) {
        shared = memory;
    }
}

static void count_one(void) {
    if (atomic_load(&shared->is_on) == 0 || getpid() == gettid()) {
        return;
    }
    atomic_fetch_add(&shared->count, 1);
    if (!is_printing && atomic_fetch_sub(&stacks_left, 1) > 0) {
        is_printing = 1;
        void* frames[24];
        backtrace_symbols_fd(frames, backtrace(frames, 24), STDERR_FILENO);
        is_printing = 0;
    }
}

void* malloc(size_t size) {
    count_one();
    return __libc_malloc(size);
}

void* calloc(size_t count, size_t size) {
    count_one();
    return __libc_calloc(count, size);
}

void* realloc(void* old, size_t size) {
    count_one();
    return __libc_realloc(old, size);
}

void* memalign(size_t alignment, size_t size) {
    count_one();
    return __libc_memalign(alignment, size);
}

void* aligned_alloc(size_t alignment, size_t size) {
    count_one();
    return __libc_memalign(alignment, size);
}

int posix_memalign(void** out, size_t alignment, size_t size) {
    count_one();
    *out = __libc_memalign(alignment, size);
    return *out == NULL ? ENOMEM : 0;
}
