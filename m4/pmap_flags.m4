# SPDX-License-Identifier: BSD-3-Clause
# Probes for compiler flags and for libraries that only tests and examples need.

# PMAP_TRY_CFLAGS(VARIABLE, FLAGS): append to VARIABLE, and substitute it, each of FLAGS that $CC knows.
# -Werror turns a compiler's warning about an unknown flag into a refusal.
AC_DEFUN([PMAP_TRY_CFLAGS], [
  AC_SUBST([$1])
  for pmap_flag in $2; do
    AC_MSG_CHECKING([whether $CC knows $pmap_flag])
    pmap_save_CFLAGS=$CFLAGS
    CFLAGS="$CFLAGS -Werror $pmap_flag"
    AC_COMPILE_IFELSE([AC_LANG_SOURCE([[extern int x;]])],
      [AC_MSG_RESULT([yes])
       $1="$$1 $pmap_flag"],
      [AC_MSG_RESULT([no])])
    CFLAGS=$pmap_save_CFLAGS
  done
])

# PMAP_CHECK_EXTRA(NAME, HEADER, LIBRARY, FUNCTION, USE, DEBIAN-PACKAGE): look for a library that USE needs and
# the rest does not. Sets the automake conditional PMAP_NAME, NAME_LIBS and the line pmap_name of the summary.
AC_DEFUN([PMAP_CHECK_EXTRA], [
  m4_pushdef([pmap_answer], [pmap_]m4_tolower([$1]))
  pmap_answer="no: $5 needs it (Debian: apt-get install $6)"
  $1_LIBS=
  AC_CHECK_HEADER([$2],
    [AC_CHECK_LIB([$3], [$4], [$1_LIBS=-l$3 pmap_answer=yes])])
  AC_SUBST([$1_LIBS])
  AM_CONDITIONAL([PMAP_$1], [test "$pmap_answer" = yes])
  m4_popdef([pmap_answer])
])
