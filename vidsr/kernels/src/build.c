/* From Python's bytes to a stack in memory of its own, with everything checked that `run.c` relies on. */
#include "build.h"

#include <stdlib.h>
#include <string.h>

int vidsr_most_peak(enum source_kind source, int bytes)
{
    const int most = bytes == 1 ? 255 : 65535;
    const int exact = source == SOURCE_BF16_PAIRS ? 255 : source == SOURCE_INT16_PAIRS ? 32767 : 65535;
    return exact < most ? exact : most;
}

int vidsr_phases_fit(const struct phases *phases, int scale, Py_ssize_t weight_bytes)
{
    return scale >= 1 && scale <= MOST_SCALE && phases->taps >= 1 && phases->taps <= MOST_PHASE_TAPS &&
           phases->first >= -MOST_PHASE_TAPS && phases->first + phases->taps <= MOST_PHASE_TAPS &&
           weight_bytes == (Py_ssize_t)sizeof(float) * scale * phases->taps;
}

void vidsr_drop(struct stack *stack)
{
    if (stack == NULL) return;
    for (int i = 0; i < stack->convs; i++) free((void *)(uintptr_t)stack->conv[i].weights);
    free(stack);
}

/* One block of memory for a convolution's arrays, each at a multiple of 64 bytes. */
static int copy_arrays(struct conv *conv, const Py_buffer *views)
{
    size_t at[5], total = 0;
    for (int i = 0; i < 5; i++) {
        at[i] = total;
        total += ((size_t)views[i].len + 63) / 64 * 64;
    }
    unsigned char *memory = aligned_alloc(64, total);
    if (memory == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (int i = 0; i < 5; i++) memcpy(memory + at[i], views[i].buf, (size_t)views[i].len);
    conv->weights = (const uint32_t *)(const void *)memory;
    conv->bias = (const float *)(const void *)(memory + at[1]);
    conv->slope = (const float *)(const void *)(memory + at[2]);
    conv->scale = (const float *)(const void *)(memory + at[3]);
    conv->offset = (const int32_t *)(const void *)(memory + at[4]);
    return 0;
}

static int fits(const struct stack *stack, int number, int convs, const struct conv *conv, const Py_buffer *views)
{
    const struct path *path = stack->path;
    const int last = number == convs - 1, first = number == 0;
    const int taps = first && stack->source != SOURCE_F32 ? 6 : 9;
    const int groups = first ? 1 : stack->conv[number - 1].out / path->channels_a_unit;
    const int block = last ? path->last_block[stack->scale] : path->block;
    if (conv->taps != taps || conv->groups != groups || conv->block != block) return 0;
    if (conv->out < 1 || conv->out > MOST_CHANNELS || conv->out % block || conv->zero < 0 || conv->zero > 255)
        return 0;
    if (last ? conv->out < stack->scale * stack->scale : conv->out % path->channels_a_unit) return 0;
    if (views[0].len != (Py_ssize_t)4 * conv->out * taps * groups) return 0;
    for (int i = 1; i < 5; i++)
        if (views[i].len != (Py_ssize_t)4 * conv->out) return 0;
    return 1;
}

static int add(struct stack *stack, int number, int convs, PyObject *item)
{
    struct conv conv = {0};
    Py_buffer v[5];
    if (!PyArg_ParseTuple(item, "iiiiy*y*y*y*y*i", &conv.out, &conv.groups, &conv.block, &conv.taps, &v[0], &v[1],
                          &v[2], &v[3], &v[4], &conv.zero))
        return -1;
    int result = -1;
    if (!fits(stack, number, convs, &conv, v))
        PyErr_Format(PyExc_ValueError, "convolution %d does not fit into the stack", number);
    else
        result = copy_arrays(&conv, v);
    for (int i = 0; i < 5; i++) PyBuffer_Release(&v[i]);
    if (result == 0) {
        stack->conv[number] = conv;
        stack->convs = number + 1;
    }
    return result;
}

struct stack *vidsr_build(const struct path *path, int scale, int source, PyObject *convs)
{
    const Py_ssize_t count = PySequence_Size(convs);
    if (count < 0) return NULL;
    if (count < 2 || count > MOST_CONVS || scale < 1 || scale > MOST_SCALE || source < 0 || source >= SOURCE_KINDS ||
        path->first[source] == NULL) {
        PyErr_SetString(PyExc_ValueError, "no such stack: 2 to 66 convolutions at scale 1 to 4");
        return NULL;
    }
    struct stack *stack = calloc(1, sizeof *stack);
    if (stack == NULL) return (struct stack *)(void *)PyErr_NoMemory();
    stack->path = path;
    stack->scale = scale;
    stack->source = (enum source_kind)source;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *item = PySequence_GetItem(convs, i);
        const int bad = item == NULL || add(stack, (int)i, (int)count, item) < 0;
        Py_XDECREF(item);
        if (bad) {
            vidsr_drop(stack);
            return NULL;
        }
    }
    return stack;
}
