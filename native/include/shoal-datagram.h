/* Datagrams to unix sockets, as the system's loggers take them: Node has no such sockets. */
#ifndef SHOAL_DATAGRAM_H
#define SHOAL_DATAGRAM_H

#include "shoal.h"

/* Sends count datagrams to the unix datagram socket at path, without ever waiting. Their bytes follow on one another in
 * data; lengths has their sizes. *sent is how many have gone. Returns 0 or -errno: -EAGAIN when the receiver's queue is
 * full, -EMSGSIZE when the first that is left is too large for it, -EPROTOTYPE when it is a socket of streams. */
SHOAL_EXPORT int shoal_datagrams_send(const char *path, const uint8_t *data, const uint32_t *lengths, uint32_t count,
                                      uint32_t *sent, struct shoal_error *err);

#endif
