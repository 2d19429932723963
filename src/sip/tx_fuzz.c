/* Feeds one message to the transactions: as bytes that an ACK and a CANCEL are made from, as a
 * request that is matched, opened, answered and repeated, as a response to a client. */
#include "sip/tx.h"
#include "sip/tx_inner.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void drain(struct tx_table *t) {
    for (struct tx_effect e; tx_next_effect(t, &e);) {
        size_t sum = 0;
        for (size_t i = 0; i < e.bytes.len; i++) sum += (unsigned char)e.bytes.ptr[i];
        ASSERT(e.what != TX_DO_SEND || sum > 0);
    }
}

static void as_request(struct tx_table *t, const struct sip_msg *m, slice bytes) {
    tx_id id;
    uint64_t owner;
    if (m->method == SIP_ACK || tx_match_request(t, m, 0, &id) != TX_NEW) return;
    if (tx_server_open(t, m, 1, false, 2, 0, &id) != ERR_OK) return;
    ASSERT(tx_match_request(t, m, 1, &id) == TX_ABSORBED);
    ASSERT(tx_server_respond(t, id, 404, bytes, 2) == ERR_OK);
    ASSERT(tx_match_request(t, m, 3, &id) == TX_ABSORBED);
    drain(t);
    enum tx_kind kind = m->method == SIP_INVITE ? TX_INVITE_CLIENT : TX_OTHER_CLIENT;
    if (tx_client_reserve(t, kind, 2, &id) != ERR_OK) return;
    if (tx_client_start(t, id, bytes, 1, false, 4) != ERR_OK) return;
    struct sip_msg r = *m;
    r.is_request = false;
    r.status = 180;
    (void)tx_client_response(t, id, &r, 5, &owner);
    if (kind == TX_INVITE_CLIENT && tx_client_cancel(t, id, m->call_id, 6) != ERR_OK)
        tx_drop(t, id);
    drain(t);
    r.status = 487;
    (void)tx_client_response(t, id, &r, 7, &owner);
    drain(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    static struct sip_msg m;
    static char mem[LIMIT_MSG_BYTES];
    const struct hash_key key = { 1, 2 };
    const struct tx_limits limits = { 8, 1 << 20, 500, 4000, 5000 };
    slice bytes = slice_of(data, len);
    struct buf b = buf_over(mem, sizeof(mem));
    if (tx_make_ack(bytes, SLICE("<sip:b@h>;tag=1"), &b) == ERR_OK) {
        slice method, uri;
        ASSERT(tx_request_line(buf_slice(&b), &method, &uri) == ERR_OK);
        ASSERT(slice_eq(tx_to_tag(buf_slice(&b)), SLICE("1")));
    }
    buf_clear(&b);
    if (tx_make_cancel(bytes, SLICE_NONE, &b) == ERR_OK) (void)tx_to_tag(buf_slice(&b));
    (void)tx_to_tag(bytes);

    struct sip_read r = sip_msg_read(&m, bytes, SIP_DATAGRAM);
    if (r.err != ERR_OK) return 0;
    struct tx_table *t = tx_table_new(&limits, &key, 0);
    ASSERT(t);
    if (m.is_request) as_request(t, &m, slice_head(bytes, r.used));
    tx_run_timers(t, 100000);
    drain(t);
    tx_table_free(t);
    return 0;
}
