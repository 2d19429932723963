/* lookup/lookup.c - bench_lookup: what finding one person's bindings costs among very many.
 *
 * The table of src/registrar, filled as at a start of the server, then asked for people in random
 * order: the figure is processor time of this thread, and so holds the cache misses, not the
 * machine's other work. The arena is reset as the server does after each message.
 *
 *   bench_lookup [--json] 1000000 */
#include "base/arena.h"
#include "registrar/location.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LOOKUPS 2000000u

static uint64_t cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* xorshift64*: an order that no cache can follow. */
static uint32_t pick(uint64_t *state, uint32_t below) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (uint32_t)(((*state * 0x2545f4914f6cdd1dULL) >> 32) * below >> 32);
}

static bool fill(struct location *l, uint32_t count, wall_t now) {
    char contact[128], instance[64], call_id[32];
    for (uint32_t i = 1; i <= count; i++) {
        int a = snprintf(contact, sizeof contact, "sip:u%u@198.51.100.7:%u;transport=tls", i,
                         1024 + i % 60000);
        int b = snprintf(instance, sizeof instance, "<urn:uuid:00000000-0000-4000-8000-%012x>", i);
        int c = snprintf(call_id, sizeof call_id, "%08x%08x", i, i);
        struct binding_row row = { .account_id = i,
                                   .bid = i,
                                   .reg_id = 1,
                                   .cseq = 1,
                                   .q = 1000,
                                   .contact = slice_of(contact, (size_t)a),
                                   .instance = slice_of(instance, (size_t)b),
                                   .call_id = slice_of(call_id, (size_t)c),
                                   .user_agent = SLICE("bench/1"),
                                   .registered = now,
                                   .expires = now + 3600000 };
        if (location_load(l, &row, now) != ERR_OK) return false;
    }
    return true;
}

static bool ask(struct location *l, uint32_t count, wall_t now, double *us) {
    struct arena arena;
    struct binding found[10];
    uint64_t state = 88172645463325252u, missing = 0;
    arena_init(&arena, 1u << 16);
    uint64_t before = cpu_ns();
    for (uint32_t i = 0; i < LOOKUPS; i++) {
        unsigned n = 0;
        if (location_find(l, 1 + pick(&state, count), now, &arena, found, 10, &n) != ERR_OK ||
            n != 1)
            missing++;
        arena_reset(&arena);
    }
    *us = (double)(cpu_ns() - before) / 1000.0 / LOOKUPS;
    arena_fini(&arena);
    return missing == 0;
}

int main(int argc, char **argv) {
    bool json = argc > 1 && strcmp(argv[1], "--json") == 0;
    unsigned long count = argc == 2 + json ? strtoul(argv[1 + json], NULL, 10) : 0;
    if (count == 0 || count > 10000000) {
        fprintf(stderr, "usage: bench_lookup [--json] BINDINGS\n");
        return 2;
    }
    struct hash_key key = { 1, 2 };
    wall_t now = 1700000000000;
    struct location *l = location_new((uint32_t)count, &key, 1);
    double us = 0;
    if (!l || !fill(l, (uint32_t)count, now) || !ask(l, (uint32_t)count, now, &us)) {
        fprintf(stderr, "bench_lookup: a binding could not be stored or found\n");
        return 1;
    }
    if (json)
        printf("{\"bindings\":%lu,\"us\":%.4f}\n", count, us);
    else
        printf("%lu bindings: %.3f us a look-up\n", count, us);
    location_free(l);
    return 0;
}
