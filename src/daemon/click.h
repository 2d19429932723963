/* daemon/click.h - which addresses visitors of which pages may call: click-to-call.
 *
 * Kept as one named value of the store, a line each: "sales@example.org 5 https://shop.example
 * ...". Threads: under the world's lock. */
#ifndef DAEMON_CLICK_H
#define DAEMON_CLICK_H

#include "base/slice.h"

struct admin_call;
struct store;
struct world;

#define CLICKS_BYTES_MAX  16384u
#define CLICK_ORIGINS_MAX 16u
#define CLICK_GUESTS_MAX  100u /* of one address at a time */

struct click {
    slice aor;
    uint32_t guests_max;
    slice origins; /* separated by spaces */
};
bool click_next(slice *rest, struct click *out); /* of world->clicks */
NODISCARD bool click_find(const struct world *w, slice aor, struct click *out);
bool click_allows(const struct click *c, slice origin);
NODISCARD enum err clicks_load(struct world *w, struct store *store);

enum err call_click_add(struct admin_call *c);
enum err call_click_list(struct admin_call *c);
enum err call_click_remove(struct admin_call *c);

#endif
