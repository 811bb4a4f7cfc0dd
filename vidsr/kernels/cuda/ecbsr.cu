/* A whole network for a tile of a plane: `DEPTH` convolutions of 3x3 taps, PReLU between them, plus the input.
 *
 * Tiles. A block makes TILE_WIDTH x TILE_HEIGHT pixels (of the source; each becomes SCALE x SCALE samples). Convolution l,
 * from 1 on, is computed on what the later ones still need: rows l - 1 to ROWS - l of the tile's ROWS (HALO = DEPTH - 1 on
 * each side), and on all WIDTH columns, since 16 pixels are multiplied at once; what it makes of columns that lack a
 * neighbour is never used. Values outside of the frame are zeros after every convolution, as its border asks for.
 *
 * Shared memory. Two maps are written in turn, [row][column][channel] in FP16 with a column of zeros on each side. Their
 * 16-byte groups of 8 channels change places by column (`swizzled`), so that 8 neighbours are always in 8 different
 * groups of banks: neither ldmatrix nor the stores ever conflict. The input lies where the second map begins later, as
 * pairs of neighbours, and needs no memory of its own.
 *
 * Products. Implicit GEMM: M = 16 pixels of a row, N = 8 results, K = channels of a tap. A warp takes a strip of 16 columns
 * and walks down its rows with the weights of a convolution in registers (9 taps x 16 x 16: 36 words). A row's fragments
 * are loaded once (3 x ldmatrix.x4 for 16 channels) and multiplied for the three rows of results that it belongs to;
 * the sums of three rows rotate, by unrolling three times. The first convolution's 9 taps are one K of 16.
 *
 * The input is code / (peak + 1), exact in FP16 up to 11 bits; packing.py has the rest in the first weights. The last sums
 * stay in FP32, and the code is added to them in FP32.
 *
 * Set from outside: FEATURES 8, 16 or 32; DEPTH; SCALE; BYTES of a sample; STRIPS of 16 columns; ROWS; PARTS that a strip's
 * rows are cut into, for warps; WARPS.
 */
#if BYTES == 1
typedef uint8_t sample_t;
typedef uint16_t two_samples_t;
#else
typedef uint16_t sample_t;
typedef uint32_t two_samples_t;
#endif

constexpr int GROUPS = FEATURES / 8;
constexpr int RESULTS = (SCALE * SCALE + 7) / 8; /* groups of 8 that the last convolution makes */
constexpr int HALO = DEPTH - 1;
constexpr int WIDTH = 16 * STRIPS;
constexpr int TILE_WIDTH = WIDTH - 2 * HALO, TILE_HEIGHT = ROWS - 2 * HALO;
constexpr int PIXEL = 2 * FEATURES; /* bytes */
constexpr int PITCH = (WIDTH + 2) * PIXEL;
/* Words a row of pairs: two rows of 10 neighbours must not meet in a bank. */
constexpr int PAIRS = WIDTH + 2 + ((WIDTH + 2) % 32 < 10 ? 10 - (WIDTH + 2) % 32 : (WIDTH + 2) % 32 > 22 ? 42 - (WIDTH + 2) % 32 : 0);
constexpr uint32_t INPUT = ROWS * PITCH; /* where it begins; the second map, too, whose first row is 1 */
constexpr uint32_t MAPS[2] = {0, INPUT - PITCH};
static_assert(TILE_WIDTH > 0 && TILE_HEIGHT >= 2 * PARTS, "the tile is too small");
static_assert(FEATURES == 8 || FEATURES == 16 || FEATURES == 32, "features");

constexpr int STEPS = 3 * GROUPS / 2; /* of 16 channels for a row of three taps; one of 8 is left where GROUPS is 1 */
constexpr int LOADS = (3 * GROUPS + 1) / 2;
constexpr int BLOCKS = GROUPS == 4 ? 1 : GROUPS; /* groups of results that a warp makes at once */
constexpr int LAST_BLOCKS = GROUPS == 4 ? 1 : RESULTS;

struct Frame {
    const sample_t *source;
    sample_t *target;
    int source_pitch, target_pitch; /* bytes */
    int width, height, left, top;   /* left, top: of the tile */
    float peak, unit;
};

/* Weights, bias and slopes less one of a convolution for a lane; see packing.py. */
template <int WORDS, int N> struct Weights {
    static constexpr int SIZE = (WORDS + 4 * N + 3) / 4;
    union {
        uint32_t words[4 * SIZE];
        float floats[4 * SIZE];
    };

    METHOD void load(const uint32_t *from, int record)
    {
        const uint4 *place = reinterpret_cast<const uint4 *>(from) + record * SIZE * 32 + lane_of_warp();
        UNROLL
        for (int i = 0; i < SIZE; i++) {
            const uint4 four = constant(place + i * 32);
            words[4 * i] = four.x, words[4 * i + 1] = four.y, words[4 * i + 2] = four.z, words[4 * i + 3] = four.w;
        }
    }
    METHOD float bias(int n, int k) const { return floats[WORDS + 2 * n + k]; }
    METHOD float slope(int n, int k) const { return floats[WORDS + 2 * N + 2 * n + k]; }
};
template <int N> using Middle = Weights<9 * GROUPS * N, N>;
using First = Weights<2 * GROUPS, GROUPS>;

INLINE uint32_t swizzled(int column) { return static_cast<uint32_t>(column * GROUPS / 8 % GROUPS) << 4; }

/* Where a warp's results go: pixels `lane / 4` of a strip, and 8 further. */
struct Strip {
    uint32_t places[2];
    bool inside[2];

    METHOD Strip(const Frame &frame, int strip, int group)
    {
        UNROLL
        for (int half = 0; half < 2; half++) {
            const int column = 16 * strip + 8 * half + lane_of_warp() / 4, x = frame.left - HALO + column;
            places[half] = (column + 1) * PIXEL + (swizzled(column + 1) ^ group << 4) + lane_of_warp() % 4 * 4;
            inside[half] = x >= 0 && x < frame.width;
        }
    }
};

template <int N, typename W>
INLINE void store_features(const Frame &frame, const Strip &strip, uint32_t map, int row, const float (&sums)[N][4], const W &weights)
{
    const int y = frame.top - HALO + row;
    const bool line = y >= 0 && y < frame.height;
    UNROLL
    for (int half = 0; half < 2; half++)
        UNROLL
        for (int n = 0; n < N; n++) {
            float values[2];
            UNROLL
            for (int k = 0; k < 2; k++) {
                const float sum = sums[n][2 * half + k];
                values[k] = fmaf(weights.slope(n, k), fminf(sum, 0.0f), sum);
            }
            const uint32_t word = line && strip.inside[half] ? halves(values[0], values[1]) : 0;
            store_word((map + row * PITCH + strip.places[half]) ^ n << 4, word);
        }
}

INLINE void load_input(const Frame &frame)
{
    /* Column c of a row is the low half of its word c and the high half of the one before. */
    for (int i = threadIdx.x; i < (ROWS + 2) * (WIDTH + 3); i += 32 * WARPS) {
        const int row = i / (WIDTH + 3), column = i % (WIDTH + 3);
        const int y = frame.top - HALO - 1 + row, x = frame.left - HALO - 1 + column;
        float value = 0.0f;
        if (y >= 0 && y < frame.height && x >= 0 && x < frame.width) {
            const char *line = reinterpret_cast<const char *>(frame.source) + static_cast<long long>(y) * frame.source_pitch;
            value = static_cast<float>(constant(reinterpret_cast<const sample_t *>(line) + x)) * frame.unit;
        }
        const uint16_t half = static_cast<uint16_t>(halves(value, 0.0f));
        const uint32_t place = INPUT + 4 * (row * PAIRS + column);
        if (column < WIDTH + 2) store_half(place, half);
        if (column > 0) store_half(place - 2, half);
    }
}

/* The columns of zeros on both sides of rows first..end of a map. */
INLINE void clear_sides(uint32_t map, int first, int end)
{
    constexpr int WORDS = PIXEL / 4;
    for (int i = threadIdx.x; i < (end - first) * 2 * WORDS; i += 32 * WARPS) {
        const int row = first + i / (2 * WORDS), word = i % (2 * WORDS);
        store_word(map + row * PITCH + (word < WORDS ? 4 * word : PITCH - PIXEL + 4 * (word - WORDS)), 0);
    }
}

INLINE void first_convolution(const Frame &frame, const uint32_t *records)
{
    First weights;
    weights.load(records, 0);
    wait_for_block();
    clear_sides(MAPS[0], 0, ROWS);
    const int t = lane_of_warp() % 4;
    for (int item = warp_of_block(); item < STRIPS * PARTS; item += WARPS) {
        const int strip = item % STRIPS, part = item / STRIPS;
        const Strip places(frame, strip, 0);
        const uint32_t column = INPUT + 4 * (16 * strip + lane_of_warp() / 4 + 2 * (t & 1));
        for (int row = ROWS * part / PARTS; row < ROWS * (part + 1) / PARTS; row++) {
            const uint32_t upper = column + 4 * PAIRS * (row + (t >> 1)), lower = column + 4 * PAIRS * (row + 2);
            const uint32_t a[4] = {shared_word(upper), shared_word(upper + 32), shared_word(lower), shared_word(lower + 32)};
            float sums[GROUPS][4];
            UNROLL
            for (int n = 0; n < GROUPS; n++) {
                UNROLL
                for (int i = 0; i < 4; i++) sums[n][i] = weights.bias(n, i % 2);
                multiply16(sums[n], a, weights.words[2 * n], weights.words[2 * n + 1]);
            }
            store_features(frame, places, MAPS[0], row, sums, weights);
        }
    }
}

/* The picture's codes under a warp's pixels, read ahead, and its results with them added. */
struct Codes {
    float code[2];
    int x[2]; /* -1: not one that this tile makes */

    METHOD Codes(const Frame &frame, int strip)
    {
        UNROLL
        for (int half = 0; half < 2; half++) {
            const int column = 16 * strip + 8 * half + lane_of_warp() / 4;
            x[half] = frame.left - HALO + column;
            if (column < HALO || column >= WIDTH - HALO || x[half] >= frame.width) x[half] = -1;
        }
    }
    METHOD void load(const Frame &frame, int y)
    {
        const char *line = reinterpret_cast<const char *>(frame.source) + static_cast<long long>(y) * frame.source_pitch;
        UNROLL
        for (int half = 0; half < 2; half++)
            code[half] = x[half] >= 0 && y < frame.height ? static_cast<float>(constant(reinterpret_cast<const sample_t *>(line) + x[half])) : 0.0f;
    }
    template <int N> METHOD void store(const Frame &frame, int y, int group, const float (&sums)[N][4], bool paired) const
    {
        if (y >= frame.height) return;
        UNROLL
        for (int half = 0; half < 2; half++)
            UNROLL
            for (int n = 0; n < N; n++) {
                const int channel = 8 * (group + n) + 2 * (lane_of_warp() % 4);
                if (x[half] < 0 || channel >= SCALE * SCALE) continue;
                int made[2];
                UNROLL
                for (int k = 0; k < 2; k++)
                    made[k] = rounded(fminf(fmaxf(fmaf(sums[n][2 * half + k], frame.peak, code[half]), 0.0f), frame.peak));
                UNROLL
                for (int k = 0; k < 2; k++) {
                    const int at = channel + k, row = SCALE * y + at / SCALE, column = SCALE * x[half] + at % SCALE;
                    char *line = reinterpret_cast<char *>(frame.target) + static_cast<long long>(row) * frame.target_pitch;
                    sample_t *place = reinterpret_cast<sample_t *>(line) + column;
                    if (SCALE % 2 == 0 && paired) {
                        *reinterpret_cast<two_samples_t *>(place) = static_cast<two_samples_t>(made[0] | made[1] << 8 * BYTES);
                        break;
                    }
                    if (at < SCALE * SCALE) *place = static_cast<sample_t>(made[k]);
                }
            }
    }
};

/* A warp's way down a strip: all convolutions but the first. */
template <int N, bool LAST> struct Sweep {
    const Frame &frame;
    const Middle<N> &weights;
    const uint32_t from, to;
    const int group, first;
    uint32_t columns[LOADS]; /* of a row, in bytes: what the lane loads */
    float sums[3][N][4];
    Strip strip;
    Codes codes;
    bool paired;

    METHOD Sweep(const Frame &frame_, const Middle<N> &weights_, uint32_t from_, uint32_t to_, int strip_, int group_, int first_)
        : frame(frame_), weights(weights_), from(from_), to(to_), group(group_), first(first_), strip(frame_, strip_, group_),
          codes(frame_, strip_)
    {
        const int lane = lane_of_warp();
        UNROLL
        for (int i = 0; i < LOADS; i++) {
            /* Group 2 i or, for the upper lanes, 2 i + 1 of the 3 * GROUPS under a row of taps. */
            const int e = i < STEPS ? 2 * i + lane / 16 : 2 * i;
            const int column = 16 * strip_ + lane % 16 + e / GROUPS;
            columns[i] = column * PIXEL + (swizzled(column) ^ e % GROUPS << 4);
        }
        paired = ((reinterpret_cast<uint64_t>(frame.target) | frame.target_pitch) & (2 * BYTES - 1)) == 0;
    }

    /* Multiply row `first - 1 + n` into the results' rows above, at and below it; n % 3 == PHASE. */
    template <int PHASE, bool ABOVE, bool AT, bool BELOW> METHOD void step(int n)
    {
        const uint32_t row = from + (first - 1 + n) * PITCH;
        uint32_t a[STEPS + 1][4], rest[2];
        UNROLL
        for (int i = 0; i < STEPS; i++) load_matrices(a[i], row + columns[i]);
        if (LOADS > STEPS) load_matrices(rest, row + columns[LOADS - 1]);
        if (BELOW)
            UNROLL
            for (int i = 0; i < 4 * N; i++) sums[PHASE][i / 4][i % 4] = weights.bias(i / 4, i % 2);
        UNROLL
        for (int i = 0; i < LOADS; i++)
            UNROLL
            for (int m = 0; m < N; m++) {
                if (ABOVE) multiply(sums[(PHASE + 1) % 3][m], a[i], rest, 2, i, m);
                if (AT) multiply(sums[(PHASE + 2) % 3][m], a[i], rest, 1, i, m);
                if (BELOW) multiply(sums[PHASE][m], a[i], rest, 0, i, m);
            }
    }
    METHOD void multiply(float (&sum)[4], const uint32_t (&a)[4], const uint32_t (&rest)[2], int tap, int i, int m)
    {
        const uint32_t *b = weights.words + (tap * N + m) * 3 * GROUPS + 2 * i;
        if (i < STEPS)
            multiply16(sum, a, b[0], b[1]);
        else
            multiply8(sum, rest[0], rest[1], b[0]);
    }
    template <int PHASE> METHOD void finish(int n)
    {
        const int row = first + n - 2;
        if (LAST)
            codes.store(frame, frame.top - HALO + row, group, sums[(PHASE + 1) % 3], paired);
        else
            store_features(frame, strip, to, row, sums[(PHASE + 1) % 3], weights);
    }
    METHOD void look_ahead(int n)
    {
        if (LAST) codes.load(frame, frame.top - HALO + first + n - 2);
    }
    template <int PHASE> METHOD void full(int n)
    {
        look_ahead(n);
        step<PHASE, true, true, true>(n);
        finish<PHASE>(n);
    }
    template <int PHASE> METHOD void end(int n)
    {
        look_ahead(n);
        step<PHASE, true, true, false>(n);
        finish<PHASE>(n);
        look_ahead(n + 1);
        step<(PHASE + 1) % 3, true, false, false>(n + 1);
        finish<(PHASE + 1) % 3>(n + 1);
    }
    METHOD void run(int rows)
    {
        step<0, false, false, true>(0);
        step<1, false, true, true>(1);
        for (int n = 2;;) {
            if (n == rows) return end<2>(n);
            full<2>(n++);
            if (n == rows) return end<0>(n);
            full<0>(n++);
            if (n == rows) return end<1>(n);
            full<1>(n++);
        }
    }
};

/* Convolution `layer`, from 2 on, of `groups` groups of results. */
template <int N, bool LAST>
INLINE void convolution(const Frame &frame, const uint32_t *records, int layer, int groups)
{
    const int items = STRIPS * PARTS * (groups / N), first = layer - 1, rows = ROWS - 2 * first;
    const uint32_t from = layer % 2 ? MAPS[1] : MAPS[0], to = layer % 2 ? MAPS[0] : MAPS[1];
    int item = warp_of_block();
    Middle<N> weights;
    if (item < items) weights.load(records, item / (STRIPS * PARTS)); /* before the wait, while others still work */
    wait_for_block();
    if (layer == 2) clear_sides(MAPS[1], 1, ROWS - 1);
    while (item < items) {
        const int strip = item % STRIPS, part = item / STRIPS % PARTS, block = item / (STRIPS * PARTS);
        const int begin = rows * part / PARTS, end = rows * (part + 1) / PARTS;
        Sweep<N, LAST>(frame, weights, from, to, strip, block * N, first + begin).run(end - begin);
        item += WARPS;
        if (item < items) weights.load(records, item / (STRIPS * PARTS));
    }
}

KERNEL void BOUNDS(32 * WARPS)
    ecbsr(const sample_t *source, sample_t *target, const uint32_t *weights, int source_pitch, int target_pitch, int width,
          int height, float peak)
{
    const Frame frame = {source, target, source_pitch, target_pitch, width, height,
                         static_cast<int>(blockIdx.x) * TILE_WIDTH, static_cast<int>(blockIdx.y) * TILE_HEIGHT,
                         peak, 1.0f / (peak + 1.0f)};
    load_input(frame);
    first_convolution(frame, weights);
    weights += First::SIZE * 32 * 4;
    for (int layer = 2; layer < DEPTH; layer++) {
        convolution<BLOCKS, false>(frame, weights, layer, GROUPS);
        weights += GROUPS / BLOCKS * Middle<BLOCKS>::SIZE * 32 * 4;
    }
    convolution<LAST_BLOCKS, true>(frame, weights, DEPTH, RESULTS);
}
