/* The kernels as functions for ctypes: every block of a grid, one after the other. */
#include "emulator.h"
#include "ecbsr.cu"
#include "enlarge.cu"

static_assert(sizeof(float) == 4, "floats");

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
extern "C" void run_ecbsr(Ecbsr *call, int across, int down, int threads, long shared, unsigned seed)
{
    chance = seed;
    for (int y = 0; y < down; y++)
        for (int x = 0; x < across; x++)
            run_block(x, y, threads, shared, [](void *p) {
                const Ecbsr &c = *static_cast<Ecbsr *>(p);
                ecbsr(c.source, c.target, c.weights, c.source_pitch, c.target_pitch, c.width, c.height, c.peak);
            }, call);
}
extern "C" void run_enlarge(Enlarge *call, int across, int down, int threads)
{
    for (int y = 0; y < down; y++)
        for (int x = 0; x < across; x++)
            run_block(x, y, threads, 0, [](void *p) {
                const Enlarge &c = *static_cast<Enlarge *>(p);
                enlarge(c.source, c.target, c.filters, c.source_pitch, c.target_pitch, c.width, c.height, c.out_width,
                        c.out_height, c.peak);
            }, call);
}
