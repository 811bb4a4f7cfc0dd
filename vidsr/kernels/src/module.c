/* The Python face. Everything that comes in is checked here: behind it nothing is. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "build.h"
#include "paths.h"
#include "peak.h"

#include <string.h>

static const char CAPSULE[] = "vidsr.kernels.stack";

static void drop_stack(PyObject *capsule) { vidsr_drop(PyCapsule_GetPointer(capsule, CAPSULE)); }

static const struct path *path_of(const char *name)
{
    const struct path *path = vidsr_path_named(name);
    if (path == NULL) PyErr_Format(PyExc_ValueError, "this machine has no path '%s'", name);
    return path;
}

static PyObject *paths(PyObject *self, PyObject *none)
{
    (void)self, (void)none;
    PyObject *names = PyList_New(0);
    const struct path *path;
    for (int i = 0; names != NULL && (path = vidsr_path(i)) != NULL; i++) {
        /* name, precision, channels a unit, block, blocks of the last convolution by scale, kinds of source */
        PyObject *entry = Py_BuildValue(
            "ssii(iiii)(NNN)", path->name, path->precision, path->channels_a_unit, path->block,
            path->last_block[1], path->last_block[2], path->last_block[3], path->last_block[4], PyBool_FromLong(path->first[0] != NULL),
            PyBool_FromLong(path->first[1] != NULL), PyBool_FromLong(path->first[2] != NULL));
        if (entry == NULL || PyList_Append(names, entry) < 0) Py_CLEAR(names);
        Py_XDECREF(entry);
    }
    return names;
}

static PyObject *stack(PyObject *self, PyObject *args)
{
    (void)self;
    const char *name;
    int scale, source;
    PyObject *convs;
    if (!PyArg_ParseTuple(args, "siiO", &name, &scale, &source, &convs)) return NULL;
    const struct path *path = path_of(name);
    struct stack *made = path ? vidsr_build(path, scale, source, convs) : NULL;
    if (made == NULL) return NULL;
    PyObject *capsule = PyCapsule_New(made, CAPSULE, drop_stack);
    if (capsule == NULL) vidsr_drop(made);
    return capsule;
}

static PyObject *workspace(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *capsule;
    int width;
    Py_ssize_t cache;
    if (!PyArg_ParseTuple(args, "Oin", &capsule, &width, &cache)) return NULL;
    const struct stack *stack = PyCapsule_GetPointer(capsule, CAPSULE);
    if (stack == NULL) return NULL;
    if (width < 1 || width > MOST_SIDE) return PyErr_Format(PyExc_ValueError, "a width of %d", width);
    return PyLong_FromSize_t(vidsr_workspace(stack, width, cache));
}

/* Everything that `upscale` and `resample` have in common: two planes, rows, and working memory. */
struct work {
    Py_buffer source, target, memory;
    struct plane from, to;
};

static int open_plane(PyObject *object, int flags, Py_buffer *view, struct plane *plane)
{
    if (PyObject_GetBuffer(object, view, flags) < 0) return -1;
    const int bytes = (int)view->itemsize;
    const int fits = view->ndim == 2 && (bytes == 1 || bytes == 2) && view->shape[0] >= 1 && view->shape[1] >= 1 &&
                     view->shape[0] <= MOST_SIDE * MOST_SCALE && view->shape[1] <= MOST_SIDE * MOST_SCALE &&
                     view->strides[1] == bytes && view->strides[0] % bytes == 0 && (uintptr_t)view->buf % bytes == 0;
    if (!fits) {
        PyBuffer_Release(view);
        PyErr_SetString(PyExc_ValueError, "a plane must be aligned [rows, columns] of uint8 or uint16");
        return -1;
    }
    *plane = (struct plane){.data = view->buf,
                            .stride = view->strides[0],
                            .width = (int)view->shape[1],
                            .height = (int)view->shape[0],
                            .bytes = bytes};
    return 0;
}

static void close_work(struct work *work)
{
    PyBuffer_Release(&work->source);
    PyBuffer_Release(&work->target);
    PyBuffer_Release(&work->memory);
}

static int open_work(struct work *work, PyObject *source, PyObject *target, PyObject *memory)
{
    memset(work, 0, sizeof *work);
    if (open_plane(source, PyBUF_STRIDED_RO, &work->source, &work->from) < 0 ||
        open_plane(target, PyBUF_STRIDED, &work->target, &work->to) < 0 ||
        PyObject_GetBuffer(memory, &work->memory, PyBUF_SIMPLE | PyBUF_WRITABLE) < 0) {
        close_work(work);
        return -1;
    }
    return 0;
}

/* Releases what is open and complains. */
static PyObject *refuse(struct work *work, const char *why)
{
    close_work(work);
    PyErr_SetString(PyExc_ValueError, why);
    return NULL;
}

static int holds(const struct work *work, size_t wanted)
{
    return (uintptr_t)work->memory.buf % 64 == 0 && (size_t)work->memory.len >= wanted;
}

static PyObject *upscale(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *capsule, *source, *target, *memory;
    int peak, first, end;
    Py_ssize_t cache;
    if (!PyArg_ParseTuple(args, "OOOiiinO", &capsule, &source, &target, &peak, &first, &end, &cache, &memory))
        return NULL;
    const struct stack *stack = PyCapsule_GetPointer(capsule, CAPSULE);
    struct work work;
    if (stack == NULL || open_work(&work, source, target, memory) < 0) return NULL;
    const struct plane *from = &work.from, *to = &work.to;
    if (from->width > MOST_SIDE || from->height > MOST_SIDE || from->bytes != to->bytes ||
        to->width != from->width * stack->scale || to->height != from->height * stack->scale)
        return refuse(&work, "the target must be `scale` times the source, of the same type");
    if (first < 0 || end > from->height || first >= end) return refuse(&work, "no such rows");
    if (peak < 1 || peak > vidsr_most_peak(stack->source, from->bytes)) return refuse(&work, "no such peak");
    if (!holds(&work, vidsr_workspace(stack, from->width, cache))) return refuse(&work, "the workspace is too small");
    Py_BEGIN_ALLOW_THREADS;
    vidsr_run(stack, from, to, peak, first, end, cache, work.memory.buf);
    Py_END_ALLOW_THREADS;
    close_work(&work);
    Py_RETURN_NONE;
}

static PyObject *resample(PyObject *self, PyObject *args)
{
    (void)self;
    const char *name;
    PyObject *source, *target, *memory;
    int scale, peak, first, end;
    struct phases down, across;
    Py_buffer down_weights, across_weights;
    if (!PyArg_ParseTuple(args, "sOOi(iiy*)(iiy*)iiiO", &name, &source, &target, &scale, &down.taps, &down.first,
                          &down_weights, &across.taps, &across.first, &across_weights, &peak, &first, &end, &memory))
        return NULL;
    const struct path *path = path_of(name);
    struct work work;
    PyObject *result = NULL;
    if (path == NULL || open_work(&work, source, target, memory) < 0) goto done;
    const struct plane *from = &work.from, *to = &work.to;
    down.weights = down_weights.buf, across.weights = across_weights.buf;
    const int filters = vidsr_phases_fit(&down, scale, down_weights.len) &&
                        vidsr_phases_fit(&across, scale, across_weights.len);
    if (!filters)
        refuse(&work, "the filters do not fit the scale");
    else if (from->width > MOST_SIDE || from->height > MOST_SIDE || from->bytes != to->bytes ||
             to->width > from->width * scale || to->width <= (from->width - 1) * scale ||
             to->height > from->height * scale)
        refuse(&work, "the target must be `scale` times the source, less what is cropped, of the same type");
    else if (first < 0 || end > to->height || first >= end)
        refuse(&work, "no such rows");
    else if (peak < 1 || peak > vidsr_most_peak(SOURCE_F32, from->bytes))
        refuse(&work, "no such peak");
    else if (!holds(&work, vidsr_resample_workspace(from->width, scale, down.taps)))
        refuse(&work, "the workspace is too small");
    else {
        Py_BEGIN_ALLOW_THREADS;
        vidsr_resample(path, from, to, &down, &across, scale, peak, first, end, work.memory.buf);
        Py_END_ALLOW_THREADS;
        close_work(&work);
        result = Py_NewRef(Py_None);
    }
done:
    PyBuffer_Release(&down_weights);
    PyBuffer_Release(&across_weights);
    return result;
}

static PyObject *resample_workspace(PyObject *self, PyObject *args)
{
    (void)self;
    int width, scale, taps;
    if (!PyArg_ParseTuple(args, "iii", &width, &scale, &taps)) return NULL;
    if (width < 1 || width > MOST_SIDE || scale < 1 || scale > MOST_SCALE || taps < 1 || taps > MOST_PHASE_TAPS)
        return PyErr_Format(PyExc_ValueError, "nothing that can be resampled");
    return PyLong_FromSize_t(vidsr_resample_workspace(width, scale, taps));
}

static PyObject *peak(PyObject *self, PyObject *args)
{
    (void)self;
    const char *name;
    double seconds, found;
    if (!PyArg_ParseTuple(args, "sd", &name, &seconds)) return NULL;
    const struct path *path = path_of(name);
    if (path == NULL) return NULL;
    Py_BEGIN_ALLOW_THREADS;
    found = vidsr_peak(path, seconds);
    Py_END_ALLOW_THREADS;
    return PyFloat_FromDouble(found);
}

static PyMethodDef methods[] = {
    {"paths", paths, METH_NOARGS, "paths() -> [(name, precision, channels a unit, block, last blocks, sources)]"},
    {"stack", stack, METH_VARARGS, "stack(path, scale, source, convolutions) -> stack"},
    {"workspace", workspace, METH_VARARGS, "workspace(stack, width, cache_bytes) -> bytes"},
    {"upscale", upscale, METH_VARARGS,
     "upscale(stack, source, target, peak, first_row, end_row, cache_bytes, workspace)"},
    {"resample", resample, METH_VARARGS,
     "resample(path, source, target, scale, down, across, peak, first_row, end_row, workspace)"},
    {"resample_workspace", resample_workspace, METH_VARARGS, "resample_workspace(width, scale, taps) -> bytes"},
    {"peak", peak, METH_VARARGS, "peak(path, seconds) -> operations a second of this core's registers"},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "vidsr.kernels._rows", "Compiled kernels; use vidsr.kernels.", 0, methods, slots,
    NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__rows(void);
PyMODINIT_FUNC PyInit__rows(void) { return PyModuleDef_Init(&definition); }
