/* The paths that need AVX-512: f32, bfloat16 (AVX512_BF16) and int8 (AVX512_VNNI). */
#include "stack.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx512vnni,fma")))
#define LANES 16
#define UNITS __m512i
#define LOAD(p) _mm512_loadu_si512(p)
#define SPREAD(u) _mm512_set1_epi32((int)(u))
#include "rows.inc"

/* Sums of integers have a type of their own: GCC 12 keeps arrays of __m512i in memory where they are used as this. */
typedef int INTS __attribute__((vector_size(64)));

#define BEGIN_FLOAT(conv, c) _mm512_set1_ps((conv)->bias[c])
#define BEGIN_INT(conv, c) ((INTS)_mm512_set1_epi32((conv)->offset[c]))
#define DOT_F32(s, x, w) _mm512_fmadd_ps(_mm512_castsi512_ps(x), _mm512_castsi512_ps(w), s)
#define DOT_BF16(s, x, w) _mm512_dpbf16_ps(s, (__m512bh)(x), (__m512bh)(w))
#define DOT_INT8(s, x, w) ((INTS)_mm512_dpbusd_epi32((__m512i)(s), x, w))
#define DOT_INT16(s, x, w) ((INTS)_mm512_dpwssd_epi32((__m512i)(s), x, w))

TARGET static inline __m512 prelu(__m512 x, float slope_less_one)
{
    return _mm512_fmadd_ps(_mm512_min_ps(x, _mm512_setzero_ps()), _mm512_set1_ps(slope_less_one), x);
}

TARGET static inline __m512 scaled(INTS sum, const struct conv *conv, int c)
{
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps((__m512i)sum), _mm512_set1_ps(conv->scale[c]),
                           _mm512_set1_ps(conv->bias[c]));
}

/* Two channels of 16 pixels as 16 pairs of bfloat16. */
TARGET static inline __m512i pairs_of(__m512 low, __m512 high)
{
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22,
                                           6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(high, low));
}

/* Four channels of 16 pixels as 16 times four uint8. */
TARGET static inline __m512i fours_of(__m512 a, __m512 b, __m512 c, __m512 d, int32_t zero)
{
    const __m512i order =
        _mm512_broadcast_i32x4(_mm_set_epi8(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0));
    const __m512i z = _mm512_set1_epi16((short)zero);
    const __m512i ab = _mm512_packs_epi32(_mm512_cvtps_epi32(a), _mm512_cvtps_epi32(b));
    const __m512i cd = _mm512_packs_epi32(_mm512_cvtps_epi32(c), _mm512_cvtps_epi32(d));
    return _mm512_shuffle_epi8(_mm512_packus_epi16(_mm512_adds_epi16(ab, z), _mm512_adds_epi16(cd, z)), order);
}

TARGET static inline void store_codes(__m512 x, const struct target *t, int channel, int place)
{
    const __m512 peak = _mm512_set1_ps((float)t->peak);
    const __m512 value = _mm512_add_ps(x, _mm512_loadu_ps(t->skip + place));
    const __m512 inside = _mm512_min_ps(_mm512_max_ps(value, _mm512_setzero_ps()), peak);
    _mm256_storeu_si256((__m256i *)(t->codes + channel * t->pitch + place),
                        _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(inside)));
}

#define STORE(place, units) _mm512_storeu_si512(place, units)
#define STORE_FLOATS(place, floats) _mm512_storeu_ps((float *)(place), floats)

ROW_FUNCTION(first_f32, __m512, BEGIN_FLOAT, DOT_F32, TO_F32, 8, 3, TAPS)
ROW_FUNCTION(first_bf16, __m512, BEGIN_FLOAT, DOT_F32, TO_BF16, 8, 3, TAPS)
ROW_FUNCTION(first_bf16_pairs, __m512, BEGIN_FLOAT, DOT_BF16, TO_BF16, 8, 3, TAPS_OF_PAIRS)
ROW_FUNCTION(first_int8, __m512, BEGIN_FLOAT, DOT_F32, TO_INT8, 8, 3, TAPS)
ROW_FUNCTION(first_int8_pairs, INTS, BEGIN_INT, DOT_INT16, TO_INT8_SCALED, 8, 3, TAPS_OF_PAIRS)
ROW_FUNCTION(middle_f32, __m512, BEGIN_FLOAT, DOT_F32, TO_F32, 8, 3, TAPS)
ROW_FUNCTION(middle_bf16, __m512, BEGIN_FLOAT, DOT_BF16, TO_BF16, 8, 3, TAPS)
ROW_FUNCTION(middle_int8, INTS, BEGIN_INT, DOT_INT8, TO_INT8_SCALED, 8, 3, TAPS)

#define LAST_FUNCTIONS(KIND, ACC, BEGIN, DOT, FINISH)                                                              \
    ROW_FUNCTION(last4_##KIND, ACC, BEGIN, DOT, FINISH, 4, 6, TAPS)                                                \
    ROW_FUNCTION(last8_##KIND, ACC, BEGIN, DOT, FINISH, 8, 3, TAPS)                                                \
    ROW_FUNCTION(last9_##KIND, ACC, BEGIN, DOT, FINISH, 9, 3, TAPS)                                                \
    static void last_##KIND(const struct conv *conv, const uint32_t *const rows[3], ptrdiff_t pitch,               \
                            const struct target *target, int count)                                                \
    {                                                                                                              \
        row_function *row = conv->block == 4 ? last4_##KIND : conv->block == 8 ? last8_##KIND : last9_##KIND;      \
        row(conv, rows, pitch, target, count);                                                                     \
    }
LAST_FUNCTIONS(f32, __m512, BEGIN_FLOAT, DOT_F32, TO_CODES)
LAST_FUNCTIONS(bf16, __m512, BEGIN_FLOAT, DOT_BF16, TO_CODES)
LAST_FUNCTIONS(int8, INTS, BEGIN_INT, DOT_INT8, TO_CODES_SCALED)

#include "simple.inc"

#define REST load_row, shuffle, filter, round_codes
#define LAST_BLOCKS {0, 4, 4, 9, 8}
const struct path vidsr_avx512 = {"avx512", "f32", 1, 8, LAST_BLOCKS, {first_f32, NULL, NULL}, middle_f32, last_f32, REST};
const struct path vidsr_bf16 = {
    "avx512-bf16", "bf16", 2, 8, LAST_BLOCKS, {first_bf16, first_bf16_pairs, NULL}, middle_bf16, last_bf16, REST};
const struct path vidsr_vnni = {
    "avx512-vnni", "int8", 4, 8, LAST_BLOCKS, {first_int8, NULL, first_int8_pairs}, middle_int8, last_int8, REST};
#endif
