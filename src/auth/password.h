/* auth/password.h - secrets that may be used: made by us, or judged.
 *
 * Purpose:  weak passwords cannot be set. Kith makes secrets by default; one that a person brings
 *           is refused unless it is out of reach of guessing.
 * Made:     26 of 31 letters and digits in groups, "k7m2q-...": 128.8 bits. No 0 o 1 l i, no
 *           capitals, so that it can be read aloud and typed on a desk phone; 30 characters,
 * because some phones take 32 at most. Judged:   an estimate in bits: the cheapest way to put the
 * secret together from well-known words, rows of keys, sequences, repetitions, years, the account's
 * own names, and single characters (NIST SP 800-63B 5.1.1.2 asks for such lists). A word counts as
 * often as the list is long, whatever its spelling ("P4ssw0rd"). Secrets:  nothing of the secret is
 * echoed or kept. Threads: any. */
#ifndef AUTH_PASSWORD_H
#define AUTH_PASSWORD_H

#include "base/slice.h"
#include "crypto/crypto.h"

#define PASSWORD_MADE_CHARS 30u  /* 5-5-6-5-5 and four hyphens */
#define PASSWORD_MIN_CHARS  12u  /* of one that a person brings */
#define PASSWORD_MAX_CHARS  128u /* what phones and our hashes take */
#define PASSWORD_MIN_BITS   48u  /* 12 random letters have 56 */

/* PASSWORD_MADE_CHARS characters, not terminated. Wipe it after use. */
void password_make(struct rng *rng, char out[static PASSWORD_MADE_CHARS]);

struct password_question {
    slice secret;
    slice user, domain, aliases, display; /* of the account; any may be empty */
};
#define PASSWORD_TABLE(X)                                                                          \
    X(OK, "this secret may be used")                                                               \
    X(SHORT, "it has fewer than 12 characters: use a longer one, or let Kith make one")            \
    X(LONG, "it has more than 128 characters: use a shorter one, or let Kith make one")            \
    X(CHARACTERS, "it holds characters that phones encode differently, or a space at an end: use " \
                  "letters, digits and signs of ASCII, or let Kith make one")                      \
    X(DIGITS, "it is digits only: mix in letters, or let Kith make one")                           \
    X(NAME, "it holds the account's own name or number: use something that has nothing to do "     \
            "with the account, or let Kith make one")                                              \
    X(WORD, "it is mostly well-known words, which are tried first: use less common ones and "      \
            "more of them, or let Kith make one")                                                  \
    X(ROW, "it is mostly a row of keys, letters or digits: mix it up, or let Kith make one")       \
    X(REPEAT, "it is mostly repetition: use more different characters, or let Kith make one")      \
    X(WEAK, "it can be guessed too easily: make it longer, or let Kith make one")

#define PASSWORD_ENUM(name, text) PASSWORD_##name,
enum password_verdict { PASSWORD_TABLE(PASSWORD_ENUM) PASSWORD_VERDICT_COUNT };
#undef PASSWORD_ENUM

enum password_verdict password_judge(const struct password_question *q);
const char *password_text(enum password_verdict v); /* the sentence above */
/* The estimate alone, in bits, of at most PASSWORD_MAX_CHARS characters. */
unsigned password_bits(const struct password_question *q);

/* The list of well-known words: lower case, sorted. */
extern const char *const password_words[];
extern const unsigned password_word_count;

#endif
