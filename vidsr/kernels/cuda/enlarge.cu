/* Planes that no network makes, SCALE times as large: filters downwards, then across, in FP32.
 *
 * A thread makes the SCALE x SCALE samples that grow from each of RUN samples of the source, one below the other; edge
 * samples are repeated outwards. The target may end among them. Of each output phase there are 5 weights, for the
 * samples from 2 before to 2 behind. A block makes what grows from 32 x 32 samples.
 */
constexpr int TAPS = 5, RUN = 4;
#if SCALE * BYTES == 8
typedef uint64_t line_t;
#elif SCALE * BYTES == 4
typedef uint32_t line_t;
#elif SCALE * BYTES == 2
typedef uint16_t line_t;
#else
typedef uint8_t line_t; /* 3 neighbours, or a single byte: stored one by one */
#endif

INLINE int clamped(int value, int most) { return value < 0 ? 0 : value > most ? most : value; }

KERNEL void BOUNDS(256) enlarge(const sample_t *source, sample_t *target, const float *filters, int source_pitch,
                                int target_pitch, int width, int height, int out_width, int out_height, float peak)
{
    const int x = blockIdx.x * 32 + lane_of_warp(), first = (blockIdx.y * 8 + warp_of_block()) * RUN;
    if (x >= width || first >= height) return;
    const bool whole = SCALE * x + SCALE <= out_width &&
                       ((reinterpret_cast<uint64_t>(target) | target_pitch) & (sizeof(line_t) - 1)) == 0;
    float codes[TAPS - 1 + RUN][TAPS];
    EACH (i, TAPS - 1 + RUN) {
        const sample_t *line = line_of(source, clamped(first + i - 2, height - 1), source_pitch);
        EACH (j, TAPS) codes[i][j] = static_cast<float>(constant(line + clamped(x + j - 2, width - 1)));
    }
    EACH (p, SCALE)
        EACH (run, RUN) {
            const int y = SCALE * (first + run) + p;
            if (first + run >= height || y >= out_height) break;
            float columns[TAPS];
            EACH (j, TAPS) {
                columns[j] = 0.0f;
                EACH (i, TAPS) columns[j] = fmaf(constant(filters + TAPS * p + i), codes[run + i][j], columns[j]);
            }
            sample_t *place = line_of(target, y, target_pitch) + SCALE * x;
            line_t all = 0;
            EACH (q, SCALE) {
                float sum = 0.0f;
                EACH (j, TAPS) sum = fmaf(constant(filters + TAPS * (SCALE + q) + j), columns[j], sum);
                const int made = rounded(fminf(fmaxf(sum, 0.0f), peak));
                if (sizeof(line_t) == SCALE * BYTES && whole)
                    all |= static_cast<line_t>(static_cast<line_t>(made) << (8 * BYTES * q));
                else if (SCALE * x + q < out_width)
                    place[q] = static_cast<sample_t>(made);
            }
            if (sizeof(line_t) == SCALE * BYTES && whole) *reinterpret_cast<line_t *>(place) = all;
        }
}
