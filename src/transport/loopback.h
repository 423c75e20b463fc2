/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Ports between ranks that are threads of one process: no launcher, no MPI, one debugger. The same contract as
 * between processes, but for what they share anyway: global variables, the registry of tasks, the host.
 */
#ifndef PMAP_TRANSPORT_LOOPBACK_H
#define PMAP_TRANSPORT_LOOPBACK_H

#include "transport/transport.h"

/* Make size connected ports; each is then used by a thread of its own and closed by it. PMAP_OK or PMAP_ENOMEM. */
enum pmap_status pmap__loopback_open(int size, struct pmap__port *ports[]);

#endif
