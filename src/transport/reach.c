/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "transport/reach.h"

#include "base/clock.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECT_TIME (10 * PMAP__S) /* ten thousand ranks at once lose packets, which come again after 1, 3 and 7 s */

void pmap__close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* ---- Where the root is ---- */

static struct in6_addr mapped(struct in_addr address)
{
    struct in6_addr six = {.s6_addr = {[10] = 0xff, [11] = 0xff}};
    memcpy(six.s6_addr + 12, &address, sizeof address);
    return six;
}

/* Addresses that mean nothing on another link do not help. */
static bool address_of(const struct sockaddr *from, struct in6_addr *address)
{
    if (from && from->sa_family == AF_INET) {
        *address = mapped(((const struct sockaddr_in *)(const void *)from)->sin_addr);
        return true;
    }
    if (from == NULL || from->sa_family != AF_INET6)
        return false;
    *address = ((const struct sockaddr_in6 *)(const void *)from)->sin6_addr;
    return !IN6_IS_ADDR_LINKLOCAL(address);
}

static void add_addresses(struct pmap__call *call, const struct ifaddrs *list, bool loopback)
{
    for (const struct ifaddrs *i = list; i && call->addresses < PMAP__ADDRESSES; i = i->ifa_next)
        if ((i->ifa_flags & IFF_UP) && loopback == ((i->ifa_flags & IFF_LOOPBACK) != 0) &&
            address_of(i->ifa_addr, &call->address[call->addresses]))
            call->addresses++;
}

/* Those of the loopback device come last, and help where there is no network at all. */
void pmap__reach_list(struct pmap__call *call)
{
    struct ifaddrs *list;

    if (getifaddrs(&list) != 0)
        return;
    add_addresses(call, list, false);
    add_addresses(call, list, true);
    freeifaddrs(list);
}

static int bind_any(int family)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = in6addr_any};
    struct sockaddr_in four = {.sin_family = AF_INET};
    bool is_six = family == AF_INET6;
    int off = 0, fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd >= 0 && is_six)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (fd >= 0 && (bind(fd, is_six ? (const void *)&six : (const void *)&four, is_six ? sizeof six : sizeof four) != 0 ||
                    listen(fd, SOMAXCONN) != 0))
        pmap__close_fd(&fd);
    return fd;
}

int pmap__reach_listen(in_port_t *port)
{
    struct sockaddr_in6 name = {0};
    socklen_t size = sizeof name;
    int fd = bind_any(AF_INET6);

    if (fd < 0)
        fd = bind_any(AF_INET);
    if (fd >= 0 && getsockname(fd, (struct sockaddr *)&name, &size) != 0)
        pmap__close_fd(&fd);
    *port = name.sin6_port; /* it is at the same place in both */
    return fd;
}

/* ---- A rank calls the root ---- */

struct attempt {
    int fd; /* -1: it has failed */
    bool connected;
    size_t got;
    unsigned char answer[PMAP__TOKEN];
};

static int begin_connect(const struct in6_addr *address, in_port_t port)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = *address, .sin6_port = port};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = port};
    bool is_four = IN6_IS_ADDR_V4MAPPED(address);
    int fd = socket(is_four ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    memcpy(&four.sin_addr, address->s6_addr + 12, sizeof four.sin_addr);
    if (fd >= 0 && connect(fd, is_four ? (const void *)&four : (const void *)&six, is_four ? sizeof four : sizeof six) != 0 &&
        errno != EINPROGRESS)
        pmap__close_fd(&fd);
    return fd;
}

/* The connection stands: say who we are. Or it has failed: errno says why. */
static bool introduce(struct attempt *a, const struct pmap__hello *hello)
{
    int error = 0;
    socklen_t size = sizeof error;

    getsockopt(a->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error == 0 && send(a->fd, hello, sizeof *hello, MSG_NOSIGNAL) == (ssize_t)sizeof *hello)
        return a->connected = true;
    errno = error ? error : ECONNRESET; /* a greeting of a hundred bytes fits, or nothing does */
    return false;
}

/* True when the whole answer is here and is the root's; errno is 0 if it may still come. */
static bool is_answered(struct attempt *a, const struct pmap__call *call)
{
    ssize_t n = recv(a->fd, a->answer + a->got, PMAP__TOKEN - a->got, 0);

    if (n == 0)
        errno = ECONNRESET;
    if (n <= 0) {
        errno = errno == EAGAIN || errno == EINTR ? 0 : errno;
        return false;
    }
    a->got += (size_t)n;
    errno = a->got == PMAP__TOKEN ? ECONNREFUSED : 0; /* somebody else's */
    return a->got == PMAP__TOKEN && memcmp(a->answer, call->answer, PMAP__TOKEN) == 0;
}

/* Go on with one attempt, about which poll() has something to say; true if it is the one. *why: why the last failed. */
static bool advance(struct attempt *a, const struct pmap__call *call, const struct pmap__hello *hello, int *why)
{
    if (!a->connected && introduce(a, hello))
        return false;
    if (a->connected && is_answered(a, call))
        return true;
    if (errno == 0)
        return false;
    *why = errno;
    pmap__close_fd(&a->fd);
    return false;
}

/* The index of the attempt on which the root has answered; -1, and errno. */
static int race(struct attempt attempts[], uint32_t n, const struct pmap__call *call, const struct pmap__hello *hello)
{
    uint64_t end = pmap__now() + CONNECT_TIME, now;
    struct pollfd polled[PMAP__ADDRESSES];
    int why = EHOSTUNREACH, open = 1;

    while (open > 0 && (now = pmap__now()) < end) {
        open = 0;
        for (uint32_t i = 0; i < n; i++) {
            polled[i] = (struct pollfd){.fd = attempts[i].fd, .events = attempts[i].connected ? POLLIN : POLLOUT};
            open += attempts[i].fd >= 0;
        }
        if (open && poll(polled, n, (int)((end - now) / PMAP__MS) + 1) == 0)
            why = ETIMEDOUT;
        for (uint32_t i = 0; i < n; i++)
            if (polled[i].fd >= 0 && polled[i].revents && advance(&attempts[i], call, hello, &why))
                return (int)i;
    }
    errno = why;
    return -1;
}

/* A connection to the root; -1, and errno. */
int pmap__reach_root(const struct pmap__call *call, const struct pmap__hello *hello)
{
    struct attempt attempts[PMAP__ADDRESSES] = {0};

    for (uint32_t i = 0; i < call->addresses; i++)
        attempts[i].fd = begin_connect(&call->address[i], call->port);
    int winner = race(attempts, call->addresses, call, hello), why = errno;
    for (uint32_t i = 0; i < call->addresses; i++)
        if ((int)i != winner)
            pmap__close_fd(&attempts[i].fd);
    errno = why;
    return winner >= 0 ? attempts[winner].fd : -1;
}
