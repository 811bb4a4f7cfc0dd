#ifndef VIDSR_PATHS_H
#define VIDSR_PATHS_H

#include "stack.h"

/* The paths that this machine can take, in turn, slower ones first; NULL after the last. */
const struct path *vidsr_path(int number);

/* One of them by its name, or NULL. */
const struct path *vidsr_path_named(const char *name);

#endif
