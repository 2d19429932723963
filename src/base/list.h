/* base/list.h - a doubly linked list through members of its items; one zeroed or list_init'ed head.
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include "base/defs.h"

struct list {
    struct list *next, *prev;
};
#define LIST_ITEM(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline void list_init(struct list *l) {
    l->next = l->prev = l;
}
static inline bool list_empty(const struct list *l) {
    return l->next == l;
}
static inline bool list_linked(const struct list *l) {
    return l->next != NULL && l->next != l;
}
static inline void list_push(struct list *head, struct list *item) { /* at the end */
    item->prev = head->prev;
    item->next = head;
    head->prev->next = item;
    head->prev = item;
}
static inline void list_remove(struct list *item) { /* the item is list_init'ed again */
    item->prev->next = item->next;
    item->next->prev = item->prev;
    list_init(item);
}
static inline struct list *list_pop(struct list *head) { /* NULL when empty */
    if (list_empty(head)) return NULL;
    struct list *item = head->next;
    list_remove(item);
    return item;
}

#endif
