/* daemon/suggest.c - see suggest.h. */
#include "daemon/suggest.h"

#define WORD_MAX 63

static char fold(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static unsigned least(unsigned a, unsigned b) {
    return a < b ? a : b;
}

/* Three rows of the usual table: one more than plain Levenshtein, for swapped neighbours. */
unsigned edit_distance(slice a, slice b) {
    if (a.len > WORD_MAX || b.len > WORD_MAX) return 1000;
    unsigned rows[3][WORD_MAX + 1];
    for (unsigned j = 0; j <= b.len; j++) rows[0][j] = j;
    for (unsigned i = 1; i <= a.len; i++) {
        unsigned *row = rows[i % 3], *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];
        row[0] = i;
        for (unsigned j = 1; j <= b.len; j++) {
            bool same = fold(a.ptr[i - 1]) == fold(b.ptr[j - 1]);
            row[j] = least(above[j - 1] + (same ? 0 : 1), least(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && fold(a.ptr[i - 1]) == fold(b.ptr[j - 2]) &&
                fold(a.ptr[i - 2]) == fold(b.ptr[j - 1]))
                row[j] = least(row[j], above2[j - 2] + 1);
        }
    }
    return rows[a.len % 3][b.len];
}

void suggest_offer(struct suggest *s, slice right) {
    unsigned d = edit_distance(s->wrong, right);
    size_t third = right.len / 3;
    if (d > (third > 1 ? third : 1) || d >= s->distance) return;
    s->distance = d;
    s->best = right;
}
