/* How long a look-up takes at a million bindings, and what a binding weighs.
 *
 *   location_bench [bindings]                                                               */
#include "base/mem.h"
#include "registrar/location.h"
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct binding_row phone(uint32_t i, char contact[static 96], char instance[static 96]) {
    int c = snprintf(contact, 96, "sip:user%u@198.51.100.%u:%u;transport=tls", i, i % 250,
                     1024 + i % 60000);
    int n = snprintf(instance, 96, "urn:uuid:00000000-0000-1000-8000-0000%08x", i);
    return (struct binding_row){
        .account_id = i,
        .bid = i,
        .flow = i,
        .run = 1,
        .q = 1000,
        .contact = slice_of(contact, (size_t)c),
        .params = SLICE(";methods=\"INVITE,ACK,BYE,CANCEL,OPTIONS,MESSAGE,INFO,UPDATE\""),
        .instance = slice_of(instance, (size_t)n),
        .call_id = SLICE("3848276298220188511@atlanta.example.com"),
        .user_agent = SLICE("A desk phone of a usual maker 10.2.3.4"),
        .registered = 1,
        .expires = 1000000,
    };
}

int main(int argc, char **argv) {
    uint32_t bindings = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1000000;
    const struct hash_key key = { 1, 2 };
    struct location *l = location_new(bindings, &key, 1);
    if (!l || bindings == 0) return 1;
    char contact[96], instance[96];
    struct mallinfo2 before = mallinfo2();
    double from = now_s();
    for (uint32_t i = 1; i <= bindings; i++) {
        struct binding_row row = phone(i, contact, instance);
        if (location_load(l, &row, 1) != ERR_OK) return 1;
    }
    double loaded = now_s();
    struct mallinfo2 after = mallinfo2();
    printf("load    %7.0f ns a binding, %zu bytes a binding\n", (loaded - from) * 1e9 / bindings,
           (after.uordblks + after.hblkhd - before.uordblks - before.hblkhd) / bindings);

    struct arena a;
    arena_init(&a, 65536);
    uint64_t x = 1, found = 0;
    enum { ROUNDS = 4000000 };
    from = now_s();
    for (unsigned i = 0; i < ROUNDS; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        struct binding b[16];
        unsigned count;
        arena_reset(&a);
        if (location_find(l, 1 + (uint32_t)(x >> 33) % bindings, 2, &a, b, 16, &count) != ERR_OK)
            return 1;
        found += count;
    }
    printf("find    %7.0f ns a random look-up (%.3f bindings each)\n",
           (now_s() - from) * 1e9 / ROUNDS, (double)found / ROUNDS);
    arena_fini(&a);
    location_free(l);
    return 0;
}
