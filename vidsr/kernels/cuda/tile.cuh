/* A tile of the fused kernel: its sizes and its places in shared memory, what comes in, and where results go. */
constexpr int GROUPS = FEATURES / 8;
constexpr int RESULTS = (SCALE * SCALE + 7) / 8; /* groups of 8 that the last convolution makes */
constexpr int HALO = DEPTH - 1;
constexpr int WIDTH = 16 * STRIPS;
constexpr int TILE_WIDTH = WIDTH - 2 * HALO, TILE_HEIGHT = ROWS - 2 * HALO;
constexpr int PIXEL = 2 * FEATURES; /* bytes */
constexpr int PITCH = (WIDTH + 2) * PIXEL;
/* Words a row of pairs: two rows of 10 neighbours must not meet in a bank. */
constexpr int PAIRS = WIDTH + 2 +
                      ((WIDTH + 2) % 32 < 10   ? 10 - (WIDTH + 2) % 32
                       : (WIDTH + 2) % 32 > 22 ? 42 - (WIDTH + 2) % 32
                                               : 0);
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
        EACH (i, SIZE) {
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
        EACH (n, N)
            places[n] = map + (column + 1) * PIXEL + (swizzled(column + 1) ^ group + n << 4) + lane_of_warp() % 4 * 4;
        EACH (half, 2) inside[half] = x + 8 * half >= 0 && x + 8 * half < frame.width;
    }
    METHOD void move(int rows)
    {
        EACH (n, N) places[n] += rows * PITCH;
    }
    /* Store what becomes of sums, `row` rows below where the places are; `y` is that row's in the frame. */
    template <typename W>
    METHOD void store(const Frame &frame, int row, int y, const float (&sums)[N][4], const W &weights) const
    {
        const bool line = static_cast<uint32_t>(y) < static_cast<uint32_t>(frame.height);
        EACH (half, 2)
            EACH (n, N) {
                float values[2];
                EACH (k, 2) {
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
        if (y >= 0 && y < frame.height && x >= 0 && x < frame.width)
            value = static_cast<float>(constant(line_of(frame.source, y, frame.source_pitch) + x)) * frame.unit;
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
