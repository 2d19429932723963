#include "store/store.h"
#include "base/mem.h"

#define SLICES_MAX 7 /* of one row */

/* The slices of a change that carry content, so that copying needs no list per operation. */
static unsigned change_slices(struct store_change *c, slice *out[static SLICES_MAX]) {
    unsigned n = 0;
    switch (c->op) {
    case STORE_ACCOUNT_PUT:
        out[n++] = &c->account.user;
        out[n++] = &c->account.domain;
        out[n++] = &c->account.aliases;
        out[n++] = &c->account.display;
        out[n++] = &c->account.settings;
        out[n++] = &c->account.ha1_sha256;
        out[n++] = &c->account.ha1_sha512_256;
        break;
    case STORE_DEVICE_PUT:
        out[n++] = &c->device.name;
        out[n++] = &c->device.why;
        out[n++] = &c->device.ha1_md5;
        break;
    case STORE_BINDING_PUT:
        out[n++] = &c->binding.contact;
        out[n++] = &c->binding.params;
        out[n++] = &c->binding.instance;
        out[n++] = &c->binding.call_id;
        out[n++] = &c->binding.path;
        out[n++] = &c->binding.user_agent;
        break;
    case STORE_VALUE_PUT:
        out[n++] = &c->value.name;
        out[n++] = &c->value.value;
        break;
    case STORE_BINDING_REFRESH:
    case STORE_ACCOUNT_REMOVE:
    case STORE_DEVICE_REMOVE:
    case STORE_BINDING_REMOVE:
        break;
    }
    return n;
}

/* A removal reads its key only, a refresh its numbers; nothing else of the caller's struct may be
 * followed later. */
static void take_key(struct store_change *to, const struct store_change *from) {
    to->op = from->op;
    to->durability = from->durability;
    switch (from->op) {
    case STORE_ACCOUNT_REMOVE:
        to->account.id = from->account.id;
        break;
    case STORE_DEVICE_REMOVE:
        to->device.id = from->device.id;
        break;
    case STORE_BINDING_REMOVE:
        to->binding.account_id = from->binding.account_id;
        to->binding.bid = from->binding.bid;
        to->binding.change = from->binding.change;
        break;
    case STORE_BINDING_REFRESH:
        to->binding.account_id = from->binding.account_id;
        to->binding.bid = from->binding.bid;
        to->binding.cseq = from->binding.cseq;
        to->binding.registered = from->binding.registered;
        to->binding.expires = from->binding.expires;
        to->binding.change = from->binding.change;
        break;
    case STORE_ACCOUNT_PUT:
    case STORE_DEVICE_PUT:
    case STORE_BINDING_PUT:
    case STORE_VALUE_PUT:
        *to = *from;
        break;
    }
}

struct store_change *store_change_copy(const struct store_change *c) {
    struct store_change shallow;
    memset(&shallow, 0, sizeof shallow);
    take_key(&shallow, c);
    slice *parts[SLICES_MAX];
    unsigned n = change_slices(&shallow, parts);
    size_t size = sizeof shallow;
    for (unsigned i = 0; i < n; i++) {
        if (parts[i]->len > SIZE_MAX / 2 - size) return NULL;
        size += parts[i]->len;
    }
    struct store_change *copy = mem_alloc(size);
    if (!copy) return NULL;
    *copy = shallow;
    (void)change_slices(copy, parts);
    char *at = (char *)(copy + 1);
    for (unsigned i = 0; i < n; i++) {
        if (parts[i]->len) memcpy(at, parts[i]->ptr, parts[i]->len);
        *parts[i] = parts[i]->len ? slice_of(at, parts[i]->len) : SLICE_NONE;
        at += parts[i]->len;
    }
    return copy;
}
