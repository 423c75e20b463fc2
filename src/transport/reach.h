/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * How ranks reach the root by TCP: it listens on a port of its own choice and broadcasts where, with a random token; every rank tries
 * all of the root's addresses at the same time, for it does not know which network reaches it, and keeps the connection on which the
 * root answers first.
 */
#ifndef PMAP_TRANSPORT_REACH_H
#define PMAP_TRANSPORT_REACH_H

#include <netinet/in.h>
#include <stdint.h>

#define PMAP__TOKEN 16
#define PMAP__ADDRESSES 16 /* of the root that are tried */
#define PMAP__HOST 64

/* How to reach the root. Broadcast as it is: all ranks run the same program on machines of one kind. */
struct pmap__call {
    uint32_t heartbeat; /* ms; 0: there will be no lifelines */
    uint32_t addresses;
    unsigned char token[PMAP__TOKEN], answer[PMAP__TOKEN]; /* what the rank says, and what the root says to that */
    char host[PMAP__HOST];
    struct in6_addr address[PMAP__ADDRESSES]; /* IPv4 as ::ffff:a.b.c.d */
    in_port_t port;                     /* in network order */
};

struct pmap__hello {
    unsigned char token[PMAP__TOKEN];
    int32_t rank, pid;
    char host[PMAP__HOST];
};

/* A socket that listens on all addresses; -1 and errno. */
int pmap__reach_listen(in_port_t *port);

/* Put this host's addresses into the call. */
void pmap__reach_list(struct pmap__call *call);

/* A connection to the root, which has been greeted and has answered; -1 and errno. Waits for ten seconds at most. */
int pmap__reach_root(const struct pmap__call *call, const struct pmap__hello *hello);

/* Close it if it is open, and forget it. */
void pmap__close_fd(int *fd);

#endif
