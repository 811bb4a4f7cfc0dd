#ifndef VIDSR_PEAK_H
#define VIDSR_PEAK_H

#include "stack.h"

/* Operations a second (a multiplication and an addition are two) of one core's registers, measured for so long;
 * 0 for the portable path, which has no instruction of its own. */
double vidsr_peak(const struct path *path, double seconds);

#endif
