/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "base/error.h"
#include "report/report.h"

enum pmap_status pmap_report_write(const char *trace, const char *page, struct pmap_error *error)
{
    if (trace == NULL || page == NULL)
        return pmap__error_set(error, PMAP_EINVAL, "pmap_report_write: %s is NULL", trace ? "page" : "trace");
    return pmap__report_write_file(trace, page, error);
}
