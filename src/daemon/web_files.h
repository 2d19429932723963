/* daemon/web_files.h - the built page (web/dist), made part of the program by tools/web_files.py.
 */
#ifndef DAEMON_WEB_FILES_H
#define DAEMON_WEB_FILES_H

#include "http/site.h"

extern const struct http_site web_site;

#endif
