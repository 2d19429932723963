/* Five lines: secret, user, domain, aliases, display name. The judge answers, and a secret that it
 * lets pass keeps the promises of the header. */
#include "auth/password.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    slice rest = slice_of(data, size), part[5] = { SLICE_NONE };
    for (size_t i = 0; i < ARRAY_LEN(part); i++)
        if (!slice_split(&rest, '\n', &part[i])) part[i] = SLICE_NONE;
    const struct password_question q = { part[0], part[1], part[2], part[3], part[4] };
    enum password_verdict v = password_judge(&q);
    ASSERT(password_text(v)[0] != '\0');
    unsigned bits = password_bits(&q);
    ASSERT(bits <= PASSWORD_MAX_CHARS * 5);
    if (v == PASSWORD_OK) {
        ASSERT(q.secret.len >= PASSWORD_MIN_CHARS && q.secret.len <= PASSWORD_MAX_CHARS);
        ASSERT(bits >= PASSWORD_MIN_BITS);
        ASSERT(q.user.len < 3 || slice_find_slice(q.secret, q.user) == q.secret.len);
    }
    return 0;
}
