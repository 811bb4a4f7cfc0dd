/* What this machine's registers can do: sums of products without any memory, for each path's instruction. */
#include "stack.h"

#include "peak.h"

#include <string.h>
#include <time.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#if defined(__x86_64__)
#include <immintrin.h>

/* More sums than latency times units, in as many registers as there are beside the factor; `volatile` keeps the compiler
 * from leaving any out. */
#define FOUR(I, n) I(n) I(n + 1) I(n + 2) I(n + 3)
#define TWELVE(I) FOUR(I, 0) FOUR(I, 4) FOUR(I, 8)
#define TWENTY_FOUR(I) TWELVE(I) FOUR(I, 12) FOUR(I, 16) FOUR(I, 20)
#define LOOP(NAME, FEATURES, TYPE, ZERO, SUMS, EACH, INSTRUCTION)                                                  \
    __attribute__((target(FEATURES))) static void NAME(long rounds)                                                \
    {                                                                                                              \
        TYPE s[SUMS];                                                                                              \
        const TYPE x = ZERO;                                                                                       \
        for (int i = 0; i < SUMS; i++) s[i] = x;                                                                   \
        for (long i = 0; i < rounds; i++) {                                                                        \
            EACH(INSTRUCTION)                                                                                      \
        }                                                                                                          \
    }
#define WITH(NAME) __asm__ volatile(NAME " %1, %1, %0" : "+v"
#define FMA(i) WITH("vfmadd231ps") (s[i]) : "v"(x));
#define BF16(i) WITH("vdpbf16ps") (s[i]) : "v"(x));
#define BYTES(i) WITH("vpdpbusd") (s[i]) : "v"(x));
#define PAIRS(i) __asm__ volatile("vpmaddwd %1, %1, %%ymm15\n\tvpaddd %%ymm15, %0, %0" : "+v"(s[i]) : "v"(x) : "xmm15");
#define VEX_BYTES(i) WITH("%{vex%} vpdpbusd") (s[i]) : "x"(x));
LOOP(loop_avx512, "avx512f", __m512, _mm512_setzero_ps(), 24, TWENTY_FOUR, FMA)
LOOP(loop_bf16, "avx512f,avx512bf16", __m512, _mm512_setzero_ps(), 24, TWENTY_FOUR, BF16)
LOOP(loop_vnni, "avx512f,avx512vnni", __m512, _mm512_setzero_ps(), 24, TWENTY_FOUR, BYTES)
LOOP(loop_avx2, "avx2,fma", __m256, _mm256_setzero_ps(), 12, TWELVE, FMA)
LOOP(loop_avx2_int8, "avx2", __m256, _mm256_setzero_ps(), 12, TWELVE, PAIRS)
LOOP(loop_avx_vnni, "avx2,avxvnni", __m256, _mm256_setzero_ps(), 12, TWELVE, VEX_BYTES)
#endif

double vidsr_peak(const struct path *path, double seconds)
{
    void (*loop)(long) = NULL;
    double operations = 0; /* a round's multiplications and additions */
#if defined(__x86_64__)
    if (path == &vidsr_avx512) loop = loop_avx512, operations = 24 * 2 * 16;
    if (path == &vidsr_bf16) loop = loop_bf16, operations = 24 * 2 * 32;
    if (path == &vidsr_vnni) loop = loop_vnni, operations = 24 * 2 * 64;
    if (path == &vidsr_avx2) loop = loop_avx2, operations = 12 * 2 * 8;
    if (path == &vidsr_avx2_int8) loop = loop_avx2_int8, operations = 12 * 2 * 16;
    if (path == &vidsr_avx_vnni) loop = loop_avx_vnni, operations = 12 * 2 * 32;
#else
    (void)path;
#endif
    if (loop == NULL) return 0.0;
    /* The best of short stretches: other programs, and a clock that is still rising, only ever take away. */
    const long rounds = 200000;
    const double began = now();
    double best = 0.0, before = began;
    do {
        loop(rounds);
        const double after = now(), speed = (double)rounds * operations / (after - before);
        if (speed > best) best = speed;
        before = after;
    } while (before - began < seconds);
    return best;
}
