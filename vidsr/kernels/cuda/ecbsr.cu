/* A whole network for a tile of a plane: `DEPTH` convolutions of 3x3 taps, PReLU between them, plus the input.
 *
 * Tiles. A block makes TILE_WIDTH x TILE_HEIGHT pixels (of the source; each becomes SCALE x SCALE samples).
 * Convolution l, from 1 on, is computed on what the later ones still need: rows l - 1 to ROWS - l of the tile's ROWS
 * (HALO = DEPTH - 1 on each side), and on all WIDTH columns, since 16 pixels are multiplied at once; what it makes of
 * columns that lack a neighbour is never used. Values outside of the frame are zeros after every convolution, as its
 * border asks for.
 *
 * Shared memory. Two maps are written in turn, [row][column][channel] in FP16 with a column of zeros on each side.
 * Their 16-byte groups of 8 channels change places by column (`swizzled`), so that 8 neighbours are always in 8
 * different groups of banks: neither ldmatrix nor the stores ever conflict. The input lies where the second map begins
 * later, as pairs of neighbours, and needs no memory of its own.
 *
 * Products. Implicit GEMM: M = 16 pixels of a row, N = 8 results, K = channels of a tap. A warp takes a strip of 16
 * columns and walks down its rows with the weights of a convolution in registers (9 taps x 16 x 16: 36 words). A row's
 * fragments are loaded once (3 x ldmatrix.x4 for 16 channels) and multiplied for the three rows of results that it
 * belongs to; the sums of three rows rotate, by unrolling three times. The first convolution's 9 taps are one K of 16.
 *
 * The input is code / (peak + 1), exact in FP16 up to 11 bits; packing.py has the rest in the first weights. The last
 * sums stay in FP32, and the code is added to them in FP32.
 *
 * For M4C16 on 9.0 (tiles of 54x46, WIDTH 64, ROWS 56, 16 warps): for 16 pixels of a row a middle convolution takes 56
 * instructions, 18 of them mma; with 1.6 clocks an mma on a multiprocessor and 4 instructions a clock, the mma decide
 * (29 clocks against 14), and shared memory is read and written in 16. Around a tile 1.3 times the mma are computed.
 * plan.py chooses tiles by such an estimate: 135 us for 1920x1080 on 132 multiprocessors at 1.755 GHz.
 *
 * Set from outside: FEATURES 8, 16 or 32; DEPTH; SCALE; BYTES of a sample; STRIPS of 16 columns; ROWS; PARTS that a
 * strip's rows are cut into, for warps; WARPS.
 */
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
            const uint32_t a[4] = {shared_word(upper), shared_word(upper + 32), shared_word(lower),
                                   shared_word(lower + 32)};
            float sums[GROUPS][4];
            EACH (n, GROUPS) multiply16(sums[n], a, weights.words[2 * n], weights.words[2 * n + 1], weights.biases(n));
            places.store(frame, 0, frame.top - HALO + row, sums, weights);
        }
    }
}

/* Convolution `layer`, from 2 on, of `groups` groups of results. */
template <int N, bool LAST> INLINE void convolution(const Frame &frame, const uint32_t *records, int layer, int groups)
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

KERNEL void BOUNDS(32 * WARPS) ecbsr(const sample_t *source, sample_t *target, const uint32_t *weights,
                                     int source_pitch, int target_pitch, int width, int height, float peak)
{
    const int left = blockIdx.x * TILE_WIDTH, top = blockIdx.y * TILE_HEIGHT;
    const Frame frame = {source, target, source_pitch, target_pitch, width,
                         height, left,   top,          peak,         1.0f / (peak + 1.0f)};
    load_input(frame);
    first_convolution(frame, weights);
    weights += First::SIZE * 32 * 4;
    for (int layer = 2; layer < DEPTH; layer++) {
        convolution<BLOCKS, false>(frame, weights, layer, GROUPS);
        weights += GROUPS / BLOCKS * Middle<BLOCKS>::SIZE * 32 * 4;
    }
    convolution<LAST_BLOCKS, true>(frame, weights, DEPTH, RESULTS);
}
