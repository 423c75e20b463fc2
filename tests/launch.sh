# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 the pmap authors
#
# To be sourced: launch is how ranks are started here, to be followed by -n RANKS PROGRAM; empty without MPI. launcher is who does it:
# openmpi4, openmpi, mpich (whose launcher is called Hydra), other; empty without MPI.
#
#   MPIEXEC             what starts ranks; empty: there is no MPI; unset: mpirun, if there is one
#   MPIEXEC_FLAGS       more arguments for it
read -ra launch <<<"${MPIEXEC-$(command -v mpirun)}"

launcher=
if ((${#launch[@]})); then
    case $("${launch[@]}" --version 2>&1) in
    *'Open MPI) 4'*) launcher=openmpi4 ;;
    *'Open MPI'* | *OpenMPI* | *OpenRTE* | *PRRTE*) launcher=openmpi ;;
    *HYDRA*) launcher=mpich ;;
    *) launcher=other ;;
    esac
fi
# Open MPI starts more ranks than cores only if told, binds few ranks to single cores, and refuses root.
if [[ $launcher == openmpi* ]]; then
    launch+=(--oversubscribe --bind-to none)
    if ((EUID == 0)); then
        export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    fi
fi
# shellcheck disable=SC2206 # the flags are words
((${#launch[@]} == 0)) || launch+=(${MPIEXEC_FLAGS-})
