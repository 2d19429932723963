/* load/measure.c - what the server process has used, from /proc. */
#include "load.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool read_file(const char *path, char *room, size_t max) {
    FILE *f = fopen(path, "re");
    if (!f) return false;
    size_t n = fread(room, 1, max - 1, f);
    room[n] = 0;
    return fclose(f) == 0 && n > 0;
}

/* schedstat counts in nanoseconds; utime and stime of stat count ticks of 10 ms. */
uint64_t measure_cpu_ns(int pid) {
    char path[320], room[128];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    if (!tasks) return 0;
    uint64_t sum = 0;
    for (struct dirent *e; (e = readdir(tasks));) {
        if (e->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", pid, e->d_name);
        if (read_file(path, room, sizeof room)) sum += strtoull(room, NULL, 10);
    }
    closedir(tasks);
    return sum;
}

uint64_t measure_rss_bytes(int pid) {
    char path[64], room[256];
    snprintf(path, sizeof path, "/proc/%d/statm", pid);
    if (!read_file(path, room, sizeof room)) return 0;
    const char *second = strchr(room, ' ');
    return second ? strtoull(second, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}
