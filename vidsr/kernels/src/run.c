/* Streams rows through all layers: in each step every layer makes one row, as soon as the three below it exist. */
#include "stack.h"

#include <string.h>

/* What one strip of columns needs while its rows stream. */
struct strip {
    int from, width;   /* columns of the source that are computed */
    ptrdiff_t pitch;   /* units between groups, and codes between channels */
    int source_rows;
    float *source;     /* [source_rows][pitch] codes as floats */
    uint32_t *pairs;   /* the same as pairs; NULL where the first convolution reads floats */
    uint32_t *blank;   /* a row of zeros */
    uint32_t *rows[MOST_CONVS]; /* of each convolution but the last: three rows, then one of its zero point */
    uint16_t *codes;   /* a row of the last */
};

static ptrdiff_t groups_of(const struct stack *stack, int layer) { return stack->conv[layer + 1].groups; }

static uint32_t zero_unit(const struct stack *stack, int layer)
{
    /* Floats have 0, which is all bits 0 in any width. */
    const uint32_t zero = (uint32_t)stack->conv[layer].zero;
    return zero * (stack->path->channels_a_unit == 4 ? 0x01010101u : 0x00010001u);
}

static int source_rows(const struct stack *stack) { return stack->convs + 3; }

/* Columns that a strip keeps. There are as few strips as hold the living rows in the cache, but none is so narrow
 * that its borders, which are computed twice, cost more than the cache gives. */
static int strip_width(const struct stack *stack, int width, ptrdiff_t cache_bytes)
{
    ptrdiff_t column = source_rows(stack);
    for (int layer = 0; layer + 1 < stack->convs; layer++) column += 3 * groups_of(stack, layer);
    const ptrdiff_t reach = stack->convs, fitting = cache_bytes / (column * (ptrdiff_t)sizeof(uint32_t));
    if (width <= fitting) return width;
    ptrdiff_t kept = fitting - 2 * reach;
    if (kept < 16 * reach) kept = 16 * reach;
    const ptrdiff_t strips = (width + kept - 1) / kept;
    const ptrdiff_t even = (width + strips - 1) / strips;
    return (int)((even + MOST_LANES - 1) / MOST_LANES * MOST_LANES);
}

/* Units from one group to the next: whole cache lines, an odd number of them, so that a pixel's groups lie in
 * different sets of the cache. There is room for what blocks write and read beyond the last pixel. */
static ptrdiff_t pitch_for(ptrdiff_t columns)
{
    const ptrdiff_t units = columns + 2 * MARGIN + MOST_LANES * MOST_VECTORS;
    return 16 * ((units + 15) / 16 | 1);
}

static ptrdiff_t strip_pitch(const struct stack *stack, int width, ptrdiff_t cache_bytes)
{
    const int kept = strip_width(stack, width, cache_bytes), widest = kept + 2 * stack->convs;
    return pitch_for(widest < width ? widest : width);
}

size_t vidsr_workspace(const struct stack *stack, int width, ptrdiff_t cache_bytes)
{
    const ptrdiff_t pitch = strip_pitch(stack, width, cache_bytes);
    ptrdiff_t rows = 2 * source_rows(stack) + 1;
    for (int layer = 0; layer + 1 < stack->convs; layer++) rows += 4 * groups_of(stack, layer);
    rows += (stack->conv[stack->convs - 1].out + 1) / 2;
    return (size_t)(rows * pitch) * sizeof(uint32_t);
}

/* Divides the working memory, and fills what is read without being written: the borders. */
static struct strip lay_out(const struct stack *stack, ptrdiff_t pitch, void *workspace)
{
    struct strip strip = {.pitch = pitch, .source_rows = source_rows(stack)};
    uint32_t *free = workspace;
    const ptrdiff_t source = strip.source_rows * pitch;
    strip.source = (float *)(void *)free;
    free += source;
    memset(strip.source, 0, (size_t)source * sizeof(float));
    if (stack->source != SOURCE_F32) {
        strip.pairs = free;
        memset(free, 0, (size_t)source * sizeof(uint32_t));
    }
    free += source;
    strip.blank = free;
    memset(free, 0, (size_t)pitch * sizeof(uint32_t));
    free += pitch;
    for (int layer = 0; layer + 1 < stack->convs; layer++) {
        const ptrdiff_t row = groups_of(stack, layer) * pitch;
        const uint32_t zero = zero_unit(stack, layer);
        strip.rows[layer] = free;
        for (ptrdiff_t group = 0; group < 3 * groups_of(stack, layer); group++)
            for (int i = 0; i < MARGIN; i++) free[group * pitch + i] = zero;
        for (ptrdiff_t i = 0; i < row; i++) free[3 * row + i] = zero;
        free += 4 * row;
    }
    strip.codes = (uint16_t *)(void *)free;
    return strip;
}

static const uint32_t *source_row(const struct strip *strip, const struct plane *source, int y)
{
    if (y < 0 || y >= source->height) return strip->blank + MARGIN;
    const uint32_t *rows = strip->pairs ? strip->pairs : (const uint32_t *)(const void *)strip->source;
    return rows + y % strip->source_rows * strip->pitch + MARGIN;
}

static uint32_t *layer_row(const struct stack *stack, const struct strip *strip, int layer, int y, int height)
{
    const ptrdiff_t row = y < 0 || y >= height ? 3 : y % 3;
    return strip->rows[layer] + row * groups_of(stack, layer) * strip->pitch + MARGIN;
}

static void make_row(const struct stack *stack, const struct strip *strip, const struct plane *source, int layer,
                     int y)
{
    const uint32_t *rows[3];
    for (int k = 0; k < 3; k++)
        rows[k] = layer == 0 ? source_row(strip, source, y + k - 1)
                             : layer_row(stack, strip, layer - 1, y + k - 1, source->height);
    const struct target to = {.units = layer_row(stack, strip, layer, y, source->height), .pitch = strip->pitch};
    row_function *make = layer == 0 ? stack->path->first[stack->source] : stack->path->middle;
    make(&stack->conv[layer], rows, strip->pitch, &to, strip->width);
    /* A block has written past the last pixel, where the next layer expects the border. */
    const uint32_t zero = zero_unit(stack, layer);
    for (ptrdiff_t group = 0; group < groups_of(stack, layer); group++)
        to.units[group * strip->pitch + strip->width] = zero;
}

/* Makes a row of the last convolution, and the rows of the target that are columns keep..end of it. */
static void finish_row(const struct stack *stack, const struct strip *strip, const struct plane *source,
                       const struct plane *target, int32_t peak, int y, int keep, int end)
{
    const int layer = stack->convs - 1, scale = stack->scale;
    const uint32_t *rows[3];
    for (int k = 0; k < 3; k++) rows[k] = layer_row(stack, strip, layer - 1, y + k - 1, source->height);
    const struct target to = {
        .codes = strip->codes + MARGIN,
        .pitch = strip->pitch,
        .skip = strip->source + y % strip->source_rows * strip->pitch + MARGIN,
        .peak = peak,
    };
    stack->path->last(&stack->conv[layer], rows, strip->pitch, &to, strip->width);
    stack->path->shuffle(to.codes + (keep - strip->from), to.pitch, scale, scale, end - keep,
                         target->data + (ptrdiff_t)y * scale * target->stride +
                             (ptrdiff_t)keep * scale * target->bytes,
                         target->stride, target->bytes);
}

static void run_strip(const struct stack *stack, const struct strip *strip, const struct plane *source,
                      const struct plane *target, int32_t peak, int first, int end, int keep, int keep_end)
{
    const int convs = stack->convs;
    int next = first > convs ? first - convs : 0;
    /* In step s layer l makes row s - l. The last layer's rows need convs - 1 - l more of layer l on each side. */
    for (int step = first - convs + 1; step < end + convs - 1; step++) {
        for (; next <= step + 1 && next < source->height; next++) {
            const ptrdiff_t place = next % strip->source_rows * strip->pitch + MARGIN;
            stack->path->load(source->data + next * source->stride + (ptrdiff_t)strip->from * source->bytes,
                              source->bytes, strip->width, strip->source + place,
                              strip->pairs ? strip->pairs + place : NULL, stack->source);
            strip->source[place + strip->width] = 0.0f;
        }
        for (int layer = 0; layer < convs; layer++) {
            const int y = step - layer, more = convs - 1 - layer;
            if (y < 0 || y >= source->height || y < first - more || y >= end + more) continue;
            if (layer + 1 < convs)
                make_row(stack, strip, source, layer, y);
            else
                finish_row(stack, strip, source, target, peak, y, keep, keep_end);
        }
    }
}

void vidsr_run(const struct stack *stack, const struct plane *source, const struct plane *target, int32_t peak,
               int first, int end, ptrdiff_t cache_bytes, void *workspace)
{
    const int width = source->width, reach = stack->convs;
    const int kept = strip_width(stack, width, cache_bytes);
    struct strip strip = lay_out(stack, strip_pitch(stack, width, cache_bytes), workspace);
    for (int keep = 0; keep < width; keep += kept) {
        const int keep_end = keep + kept < width ? keep + kept : width;
        strip.from = keep > reach ? keep - reach : 0;
        strip.width = (keep_end + reach < width ? keep_end + reach : width) - strip.from;
        run_strip(stack, &strip, source, target, peak, first, end, keep, keep_end);
    }
}
