/* The path of every machine: f32 in the compiler's own vectors of four (SSE2, NEON, or what there is). */
#include "stack.h"

#include <string.h>

typedef float FLOATS __attribute__((vector_size(16)));

static inline FLOATS load(const uint32_t *units)
{
    FLOATS made;
    memcpy(&made, units, sizeof made);
    return made;
}

static inline FLOATS spread(uint32_t unit)
{
    float value;
    memcpy(&value, &unit, sizeof value);
    return (FLOATS){value, value, value, value};
}

#define TARGET
#define LANES 4
#define UNITS FLOATS
#define LOAD(p) load(p)
#define SPREAD(u) spread(u)
#include "rows.inc"

#define BEGIN(conv, c) ((FLOATS){(conv)->bias[c], (conv)->bias[c], (conv)->bias[c], (conv)->bias[c]})
#define DOT(s, x, w) ((s) + (x) * (w))

static inline FLOATS prelu(FLOATS x, float slope_less_one)
{
    for (int i = 0; i < LANES; i++) x[i] += (x[i] < 0.0f ? x[i] : 0.0f) * slope_less_one;
    return x;
}

#include "simple.inc"

static inline void store_codes(FLOATS x, const struct target *t, int channel, int place)
{
    float values[LANES];
    for (int i = 0; i < LANES; i++) values[i] = x[i] + t->skip[place + i];
    round_codes(values, t->peak, LANES, t->codes + channel * t->pitch + place);
}

static inline void store_floats(uint32_t *place, FLOATS x) { memcpy(place, &x, sizeof x); }

#define STORE_FLOATS(place, floats) store_floats(place, floats)

ROW_FUNCTION(first, FLOATS, BEGIN, DOT, TO_F32, 4, 3, TAPS)
ROW_FUNCTION(middle, FLOATS, BEGIN, DOT, TO_F32, 4, 3, TAPS)
ROW_FUNCTION(last4, FLOATS, BEGIN, DOT, TO_CODES, 4, 3, TAPS)
ROW_FUNCTION(last3, FLOATS, BEGIN, DOT, TO_CODES, 3, 3, TAPS)

static void last(const struct conv *conv, const uint32_t *const rows[3], ptrdiff_t pitch,
                 const struct target *target, int count)
{
    (conv->block == 4 ? last4 : last3)(conv, rows, pitch, target, count);
}

const struct path vidsr_portable = {"portable", "f32", 1, 4, {0, 4, 4, 3, 4}, {first, NULL, NULL}, middle, last,
                                    load_row, shuffle, filter, round_codes};
