/* What the benchmark's load and its backend agree on. */
#ifndef FORESTAY_BENCHMARK_WIRE_H
#define FORESTAY_BENCHMARK_WIRE_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum {
    REQUEST = 64,      /* bytes of a request, and of its answer where that is not bulk */
    BULK = 256 * 1024, /* bytes moved per system call */
    /* Takes what came without copying it: the proxy should be the bottleneck, not who reads behind it. See tcp(7). */
    DISCARD = MSG_TRUNC
};

static inline void fail(const char *what) {
    perror(what);
    exit(1);
}

/* The soft limit becomes the hard one. Returns how many descriptors there may be. */
static inline size_t raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) fail("getrlimit");
    if (limit.rlim_max > 1 << 20) limit.rlim_max = 1 << 20;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0) fail("setrlimit");
    return limit.rlim_cur;
}

#endif
