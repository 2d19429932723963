/* daemon/qr.c - see qr.h. */
#include "daemon/qr.h"

#include <qrencode.h>
#include <stdio.h>

#define QUIET 2 /* modules of margin; the standard says 4, cameras are content with 2 */

static bool is_dark(const QRcode *qr, int x, int y) {
    if (x < 0 || y < 0 || x >= qr->width || y >= qr->width) return false;
    return (qr->data[y * qr->width + x] & 1) != 0;
}

bool qr_print(const char *text) {
    QRcode *qr = QRcode_encodeString8bit(text, 0, QR_ECLEVEL_L);
    if (!qr) return false;
    for (int y = -QUIET; y < qr->width + QUIET; y += 2) {
        (void)printf("  \033[30;107m");
        for (int x = -QUIET; x < qr->width + QUIET; x++) {
            bool upper = is_dark(qr, x, y), lower = is_dark(qr, x, y + 1);
            (void)printf("%s", upper && lower ? "\u2588"
                               : upper        ? "\u2580"
                               : lower        ? "\u2584"
                                              : " ");
        }
        (void)printf("\033[0m\n");
    }
    QRcode_free(qr);
    return true;
}
