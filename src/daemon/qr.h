/* daemon/qr.h - a QR code in the terminal (libqrencode). */
#ifndef DAEMON_QR_H
#define DAEMON_QR_H

#include "base/slice.h"

/* Printed on stdout, black on white whatever the terminal's colours, two rows a line. `text` is
 * terminated and has at most 1 kB. false: nothing was printed. */
bool qr_print(const char *text);

#endif
