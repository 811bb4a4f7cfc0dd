/* A stack of folded 3x3 convolutions, and how its rows lie in memory.
 *
 * Everything is kept in units of four bytes: one float, two bfloat16, two int16 or four uint8 channels of one
 * pixel. A row is one array of units for each group of channels, `pitch` units apart; pixels are neighbours in
 * memory, so that vectors hold pixels and weights are broadcast. Only three rows of each layer are alive.
 */
#ifndef VIDSR_STACK_H
#define VIDSR_STACK_H

#include <stddef.h>
#include <stdint.h>

enum {
    MARGIN = 16, /* units before a row's first pixel: one cache line */
    MOST_CONVS = 66,
    MOST_CHANNELS = 64,
    MOST_SCALE = 4,
    MOST_LANES = 16,
    MOST_VECTORS = 6, /* of a block; rows have room for a block beyond their last pixel */
};

/* What the first convolution reads: a code as a float, or the code to the left and the code as a pair. */
enum source_kind { SOURCE_F32, SOURCE_BF16_PAIRS, SOURCE_INT16_PAIRS, SOURCE_KINDS };

/* One convolution, packed for a path. */
struct conv {
    int out;                 /* channels, padded to whole blocks */
    int groups;              /* units of an input pixel */
    int block;               /* output channels computed together */
    int taps;                /* 9; 6 where pairs are read */
    const uint32_t *weights; /* [out / block][tap][group][block] units */
    const float *bias;       /* [out], in units of what is stored */
    const float *slope;      /* [out] PReLU's slope less one; not used by the last convolution */
    const float *scale;      /* [out] integers: what one accumulated unit stands for */
    const int32_t *offset;   /* [out] integers: what sums begin with, against the zero points */
    int32_t zero;            /* int8: zero point of what is stored */
};

/* Where a row of a convolution goes. */
struct target {
    uint32_t *units;   /* a row of the next layer, at pixel 0 */
    uint16_t *codes;   /* the last convolution: [out][pitch], at pixel 0 */
    const float *skip; /* the last convolution: codes that are added, at pixel 0 */
    ptrdiff_t pitch;   /* units between groups, or codes between channels */
    int32_t peak;      /* the last convolution: largest code */
};

/* Computes `count` pixels from `rows` (above, at, below; at pixel 0, `pitch` units between groups). It may write,
 * and read, up to a block beyond them. */
typedef void row_function(const struct conv *conv, const uint32_t *const rows[3], ptrdiff_t pitch,
                          const struct target *target, int count);

/* Turns a row of samples of 1 or 2 bytes into floats at pixel 0, and into pairs where `pairs` is not NULL. */
typedef void load_function(const unsigned char *samples, int bytes, int count, float *codes, uint32_t *pairs,
                           enum source_kind kind);

/* Writes `lines` rows of samples of 1 or 2 bytes: row y has the codes [y * scale .. y * scale + scale][pitch] in turn. */
typedef void shuffle_function(const uint16_t *codes, ptrdiff_t pitch, int scale, int lines, int count,
                              unsigned char *out, ptrdiff_t stride, int bytes);

/* The sum of `taps` rows, each times its weight. */
typedef void filter_function(const float *const *rows, const float *weights, int taps, int count, float *sum);

/* The nearest integers in 0..peak, halves to even. */
typedef void round_function(const float *values, int32_t peak, int count, uint16_t *codes);

struct path {
    const char *name;
    const char *precision; /* "f32", "bf16" or "int8" */
    int channels_a_unit;   /* of middle layers */
    int block;           /* output channels of a middle layer computed together */
    int last_block[MOST_SCALE + 1];
    row_function *first[SOURCE_KINDS]; /* by what it reads; NULL: not by this path */
    row_function *middle;
    row_function *last;
    load_function *load;
    shuffle_function *shuffle;
    filter_function *filter;
    round_function *round;
};

extern const struct path vidsr_portable, vidsr_avx2, vidsr_avx2_int8, vidsr_avx_vnni, vidsr_avx512, vidsr_bf16,
    vidsr_vnni;

struct stack {
    const struct path *path;
    enum source_kind source;
    int convs;
    int scale;
    struct conv conv[MOST_CONVS];
};

/* One picture plane: samples of one or two bytes. */
struct plane {
    unsigned char *data;
    ptrdiff_t stride; /* bytes from row to row, of any sign */
    int width, height;
    int bytes; /* a sample: 1 or 2 */
};

/* Bytes of working memory that `vidsr_run` wants, at an address that is a multiple of 64. */
size_t vidsr_workspace(const struct stack *stack, int width, ptrdiff_t cache_bytes);

/* Upscales rows first..end of `source` into `target`; the living rows of a strip of columns take `cache_bytes`. */
void vidsr_run(const struct stack *stack, const struct plane *source, const struct plane *target, int32_t peak,
               int first, int end, ptrdiff_t cache_bytes, void *workspace);

/* How one axis of a plane is resampled: phase p of source sample i is the sum of `taps` samples from i + first on,
 * each times its weight; beyond the ends the end samples are repeated. */
struct phases {
    int taps, first;
    const float *weights; /* [scale][taps] */
};

enum { MOST_PHASE_TAPS = 8 };

/* Bytes of working memory that `vidsr_resample` wants. */
size_t vidsr_resample_workspace(int width, int scale, int taps);

/* Resamples into rows first..end of `target`, which may be smaller than source times scale, by less than scale. */
void vidsr_resample(const struct path *path, const struct plane *source, const struct plane *target,
                    const struct phases *down, const struct phases *across, int scale, int32_t peak, int first,
                    int end, void *workspace);

#endif
