/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * pmap-report [-o PAGE] TRACE: a page of a trace. See its manual. It needs no pool, and no launcher.
 */
#include <pmap.h>

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct option options[] = {
    {"output", required_argument, NULL, 'o'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {NULL, 0, NULL, 0},
};

static int help(void)
{
    puts("Usage: pmap-report [-o PAGE] TRACE\n"
         "Make an HTML page of a trace that a pmap program wrote (PMAP_TRACE=TRACE): timeline, losses, advice. The page needs nothing else.\n"
         "TRACE: a file, or - for standard input\n"
         "\n"
         "  -o, --output PAGE       write there, not to standard output; only when all is well\n"
         "      --help              print this\n"
         "      --version           print the version");
    return fflush(stdout) == 0 ? 0 : 1;
}

static int bad_usage(const char *what, const char *argument)
{
    fprintf(stderr, "pmap-report: %s%s (pmap-report --help tells more)\n", what, argument);
    return 2;
}

static int report(const char *trace, const char *page)
{
    struct pmap_error error;

    if (strcmp(page, "-") == 0 && isatty(STDOUT_FILENO))
        return bad_usage("a page is nothing for a terminal: say where it shall go, with -o PAGE or > PAGE", "");
    if (pmap_report_write(trace, page, &error) == PMAP_OK)
        return 0;
    fprintf(stderr, "pmap-report: %s\n", strncmp(error.text, "pmap: ", 6) == 0 ? error.text + 6 : error.text);
    return 1;
}

int main(int argc, char *argv[])
{
    const char *page = "-";
    int letter;

    opterr = 0;
    while ((letter = getopt_long(argc, argv, ":o:", options, NULL)) != -1)
        switch (letter) {
        case 'o': page = optarg; break;
        case 'h': return help();
        case 'V': printf("pmap-report (pmap) %s\n", pmap_version()); return fflush(stdout) == 0 ? 0 : 1;
        case ':': return bad_usage("a value is missing behind ", argv[optind - 1]);
        default: return bad_usage("there is no option ", argv[optind - 1]);
        }
    if (optind == argc)
        return bad_usage("which trace? A file, or - for standard input", "");
    if (optind + 1 < argc)
        return bad_usage("one trace at a time; there is also ", argv[optind + 1]);
    return report(argv[optind], page);
}
