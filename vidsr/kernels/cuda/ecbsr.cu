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

/* Weights, biases (as sums begin: twice) and slopes less one of a convolution for a lane; see packing.py. */
template <int WORDS, int N> struct Weights {
    static constexpr int SIZE = (WORDS + 6 * N + 3) / 4;
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
    METHOD const float (&biases(int n) const)[4] { return reinterpret_cast<const float (&)[4]>(floats[WORDS + 4 * n]); }
    METHOD float slope(int n, int k) const { return floats[WORDS + 4 * N + 2 * n + k]; }
};
template <int N> using Middle = Weights<9 * GROUPS * N, N>;
using First = Weights<2 * GROUPS, GROUPS>;

INLINE uint32_t swizzled(int column) { return static_cast<uint32_t>(column * GROUPS / 8 % GROUPS) << 4; }

/* Where a warp's results go in a map: pixels `lane / 4` of a strip, and those 8 columns on, in the same banks. */
template <int N> struct Strip {
    uint32_t places[N]; /* of groups of results, in row 0 */
    bool inside[2];

    METHOD Strip(const Frame &frame, uint32_t map, int strip, int group)
    {
        const int column = 16 * strip + lane_of_warp() / 4, x = frame.left - HALO + column;
        UNROLL
        for (int n = 0; n < N; n++)
            places[n] = map + (column + 1) * PIXEL + (swizzled(column + 1) ^ group + n << 4) + lane_of_warp() % 4 * 4;
        UNROLL
        for (int half = 0; half < 2; half++) inside[half] = x + 8 * half >= 0 && x + 8 * half < frame.width;
    }
    METHOD void move(int rows)
    {
        UNROLL
        for (int n = 0; n < N; n++) places[n] += rows * PITCH;
    }
    /* Store what becomes of sums, `row` rows below where the places are; `y` is that row's in the frame. */
    template <typename W> METHOD void store(const Frame &frame, int row, int y, const float (&sums)[N][4], const W &weights) const
    {
        const bool line = static_cast<uint32_t>(y) < static_cast<uint32_t>(frame.height);
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
                const uint32_t word = line && inside[half] ? halves(values[0], values[1]) : 0;
                store_word(places[n] + row * PITCH + 8 * half * PIXEL, word);
            }
    }
};

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
        const int begin = ROWS * part / PARTS, end = ROWS * (part + 1) / PARTS;
        Strip<GROUPS> places(frame, MAPS[0], strip, 0);
        places.move(begin);
        const uint32_t column = INPUT + 4 * (16 * strip + lane_of_warp() / 4 + 2 * (t & 1));
        uint32_t upper = column + 4 * PAIRS * (begin + (t >> 1)), lower = column + 4 * PAIRS * (begin + 2);
        for (int row = begin; row < end; row++, upper += 4 * PAIRS, lower += 4 * PAIRS, places.move(1)) {
            const uint32_t a[4] = {shared_word(upper), shared_word(upper + 32), shared_word(lower), shared_word(lower + 32)};
            float sums[GROUPS][4];
            UNROLL
            for (int n = 0; n < GROUPS; n++) multiply16(sums[n], a, weights.words[2 * n], weights.words[2 * n + 1], weights.biases(n));
            places.store(frame, 0, frame.top - HALO + row, sums, weights);
        }
    }
}

/* The picture's codes under a warp's pixels, read ahead, and its results with them added. */
template <int N> struct Codes {
    static constexpr int PAIRED = SCALE % 2 == 0;
    static constexpr int EACH = PAIRED ? 1 : 2;
    const sample_t *from;
    char *to;
    float code[2];
    int places[N][EACH]; /* of results, in bytes from `to`; -1: it is none */
    bool inside[2], paired;

    METHOD Codes(const Frame &frame, int strip, int group, int y)
    {
        const int column = 16 * strip + lane_of_warp() / 4, x = frame.left - HALO + column;
        from = reinterpret_cast<const sample_t *>(reinterpret_cast<const char *>(frame.source) + static_cast<long long>(y) * frame.source_pitch) + x;
        to = reinterpret_cast<char *>(frame.target) + static_cast<long long>(SCALE * y) * frame.target_pitch + SCALE * BYTES * x;
        paired = ((reinterpret_cast<uint64_t>(frame.target) | frame.target_pitch) & (2 * BYTES - 1)) == 0;
        UNROLL
        for (int half = 0; half < 2; half++)
            inside[half] = column + 8 * half >= HALO && column + 8 * half < WIDTH - HALO && x + 8 * half < frame.width;
        UNROLL
        for (int n = 0; n < N; n++)
            UNROLL
            for (int k = 0; k < EACH; k++) {
                const int at = 8 * (group + n) + 2 * (lane_of_warp() % 4) + k;
                places[n][k] = at < SCALE * SCALE ? at / SCALE * frame.target_pitch + at % SCALE * BYTES : -1;
            }
    }
    METHOD void load(const Frame &frame, int y)
    {
        UNROLL
        for (int half = 0; half < 2; half++)
            code[half] = inside[half] && y < frame.height ? static_cast<float>(constant(from + 8 * half)) : 0.0f;
        from = reinterpret_cast<const sample_t *>(reinterpret_cast<const char *>(from) + frame.source_pitch);
    }
    METHOD void store(const Frame &frame, int y, const float (&sums)[N][4])
    {
        UNROLL
        for (int half = 0; half < 2; half++)
            UNROLL
            for (int n = 0; n < N; n++) {
                if (!inside[half] || y >= frame.height || places[n][0] < 0) continue;
                int made[2];
                UNROLL
                for (int k = 0; k < 2; k++)
                    made[k] = rounded(fminf(fmaxf(fmaf(sums[n][2 * half + k], frame.peak, code[half]), 0.0f), frame.peak));
                char *place = to + places[n][0] + 8 * half * SCALE * BYTES;
                if (PAIRED && paired) {
                    *reinterpret_cast<two_samples_t *>(place) = static_cast<two_samples_t>(made[0] | made[1] << 8 * BYTES);
                    continue;
                }
                *reinterpret_cast<sample_t *>(place) = static_cast<sample_t>(made[0]);
                if (PAIRED)
                    reinterpret_cast<sample_t *>(place)[1] = static_cast<sample_t>(made[1]);
                else if (places[n][EACH - 1] >= 0)
                    *reinterpret_cast<sample_t *>(to + places[n][EACH - 1] + 8 * half * SCALE * BYTES) = static_cast<sample_t>(made[1]);
            }
        to += static_cast<long long>(SCALE) * frame.target_pitch;
    }
};

/* A warp's way down a strip: all convolutions but the first. `columns` and `places` move by three rows at a time, so that
 * a row's place is theirs and a constant. */
template <int N, bool LAST> struct Sweep {
    const Frame &frame;
    const Middle<N> &weights;
    uint32_t columns[LOADS]; /* what the lane loads, of the row above the first that is made */
    float sums[3][N][4];
    Strip<N> strip;
    Codes<N> codes;
    int y; /* in the frame, of the row that comes out first */

    METHOD Sweep(const Frame &frame_, const Middle<N> &weights_, uint32_t from, uint32_t to, int number, int group, int first)
        : frame(frame_), weights(weights_), strip(frame_, to, number, group),
          codes(frame_, number, group, frame_.top - HALO + first), y(frame_.top - HALO + first)
    {
        const int lane = lane_of_warp();
        strip.move(first);
        UNROLL
        for (int i = 0; i < LOADS; i++) {
            /* Group 2 i or, for the upper lanes, 2 i + 1 of the 3 * GROUPS under a row of taps. */
            const int e = i < STEPS ? 2 * i + lane / 16 : 2 * i;
            const int column = 16 * number + lane % 16 + e / GROUPS;
            columns[i] = place_of(from + (first - 1) * PITCH + column * PIXEL + (swizzled(column) ^ e % GROUPS << 4));
        }
    }

    /* Multiply a row, `ROW` below `columns`, into the results' rows above, at and below it. */
    template <int PHASE, int ROW, bool ABOVE, bool AT, bool BELOW> METHOD void step()
    {
        uint32_t a[STEPS + 1][4], rest[2];
        UNROLL
        for (int i = 0; i < STEPS; i++) load_matrices(a[i], columns[i] + ROW * PITCH);
        if (LOADS > STEPS) load_matrices(rest, columns[LOADS - 1] + ROW * PITCH);
        UNROLL
        for (int i = 0; i < LOADS; i++)
            UNROLL
            for (int m = 0; m < N; m++) {
                if (ABOVE) multiply(sums[(PHASE + 1) % 3][m], a[i], rest, 2, i, m, sums[(PHASE + 1) % 3][m]);
                if (AT) multiply(sums[(PHASE + 2) % 3][m], a[i], rest, 1, i, m, sums[(PHASE + 2) % 3][m]);
                if (BELOW && i == 0) multiply(sums[PHASE][m], a[i], rest, 0, i, m, weights.biases(m));
                if (BELOW && i > 0) multiply(sums[PHASE][m], a[i], rest, 0, i, m, sums[PHASE][m]);
            }
    }
    METHOD void multiply(float (&to)[4], const uint32_t (&a)[4], const uint32_t (&rest)[2], int tap, int i, int m, const float (&sum)[4])
    {
        const uint32_t *b = weights.words + (tap * N + m) * 3 * GROUPS + 2 * i;
        if (i < STEPS)
            multiply16(to, a, b[0], b[1], sum);
        else
            multiply8(to, rest[0], rest[1], b[0], sum);
    }
    /* A row of taps comes in, and a row of results is complete: the one above. */
    template <int PHASE, int ROW, bool AT, bool BELOW> METHOD void row()
    {
        if (LAST) codes.load(frame, y + ROW);
        step<PHASE, ROW, true, AT, BELOW>();
        if (LAST)
            codes.store(frame, y + ROW, sums[(PHASE + 1) % 3]);
        else
            strip.store(frame, ROW, y + ROW, sums[(PHASE + 1) % 3], weights);
    }
    template <int PHASE, int ROW> METHOD void end()
    {
        row<PHASE, ROW, true, false>();
        row<(PHASE + 1) % 3, ROW + 1, false, false>();
    }
    METHOD void move(int rows)
    {
        UNROLL
        for (int i = 0; i < LOADS; i++) columns[i] += rows * PITCH;
    }
    METHOD void run(int rows)
    {
        step<0, 0, false, false, true>();
        step<1, 1, false, true, true>();
        move(2);
        for (int n = rows - 2;; n -= 3) {
            if (n == 0) return end<2, 0>();
            row<2, 0, true, true>();
            if (n == 1) return end<0, 1>();
            row<0, 1, true, true>();
            if (n == 2) return end<1, 2>();
            row<1, 2, true, true>();
            move(3);
            strip.move(3);
            y += 3;
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
