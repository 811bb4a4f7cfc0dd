/* The kernel that takes surfaces apart as a function for ctypes: every block of a grid, one after the other. */
#include "emulator.h"
#include "samples.cuh"
#include "apart.cu"

struct Apart {
    const uint64_t *luma, *pairs;
    sample_t *y, *u, *v;
    int luma_pitch, pairs_pitch, width, height, shift;
};
/* Rows may be read to the next multiple of 8 bytes. */
static void give(const uint64_t *plane, int pitch, int columns, int rows)
{
    for (int row = 0; row < rows; row++) {
        const char *place = reinterpret_cast<const char *>(plane) + (int64_t)row * pitch;
        given_memory.push_back({place, place + (columns * BYTES + 7) / 8 * 8});
    }
}
/* Returns what went wrong, or nothing. */
extern "C" const char *run_apart(Apart *call, int across, int down, int threads)
{
    given_memory.clear();
    give(call->luma, call->luma_pitch, call->width, call->height);
    give(call->pairs, call->pairs_pitch, (call->width + 1) / 2 * 2, (call->height + 1) / 2);
    for (int y = 0; y < down; y++)
        for (int x = 0; x < across; x++)
            if (!run_block(x, y, threads, 0, [](void *p) {
                const Apart &c = *static_cast<Apart *>(p);
                apart(c.luma, c.pairs, c.y, c.u, c.v, c.luma_pitch, c.pairs_pitch, c.width, c.height, c.shift);
            }, call)) return fault;
    return nullptr;
}
