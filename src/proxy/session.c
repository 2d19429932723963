#include "proxy/session.h"

#include "sip/hdr.h"

bool session_request(const struct sip_msg *m, uint32_t wish_s, struct session_timer *out) {
    struct hdr_seconds expires = { 0 }, min_se = { .seconds = SESSION_MIN_S };
    *out = (struct session_timer){ 0 };
    bool is_setup = m->method == SIP_INVITE;
    bool has = (is_setup || m->method == SIP_UPDATE) && sip_first(m, HDR_SESSION_EXPIRES);
    if (!wish_s || (!has && !is_setup)) return true;
    out->has_uac = hdr_has_token(m, HDR_SUPPORTED, SLICE("timer"));
    bool has_min = sip_first(m, HDR_MIN_SE) != NULL;
    /* What cannot be read is between the phones. */
    if (has && hdr_seconds(sip_value(m, HDR_SESSION_EXPIRES), &expires) != ERR_OK) return true;
    if (has_min && hdr_seconds(sip_value(m, HDR_MIN_SE), &min_se) != ERR_OK) return true;
    uint32_t least = min_se.seconds > SESSION_MIN_S ? min_se.seconds : SESSION_MIN_S;
    if (!has) {
        out->seconds = out->expires_s = wish_s > least ? wish_s : least;
        return true;
    }
    if (expires.seconds < SESSION_MIN_S) {
        if (out->has_uac) return false;
        /* 8.1: who knows nothing of timers would only see his call fail. */
        if (!has_min || min_se.seconds < SESSION_MIN_S) out->min_se_s = SESSION_MIN_S;
    }
    if (expires.seconds < least) out->expires_s = least;
    out->seconds = expires.seconds < least ? least : expires.seconds;
    return true;
}

void session_put_expires(const struct sip_msg *m, uint32_t seconds, struct buf *out) {
    struct hdr_seconds old = { 0 };
    if (hdr_seconds(sip_value(m, HDR_SESSION_EXPIRES), &old) != ERR_OK) old.params = SLICE_NONE;
    buf_u64(out, seconds);
    buf_put(out, old.params);
}

void session_put_lines(uint32_t seconds, bool has_uac, const struct sip_msg *response,
                       struct buf *out) {
    if (!seconds || !has_uac || sip_first(response, HDR_SESSION_EXPIRES)) return;
    buf_fmt(out, "Session-Expires: %u;refresher=uac\r\n", seconds);
    if (!hdr_has_token(response, HDR_REQUIRE, SLICE("timer"))) buf_lit(out, "Require: timer\r\n");
}
