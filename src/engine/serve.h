/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The other ranks' side of a pool: run the chunks that the root sends, until it says goodbye. See serve.c.
 */
#ifndef PMAP_ENGINE_SERVE_H
#define PMAP_ENGINE_SERVE_H

#include "engine/item.h"
#include "engine/loop.h"
#include "team/team.h"
#include "transport/transport.h"

struct pmap__server;

/* by_progress: the progress thread will serve, the calling one sleep. PMAP_OK or PMAP_ENOMEM. Port and team stay the
 * caller's until serving begins; *place lives as long as the server. */
enum pmap_status pmap__server_create(struct pmap__port *port, struct pmap__team *team, int root,
                                     const struct pmap__place *place, bool by_progress, struct pmap__server **server);

/* Serve until the pool ends. Frees the server, closes the port, ends the team. */
void pmap__server_run(struct pmap__server *server);

/* Handle what has come: for place->attend, on a lent thread, inside a task. */
void pmap__server_attend(void *server);

/* Free a server that has not run; not the port and the team. NULL is fine. */
void pmap__server_destroy(struct pmap__server *server);

#endif
