/* Clients of the benchmark: one thread, epoll, a closed loop of CONCURRENCY clients.
 *
 *     load PORT keepalive|connections|download|upload CONCURRENCY SECONDS BYTES
 *     load PORT hold CONNECTIONS SECONDS 0
 *
 * keepalive: request, answer, request, ... on connections that stay. connections: connect, one request, close.
 * download, upload: BYTES per request on connections that stay. hold: opens CONNECTIONS, each with one request, prints
 * "holding", waits for the end of its standard input (SECONDS at most), and counts who is still connected.
 *
 * Prints one line of JSON: operations and bytes of the whole run, the last requests of which are awaited, so that they
 * can be set against CPU time of the whole run. latency_us: from request (or connect) to the end of the answer.
 */
#define _GNU_SOURCE
#include "wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    EVENTS_MAX = 256,
    SAMPLES_MAX = 1 << 20,
    ERRORS_MAX = 1000,
    GRACE_S = 10,     /* for the last answers */
    SOURCES = 16,     /* 127.0.1.1 and on: one source address runs out of ports in TIME_WAIT */
    OPENING_MAX = 64, /* of `hold`, at once */
};

struct client {
    int descriptor, busy, sent, answered;
    uint64_t expected, sending; /* bytes of the answer, and of an upload, still to move */
    double started_s;
};

static struct client *clients;
static char buffer[BULK], request[REQUEST];
static struct sockaddr_in target = {.sin_family = AF_INET};
static int poller, closes;
static char operation;
static uint64_t size, operations, moved, errors, opened;
static float *samples;
static size_t samples_taken;

static double now_s(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

static void start(struct client *client);

static void drop(struct client *client) {
    if (client->descriptor >= 0) close(client->descriptor);
    client->descriptor = -1;
    client->busy = 0;
}

static void err(struct client *client, const char *what) {
    if (errors++ < 3) fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    drop(client);
}

static int connect_client(struct client *client) {
    struct sockaddr_in source = {.sin_family = AF_INET};
    int on = 1;
    client->descriptor = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (client->descriptor < 0) return 0;
    source.sin_addr.s_addr = htonl(0x7f000101 + opened++ % SOURCES);
    setsockopt(client->descriptor, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    setsockopt(client->descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (bind(client->descriptor, (struct sockaddr *)&source, sizeof source) < 0) return 0;
    if (connect(client->descriptor, (struct sockaddr *)&target, sizeof target) < 0 && errno != EINPROGRESS) return 0;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = client};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, client->descriptor, &event) < 0) fail("epoll_ctl");
    return 1;
}

static void send_some(struct client *client) {
    if (!client->sent) {
        ssize_t length = send(client->descriptor, request, REQUEST, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (length != REQUEST) {
            if (length >= 0 || errno != EAGAIN) err(client, "send");
            return; /* still connecting: an edge will come */
        }
        client->sent = 1;
    }
    while (client->sending) {
        size_t wanted = client->sending < BULK ? client->sending : BULK;
        ssize_t length = send(client->descriptor, buffer, wanted, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (length < 0) {
            if (errno != EAGAIN) err(client, "send");
            return;
        }
        client->sending -= length;
    }
}

static void finish(struct client *client) {
    if (samples_taken < SAMPLES_MAX) samples[samples_taken++] = (now_s() - client->started_s) * 1e6;
    operations++;
    moved += size;
    client->busy = 0;
    client->answered = 1;
    if (closes) drop(client);
}

static void receive_some(struct client *client) {
    while (client->busy) {
        size_t wanted = client->expected < BULK ? client->expected : BULK;
        ssize_t length = recv(client->descriptor, buffer, wanted, MSG_DONTWAIT | DISCARD);
        if (length <= 0) {
            if (length < 0 && errno == EAGAIN) return;
            if (length == 0) errno = ECONNRESET;
            err(client, client->sent ? "recv" : "connect");
            return;
        }
        client->expected -= length;
        if (!client->expected) finish(client);
    }
}

static void start(struct client *client) {
    client->started_s = now_s();
    client->busy = 1;
    client->sent = client->answered = 0;
    client->sending = operation == 'u' ? size : 0;
    client->expected = operation == 'd' ? size : REQUEST;
    if (client->descriptor < 0 && !connect_client(client)) {
        err(client, "connect");
        return;
    }
    send_some(client);
}

static void turn(int timeout_ms) {
    struct epoll_event events[EVENTS_MAX];
    int count = epoll_wait(poller, events, EVENTS_MAX, timeout_ms);
    for (int i = 0; i < count; i++) {
        struct client *client = events[i].data.ptr;
        if (!client->busy) {
            char byte;
            if (client->descriptor >= 0 && events[i].events & EPOLLIN && recv(client->descriptor, &byte, 1, MSG_DONTWAIT) >= 0)
                err(client, "unexpected end or byte");
            continue;
        }
        if (!client->sent || client->sending) send_some(client);
        if (client->busy && events[i].events & ~EPOLLOUT) receive_some(client);
    }
}

static void wait_for_the_last(int count) {
    double deadline_s = now_s() + GRACE_S;
    for (int i = 0; i < count; i++) {
        while (clients[i].busy && now_s() < deadline_s) turn(100);
        if (clients[i].busy) {
            errno = ETIMEDOUT;
            err(&clients[i], "last answer");
        }
    }
}

static void run(int count, double seconds) {
    double end_s = now_s() + seconds;
    while (now_s() < end_s && errors < ERRORS_MAX) {
        for (int i = 0; i < count; i++)
            if (!clients[i].busy) start(&clients[i]);
        turn(100);
    }
    wait_for_the_last(count);
}

static int hold(int count, double seconds) {
    int alive = 0, next = 0, oldest = 0;
    double end_s = now_s() + seconds;
    while (oldest < count && now_s() < end_s && errors < ERRORS_MAX) {
        for (; next < count && next < oldest + OPENING_MAX; next++) start(&clients[next]);
        turn(100);
        for (; oldest < next && !clients[oldest].busy; oldest++)
            ;
    }
    printf("holding\n");
    fflush(stdout);
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    while (now_s() < end_s && poll(&input, 1, 0) == 0) turn(50);
    for (int i = 0; i < count; i++) alive += clients[i].answered && clients[i].descriptor >= 0;
    return alive;
}

static int ascending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double quantile(double share) { return samples_taken ? samples[(size_t)(share * (samples_taken - 1))] : 0; }

int main(int argc, char **argv) {
    if (argc != 6) {
        fprintf(stderr, "usage: load PORT keepalive|connections|download|upload|hold CONCURRENCY SECONDS BYTES\n");
        return 2;
    }
    const char *mode = argv[2];
    int count = atoi(argv[3]), alive = 0;
    double seconds = atof(argv[4]);
    closes = !strcmp(mode, "connections");
    operation = !strcmp(mode, "download") ? 'd' : !strcmp(mode, "upload") ? 'u' : 'e';
    size = operation == 'e' ? REQUEST : strtoull(argv[5], NULL, 10);
    request[0] = operation;
    memcpy(request + 1, &size, sizeof size);
    target.sin_port = htons(atoi(argv[1]));
    target.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    raise_descriptor_limit();
    clients = calloc(count, sizeof *clients);
    samples = calloc(SAMPLES_MAX, sizeof *samples);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (!clients || !samples || poller < 0 || !size) fail("start");
    for (int i = 0; i < count; i++) clients[i].descriptor = -1;
    double started_s = now_s();
    if (!strcmp(mode, "hold")) alive = hold(count, seconds);
    else run(count, seconds);
    double took_s = now_s() - started_s;
    qsort(samples, samples_taken, sizeof *samples, ascending);
    printf("{\"operations\": %llu, \"bytes\": %llu, \"seconds\": %.6f, \"errors\": %llu, \"alive\": %d, "
           "\"latency_us\": {\"p50\": %.1f, \"p99\": %.1f, \"worst\": %.1f}}\n",
           (unsigned long long)operations, (unsigned long long)moved, took_s, (unsigned long long)errors, alive,
           quantile(.5), quantile(.99), quantile(1));
    return 0;
}
