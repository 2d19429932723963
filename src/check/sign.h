/* check/sign.h - a report that its maker stands for: Ed25519 over the bytes of the file, whichever
 * kind it is.
 *
 * The key file is one line of base64 (a seed; keep it secret). FILE.sig is two: the public key and
 * the signature. Who reads a report compares the public key with the one the maker publishes.
 */
#ifndef CHECK_SIGN_H
#define CHECK_SIGN_H

#include "base/err.h"

NODISCARD enum err sign_key(const char *file);       /* makes one; EXISTS: never over another */
NODISCARD enum err sign_key_check(const char *file); /* BAD: that is no key; MISSING, IO */
NODISCARD enum err sign_report(const char *report, const char *key_file);
/* Prints what it found; with `public_key` (base64) the signature must be of that one. */
NODISCARD bool sign_verify(const char *report, const char *public_key);

#endif
