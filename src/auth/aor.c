#include "auth/aor.h"
#include "base/scan.h"
#include "sip/uri.h"

/* What a user part may hold once unescaped. Left out on purpose: ':' (ends the name in a digest),
 * ',' (separates aliases), '@', ';', '"', '\', '<', '>', '%', blanks and all beyond ASCII (phones
 * disagree on how to encode those in a digest). '#' is dialled. */
static bool user_char(char c) {
    if (scan_is(c, SCAN_ALPHA | SCAN_DIGIT)) return true;
    return slice_find(SLICE("-_.!~*'()&=+$/?#"), c) < 16;
}

static char lower(char c) {
    return (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}

enum err aor_read_user(slice text, struct aor *out, struct buf *why) {
    struct buf user = buf_over(out->user, sizeof out->user);
    out->user_len = out->domain_len = 0;
    if (text.len == 0) {
        buf_lit(why, "the part before the @ is empty: write it like alice@example.org");
        return ERR_BAD;
    }
    enum err e = sip_unescape(text, &user);
    if (e == ERR_LIMIT) {
        buf_fmt(why, "the part before the @ is longer than %u characters", ACCOUNT_USER_MAX);
        return ERR_LIMIT;
    }
    for (size_t i = 0; i < user.len && !e; i++)
        if (!user_char(user.ptr[i])) e = ERR_BAD;
    if (e) {
        buf_lit(why, "the part before the @ may hold letters, digits and -_.!~*'()&=+$/?# only");
        return ERR_BAD;
    }
    if (slice_ieq(buf_slice(&user), SLICE("anonymous"))) {
        buf_lit(why, "the name anonymous stands for nobody (RFC 3323): choose another");
        return ERR_DENIED;
    }
    out->user_len = (uint8_t)user.len;
    return ERR_OK;
}

/* RFC 1123 2.1: letters, digits and inner hyphens, 1 to 63 of them. */
static bool label_ok(slice label) {
    if (label.len == 0 || label.len > 63) return false;
    if (label.ptr[0] == '-' || label.ptr[label.len - 1] == '-') return false;
    for (size_t i = 0; i < label.len; i++)
        if (!scan_is(label.ptr[i], SCAN_ALPHA | SCAN_DIGIT) && label.ptr[i] != '-') return false;
    return true;
}

enum err aor_read_domain(slice text, struct aor *out, struct buf *why) {
    out->domain_len = 0;
    if (text.len == 0) {
        buf_lit(why, "there is no domain: write it like alice@example.org");
        return ERR_BAD;
    }
    if (text.len > ACCOUNT_DOMAIN_MAX) {
        buf_fmt(why, "the domain is longer than %u characters", ACCOUNT_DOMAIN_MAX);
        return ERR_LIMIT;
    }
    size_t special = 0;
    while (special < text.len && slice_find(SLICE(":;?[]"), text.ptr[special]) == 5) special++;
    if (special < text.len) {
        buf_lit(why, "write the bare domain, without port, parameters or brackets");
        return ERR_BAD;
    }
    /* A trailing dot leaves an empty label behind; splitting would not show it. */
    slice rest = text, label;
    bool ok = text.ptr[text.len - 1] != '.';
    while (ok && slice_split(&rest, '.', &label)) ok = label_ok(label);
    if (!ok) {
        buf_lit(why, "the domain must be a host name of letters, digits, hyphens and dots (of "
                     "other scripts: its xn-- form)");
        return ERR_BAD;
    }
    for (size_t i = 0; i < text.len; i++) out->domain[i] = lower(text.ptr[i]);
    out->domain_len = (uint8_t)text.len;
    return ERR_OK;
}

enum err aor_read(slice text, struct aor *out, struct buf *why) {
    out->user_len = out->domain_len = 0;
    if (slice_istarts(text, SLICE("sip:"))) {
        text = slice_from(text, 4);
    } else if (slice_istarts(text, SLICE("sips:"))) {
        text = slice_from(text, 5);
    } else if (slice_istarts(text, SLICE("tel:"))) {
        buf_lit(why, "a number needs a domain too: write it like +4930123456@example.org");
        return ERR_BAD;
    }
    size_t at = slice_find(text, '@');
    if (at == text.len) {
        buf_lit(why, "there is no @: write it like alice@example.org");
        return ERR_BAD;
    }
    struct aor domain;
    enum err e = aor_read_user(slice_head(text, at), out, why);
    if (!e) e = aor_read_domain(slice_from(text, at + 1), &domain, why);
    if (e) return e;
    memcpy(out->domain, domain.domain, domain.domain_len);
    out->domain_len = domain.domain_len;
    return ERR_OK;
}
