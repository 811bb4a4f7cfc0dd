/* The kernels as functions for ctypes: every block of a grid, one after the other. */
#include "emulator.h"
#include "samples.cuh"
#include "tile.cuh"
#include "sweep.cuh"
#include "ecbsr.cu"
#include "enlarge.cu"

struct Ecbsr {
    const sample_t *source;
    sample_t *target;
    const uint32_t *weights;
    int source_pitch, target_pitch, width, height;
    float peak;
};
struct Enlarge {
    const sample_t *source;
    sample_t *target;
    const float *filters;
    int source_pitch, target_pitch, width, height, out_width, out_height;
    float peak;
};
template <typename T> static void give(const T *from, size_t bytes)
{
    const char *place = reinterpret_cast<const char *>(from);
    given_memory.push_back({place, place + bytes});
}
static const char *run_grid(int across, int down, int threads, size_t shared, void (*kernel)(void *), void *call)
{
    for (int y = 0; y < down; y++)
        for (int x = 0; x < across; x++)
            if (!run_block(x, y, threads, shared, kernel, call)) return fault;
    return nullptr;
}
/* Both return what went wrong, or nothing. */
extern "C" const char *run_ecbsr(Ecbsr *call, int across, int down, int threads, size_t shared, size_t weights, unsigned seed)
{
    chance = seed;
    given_memory.clear();
    for (int y = 0; y < call->height; y++)
        give(reinterpret_cast<const char *>(call->source) + (int64_t)y * call->source_pitch, BYTES * call->width);
    give(call->weights, weights);
    return run_grid(across, down, threads, shared, [](void *p) {
        const Ecbsr &c = *static_cast<Ecbsr *>(p);
        ecbsr(c.source, c.target, c.weights, c.source_pitch, c.target_pitch, c.width, c.height, c.peak);
    }, call);
}
extern "C" const char *run_enlarge(Enlarge *call, int across, int down, int threads)
{
    given_memory.clear();
    for (int y = 0; y < call->height; y++)
        give(reinterpret_cast<const char *>(call->source) + (int64_t)y * call->source_pitch, BYTES * call->width);
    give(call->filters, 2 * SCALE * TAPS * sizeof(float));
    return run_grid(across, down, threads, 0, [](void *p) {
        const Enlarge &c = *static_cast<Enlarge *>(p);
        enlarge(c.source, c.target, c.filters, c.source_pitch, c.target_pitch, c.width, c.height, c.out_width, c.out_height,
                c.peak);
    }, call);
}
