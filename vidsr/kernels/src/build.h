#ifndef VIDSR_BUILD_H
#define VIDSR_BUILD_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "stack.h"

enum { MOST_SIDE = 1 << 16 };

/* Makes a stack of a sequence of (out, groups, block, taps, weights, bias, slope, scale, offset, zero), bytes for all
 * but the numbers; NULL, with an exception, where they do not fit each other, the path or the scale. */
struct stack *vidsr_build(const struct path *path, int scale, int source, PyObject *convs);

void vidsr_drop(struct stack *stack);

/* The largest code that a first convolution of this kind may read from samples of so many bytes. */
int vidsr_most_peak(enum source_kind source, int bytes);

int vidsr_phases_fit(const struct phases *phases, int scale, Py_ssize_t weight_bytes);

#endif
