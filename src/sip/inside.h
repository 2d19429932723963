/* sip/inside.h - what the readers of this folder share; not for other folders. */
#ifndef SIP_INSIDE_H
#define SIP_INSIDE_H

#include "base/scan.h"
#include "sip/hdr.h"

extern const bool sip_header_many[HDR_COUNT]; /* may the header stand more than once? */

/* Characters that may stand in a URI somewhere; '%', '@' and '#' apart. */
#define SCAN_URI_ANY (SCAN_URI_USER | SCAN_URI_PARAM | SCAN_URI_HEADER)

enum param_found { PARAM_NONE, PARAM_ONE, PARAM_BAD };

/* One ";name" or ";name=value" at the cursor, white space around it allowed. NONE: what stands
 * there (behind white space, which is taken) is no ';', or the end. */
enum param_found param_take(struct cursor *c, struct hdr_param *out);
/* A quoted string from its first quote on; false: it does not end. */
bool quoted_take(struct cursor *c);
/* One value of Via, up to a comma or the end. */
enum err via_take(struct cursor *c, struct sip_via *out);
/* Host names: letters, digits, '-', '.'; IPv6 in brackets. False: not a host. */
bool host_take(struct cursor *c, slice *out);
/* ":port" behind a host, 1 to 65535; no colon leaves *out at 0. */
bool port_take(struct cursor *c, uint16_t *out);

#endif
