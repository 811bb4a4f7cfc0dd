/* The paths of 256 bits: f32 with FMA, int8 in pairs of int16 (both AVX2), and int8 with AVX-VNNI. */
#include "stack.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define LANES 8
#define UNITS __m256i
#define LOAD(p) _mm256_loadu_si256((const __m256i *)(p))
#define SPREAD(u) _mm256_set1_epi32((int)(u))
#include "rows.inc"

typedef int INTS __attribute__((vector_size(32)));

#define AVX2 __attribute__((target("avx2,fma")))
#define BEGIN_FLOAT(conv, c) _mm256_set1_ps((conv)->bias[c])
#define BEGIN_INT(conv, c) ((INTS)_mm256_set1_epi32((conv)->offset[c]))
#define DOT_F32(s, x, w) _mm256_fmadd_ps(_mm256_castsi256_ps(x), _mm256_castsi256_ps(w), s)
#define DOT_INT8(s, x, w) ((INTS)_mm256_dpbusd_avx_epi32((__m256i)(s), x, w))
/* Products of bytes (vpmaddubsw) are summed in 16 bits, where two of them overflow; those of 16 bits in 32. */
#define DOT_PAIRS(s, x, w) ((s) + (INTS)_mm256_madd_epi16(x, w))
#define DOT_INT16(s, x, w) ((INTS)_mm256_dpwssd_avx_epi32((__m256i)(s), x, w))

AVX2 static inline __m256 prelu(__m256 x, float slope_less_one)
{
    return _mm256_fmadd_ps(_mm256_min_ps(x, _mm256_setzero_ps()), _mm256_set1_ps(slope_less_one), x);
}

AVX2 static inline __m256 scaled(INTS sum, const struct conv *conv, int c)
{
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps((__m256i)sum), _mm256_set1_ps(conv->scale[c]),
                           _mm256_set1_ps(conv->bias[c]));
}

/* Four channels of 8 pixels as 8 times four uint8. */
AVX2 static inline __m256i fours_of(__m256 a, __m256 b, __m256 c, __m256 d, int32_t zero)
{
    const __m256i order =
        _mm256_broadcastsi128_si256(_mm_set_epi8(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0));
    const __m256i z = _mm256_set1_epi16((short)zero);
    const __m256i ab = _mm256_packs_epi32(_mm256_cvtps_epi32(a), _mm256_cvtps_epi32(b));
    const __m256i cd = _mm256_packs_epi32(_mm256_cvtps_epi32(c), _mm256_cvtps_epi32(d));
    return _mm256_shuffle_epi8(_mm256_packus_epi16(_mm256_adds_epi16(ab, z), _mm256_adds_epi16(cd, z)), order);
}

/* Two channels of 8 pixels as 8 pairs of int16 in 0..255. */
AVX2 static inline __m256i codes_of(__m256 a, __m256 b, int32_t zero)
{
    const __m256i z = _mm256_set1_epi32(zero), none = _mm256_setzero_si256(), most = _mm256_set1_epi32(255);
    const __m256i low = _mm256_add_epi32(_mm256_cvtps_epi32(a), z), high = _mm256_add_epi32(_mm256_cvtps_epi32(b), z);
    const __m256i above = _mm256_min_epi32(_mm256_max_epi32(high, none), most);
    return _mm256_or_si256(_mm256_min_epi32(_mm256_max_epi32(low, none), most), _mm256_slli_epi32(above, 16));
}

AVX2 static inline void store_codes(__m256 x, const struct target *t, int channel, int place)
{
    const __m256 peak = _mm256_set1_ps((float)t->peak);
    const __m256 value = _mm256_add_ps(x, _mm256_loadu_ps(t->skip + place));
    const __m256 inside = _mm256_min_ps(_mm256_max_ps(value, _mm256_setzero_ps()), peak);
    const __m256i codes = _mm256_cvtps_epi32(inside);
    _mm_storeu_si128((__m128i *)(t->codes + channel * t->pitch + place),
                     _mm_packus_epi32(_mm256_castsi256_si128(codes), _mm256_extracti128_si256(codes, 1)));
}

#define STORE(place, units) _mm256_storeu_si256((__m256i *)(place), units)
#define STORE_FLOATS(place, floats) _mm256_storeu_ps((float *)(place), floats)

/* Sixteen registers: four channels of three vectors, what they are made of, and a weight. */
#define TARGET AVX2
ROW_FUNCTION(first_f32, __m256, BEGIN_FLOAT, DOT_F32, TO_F32, 4, 3, TAPS)
ROW_FUNCTION(middle_f32, __m256, BEGIN_FLOAT, DOT_F32, TO_F32, 4, 3, TAPS)
ROW_FUNCTION(last4_f32, __m256, BEGIN_FLOAT, DOT_F32, TO_CODES, 4, 3, TAPS)
ROW_FUNCTION(last3_f32, __m256, BEGIN_FLOAT, DOT_F32, TO_CODES, 3, 3, TAPS)
ROW_FUNCTION(first_int8, __m256, BEGIN_FLOAT, DOT_F32, TO_INT8, 4, 3, TAPS)
/* A product takes a register of its own here, so there are sums for two vectors. */
ROW_FUNCTION(first_codes, __m256, BEGIN_FLOAT, DOT_F32, TO_CODE_PAIRS, 4, 3, TAPS)
ROW_FUNCTION(first_codes_pairs, INTS, BEGIN_INT, DOT_PAIRS, TO_CODE_PAIRS_SCALED, 4, 2, TAPS_OF_PAIRS)
ROW_FUNCTION(middle_codes, INTS, BEGIN_INT, DOT_PAIRS, TO_CODE_PAIRS_SCALED, 4, 2, TAPS)
ROW_FUNCTION(last4_codes, INTS, BEGIN_INT, DOT_PAIRS, TO_CODES_SCALED, 4, 2, TAPS)
ROW_FUNCTION(last3_codes, INTS, BEGIN_INT, DOT_PAIRS, TO_CODES_SCALED, 3, 2, TAPS)
#include "simple.inc"
#undef TARGET
#define TARGET __attribute__((target("avx2,fma,avxvnni")))
ROW_FUNCTION(first_int8_pairs, INTS, BEGIN_INT, DOT_INT16, TO_INT8_SCALED, 4, 3, TAPS_OF_PAIRS)
ROW_FUNCTION(middle_int8, INTS, BEGIN_INT, DOT_INT8, TO_INT8_SCALED, 4, 3, TAPS)
ROW_FUNCTION(last4_int8, INTS, BEGIN_INT, DOT_INT8, TO_CODES_SCALED, 4, 3, TAPS)
ROW_FUNCTION(last3_int8, INTS, BEGIN_INT, DOT_INT8, TO_CODES_SCALED, 3, 3, TAPS)

static void last_f32(const struct conv *conv, const uint32_t *const rows[3], ptrdiff_t pitch,
                     const struct target *target, int count)
{
    (conv->block == 4 ? last4_f32 : last3_f32)(conv, rows, pitch, target, count);
}

static void last_codes(const struct conv *conv, const uint32_t *const rows[3], ptrdiff_t pitch,
                       const struct target *target, int count)
{
    (conv->block == 4 ? last4_codes : last3_codes)(conv, rows, pitch, target, count);
}

static void last_int8(const struct conv *conv, const uint32_t *const rows[3], ptrdiff_t pitch,
                      const struct target *target, int count)
{
    (conv->block == 4 ? last4_int8 : last3_int8)(conv, rows, pitch, target, count);
}

#define REST load_row, shuffle, filter, round_codes
#define LAST_BLOCKS {0, 4, 4, 3, 4}
const struct path vidsr_avx2 = {
    "avx2", "f32", 1, 4, LAST_BLOCKS, {first_f32, NULL, NULL}, middle_f32, last_f32, REST};
const struct path vidsr_avx2_int8 = {
    "avx2-int8", "int8", 2, 4, LAST_BLOCKS, {first_codes, NULL, first_codes_pairs}, middle_codes, last_codes, REST};
const struct path vidsr_avx_vnni = {
    "avx-vnni", "int8", 4, 4, LAST_BLOCKS, {first_int8, NULL, first_int8_pairs}, middle_int8, last_int8, REST};
#endif
