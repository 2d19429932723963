/* load/measure.h - what a server process has used, from /proc; 0 when it is gone. */
#ifndef LOAD_MEASURE_H
#define LOAD_MEASURE_H

#include <stdint.h>

uint64_t measure_cpu_ns(int pid); /* of all its threads */
uint64_t measure_rss_bytes(int pid);

#endif
