/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "transport/mpi_leave.h"

#include "transport/mpi_ulfm.h"

#include "base/error.h"

#include <mpi.h>

#include <dlfcn.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* MPI may have joined PMIx several times, and must leave it as often. */
#define LEAVES_MAX 16

/* What the ranks need of Open MPI; the user's own words count, if they are among those that are known to do. All addresses must be
 * known before PMIx is left; and of the ways to move messages only these are known to bear it when a peer vanishes. A copy out of the memory of a process that died
 * would fail with a message. Shared memory is not the default: a sender that is killed between the two steps by which it enters a
 * message into a receiver's queue leaves the receiver spinning in there for ever. That is a matter of nanoseconds. Which addresses reach each
 * other is a matter of what they look like (weighted): the kernel's routes, which Open MPI 5 would ask, may say none where both are this host's.
 * A message that meets a peer which has just died leaves Open MPI waiting for a socket that it has closed. To poll() such a one is always
 * ready, and MPI_Test never returns; epoll does not take it. */
static const struct {
    const char *name, *value;
} settings[] = {{"OMPI_MCA_mpi_add_procs_cutoff", "1000000"},
                {"OMPI_MCA_pml", "ob1"},
                {"OMPI_MCA_btl", "self,tcp"},
                {"OMPI_MCA_reachable", "weighted"},
                {"OMPI_MCA_opal_event_include", "epoll"},
                {"OMPI_MCA_btl_vader_single_copy_mechanism", "none"}};

/* Is each word of a list of Open MPI's one of these, which end with NULL? */
static bool is_made_of(const char *list, const char *const words[])
{
    for (size_t length; *list; list += length + (list[length] == ',')) {
        const char *const *word = words;
        length = strcspn(list, ",");
        while (*word && (strlen(*word) != length || strncmp(*word, list, length) != 0))
            word++;
        if (*word == NULL)
            return false;
    }
    return true;
}

/* What the user, or the site, has set: is it known to bear deaths? */
static enum pmap_status check_setting(const char *name, const char *const words[], struct pmap_error *error)
{
    const char *value = getenv(name);

    if (value == NULL || is_made_of(value, words))
        return PMAP_OK;
    return pmap__error_set(error, PMAP_EINVAL, "pmap_create: survive is true, but %s is \"%s\", with which it is not known to work: "
                           "unset it", name, value);
}

static enum pmap_status check_settings(struct pmap_error *error)
{
    static const char *const pml[] = {"ob1", NULL}, *const btl[] = {"self", "tcp", "vader", "sm", NULL}, *const copy[] = {"none", NULL};
    enum pmap_status status = check_setting("OMPI_MCA_pml", pml, error);

    if (status == PMAP_OK)
        status = check_setting("OMPI_MCA_btl", btl, error);
    return status == PMAP_OK ? check_setting("OMPI_MCA_btl_vader_single_copy_mechanism", copy, error) : status;
}

/* Has this host an address by which others could reach it? */
static bool is_networked(void)
{
    struct ifaddrs *list;
    bool any = false;

    if (getifaddrs(&list) != 0)
        return true;
    for (const struct ifaddrs *i = list; i; i = i->ifa_next)
        any |= (i->ifa_flags & IFF_UP) && !(i->ifa_flags & IFF_LOOPBACK) && i->ifa_addr &&
               (i->ifa_addr->sa_family == AF_INET || i->ifa_addr->sa_family == AF_INET6);
    freeifaddrs(list);
    return any;
}

static void change_settings(void)
{
    bool is_chosen = getenv("OMPI_MCA_btl_tcp_if_include") || getenv("OMPI_MCA_btl_tcp_if_exclude");

    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        setenv(settings[i].name, settings[i].value, 0);
    if (!is_chosen && !is_networked()) /* else Open MPI passes over the loopback device */
        setenv("OMPI_MCA_btl_tcp_if_include", "127.0.0.0/8", 0);
}

static bool is_open_mpi(void)
{
#ifdef OMPI_MAJOR_VERSION
    char version[MPI_MAX_LIBRARY_VERSION_STRING];
    int length;
    MPI_Get_library_version(version, &length);
    return strncmp(version, "Open MPI v4.", 12) == 0;
#else
    return false;
#endif
}

/* Mpirun ends all ranks when one dies by a signal, whatever it is told, and when one exits with another status than 0, unless
 * told otherwise. Pmap-rank makes a status of a signal. */
static bool is_wrapped(void)
{
    const char *wrapper = getenv("PMAP_RANK"), *abort = getenv("OMPI_MCA_orte_abort_on_non_zero_status");
    return wrapper && atol(wrapper) == (long)getppid() && abort && strcmp(abort, "0") == 0;
}

enum pmap_status pmap__mpi_leave_prepare(struct pmap_error *error)
{
    if (!pmap__ulfm_is_built() && !is_open_mpi())
        return pmap__error_set(error, PMAP_EINVAL, "pmap_create: survive is true, but this is neither Open MPI 4 nor an MPI with ULFM, "
                               "such as Open MPI 5: no other is known to bear it");
    if (!pmap__ulfm_is_built() && getenv("OMPI_COMM_WORLD_SIZE") && !is_wrapped())
        return pmap__error_set(error, PMAP_EINVAL, "pmap_create: survive is true, but mpirun would end all ranks: start with "
                               "mpirun --mca orte_abort_on_non_zero_status 0 ... pmap-rank PROGRAM, or with srun -K0 --mpi=pmix");
    if (check_settings(error) != PMAP_OK)
        return PMAP_EINVAL;
    change_settings();
    return PMAP_OK;
}

struct pmix {
    int (*initialized)(void);
    int (*finalize)(const void *, size_t);
};

/* In the library that MPI has loaded; it is no dependency of ours. */
static bool find_pmix(struct pmix *pmix)
{
    void *library = dlopen("libpmix.so.2", RTLD_NOW | RTLD_NOLOAD);

    *pmix = (struct pmix){NULL, NULL};
    if (library) {
        *(void **)(void *)&pmix->initialized = dlsym(library, "PMIx_Initialized");
        *(void **)(void *)&pmix->finalize = dlsym(library, "PMIx_Finalize");
        dlclose(library); /* MPI keeps it loaded */
    }
    return pmix->initialized && pmix->finalize;
}

enum pmap_status pmap__mpi_leave_check(struct pmap_error *error)
{
    struct pmix pmix;

    if (pmap__ulfm_is_built())
        return pmap__ulfm_is_on() ? PMAP_OK
                                  : pmap__error_set(error, PMAP_EINVAL, "pmap_create: survive is true, but this job was started without "
                                                    "ULFM: start with mpirun --with-ft ulfm");
    if (find_pmix(&pmix))
        return PMAP_OK;
    return pmap__error_set(error, PMAP_EINVAL, "pmap_create: survive is true, but MPI uses no PMIx (libpmix.so.2) that could be left: "
                           "start with mpirun or srun --mpi=pmix");
}

static void nothing(int signal)
{
    (void)signal;
}

/* Open MPI writes to sockets whose other end may be dead, and does not guard itself against the signal. A handler, unlike SIG_IGN, is not
 * inherited by programs that a task starts. What the program has made of the signal itself stays. */
static void bear_broken_pipes(void)
{
    struct sigaction action, ours = {.sa_handler = nothing, .sa_flags = SA_RESTART};

    if (sigaction(SIGPIPE, NULL, &action) == 0 && !(action.sa_flags & SA_SIGINFO) && action.sa_handler == SIG_DFL)
        sigaction(SIGPIPE, &ours, NULL);
}

void pmap__mpi_leave(bool root)
{
    struct pmix pmix;

    bear_broken_pipes();
    if (pmap__ulfm_is_built()) /* nobody has to leave */
        return;
    if (is_wrapped())
        kill(getppid(), root ? SIGRTMIN : SIGRTMIN + 2); /* to pmap-rank: what becomes of the others if this one dies */
    for (int i = 0; find_pmix(&pmix) && i < LEAVES_MAX && pmix.initialized(); i++)
        pmix.finalize(NULL, 0);
}
