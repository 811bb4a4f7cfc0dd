/* The machine that ecbsr.cu and enlarge.cu are written for: a GPU from compute capability 7.5 on, by PTX.
 *
 * tests/kernels/cuda/emulator.h has the same names for C++ on a CPU, so that the same sources run in both.
 * Fragments are those of mma.m16n8k16 and mma.m16n8k8 (f16, sums in f32); g = lane / 4, t = lane % 4:
 *   A, pixels x channels: a[0] (g, 2t..2t+1), a[1] (g + 8, the same), a[2] and a[3] the same 8 channels on
 *   B, channels x results: b[0] (2t..2t+1, g), b[1] 8 channels on
 *   sums, pixels x results: c[0..1] (g, 2t..2t+1), c[2..3] (g + 8, the same)
 */
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;

#define INLINE static __device__ __forceinline__
#define METHOD __device__ __forceinline__
#define KERNEL extern "C" __global__
#define BOUNDS(threads) __launch_bounds__(threads, 1)
#define EACH(i, count) _Pragma("unroll") for (int i = 0; i < (count); i++)

extern __shared__ uint4 shared_memory[];

INLINE int lane_of_warp() { return threadIdx.x & 31; }
INLINE int warp_of_block() { return threadIdx.x >> 5; }
INLINE void wait_for_block() { __syncthreads(); }

INLINE char *shared_at(uint32_t offset) { return reinterpret_cast<char *>(shared_memory) + offset; }
INLINE uint32_t shared_word(uint32_t offset) { return *reinterpret_cast<const uint32_t *>(shared_at(offset)); }
INLINE void store_word(uint32_t offset, uint32_t word) { *reinterpret_cast<uint32_t *>(shared_at(offset)) = word; }
INLINE void store_half(uint32_t offset, uint16_t half) { *reinterpret_cast<uint16_t *>(shared_at(offset)) = half; }

/* Two floats as FP16, to nearest, halves to even; the first in the low half. */
INLINE uint32_t halves(float low, float high)
{
    uint32_t packed;
#if __CUDA_ARCH__ >= 800
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
#else
    asm("{.reg .f16 l, h; cvt.rn.f16.f32 l, %1; cvt.rn.f16.f32 h, %2; mov.b32 %0, {l, h};}"
        : "=r"(packed)
        : "f"(low), "f"(high));
#endif
    return packed;
}

/* 8x8 matrices of FP16; lane 8 i + j gives the place of matrix i's row j, 16 bytes. */
INLINE uint32_t place_of(uint32_t offset) { return static_cast<uint32_t>(__cvta_generic_to_shared(shared_at(offset))); }
INLINE void load_matrices(uint32_t (&a)[4], uint32_t place)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3])
                 : "r"(place));
}
INLINE void load_matrices(uint32_t (&a)[2], uint32_t place)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];" : "=r"(a[0]), "=r"(a[1]) : "r"(place));
}

/* d = a * b + c over 8 and over 16 channels; c may be d. */
INLINE void multiply8(float (&d)[4], uint32_t a0, uint32_t a1, uint32_t b0, const float (&c)[4])
{
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%7, %8, %9, %10};"
        : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
        : "r"(a0), "r"(a1), "r"(b0), "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
}
INLINE void multiply16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, const float (&c)[4])
{
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%10, %11, %12, %13};"
        : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1), "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
#else
    multiply8(d, a[0], a[1], b0, c);
    multiply8(d, a[2], a[3], b1, d);
#endif
}

/* To nearest, halves to even. */
INLINE int rounded(float value) { return __float2int_rn(value); }
template <typename T> INLINE T constant(const T *place) { return __ldg(place); }
