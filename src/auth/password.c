/* The estimate is a shortest path: best[i] is the least cost, in tenths of a bit, of the first i
 * characters; from there one step covers one character, or a longer piece that a guesser would try
 * as a whole. The kind of piece that covers most of the secret names the refusal. */
#include "auth/password.h"
#include "base/scan.h"

enum piece { PIECE_CHAR, PIECE_WORD, PIECE_ROW, PIECE_REPEAT, PIECE_YEAR, PIECE_NAME, PIECE_COUNT };

#define WORD_COST   110u /* one of two thousand: 11 bits */
#define SPELL_COST  10u  /* capitals or leet in it: a bit */
#define ROW_COST    80u  /* where it begins, which way, how long */
#define REPEAT_COST 50u  /* what is repeated, how often */
#define YEAR_COST   70u
#define NAME_COST   30u
#define WORD_MIN    4u
#define NAME_MIN    3u
#define LABEL_MIN   4u /* of a domain or display name: "org" and "von" say nothing */
#define ROW_MIN     4u
#define NAME_PIECES 40u

static const char alphabet[] = "23456789abcdefghjkmnpqrstuvwxyz";
_Static_assert(sizeof alphabet - 1 == 31, "31 symbols: 4.95 bits each");

void password_make(struct rng *rng, char out[static PASSWORD_MADE_CHARS]) {
    for (unsigned i = 0; i < PASSWORD_MADE_CHARS; i++) {
        if (i == 5 || i == 11 || i == 18 || i == 24) {
            out[i] = '-';
            continue;
        }
        uint8_t byte;
        do rng_bytes(rng, &byte, 1);
        while (byte >= 248); /* 8 * 31: no symbol is likelier than another */
        out[i] = alphabet[byte % 31];
        crypto_wipe(&byte, 1);
    }
}

const char *password_text(enum password_verdict v) {
#define PASSWORD_TEXT(name, text) text,
    static const char *const texts[] = { PASSWORD_TABLE(PASSWORD_TEXT) };
#undef PASSWORD_TEXT
    ASSERT((unsigned)v < PASSWORD_VERDICT_COUNT);
    return texts[v];
}

/* ---- pieces: each gives how many characters from `s` on it covers, 0 for none ---- */

static char lower(char c) {
    return (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}

/* Does this character stand for that letter, as people write it? */
static bool stands_for(char c, char letter) {
    static const struct {
        char letter;
        const char *also;
    } leet[] = { { 'a', "4@" }, { 'b', "8" }, { 'e', "3" },  { 'g', "9" },  { 'i', "1!" },
                 { 'l', "1|" }, { 'o', "0" }, { 's', "5$" }, { 't', "7+" }, { 'z', "2" } };
    if (lower(c) == letter) return true;
    for (size_t i = 0; i < ARRAY_LEN(leet); i++) {
        if (leet[i].letter != letter) continue;
        for (const char *a = leet[i].also; *a; a++)
            if (*a == c) return true;
    }
    return false;
}

static bool spells(slice s, slice word) {
    if (word.len > s.len) return false;
    for (size_t i = 0; i < word.len; i++)
        if (!stands_for(s.ptr[i], lower(word.ptr[i]))) return false;
    return true;
}

/* Where the words of this letter begin in the sorted list. */
static unsigned words_from(char letter) {
    unsigned low = 0, high = password_word_count;
    while (low < high) {
        unsigned mid = low + (high - low) / 2;
        if (password_words[mid][0] < letter) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

static size_t longest_word(slice s) {
    size_t longest = 0;
    for (int letter = 'a'; letter <= 'z'; letter++) {
        if (!stands_for(s.ptr[0], (char)letter)) continue;
        unsigned end = words_from((char)(letter + 1));
        for (unsigned i = words_from((char)letter); i < end; i++) {
            slice word = slice_str(password_words[i]);
            if (word.len > longest && spells(s, word)) longest = word.len;
        }
    }
    return longest;
}

/* Neighbours on a keyboard row (US and German), in the alphabet, among the digits; both ways. */
static bool neighbours(char a, char b, int *way) {
    static const char *const rows[] = { "1234567890",
                                        "qwertyuiop",
                                        "qwertzuiop",
                                        "asdfghjkl",
                                        "zxcvbnm",
                                        "yxcvbnm",
                                        "abcdefghijklmnopqrstuvwxyz",
                                        "0123456789",
                                        "!@#$%^&*()",
                                        "1qaz2wsx3edc4rfv5tgb6yhn",
                                        "qazwsxedcrfvtgbyhn" };
    a = lower(a);
    b = lower(b);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        slice row = slice_str(rows[i]);
        size_t at = slice_find(row, a), to = slice_find(row, b);
        if (at == row.len || to == row.len) continue;
        int step = to == at + 1 ? 1 : at == to + 1 ? -1 : 0;
        if (step == 0 || (*way != 0 && step != *way)) continue;
        *way = step;
        return true;
    }
    return false;
}

static size_t row_len(slice s) {
    int way = 0;
    size_t n = s.len ? 1 : 0;
    while (n < s.len && neighbours(s.ptr[n - 1], s.ptr[n], &way)) n++;
    return n >= ROW_MIN ? n : 0;
}

/* What stands here repeats what stood before it: one character, or a block. */
static size_t repeat_len(slice secret, size_t at) {
    size_t longest = 0;
    for (size_t period = 1; period <= at; period++) {
        size_t n = 0;
        while (at + n < secret.len &&
               lower(secret.ptr[at + n]) == lower(secret.ptr[at + n - period]))
            n++;
        /* An echo from further back must be long to be more than chance. */
        if (n > longest && n >= (period == 1 ? 2 : 3)) longest = n;
    }
    return longest;
}

static size_t year_len(slice s) {
    if (s.len < 4) return 0;
    for (size_t i = 0; i < 4; i++)
        if (!scan_is(s.ptr[i], SCAN_DIGIT)) return 0;
    bool near = (s.ptr[0] == '1' && s.ptr[1] == '9') || (s.ptr[0] == '2' && s.ptr[1] == '0');
    return near ? 4 : 0;
}

/* ---- the account's own names ---- */

struct names {
    slice own[NAME_PIECES]; /* user and aliases */
    unsigned own_count;
    slice near[NAME_PIECES]; /* parts of the domain and the display name */
    unsigned near_count;
};

static bool separates(char c) {
    return !scan_is(c, SCAN_ALPHA | SCAN_DIGIT) && (unsigned char)c < 0x80;
}

static void add_name(slice name, size_t least, slice *list, unsigned *count) {
    if (name.len >= least && *count < NAME_PIECES) list[(*count)++] = name;
}

static void add_parts(slice text, size_t least, slice *list, unsigned *count) {
    size_t from = 0;
    for (size_t i = 0; i <= text.len; i++) {
        if (i < text.len && !separates(text.ptr[i])) continue;
        add_name(slice_head(slice_from(text, from), i - from), least, list, count);
        from = i + 1;
    }
}

static void names_of(const struct password_question *q, struct names *out) {
    out->own_count = out->near_count = 0;
    add_name(q->user, NAME_MIN, out->own, &out->own_count);
    slice rest = q->aliases, alias;
    while (slice_split(&rest, ',', &alias))
        add_name(slice_trim(alias), NAME_MIN, out->own, &out->own_count);
    add_parts(q->user, LABEL_MIN, out->near, &out->near_count);
    add_parts(q->domain, LABEL_MIN, out->near, &out->near_count);
    add_parts(q->display, LABEL_MIN, out->near, &out->near_count);
}

static size_t longest_name(slice s, const slice *list, unsigned count) {
    size_t longest = 0;
    for (unsigned i = 0; i < count; i++)
        if (list[i].len > longest && spells(s, list[i])) longest = list[i].len;
    return longest;
}

static bool holds_own_name(slice secret, const struct names *names) {
    for (size_t i = 0; i < secret.len; i++)
        if (longest_name(slice_from(secret, i), names->own, names->own_count)) return true;
    return false;
}

/* ---- the estimate ---- */

struct estimate {
    unsigned tenths;               /* of a bit */
    unsigned covered[PIECE_COUNT]; /* characters, by kind of piece */
};
struct step {
    unsigned cost; /* of everything up to here */
    uint8_t len, kind;
};

static unsigned char_cost(char c) {
    if (scan_is(c, SCAN_DIGIT)) return 33;
    return scan_is(c, SCAN_ALPHA) ? 47 : 50;
}

static void reach(struct step *best, size_t from, size_t len, enum piece kind, unsigned cost) {
    if (len == 0 || best[from].cost + cost >= best[from + len].cost) return;
    best[from + len] = (struct step){ best[from].cost + cost, (uint8_t)len, (uint8_t)kind };
}

/* Every length of a piece is offered, as the next piece may begin inside the longest. */
static void reach_all(struct step *best, size_t from, size_t longest, size_t least, enum piece kind,
                      unsigned cost) {
    for (size_t len = least; len <= longest; len++) reach(best, from, len, kind, cost);
}

static unsigned spelling_cost(slice s) {
    for (size_t i = 0; i < s.len; i++)
        if (!(s.ptr[i] >= 'a' && s.ptr[i] <= 'z')) return SPELL_COST;
    return 0;
}

static struct estimate estimate(slice secret, const struct names *names) {
    struct step best[PASSWORD_MAX_CHARS + 1];
    for (size_t i = 0; i <= secret.len; i++) best[i] = (struct step){ UINT32_MAX / 2, 1, 0 };
    best[0].cost = 0;
    for (size_t i = 0; i < secret.len; i++) {
        slice s = slice_from(secret, i);
        reach(best, i, 1, PIECE_CHAR, char_cost(s.ptr[0]));
        size_t word = longest_word(s);
        reach(best, i, word, PIECE_WORD, WORD_COST + spelling_cost(slice_head(s, word)));
        reach_all(best, i, row_len(s), ROW_MIN, PIECE_ROW, ROW_COST);
        reach_all(best, i, repeat_len(secret, i), 2, PIECE_REPEAT, REPEAT_COST);
        reach(best, i, year_len(s), PIECE_YEAR, YEAR_COST);
        reach(best, i, longest_name(s, names->near, names->near_count), PIECE_NAME, NAME_COST);
        reach(best, i, longest_name(s, names->own, names->own_count), PIECE_NAME, NAME_COST);
    }
    struct estimate e = { .tenths = best[secret.len].cost };
    for (size_t at = secret.len; at > 0; at -= best[at].len)
        e.covered[best[at].kind] += best[at].len;
    crypto_wipe(best, sizeof best);
    return e;
}

unsigned password_bits(const struct password_question *q) {
    struct names names;
    names_of(q, &names);
    return estimate(slice_head(q->secret, PASSWORD_MAX_CHARS), &names).tenths / 10;
}

static enum password_verdict name_weakness(const struct estimate *e) {
    static const struct {
        enum piece piece;
        enum password_verdict verdict;
    } kinds[] = { { PIECE_NAME, PASSWORD_NAME },
                  { PIECE_WORD, PASSWORD_WORD },
                  { PIECE_ROW, PASSWORD_ROW },
                  { PIECE_REPEAT, PASSWORD_REPEAT } };
    enum password_verdict v = PASSWORD_WEAK;
    unsigned most = 3; /* fewer characters than that are not "mostly" */
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (e->covered[kinds[i].piece] <= most) continue;
        most = e->covered[kinds[i].piece];
        v = kinds[i].verdict;
    }
    return v;
}

enum password_verdict password_judge(const struct password_question *q) {
    slice s = q->secret;
    if (s.len < PASSWORD_MIN_CHARS) return PASSWORD_SHORT;
    if (s.len > PASSWORD_MAX_CHARS) return PASSWORD_LONG;
    bool digits = true;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < 0x20 || s.ptr[i] > 0x7e) return PASSWORD_CHARACTERS;
        digits &= scan_is(s.ptr[i], SCAN_DIGIT);
    }
    if (s.ptr[0] == ' ' || s.ptr[s.len - 1] == ' ') return PASSWORD_CHARACTERS;
    if (digits) return PASSWORD_DIGITS;
    struct names names;
    names_of(q, &names);
    if (holds_own_name(s, &names)) return PASSWORD_NAME;
    struct estimate e = estimate(s, &names);
    return e.tenths >= PASSWORD_MIN_BITS * 10 ? PASSWORD_OK : name_weakness(&e);
}
