/* A frame's samples, BYTES each. */
#if BYTES == 1
typedef uint8_t sample_t;
typedef uint16_t two_samples_t;
#else
typedef uint16_t sample_t;
typedef uint32_t two_samples_t;
#endif

/* Line `y` of a plane whose lines lie `pitch` bytes apart. */
template <typename T> INLINE T *line_of(T *plane, int y, int pitch)
{
    return reinterpret_cast<T *>(reinterpret_cast<uint64_t>(plane) + static_cast<long long>(y) * pitch);
}
