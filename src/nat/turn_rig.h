/* nat/turn_rig.h - a client of the TURN machine and his peers, for tests: no sockets, no clock.
 *
 *   SCENE(s); pool_id id = allocate(&s); permit(&s, "192.0.43.8:1"); ... turn_free(s.turn); */
#ifndef NAT_TURN_RIG_H
#define NAT_TURN_RIG_H

#include "crypto/crypto.h"
#include "nat/turn.h"

extern const uint8_t turn_rig_key[32];
extern const uint8_t id_zero[STUN_ID_BYTES];

struct scene {
    struct turn *turn;
    struct turn_config config;
    struct now now;
    struct turn_tuple client;
    struct turn_credential credential;
    char nonce[64];
    size_t nonce_len;
    bool is_sha256; /* the client knows RFC 8489 */
    uint8_t id;     /* of the last transaction */
    char mem[STUN_BYTES_MAX], reply[STUN_BYTES_MAX], room[STUN_BYTES_MAX];
    struct turn_out out;
    struct stun_msg m; /* the answer */
};

struct addr at(const char *text);
void begin(struct scene *s, uint32_t account_id);
bool start(struct scene *s);
void later(struct scene *s, int64_t ms);
void keep(struct scene *s);
struct stun_writer request(struct scene *s, enum stun_method method);
void send_plain(struct scene *s, struct stun_writer *w);
void send_proved(struct scene *s, struct stun_writer *w);
void put_udp(struct stun_writer *w);
unsigned status(const struct scene *s);
void challenge(struct scene *s);
void opened(struct scene *s, const char *v4, const char *v6);
pool_id allocate(struct scene *s);
void permit(struct scene *s, const char *peer);
void bind_channel(struct scene *s, unsigned number, const char *peer);
void refresh(struct scene *s, uint32_t lifetime);
void send_to(struct scene *s, const char *peer, const char *data);
void channel_to(struct scene *s, slice bytes);
void from_peer(struct scene *s, pool_id id, const char *peer, const char *data);

#define SCENE(s)                                                                                   \
    struct scene s;                                                                                \
    (void)state;                                                                                   \
    begin(&s, 42);                                                                                 \
    if (!start(&s)) return /* memory is short */

#endif
