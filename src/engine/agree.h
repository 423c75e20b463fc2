/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Ranks that want to form a pool agree that they can. Collective calls on a new port: either every rank returns
 * PMAP_OK, or every rank returns the same error, that of the lowest rank that has one.
 */
#ifndef PMAP_ENGINE_AGREE_H
#define PMAP_ENGINE_AGREE_H

#include "transport/transport.h"

/* Has any rank a reason to stop? status and *error are the caller's own verdict; after a failure of any rank *error is
 * the one that all ranks report, and its status is returned. */
enum pmap_status pmap__agree(struct pmap__port *port, enum pmap_status status, struct pmap_error *error);

/* Do all ranks run the same pmap, with the same tasks, and mean the same root? With the caller's own verdict on its
 * arguments as for pmap__agree. *dedicated becomes what the root says. */
enum pmap_status pmap__agree_on_program(struct pmap__port *port, int root, bool *dedicated, enum pmap_status status,
                                        struct pmap_error *error);

#endif
