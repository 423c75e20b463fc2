# SPDX-License-Identifier: BSD-3-Clause
# PMAP_MPI: how to compile and link MPI programs with $CC, whichever MPI it is.
#
# Tried in this order, each by linking a program; the first that links is taken:
#   MPI_CFLAGS and MPI_LIBS as the user gave them     nothing (CC is itself a wrapper, such as mpicc or Cray's cc)
#   what $MPICC (default: mpicc) says it would add    what pkg-config says about ompi-c, mpich, mpi-c
#
# What starts the ranks of make check is sought first beside $MPICC and called like it: mpirun.mpich for mpicc.mpich.
#
# Sets MPI_CFLAGS, MPI_LIBS, MPIEXEC, HAVE_MPI, HAVE_ULFM, the conditional PMAP_MPI and the line pmap_mpi of the summary.
# Without MPI pmap is built for threads alone; with an explicit --with-mpi that is an error.
AC_DEFUN([PMAP_MPI], [
  AC_ARG_WITH([mpi], [AS_HELP_STRING([--without-mpi], [threads only, even if there is an MPI])], [], [with_mpi=maybe])
  AC_ARG_VAR([MPICC], [MPI compiler wrapper, asked for its flags only])
  AC_ARG_VAR([MPI_CFLAGS], [C compiler flags for MPI])
  AC_ARG_VAR([MPI_LIBS], [linker flags for MPI])
  AC_ARG_VAR([MPIEXEC], [program that starts MPI jobs in make check])
  AS_IF([test -z "$MPICC"], [AC_PATH_PROGS([MPICC], [mpicc])])
  pmap_mpi=no
  AS_IF([test "$with_mpi" = no],
    [pmap_mpi="no (--without-mpi)"],
    [AS_IF([test -n "$MPI_CFLAGS$MPI_LIBS"], [_PMAP_MPI_TRY([MPI_CFLAGS and MPI_LIBS], [$MPI_CFLAGS], [$MPI_LIBS])])
     _PMAP_MPI_TRY([$CC alone], [], [])
     AS_IF([test -n "$MPICC"],
       [_PMAP_MPI_TRY([what $MPICC adds],
          [`_PMAP_MPI_ASK([-showme:compile], [-compile_info], [I|D|pthread])`],
          [`_PMAP_MPI_ASK([-showme:link], [-link_info], [L|l|Wl,|pthread])`])])
     for pmap_module in ompi-c mpich mpi-c; do
       AS_IF([${PKG_CONFIG-pkg-config} --exists $pmap_module 2>/dev/null],
         [_PMAP_MPI_TRY([${PKG_CONFIG-pkg-config} $pmap_module],
            [`${PKG_CONFIG-pkg-config} --cflags $pmap_module`],
            [`${PKG_CONFIG-pkg-config} --libs $pmap_module`])])
     done
     AS_CASE([$pmap_mpi,$with_mpi],
       [no,maybe], [AC_MSG_WARN([no MPI: pmap will know threads only (Debian: apt-get install libopenmpi-dev openmpi-bin)])],
       [no,*], [AC_MSG_ERROR([--with-mpi, but no MPI program links; set MPICC, or MPI_CFLAGS and MPI_LIBS (Debian: apt-get install libopenmpi-dev openmpi-bin)])])])
  AS_IF([test "$pmap_mpi" = yes], [_PMAP_ULFM])
  AS_CASE([$pmap_mpi],
    [yes*], [AC_DEFINE([HAVE_MPI], [1], [Define to 1 if ranks are joined by MPI.])
             AS_IF([test -z "$MPIEXEC"],
               [AC_PATH_PROGS([MPIEXEC], [`echo "$MPICC" | sed 's,.*/,,; s,mpicc,mpirun,'` mpirun mpiexec], [],
                  [`AS_DIRNAME(["$MPICC"])`:$PATH])])],
    [MPI_CFLAGS= MPI_LIBS= MPIEXEC=])
  AM_CONDITIONAL([PMAP_MPI], [test "$pmap_mpi" = yes])
])

# The shell command that prints what $MPICC adds to a command line: Open MPI's way to ask, then that of MPICH and
# its kin (MVAPICH, Intel MPI), which say the whole command: flags that begin like one of the third argument are kept.
m4_define([_PMAP_MPI_ASK], [{ $MPICC $1 || $MPICC $2; } 2>/dev/null | tr ' ' '\n' |
  grep -E '^-($3)' | tr '\n' ' '])

# Does this MPI tell of dead ranks, and of whether it does? (MPICH 4.0 has the calls, but no MPIX_FT; they end the process.)
AC_DEFUN([_PMAP_ULFM], [
  AC_MSG_CHECKING([for ULFM, by which ranks survive others])
  pmap_save_CFLAGS=$CFLAGS pmap_save_LIBS=$LIBS
  CFLAGS="$CFLAGS $MPI_CFLAGS" LIBS="$MPI_LIBS $LIBS"
  AC_LINK_IFELSE([AC_LANG_PROGRAM([[#include <mpi.h>
#include <mpi-ext.h>]], [[int *on, found, code = MPIX_ERR_PROC_FAILED + MPIX_ERR_PROC_FAILED_PENDING;
    MPI_Comm_get_attr(MPI_COMM_WORLD, MPIX_FT, &on, &found);
    return MPIX_Comm_failure_ack(MPI_COMM_WORLD) == code;]])],
    [pmap_ulfm=yes AC_DEFINE([HAVE_ULFM], [1], [Define to 1 if MPI can tell of dead ranks.])], [pmap_ulfm=no])
  CFLAGS=$pmap_save_CFLAGS LIBS=$pmap_save_LIBS
  AC_MSG_RESULT([$pmap_ulfm])
])

# _PMAP_MPI_TRY(WHAT, CFLAGS, LIBS): take these flags if no others are taken and a program links with them.
AC_DEFUN([_PMAP_MPI_TRY], [AS_IF([test "$pmap_mpi" = no], [
  AC_MSG_CHECKING([for MPI with $1])
  pmap_save_CFLAGS=$CFLAGS pmap_save_LIBS=$LIBS
  pmap_try_cflags="$2" pmap_try_libs="$3"
  CFLAGS="$CFLAGS $pmap_try_cflags" LIBS="$pmap_try_libs $LIBS"
  AC_LINK_IFELSE([AC_LANG_PROGRAM([[#include <mpi.h>]], [[MPI_Init(0, 0);]])],
    [pmap_mpi=yes MPI_CFLAGS=$pmap_try_cflags MPI_LIBS=$pmap_try_libs])
  CFLAGS=$pmap_save_CFLAGS LIBS=$pmap_save_LIBS
  AC_MSG_RESULT([$pmap_mpi])
])])
