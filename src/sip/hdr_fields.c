/* Readers of single header fields: numbers, dates, tokens, dialogs. RFC 3261 20 and 25.1. */
#include "base/scan.h"
#include "sip/hdr.h"
#include "sip/inside.h"

/* ---- numbers ---- */

enum err hdr_u32(slice value, uint32_t *out) {
    enum err e = slice_u32(value, UINT32_MAX, out);
    if (e != ERR_LIMIT) return e;
    *out = UINT32_MAX;
    return ERR_OK;
}

enum err hdr_u32_of(const struct sip_msg *msg, enum sip_header_id id, uint32_t *out) {
    const struct sip_header *h = sip_first(msg, id);
    return h ? hdr_u32(h->value, out) : ERR_MISSING;
}

/* Digits at the cursor, clamped. */
static enum err digits_take(struct cursor *c, uint32_t *out) {
    return hdr_u32(cursor_while(c, SCAN_DIGIT), out);
}

enum err hdr_rack(slice value, struct hdr_rack *out) {
    struct cursor c = cursor_of(value);
    const char *end;
    slice number = cursor_while(&c, SCAN_DIGIT);
    /* RFC 3262 7.2: response-num LWS CSeq-num LWS Method */
    if (slice_u32(number, UINT32_MAX, &out->rseq) != ERR_OK) return ERR_BAD;
    end = c.at;
    cursor_lws(&c);
    if (c.at == end) return ERR_BAD;
    return hdr_cseq(cursor_rest(&c), &out->cseq, &out->method) == ERR_OK ? ERR_OK : ERR_BAD;
}

/* "(" *( ctext / quoted-pair / comment ) ")" */
static bool comment_take(struct cursor *c) {
    unsigned depth = 0;
    while (c->at < c->end) {
        char ch = *c->at++;
        if (ch == '\\' && c->at < c->end)
            c->at++;
        else if (ch == '(')
            depth++;
        else if (ch == ')' && --depth == 0)
            return true;
    }
    return false;
}

static bool params_are_fine(slice params) {
    struct cursor c = cursor_of(params);
    struct hdr_param p;
    enum param_found found;
    while ((found = param_take(&c, &p)) == PARAM_ONE) continue;
    return found == PARAM_NONE && cursor_done(&c);
}

enum err hdr_seconds(slice value, struct hdr_seconds *out) {
    struct cursor c = cursor_of(value);
    if (digits_take(&c, &out->seconds) != ERR_OK) return ERR_BAD;
    cursor_lws(&c);
    if (c.at < c.end && *c.at == '(' && !comment_take(&c)) return ERR_BAD;
    cursor_lws(&c);
    out->params = cursor_rest(&c);
    return params_are_fine(out->params) ? ERR_OK : ERR_BAD;
}

/* ---- dates ---- */

static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
static const char weekdays[] = "ThuFriSatSunMonTueWed"; /* 1970-01-01 was a Thursday */

/* Days from 1970-01-01 to the first of March of year y, and on: the Gregorian calendar counted in
 * eras of 400 years whose years begin in March. */
static int64_t days_of(int64_t y, unsigned month, unsigned day) {
    y -= month <= 2;
    int64_t era = y / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (int64_t)(month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
           719468;
}

static bool number_at(slice s, size_t at, size_t len, unsigned max, unsigned *out) {
    uint32_t v;
    if (slice_u32(slice_of(s.ptr + at, len), max, &v) != ERR_OK) return false;
    *out = v;
    return true;
}

static unsigned month_days(unsigned year, unsigned month) {
    static const uint8_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap ? 1u : 0u);
}

enum err hdr_date(slice v, wall_t *out) {
    /* "Sat, 13 Nov 2010 23:29:00 GMT": rfc1123-date has a fixed form, and only GMT will do */
    static const char form[] = "   , 00     0000 00:00:00 GMT";
    unsigned day, year, hour, minute, second, month = 0;
    if (v.len != sizeof(form) - 1) return ERR_BAD;
    for (size_t i = 3; i < v.len; i++) {
        bool is_month = i >= 8 && i <= 10;
        if (form[i] != '0' && !is_month && v.ptr[i] != form[i]) return ERR_BAD;
    }
    if (!number_at(v, 5, 2, 31, &day) || !number_at(v, 12, 4, 9999, &year) ||
        !number_at(v, 17, 2, 23, &hour) || !number_at(v, 20, 2, 59, &minute) ||
        !number_at(v, 23, 2, 60, &second)) {
        return ERR_BAD;
    }
    while (month < 12 && !slice_eq(slice_of(v.ptr + 8, 3), slice_of(months + 3 * month, 3))) {
        month++;
    }
    if (month++ == 12 || year < 1970 || day == 0 || day > month_days(year, month)) return ERR_BAD;
    int64_t seconds = days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
    *out = seconds * 1000;
    return ERR_OK;
}

void hdr_date_put(struct buf *b, wall_t t) {
    int64_t seconds = t < 0 ? 0 : t / 1000, days = seconds / 86400;
    unsigned in_day = (unsigned)(seconds % 86400), year = 1970, month = 1;
    int64_t left = days;
    for (unsigned length;; year++, left -= length) {
        length = 337 + month_days(year, 2);
        if (left < length) break;
    }
    for (; left >= month_days(year, month); month++) left -= month_days(year, month);
    buf_put(b, slice_of(weekdays + 3 * (days % 7), 3));
    buf_fmt(b, ", %02u %.3s %04u %02u:%02u:%02u GMT", (unsigned)left + 1, months + 3 * (month - 1),
            year, in_day / 3600, in_day / 60 % 60, in_day % 60);
}

/* ---- tokens with parameters ---- */

enum err hdr_token(slice value, struct hdr_token *out) {
    struct cursor c = cursor_of(value);
    out->token = cursor_while(&c, SCAN_TOKEN);
    cursor_lws(&c);
    out->params = cursor_rest(&c);
    return out->token.len && params_are_fine(out->params) ? ERR_OK : ERR_BAD;
}

enum err hdr_media(slice value, struct hdr_media *out) {
    struct cursor c = cursor_of(value);
    out->type = cursor_while(&c, SCAN_TOKEN);
    cursor_lws(&c); /* SLASH = SWS "/" SWS */
    if (!cursor_take(&c, '/')) return ERR_BAD;
    cursor_lws(&c);
    out->subtype = cursor_while(&c, SCAN_TOKEN);
    cursor_lws(&c);
    out->params = cursor_rest(&c);
    return out->type.len && out->subtype.len && params_are_fine(out->params) ? ERR_OK : ERR_BAD;
}

bool hdr_media_is(const struct hdr_media *m, slice type, slice subtype) {
    return slice_ieq(m->type, type) && slice_ieq(m->subtype, subtype);
}

enum err hdr_reason(slice value, struct hdr_reason *out) {
    struct hdr_token t;
    slice cause;
    if (hdr_token(value, &t) != ERR_OK) return ERR_BAD;
    out->protocol = t.token;
    out->text = SLICE_NONE;
    out->cause = 0;
    out->has_cause = hdr_param(t.params, SLICE("cause"), &cause);
    if (out->has_cause && hdr_u32(cause, &out->cause) != ERR_OK) return ERR_BAD;
    (void)hdr_param(t.params, SLICE("text"), &out->text);
    return ERR_OK;
}

enum err hdr_disposition(slice value, struct hdr_disposition *out) {
    struct hdr_token t;
    slice handling;
    if (hdr_token(value, &t) != ERR_OK) return ERR_BAD;
    out->token = t.token;
    out->params = t.params;
    out->is_optional =
        hdr_param(t.params, SLICE("handling"), &handling) && slice_ieq(handling, SLICE("optional"));
    return ERR_OK;
}

enum err hdr_privacy(const struct sip_msg *msg, unsigned *out) {
    static const struct {
        slice name;
        unsigned bit;
    } known[] = {
        { { "user", 4 }, HDR_PRIVACY_USER },         { { "header", 6 }, HDR_PRIVACY_HEADER },
        { { "session", 7 }, HDR_PRIVACY_SESSION },   { { "none", 4 }, HDR_PRIVACY_NONE },
        { { "critical", 8 }, HDR_PRIVACY_CRITICAL }, { { "id", 2 }, HDR_PRIVACY_ID },
        { { "history", 7 }, HDR_PRIVACY_HISTORY },
    };
    *out = 0;
    for (const struct sip_header *h = sip_first(msg, HDR_PRIVACY); h; h = sip_next(msg, h)) {
        /* RFC 3323 4.2: values stand between semicolons; commas are seen in the field */
        struct cursor c = cursor_of(h->value);
        do {
            cursor_lws(&c);
            slice word = cursor_while(&c, SCAN_TOKEN);
            unsigned bit = HDR_PRIVACY_OTHER;
            if (word.len == 0) return ERR_BAD;
            for (size_t i = 0; i < ARRAY_LEN(known); i++) {
                if (slice_ieq(word, known[i].name)) bit = known[i].bit;
            }
            *out |= bit;
            cursor_lws(&c);
        } while (cursor_take(&c, ';') || cursor_take(&c, ','));
        if (!cursor_done(&c)) return ERR_BAD;
    }
    return ERR_OK;
}

/* ---- dialogs ---- */

enum err hdr_replaces(slice value, struct hdr_replaces *out) {
    struct cursor c = cursor_of(value);
    *out = (struct hdr_replaces){ .is_early_only = false };
    /* callid = word [ "@" word ]; no ';' can stand in it */
    const char *from = c.at;
    do cursor_while(&c, SCAN_WORD);
    while (cursor_take(&c, '@'));
    out->call_id = slice_span(from, c.at);
    struct hdr_param p;
    enum param_found found;
    while ((found = param_take(&c, &p)) == PARAM_ONE) {
        slice *slot = slice_ieq(p.name, SLICE("to-tag"))     ? &out->to_tag
                      : slice_ieq(p.name, SLICE("from-tag")) ? &out->from_tag
                                                             : NULL;
        if (slice_ieq(p.name, SLICE("early-only"))) out->is_early_only = true;
        if (!slot) continue;
        /* RFC 3891 3: exactly one of each */
        if (slot->ptr || p.value.len == 0 || p.value.ptr[0] == '"') return ERR_BAD;
        *slot = p.value;
    }
    bool whole = out->call_id.len && out->to_tag.ptr && out->from_tag.ptr;
    return whole && found == PARAM_NONE && cursor_done(&c) ? ERR_OK : ERR_BAD;
}

enum err hdr_history(slice value, struct hdr_history *out) {
    *out = (struct hdr_history){ .index = SLICE_NONE };
    if (hdr_name_addr(value, &out->addr) != ERR_OK) return ERR_BAD;
    (void)hdr_param(out->addr.params, SLICE("index"), &out->index);
    (void)hdr_param(out->addr.params, SLICE("rc"), &out->rc);
    (void)hdr_param(out->addr.params, SLICE("mp"), &out->mp);
    (void)hdr_param(out->addr.params, SLICE("np"), &out->np);
    /* RFC 7044 5: index = 1*DIGIT *( "." 1*DIGIT ), compulsory */
    bool digit = false;
    for (size_t i = 0; i < out->index.len; i++) {
        char ch = out->index.ptr[i];
        if (!scan_is(ch, SCAN_DIGIT) && !(ch == '.' && digit)) return ERR_BAD;
        digit = ch != '.';
    }
    return digit && out->addr.has_brackets ? ERR_OK : ERR_BAD;
}

/* ---- Contact ---- */

/* qvalue = "0" ["." 0*3DIGIT] / "1" ["." 0*3("0")], in thousandths. */
static bool q_read(slice v, uint16_t *out) {
    unsigned q = 0, scale = 100;
    if (v.len == 0 || v.len > 5 || (v.ptr[0] != '0' && v.ptr[0] != '1')) return false;
    if (v.len > 1 && v.ptr[1] != '.') return false;
    q = v.ptr[0] == '1' ? 1000 : 0;
    for (size_t i = 2; i < v.len; i++, scale /= 10) {
        if (!scan_is(v.ptr[i], SCAN_DIGIT)) return false;
        q += (unsigned)(v.ptr[i] - '0') * scale;
    }
    *out = (uint16_t)q;
    return q <= 1000;
}

/* RFC 5626 4.1: "<" instance-val ">" in quotes. */
static bool instance_read(slice v, slice *out) {
    v = hdr_inner(v);
    if (v.len < 3 || v.ptr[0] != '<' || v.ptr[v.len - 1] != '>') return false;
    *out = slice_of(v.ptr + 1, v.len - 2);
    return slice_find(*out, '<') == out->len && slice_find(*out, '>') == out->len &&
           slice_find(*out, '\\') == out->len;
}

static bool contact_param(const struct hdr_param *p, struct hdr_contact *out) {
    if (p->name.len == 1 && slice_ieq(p->name, SLICE("q"))) {
        if (out->has_q || !q_read(p->value, &out->q)) return false;
        out->has_q = true;
    } else if (slice_ieq(p->name, SLICE("expires"))) {
        if (out->has_expires) return false;
        out->has_expires = true;
        if (hdr_u32(p->value, &out->expires) != ERR_OK) out->expires = 3600;
    } else if (slice_ieq(p->name, SLICE("reg-id"))) {
        if (out->has_reg_id || slice_u32(p->value, 0x7fffffffu, &out->reg_id) != ERR_OK)
            return false;
        out->has_reg_id = true;
        return out->reg_id > 0;
    } else if (slice_ieq(p->name, SLICE("+sip.instance"))) {
        return !out->instance.ptr && instance_read(p->value, &out->instance);
    }
    return true;
}

enum err hdr_contact(slice value, struct hdr_contact *out) {
    *out = (struct hdr_contact){ .q = 1000 };
    if (slice_eq(slice_trim(value), SLICE("*"))) {
        out->is_star = true;
        return ERR_OK;
    }
    if (hdr_name_addr(value, &out->addr) != ERR_OK) return ERR_BAD;
    struct hdr_params it = hdr_params_of(out->addr.params);
    for (struct hdr_param p; hdr_params_next(&it, &p);) {
        if (!contact_param(&p, out)) return ERR_BAD;
    }
    return it.bad ? ERR_BAD : ERR_OK;
}
