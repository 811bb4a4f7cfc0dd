/* Planes that no network makes (chroma, alpha) at a whole multiple of their size: downwards, then across, in floats. */
#include "stack.h"

static ptrdiff_t padded(int width) { return ((ptrdiff_t)width + 2 * MARGIN + MOST_LANES - 1) / MOST_LANES * MOST_LANES; }

size_t vidsr_resample_workspace(int width, int scale, int taps)
{
    /* Source rows, a filtered row, one phase of it; the codes of all phases. */
    return (size_t)padded(width) * ((size_t)(taps + 2) * sizeof(float) + (size_t)scale * sizeof(uint16_t));
}

static int clamped(int value, int most) { return value < 0 ? 0 : value > most ? most : value; }

static void write_line(const struct path *path, const uint16_t *codes, ptrdiff_t pitch, int scale,
                       const struct plane *target, int y)
{
    unsigned char *line = target->data + y * target->stride;
    const int whole = target->width / scale;
    path->shuffle(codes, pitch, scale, 1, whole, line, 0, target->bytes);
    /* The target may end among the phases of the last sample. */
    for (int x = whole * scale; x < target->width; x++) {
        const uint16_t code = codes[(x - whole * scale) * pitch + whole];
        if (target->bytes == 1)
            line[x] = (unsigned char)code;
        else
            ((uint16_t *)(void *)line)[x] = code;
    }
}

void vidsr_resample(const struct path *path, const struct plane *source, const struct plane *target,
                    const struct phases *down, const struct phases *across, int scale, int32_t peak, int first,
                    int end, void *workspace)
{
    const int width = source->width, taps = down->taps;
    const ptrdiff_t pitch = padded(width);
    float *ring = workspace, *row = ring + taps * pitch, *phase = row + pitch;
    uint16_t *codes = (uint16_t *)(void *)(phase + pitch);
    int next = first / scale + down->first; /* source row to load */
    for (int y = first; y < end; y++) {
        const int from = y / scale + down->first;
        const float *rows[MOST_PHASE_TAPS];
        for (; next < from + taps; next++)
            path->load(source->data + clamped(next, source->height - 1) * source->stride, source->bytes, width,
                       ring + (next + MARGIN * taps) % taps * pitch + MARGIN, NULL, SOURCE_F32);
        for (int t = 0; t < taps; t++) rows[t] = ring + (from + t + MARGIN * taps) % taps * pitch + MARGIN;
        path->filter(rows, down->weights + y % scale * taps, taps, width, row + MARGIN);
        for (int i = 1; i <= MARGIN; i++) {
            row[MARGIN - i] = row[MARGIN];
            row[MARGIN + width - 1 + i] = row[MARGIN + width - 1];
        }
        for (int p = 0; p < scale; p++) {
            for (int t = 0; t < across->taps; t++) rows[t] = row + MARGIN + across->first + t;
            path->filter(rows, across->weights + p * across->taps, across->taps, width, phase);
            path->round(phase, peak, width, codes + p * pitch);
        }
        write_line(path, codes, pitch, scale, target, y);
    }
}
