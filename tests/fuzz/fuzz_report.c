/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Any bytes as a trace: they are refused, or everything that a report is made of comes out, with every nanosecond in one place. */
#include "fuzz.h"

#include "report/advice.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const size_t fuzz_memory = 1 << 26; /* thousands of lanes with a hundred bins each */

static void analyse(const struct pmap__run *run)
{
    struct pmap__losses losses;
    struct pmap__figures figures;
    struct pmap__advices advices;
    double sum = 0;

    if (!pmap__losses_count(&losses, run) || !pmap__figures_count(&figures, run) || !pmap__advices_find(&advices, run, &losses, &figures))
        abort(); /* there is memory */
    for (size_t l = 0; l < PMAP__LOSSES; l++)
        sum += losses.all[l];
    fuzz_check(isfinite(sum) && isfinite(figures.items_busy), "sums are numbers");
    for (size_t a = 0; a < advices.n; a++)
        fuzz_check(advices.list[a].title[0] && advices.list[a].text[0] && !isnan(advices.list[a].share), "advice says something");
    pmap__advices_fini(&advices);
    pmap__figures_fini(&figures);
    pmap__losses_fini(&losses);
}

void fuzz_one(struct fuzz_input *in)
{
    struct pmap_error error;
    struct pmap__run run;
    size_t size = in->left;
    void *bytes = fuzz_bytes(in, &size);
    FILE *file = size ? fmemopen(bytes, size, "r") : NULL;

    if (file && pmap__run_read(&run, file, "input", &error) == PMAP_OK) {
        analyse(&run);
        pmap__run_fini(&run);
    }
    if (file)
        fclose(file);
    free(bytes);
}

void fuzz_seeds(void)
{
    static const char head[] = "{\"otherData\":{\"pmap\":\"1\",\"format\":1,\"end_us\":99,\"items\":4,\"lanes\":[{\"rank\":0,\"thread\":0,\"host\":\"a\"},{\"rank\":1,\"thread\":0}],"
        "\"tasks\":[{\"call\":\"pmap_map\",\"task\":\"x\",\"items\":4,\"max_us\":9,\"histogram\":[[1,2,4]]}],\"lost\":[{\"rank\":1,\"ts\":90}]},\"traceEvents\":[";
    static const char *const events[] = {
        "{\"ph\":\"X\",\"cat\":\"startup\",\"name\":\"pmap_create\",\"pid\":0,\"tid\":0,\"ts\":0,\"dur\":5}",
        "{\"ph\":\"b\",\"cat\":\"calls\",\"id\":\"1\",\"ts\":5,\"args\":{\"function\":\"pmap_map\",\"task\":\"x\",\"n\":4,\"chunksize\":2}},"
        "{\"ph\":\"e\",\"cat\":\"calls\",\"id\":\"1\",\"ts\":90,\"args\":{\"status\":\"PMAP_OK\",\"items\":4,\"error\":\"\\u00e9\"}}",
        "{\"ph\":\"X\",\"cat\":\"items\",\"pid\":0,\"tid\":0,\"ts\":6,\"dur\":9,\"args\":{\"call\":1,\"item\":0,\"n\":2,\"busy_us\":7,\"longest_us\":5,\"weight\":2}},"
        "{\"ph\":\"X\",\"cat\":\"items\",\"pid\":1,\"tid\":0,\"ts\":9,\"dur\":70,\"args\":{\"call\":1,\"item\":2,\"failed\":1,\"chunk\":1}}",
        "{\"ph\":\"b\",\"cat\":\"chunks\",\"id\":\"1\",\"pid\":1,\"ts\":6,\"args\":{\"n\":1,\"bytes_out\":8,\"send_us\":1,\"transfer_us\":1,\"queue_us\":1,\"run_us\":70,\"answer_us\":2}},"
        "{\"ph\":\"e\",\"cat\":\"chunks\",\"id\":\"1\",\"pid\":1,\"ts\":81}",
        "{\"ph\":\"X\",\"cat\":\"phase\",\"name\":\"map\",\"ts\":5,\"dur\":80,\"args\":{\"call\":1,\"bytes_in\":1e9}}",
    };

    for (size_t seed = 0; seed <= sizeof events / sizeof events[0]; seed++) {
        fuzz_put_bytes(head, strlen(head));
        for (size_t e = 0; e < seed; e++) {
            fuzz_put_bytes(",", e > 0);
            fuzz_put_bytes(events[e], strlen(events[e]));
        }
        fuzz_put_bytes("]}", 2);
        fuzz_put_end();
    }
}
