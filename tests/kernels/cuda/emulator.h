/* What device.cuh is, for C++ on a CPU: a block's threads as fibers, and the warp's instructions by PTX's own tables.
 *
 * A fiber runs until its warp or its block must meet. Where a warp's lanes do not meet in the same instruction, where
 * shared memory is left, misaligned or read before it was written, or global memory is read that was not given, the block
 * ends with a message. Warps run in an order that changes from one meeting to the next, so that a missing wait shows.
 */
#include <cmath>
#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ucontext.h>
#include <vector>

#define INLINE static inline
#define METHOD inline
#define KERNEL static
#define BOUNDS(threads)
#define EACH(i, count) for (int i = 0; i < (count); i++)

struct uint4 { uint32_t x, y, z, w; };
struct Index { int x, y, z; };
enum Meeting { NONE, BLOCK, MATRICES4, MATRICES2, MULTIPLY8, MULTIPLY16 };

struct Fiber {
    ucontext_t context;
    jmp_buf place;
    bool begun, ended;
    Meeting waits;
    uint32_t offset, *matrices;            /* of MATRICES */
    float *sums;                           /* of MULTIPLY */
    uint32_t a[4], b[2];
    std::vector<uint32_t> reads, writes;   /* words since the lanes met */
    std::vector<char> stack;
};
static std::vector<Fiber> fibers;
static Fiber *now;
static jmp_buf scheduler;
static void (*body)(void *);
static void *arguments;
static Index threadIdx, blockIdx;
static std::vector<char> memory;
static std::vector<bool> written;
static uint32_t chance = 1;

static jmp_buf failed;
static char fault[200];
[[noreturn]] static void wrong(const char *what)
{
    std::snprintf(fault, sizeof fault, "block %d,%d thread %d: %s", blockIdx.x, blockIdx.y, threadIdx.x, what);
    _longjmp(failed, 1);
}
static void meet(Meeting meeting)
{
    now->waits = meeting;
    if (!_setjmp(now->place)) _longjmp(scheduler, 1);
}
INLINE int lane_of_warp() { return threadIdx.x & 31; }
INLINE int warp_of_block() { return threadIdx.x >> 5; }
INLINE void wait_for_block() { meet(BLOCK); }

static char *reached(uint32_t offset, uint32_t size, bool writes)
{
    if (offset % size) wrong("shared memory is misaligned");
    if (offset + size > memory.size()) wrong("shared memory is left");
    for (uint32_t i = 0; i < size; i++) {
        if (!writes && !written[offset + i]) wrong("shared memory is read before it is written");
        written[offset + i] = written[offset + i] || writes;
    }
    return memory.data() + offset;
}
INLINE uint32_t shared_word(uint32_t offset)
{
    uint32_t word;
    std::memcpy(&word, reached(offset, 4, false), 4);
    now->reads.push_back(offset / 4);
    return word;
}
INLINE void store_word(uint32_t offset, uint32_t word)
{
    std::memcpy(reached(offset, 4, true), &word, 4);
    now->writes.push_back(offset / 4);
}
INLINE void store_half(uint32_t offset, uint16_t half) { std::memcpy(reached(offset, 2, true), &half, 2); }

static uint16_t half_of(float value)
{
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    const uint32_t sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
    if (size > 0x7f800000) return sign | 0x7e00;
    if (size >= 0x477ff000) return sign | 0x7c00;             /* rounds to 65536 or more */
    const float scaled = std::ldexp(std::fabs(value), 24);     /* subnormal halves are multiples of 2^-24 */
    if (size < 0x38800000) return sign | (uint16_t)std::nearbyint(scaled);
    const uint32_t up = 0xfff + (size >> 13 & 1);
    return sign | ((size + up - 0x38000000) >> 13);
}
static float float_of(uint16_t half)
{
    const int exponent = half >> 10 & 31, digits = half & 1023;
    const float size = exponent == 31 ? (digits ? NAN : INFINITY)
                       : exponent     ? std::ldexp(1024.0f + digits, exponent - 25)
                                      : std::ldexp((float)digits, -24);
    return half & 0x8000 ? -size : size;
}
INLINE uint32_t halves(float low, float high) { return half_of(low) | (uint32_t)half_of(high) << 16; }
INLINE int rounded(float value) { return (int)std::nearbyint(value); }
struct Given { const char *from, *to; };
static std::vector<Given> given_memory;
template <typename T> INLINE T constant(const T *place)
{
    const char *from = reinterpret_cast<const char *>(place);
    for (const Given &given : given_memory)
        if (from >= given.from && from + sizeof(T) <= given.to) return *place;
    wrong("global memory is read that was not given");
}

INLINE uint32_t place_of(uint32_t offset) { return offset; }
INLINE void load_matrices(uint32_t (&a)[4], uint32_t place)
{
    now->offset = place, now->matrices = a;
    meet(MATRICES4);
}
INLINE void load_matrices(uint32_t (&a)[2], uint32_t place)
{
    now->offset = place, now->matrices = a;
    meet(MATRICES2);
}
INLINE void multiply8(float (&d)[4], uint32_t a0, uint32_t a1, uint32_t b0, const float (&c)[4])
{
    float sums[4] = {c[0], c[1], c[2], c[3]};
    now->sums = sums, now->a[0] = a0, now->a[1] = a1, now->b[0] = b0;
    meet(MULTIPLY8);
    std::memcpy(d, sums, sizeof sums);
}
INLINE void multiply16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, const float (&c)[4])
{
    float sums[4] = {c[0], c[1], c[2], c[3]};
    now->sums = sums, now->b[0] = b0, now->b[1] = b1;
    std::memcpy(now->a, a, sizeof now->a);
    meet(MULTIPLY16);
    std::memcpy(d, sums, sizeof sums);
}

static void act_matrices(Fiber *warp, int count)
{
    uint32_t banks[4] = {};
    for (int lane = 0; lane < 8 * count; lane++) {
        const uint32_t group = 1u << (warp[lane].offset / 16 % 8);
        if (banks[lane / 8] & group) wrong("two rows of a matrix are in the same banks");
        banks[lane / 8] |= group;
    }
    for (int lane = 0; lane < 32; lane++)
        for (int i = 0; i < count; i++) {
            const uint32_t row = warp[8 * i + lane / 4].offset;
            if (row % 16) wrong("a matrix is misaligned");
            warp[lane].matrices[i] = shared_word(row + lane % 4 * 4);
        }
}
static void act_multiply(Fiber *warp, int channels)
{
    float a[16][16], b[16][8];
    for (int lane = 0; lane < 32; lane++)
        for (int i = 0; i < channels / 4; i++)
            for (int k = 0; k < 2; k++) {
                const int channel = lane % 4 * 2 + k + i / 2 * 8;
                a[lane / 4 + i % 2 * 8][channel] = float_of(warp[lane].a[i] >> 16 * k);
                if (i % 2 == 0) b[channel][lane / 4] = float_of(warp[lane].b[i / 2] >> 16 * k);
            }
    for (int lane = 0; lane < 32; lane++)
        for (int i = 0; i < 4; i++) {
            double sum = warp[lane].sums[i];
            for (int k = 0; k < channels; k++) sum += (double)a[lane / 4 + i / 2 * 8][k] * b[k][lane % 4 * 2 + i % 2];
            warp[lane].sums[i] = (float)sum;
        }
}
static void enter()
{
    body(arguments);
    now->ended = true;
    _longjmp(scheduler, 1);
}
static void resume(int thread)
{
    now = &fibers[thread], threadIdx.x = thread;
    if (_setjmp(scheduler)) return;
    if (now->begun) _longjmp(now->place, 1);
    now->begun = true;
    getcontext(&now->context);
    now->context.uc_stack.ss_sp = now->stack.data(), now->context.uc_stack.ss_size = now->stack.size();
    now->context.uc_link = nullptr;
    makecontext(&now->context, enter, 0);
    setcontext(&now->context);
}
/* Whether what a warp read or wrote together lies in different banks, where its lanes did the same. */
static void check_banks(Fiber *lanes, std::vector<uint32_t> Fiber::*words)
{
    for (size_t i = 0; i < (lanes[0].*words).size(); i++) {
        uint32_t banks[32] = {};
        for (int lane = 0; lane < 32; lane++) {
            if ((lanes[lane].*words).size() != (lanes[0].*words).size()) return;
            const uint32_t word = (lanes[lane].*words)[i] + 1;
            if (banks[word % 32] && banks[word % 32] != word) wrong("two words of a warp are in the same bank");
            banks[word % 32] = word;
        }
    }
}
static void run_warp(int warp)
{
    static std::vector<Meeting> before; /* of each warp */
    before.resize(fibers.size() / 32);
    Fiber *lanes = &fibers[32 * warp];
    while (true) {
        for (int lane = 0; lane < 32; lane++)
            if (!lanes[lane].ended) resume(32 * warp + lane);
        int alive = 0;
        Meeting meeting = NONE;
        for (int lane = 0; lane < 32; lane++)
            if (!lanes[lane].ended) meeting = lanes[lane].waits, alive++;
        if (alive == 0 || (alive < 32 && meeting == BLOCK)) return;
        for (int lane = 0; lane < 32; lane++)
            if (alive < 32 || lanes[lane].waits != meeting) wrong("a warp's lanes do not meet");
        /* What is read for a product, and what is written behind one. */
        if (meeting == MULTIPLY16) check_banks(lanes, &Fiber::reads);
        if (before[warp] == MULTIPLY16 || before[warp] == MULTIPLY8) check_banks(lanes, &Fiber::writes);
        before[warp] = meeting;
        for (int lane = 0; lane < 32; lane++) lanes[lane].reads.clear(), lanes[lane].writes.clear();
        if (meeting == BLOCK) return;
        if (meeting == MATRICES4 || meeting == MATRICES2) act_matrices(lanes, meeting == MATRICES4 ? 4 : 2);
        else act_multiply(lanes, meeting == MULTIPLY8 ? 8 : 16);
    }
}
/* Run a kernel's block; `shared` bytes of memory. Whether all went well; `fault` says what did not. */
static bool run_block(int x, int y, int threads, size_t shared, void (*kernel)(void *), void *given)
{
    if (_setjmp(failed)) return false;
    body = kernel, arguments = given, blockIdx = {x, y, 0};
    memory.assign(shared, (char)0xff), written.assign(shared, false);
    fibers.resize(threads);
    for (Fiber &fiber : fibers) {
        fiber.begun = fiber.ended = false;
        fiber.reads.clear(), fiber.writes.clear();
        fiber.stack.resize(1 << 16);
    }
    std::vector<int> order;
    for (int warp = 0; warp < threads / 32; warp++) order.push_back(warp);
    while (true) {
        for (size_t i = order.size(); i > 1; i--) {
            chance = chance * 1664525 + 1013904223;
            std::swap(order[i - 1], order[(chance >> 8) % i]);
        }
        for (int warp : order) run_warp(warp);
        size_t ended = 0;
        for (Fiber &fiber : fibers) ended += fiber.ended;
        if (ended == fibers.size()) return true;
        if (ended) wrong("some threads ended while others wait for the block");
    }
}
