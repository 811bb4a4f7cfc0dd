/* What this machine's registers can do: sums of products without any memory, for each path's instruction. */
#include "stack.h"

#include "peak.h"

#include <string.h>
#include <time.h>

enum { SUMS = 16 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#if defined(__x86_64__)
#include <immintrin.h>

/* Sixteen sums, more than latency times units; `volatile` keeps the compiler from leaving any out. */
#define EACH(I) I(0) I(1) I(2) I(3) I(4) I(5) I(6) I(7) I(8) I(9) I(10) I(11) I(12) I(13) I(14) I(15)
#define LOOP(NAME, FEATURES, TYPE, ZERO, INSTRUCTION)                                                              \
    __attribute__((target(FEATURES))) static void NAME(long rounds)                                                \
    {                                                                                                              \
        TYPE s[SUMS];                                                                                                \
        const TYPE x = ZERO;                                                                                       \
        for (int i = 0; i < SUMS; i++) s[i] = x;                                                                     \
        for (long i = 0; i < rounds; i++) {                                                                        \
            EACH(INSTRUCTION)                                                                                    \
        }                                                                                                          \
    }
#define WITH(NAME) __asm__ volatile(NAME " %1, %1, %0" : "+v"
#define FMA(i) WITH("vfmadd231ps") (s[i]) : "v"(x));
#define BF16(i) WITH("vdpbf16ps") (s[i]) : "v"(x));
#define BYTES(i) WITH("vpdpbusd") (s[i]) : "v"(x));
#define VEX_BYTES(i) WITH("%{vex%} vpdpbusd") (s[i]) : "x"(x));
LOOP(loop_avx512, "avx512f", __m512, _mm512_setzero_ps(), FMA)
LOOP(loop_bf16, "avx512f,avx512bf16", __m512, _mm512_setzero_ps(), BF16)
LOOP(loop_vnni, "avx512f,avx512vnni", __m512, _mm512_setzero_ps(), BYTES)
LOOP(loop_avx2, "avx2,fma", __m256, _mm256_setzero_ps(), FMA)
LOOP(loop_avx_vnni, "avx2,avxvnni", __m256, _mm256_setzero_ps(), VEX_BYTES)
#endif

double vidsr_peak(const struct path *path, double seconds)
{
    void (*loop)(long) = NULL;
    double operations = 0; /* an instruction's multiplications and additions */
#if defined(__x86_64__)
    if (path == &vidsr_avx512) loop = loop_avx512, operations = 2 * 16;
    if (path == &vidsr_bf16) loop = loop_bf16, operations = 2 * 32;
    if (path == &vidsr_vnni) loop = loop_vnni, operations = 2 * 64;
    if (path == &vidsr_avx2) loop = loop_avx2, operations = 2 * 8;
    if (path == &vidsr_avx_vnni) loop = loop_avx_vnni, operations = 2 * 32;
#else
    (void)path;
#endif
    if (loop == NULL) return 0.0;
    const long rounds = 20000;
    long done = 0;
    loop(rounds); /* the core's clock may take a moment */
    const double began = now();
    double taken;
    do {
        loop(rounds);
        done += rounds;
        taken = now() - began;
    } while (taken < seconds);
    return (double)done * SUMS * operations / taken;
}
