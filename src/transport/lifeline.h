/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Lifelines: TCP connections of our own between the root and every other rank of a port, by which each end learns that the
 * other has died. MPI does not tell.
 *
 * A process that dies, however it does, has its sockets closed by its kernel, and the other end reads the end of the stream:
 * within milliseconds on any node. A host that is gone, or a cable that is pulled, closes nothing. So each end sends a byte
 * now and then, and its kernel gives the connection up when such a byte has not been acknowledged for a while
 * (TCP_USER_TIMEOUT). It is the other end's kernel that acknowledges: a rank that is stopped, swapped out, or in an item that
 * takes an hour, is alive; a slow link, with retransmissions, is slow.
 *
 * Each rank has a thread for that, which sleeps in epoll_wait() and knows no MPI: the rank's only other thread may be in an item
 * for an hour. The loop that works on the port looks at one flag. A rank whose root dies ends at once, for nothing that it does is
 * of use to anybody.
 *
 * Nobody is missed at the end of a pool: whoever leaves says goodbye first.
 *
 * A rank that is sent SIGUSR2 passes that on by its lifeline, for it is the root that knows what everybody does.
 *
 * PMAP_HEARTBEAT in the environment of the root is how many seconds a host may be unreachable before it counts as dead: 2 if it is
 * not set; 0: there are no lifelines, and deaths are left to the launcher.
 *
 * How many: the connections are flat, one for each rank at the root, which has its limit of open files raised for them as far
 * as it may be (RLIMIT_NOFILE: mostly 4096 to a million; ranks beyond it have none, and a warning says so). With 10 000 ranks and
 * 2 s the root's thread sends 20 000 bytes a second, each a system call of some 2 us: 4 % of a core; it needs about 50 MB in
 * the kernel.
 */
#ifndef PMAP_TRANSPORT_LIFELINE_H
#define PMAP_TRANSPORT_LIFELINE_H

#include "base/bell.h"
#include "transport/transport.h"

struct pmap__lifeline;

/* Collective over the port, whose lifeline it becomes; without ranks to watch, or with PMAP_HEARTBEAT=0, there is none. Where a
 * connection cannot be made the root prints a warning and the others have theirs; *missing is their number, on the root. PMAP_OK;
 * PMAP_EINVAL on the root: PMAP_HEARTBEAT is no number; PMAP_ENOMEM; PMAP_EMPI. */
enum pmap_status pmap__lifeline_open(struct pmap__port *port, int root, int *missing, struct pmap_error *error);

/* On the root: from now on the bell is rung when a rank dies. Whoever is rung takes the news within 200 ms; else all ranks are
 * ended with a text. forbearing: news may also wait for ever, and a rank that says goodbye is news, too. */
void pmap__lifeline_watch(struct pmap__lifeline *line, struct pmap__bell *bell, bool forbearing);

/* Say goodbye and end the thread. Not collective. NULL is fine. */
void pmap__lifeline_close(struct pmap__lifeline *line);

/* Is there somebody whose death is not known yet? Any thread. */
bool pmap__lifeline_news(const struct pmap__lifeline *line);

/* Is this rank dead, or has it said goodbye, or has it never had a lifeline? On the root; any thread. */
bool pmap__lifeline_is_gone(const struct pmap__lifeline *line, int rank);

/* Has this rank died, as far as that is heard, whether it has been told or not? On the root; any thread. Not one that said goodbye. */
bool pmap__lifeline_is_dead(const struct pmap__lifeline *line, int rank);

/* Who, and what happened to it: "rank 3 on node2 died". -1: nobody. *alive, if it is not NULL: when it lived for certain; of a host
 * that cannot be reached that is long ago. */
#define PMAP__OBITUARY_MAX 160
int pmap__lifeline_next(struct pmap__lifeline *line, char text[static PMAP__OBITUARY_MAX], uint64_t *alive);

/* Where a rank that lives, or has lived, is, on the root: its host, cut if it is longer, and its process; false if it has no lifeline. */
bool pmap__lifeline_where(const struct pmap__lifeline *line, int rank, char host[static 64], int *pid);

/* Is the calling thread one of a lifeline's? It may end all ranks, but has no right to call MPI. */
bool pmap__lifeline_here(void);

/* This process is going to end all ranks, with a text: have them end at once, without one of their own. Any thread. */
void pmap__lifelines_end_all(void);

#endif
