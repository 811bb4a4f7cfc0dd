/* Which paths this machine can take. */
#include "paths.h"

#include <string.h>

struct candidate {
    const struct path *path;
    int usable;
};

const struct path *vidsr_path(int number)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    const int wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                     __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    const int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const struct candidate all[] = {
        {&vidsr_portable, 1},
        {&vidsr_avx2, avx2},
        {&vidsr_avx2_int8, avx2},
        {&vidsr_avx_vnni, avx2 && __builtin_cpu_supports("avxvnni")},
        {&vidsr_avx512, wide},
        {&vidsr_bf16, wide && __builtin_cpu_supports("avx512bf16")},
        {&vidsr_vnni, wide && __builtin_cpu_supports("avx512vnni")},
    };
#else
    const struct candidate all[] = {{&vidsr_portable, 1}};
#endif
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].usable && number-- == 0) return all[i].path;
    return NULL;
}

const struct path *vidsr_path_named(const char *name)
{
    const struct path *path;
    for (int i = 0; (path = vidsr_path(i)) != NULL; i++)
        if (strcmp(path->name, name) == 0) return path;
    return NULL;
}
