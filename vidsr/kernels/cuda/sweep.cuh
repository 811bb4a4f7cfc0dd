/* A warp's way down a strip of a tile, for all convolutions but the first; what the last one writes. */

/* The picture's codes under a warp's pixels, read ahead, and its results with them added. */
template <int N> struct Codes {
    static constexpr bool EVEN = SCALE % 2 == 0; /* two results that a lane has are neighbours */
    static constexpr int KINDS = EVEN ? 1 : 2;
    const sample_t *from;
    sample_t *to;
    float code[2];
    int places[N][KINDS]; /* of results, in samples from `to`; -1: it is none */
    bool inside[2], paired;

    METHOD Codes(const Frame &frame, int strip, int group, int y)
    {
        const int column = 16 * strip + lane_of_warp() / 4, x = frame.left - HALO + column;
        from = line_of(frame.source, y, frame.source_pitch) + x;
        to = line_of(frame.target, SCALE * y, frame.target_pitch) + SCALE * x;
        paired = ((reinterpret_cast<uint64_t>(frame.target) | frame.target_pitch) & (2 * BYTES - 1)) == 0;
        EACH (half, 2)
            inside[half] = column + 8 * half >= HALO && column + 8 * half < WIDTH - HALO && x + 8 * half < frame.width;
        EACH (n, N)
            EACH (k, KINDS) {
                const int at = 8 * (group + n) + 2 * (lane_of_warp() % 4) + k;
                places[n][k] = at < SCALE * SCALE ? at / SCALE * (frame.target_pitch / BYTES) + at % SCALE : -1;
            }
    }
    METHOD void load(const Frame &frame, int y)
    {
        EACH (half, 2)
            code[half] = inside[half] && y < frame.height ? static_cast<float>(constant(from + 8 * half)) : 0.0f;
        from = line_of(from, 1, frame.source_pitch);
    }
    METHOD void store(const Frame &frame, int y, const float (&sums)[N][4])
    {
        EACH (half, 2)
            EACH (n, N) {
                if (!inside[half] || y >= frame.height || places[n][0] < 0) continue;
                int made[2];
                EACH (k, 2) {
                    const float value = fmaf(sums[n][2 * half + k], frame.peak, code[half]);
                    made[k] = rounded(fminf(fmaxf(value, 0.0f), frame.peak));
                }
                sample_t *place = to + places[n][0] + 8 * half * SCALE;
                if (EVEN && paired) {
                    const int both = made[0] | made[1] << 8 * BYTES;
                    *reinterpret_cast<two_samples_t *>(place) = static_cast<two_samples_t>(both);
                    continue;
                }
                *place = static_cast<sample_t>(made[0]);
                const int second = EVEN ? places[n][0] + 1 : places[n][KINDS - 1];
                if (second >= 0) to[second + 8 * half * SCALE] = static_cast<sample_t>(made[1]);
            }
        to = line_of(to, SCALE, frame.target_pitch);
    }
};

/* `columns` and `places` move by three rows at a time, so that a row's place is theirs and a constant. */
template <int N, bool LAST> struct Sweep {
    const Frame &frame;
    const Middle<N> &weights;
    uint32_t columns[LOADS]; /* what the lane loads, of the row above the first that is made */
    float sums[3][N][4];
    Strip<N> strip;
    Codes<N> codes;
    int y; /* in the frame, of the row that comes out first */

    METHOD Sweep(const Frame &frame_, const Middle<N> &weights_, uint32_t from, uint32_t to, int number, int group,
                 int first)
        : frame(frame_), weights(weights_), strip(frame_, to, number, group),
          codes(frame_, number, group, frame_.top - HALO + first), y(frame_.top - HALO + first)
    {
        const int lane = lane_of_warp();
        strip.move(first);
        EACH (i, LOADS) {
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
        EACH (i, STEPS) load_matrices(a[i], columns[i] + ROW * PITCH);
        if (LOADS > STEPS) load_matrices(rest, columns[LOADS - 1] + ROW * PITCH);
        EACH (i, LOADS)
            EACH (m, N) {
                if (ABOVE) multiply(sums[(PHASE + 1) % 3][m], a[i], rest, 2, i, m, sums[(PHASE + 1) % 3][m]);
                if (AT) multiply(sums[(PHASE + 2) % 3][m], a[i], rest, 1, i, m, sums[(PHASE + 2) % 3][m]);
                if (BELOW && i == 0) multiply(sums[PHASE][m], a[i], rest, 0, i, m, weights.biases(m));
                if (BELOW && i > 0) multiply(sums[PHASE][m], a[i], rest, 0, i, m, sums[PHASE][m]);
            }
    }
    METHOD void multiply(float (&to)[4], const uint32_t (&a)[4], const uint32_t (&rest)[2], int tap, int i, int m,
                         const float (&sum)[4])
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
        EACH (i, LOADS) columns[i] += rows * PITCH;
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
