/* base/log.h - one JSON line per event on a sink that the process chooses.
 *
 * Never a secret, nonce, token or party pair: people appear through log_who() as short keyed
 * pseudonyms unless the level is debug. Threads: a record is written with one write(2).
 *
 *   LOG(LOG_INFO, "flow.closed", LOG_F_U64("flow", id), LOG_F_STR("why", "idle"));          */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/slice.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

struct log_field {
    const char *key;
    slice text; /* used when is_text */
    uint64_t number;
    bool is_text;
};

#define LOG_F_U64(k, v)   ((struct log_field){ (k), { NULL, 0 }, (uint64_t)(v), false })
#define LOG_F_STR(k, v)   ((struct log_field){ (k), slice_str(v), 0, true })
#define LOG_F_SLICE(k, v) ((struct log_field){ (k), (v), 0, true })
#define LOG(level, event, ...)                                                                     \
    do {                                                                                           \
        if ((level) <= log_level_now())                                                            \
            log_write((level), (event), (const struct log_field[]){ __VA_ARGS__ },                 \
                      sizeof((const struct log_field[]){ __VA_ARGS__ }) /                          \
                          sizeof(struct log_field));                                               \
    } while (0)

enum log_level log_level_now(void);
void log_set_level(enum log_level level);
/* fd -1 silences. `wall` gives the time of a record (NULL: no time member, as tests like it). */
void log_open(int fd, int64_t (*wall)(void));
void log_write(enum log_level level, const char *event, const struct log_field *fields, size_t n);
/* 8 letters that name a party for as long as the process runs; the key is random at start. */
void log_set_key(const uint8_t key[16]);
/* At level debug the party itself. */
slice log_who(slice party, char out[static 9]);

#endif
