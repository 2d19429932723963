/* base/clock.h - time as a value. Protocol code is handed the time and never asks for it. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include "base/defs.h"

typedef int64_t mono_t; /* milliseconds on a clock that never steps */
typedef int64_t wall_t; /* milliseconds since 1970-01-01 UTC */

#define MONO_NEVER INT64_MAX

struct now {
    mono_t mono;
    wall_t wall;
};

static inline mono_t mono_min(mono_t a, mono_t b) {
    return a < b ? a : b;
}

#endif
