/* A decoder's surface taken apart: NV12, P010 or P016 to the planes that a network takes, without padding between rows.
 *
 * A thread takes RUN samples of a row, 8 bytes, and moves them down by `shift` bits to codes. Blocks of 8 rows: first
 * those of luma, then those of the pairs of chroma. Both surfaces' rows begin at multiples of 8 bytes, and are as long.
 */
constexpr int RUN = 8 / BYTES;

INLINE uint64_t codes(uint64_t word, int shift)
{
    /* What comes down from the sample above is cut off. */
    return BYTES == 1 ? word : word >> shift & 0x0001000100010001ull * (0xffffu >> shift);
}
INLINE uint64_t sample_of(uint64_t word, int i) { return word >> 8 * BYTES * i & (BYTES == 1 ? 0xffu : 0xffffu); }

KERNEL void BOUNDS(256) apart(const uint64_t *luma, const uint64_t *pairs, sample_t *y, sample_t *u, sample_t *v,
                              int luma_pitch, int pairs_pitch, int width, int height, int shift)
{
    const int small_width = (width + 1) / 2, small_height = (height + 1) / 2;
    const int blocks = (height + 7) / 8, place = blockIdx.x * 32 + lane_of_warp(), x = place * RUN;
    if (static_cast<int>(blockIdx.y) < blocks) {
        const int row = blockIdx.y * 8 + warp_of_block();
        if (row >= height || x >= width) return;
        const uint64_t word = codes(constant(line_of(luma, row, luma_pitch) + place), shift);
        sample_t *to = y + static_cast<long long>(row) * width + x;
        if (x + RUN <= width && (reinterpret_cast<uint64_t>(to) & 7) == 0)
            *reinterpret_cast<uint64_t *>(to) = word;
        else
            EACH (i, RUN)
                if (x + i < width) to[i] = static_cast<sample_t>(sample_of(word, i));
        return;
    }
    const int row = (blockIdx.y - blocks) * 8 + warp_of_block(), first = x / 2;
    if (row >= small_height || first >= small_width) return;
    const uint64_t word = codes(constant(line_of(pairs, row, pairs_pitch) + place), shift);
    uint32_t parts[2] = {0, 0};
    EACH (i, RUN) parts[i % 2] |= static_cast<uint32_t>(sample_of(word, i)) << 8 * BYTES * (i / 2);
    EACH (part, 2) {
        sample_t *to = (part ? v : u) + static_cast<long long>(row) * small_width + first;
        if (first + RUN / 2 <= small_width && (reinterpret_cast<uint64_t>(to) & 3) == 0)
            *reinterpret_cast<uint32_t *>(to) = parts[part];
        else
            EACH (i, RUN / 2)
                if (first + i < small_width) to[i] = static_cast<sample_t>(sample_of(parts[part], i));
    }
}
