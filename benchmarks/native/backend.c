/* The server behind every proxy of the benchmark: one thread, epoll, as little work as possible.
 *
 *     backend PORTS        prints the ports that it listens on, then serves until it is killed
 *
 * A request is REQUEST bytes: an operation, then a length of 8 bytes in the machine's order.
 *   'e'  answered with itself        'd'  answered with `length` bytes
 *   'u'  followed by `length` bytes, then answered with the request
 */
#define _GNU_SOURCE
#include "wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS_MAX = 256, ACCEPTS_MAX = 64, PORTS_MAX = 64 };

struct connection {
    char request[REQUEST];
    unsigned filled;    /* bytes of the request that have come */
    uint64_t receiving; /* bytes of an upload still to come */
    uint64_t sending;   /* bytes of a download still to go */
    int listening, watching_output;
};

static struct connection *connections;
static int poller;
static char buffer[BULK];

static void watch(int descriptor, uint32_t events, int operation) {
    struct epoll_event event = {.events = events, .data.fd = descriptor};
    if (epoll_ctl(poller, operation, descriptor, &event) < 0) fail("epoll_ctl");
}

static int transient(ssize_t result) { return result < 0 && (errno == EAGAIN || errno == EINTR); }

/* 0 when the connection is over, as in `serve`. */
static int answer(int descriptor, const char *request) {
    /* A socket that took its last answer has room for this one: the client waits for each. */
    return send(descriptor, request, REQUEST, MSG_NOSIGNAL | MSG_DONTWAIT) == REQUEST;
}

static int send_more(int descriptor, struct connection *connection) {
    while (connection->sending) {
        size_t length = connection->sending < BULK ? connection->sending : BULK;
        ssize_t sent = send(descriptor, buffer, length, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0) {
            if (!transient(sent)) return 0;
            if (!connection->watching_output) watch(descriptor, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
            return connection->watching_output = 1;
        }
        connection->sending -= sent;
    }
    if (connection->watching_output) watch(descriptor, EPOLLIN, EPOLL_CTL_MOD);
    connection->watching_output = 0;
    return 1;
}

static int start(int descriptor, struct connection *connection) {
    uint64_t length;
    memcpy(&length, connection->request + 1, sizeof length);
    connection->filled = 0;
    switch (connection->request[0]) {
    case 'e': return answer(descriptor, connection->request);
    case 'd': connection->sending = length; return send_more(descriptor, connection);
    case 'u': connection->receiving = length; return 1;
    default: return 0;
    }
}

static int serve(int descriptor, struct connection *connection) {
    int upload = connection->receiving > 0;
    size_t wanted = upload ? BULK : REQUEST - connection->filled;
    if (upload && connection->receiving < wanted) wanted = connection->receiving;
    char *target = upload ? buffer : connection->request + connection->filled;
    ssize_t length = recv(descriptor, target, wanted, MSG_DONTWAIT | (upload ? DISCARD : 0));
    if (transient(length)) return 1;
    if (length <= 0) return 0;
    if (upload) {
        connection->receiving -= length;
        return connection->receiving || answer(descriptor, connection->request);
    }
    connection->filled += length;
    return connection->filled < REQUEST || start(descriptor, connection);
}

static void accept_some(int listener) {
    for (int i = 0; i < ACCEPTS_MAX; i++) {
        int descriptor = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), on = 1;
        if (descriptor < 0) return;
        setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        memset(&connections[descriptor], 0, sizeof *connections);
        watch(descriptor, EPOLLIN, EPOLL_CTL_ADD);
    }
}

static void listen_on_a_free_port(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, length) < 0 || listen(listener, 4096) < 0)
        fail("listen");
    getsockname(listener, (struct sockaddr *)&address, &length);
    memset(&connections[listener], 0, sizeof *connections);
    connections[listener].listening = 1;
    watch(listener, EPOLLIN, EPOLL_CTL_ADD);
    printf("%d ", ntohs(address.sin_port));
}

int main(int argc, char **argv) {
    int ports = argc == 2 ? atoi(argv[1]) : 0;
    if (ports < 1 || ports > PORTS_MAX) {
        fprintf(stderr, "usage: backend PORTS (1 to %d)\n", PORTS_MAX);
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    connections = calloc(raise_descriptor_limit(), sizeof *connections);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (!connections || poller < 0) fail("start");
    for (int i = 0; i < ports; i++) listen_on_a_free_port();
    printf("\n");
    fflush(stdout);
    for (;;) {
        struct epoll_event events[EVENTS_MAX];
        int count = epoll_wait(poller, events, EVENTS_MAX, -1);
        for (int i = 0; i < count; i++) {
            int descriptor = events[i].data.fd, alive = 1;
            struct connection *connection = &connections[descriptor];
            if (connection->listening) {
                accept_some(descriptor);
                continue;
            }
            if (events[i].events & EPOLLOUT) alive = send_more(descriptor, connection);
            if (alive && events[i].events & ~EPOLLOUT) alive = serve(descriptor, connection);
            if (!alive) close(descriptor);
        }
    }
}
