/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A port whose other ranks are an input: each message that arrives is read from it, whole or in two steps, and bodies that land may take
 * their time. Whatever is sent must be sound; what ends the MPI job ends the input. */
#ifndef PMAP_FUZZ_PORT_H
#define PMAP_FUZZ_PORT_H

#include "fuzz.h"

#include "transport/transport.h"
#include "wire/frame.h"

enum { FUZZ_LANDINGS = 8, FUZZ_TOKENS = 64 };

/* A message on its way in. */
struct fuzz_message {
    int from;
    unsigned char head[PMAP__PORT_HEAD_MAX];
    size_t head_size;
    void *body; /* from malloc */
    size_t size;
    void *to;   /* once it has landed */
};

struct fuzz_port {
    struct pmap__port port; /* first */
    struct fuzz_input *in;
    /* Fill in the next message, its body from malloc; false: there is none. */
    bool (*next)(struct fuzz_port *port, struct fuzz_message *message);
    /* A message has been sent, and decodes to this. NULL: nobody wants to know. */
    void (*sent)(struct fuzz_port *port, int to, const struct pmap__frame *frame, size_t size);
    struct fuzz_message landings[FUZZ_LANDINGS];
    size_t n_landings;
    void *tokens[FUZZ_TOKENS]; /* of bodies that were sent, and are still borrowed */
    size_t n_tokens;
    bool closed;
};

void fuzz_port_init(struct fuzz_port *port, struct fuzz_input *in, int rank, int size);

/* A message as an input has it: its head, its body, from whom, and how it comes. */
bool fuzz_read_message(struct fuzz_input *in, struct fuzz_message *message);
void fuzz_put_message(const struct pmap__frame *frame, const void *body, size_t size, bool whole, int from);

#endif
