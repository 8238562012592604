/* Network namespaces, links, addresses, routes, neighbours, rules, nftables and sockets, for the overlay networks.
 *
 * Every call works on a thread of its own that enters the namespace and then ends, so the calling thread is never
 * anywhere but home. A namespace is named by a path (/run/netns/NAME, /proc/PID/ns/net); NULL or "" is the process's
 * own. Strings that a call returns are freed with shoal_net_free. */
#ifndef SHOAL_NET_H
#define SHOAL_NET_H

#include "shoal.h"

/* Carries out batches of operations in order, and stops at the first that fails. Addresses are of either family; IPv6
 * ones are given without detection of duplicates, and their subnets get no route. Rules are of IPv6 by their `from`, or
 * when ipv6 is true.
 *   [{"netns": PATH|null, "ops": [{"op": ..., ...}, ...]}, ...]
 * Every operation is idempotent: to add what is there, or to delete what is not, is success.
 *
 *   link-add   kind "veth": name, mtu, mac?, peer {name, netns, mtu?, mac?, up?}; both ends are set up, but not the far
 * one if its up is false
 *              kind "vxlan": name, into? (namespace to put it in; its UDP socket stays here), id, port, local?, mtu,
 * mac kind "wireguard": name, mtu, port, keyFile (the private key in base64: it is in no request and no answer)
 *   link-add   kind "macvlan": name, into (a namespace), parent, mode (bridge, private, vepa or passthru), mtu?
 *   link-add   kind "vlan": name, link (the device below), id (1 to 4094), alias (whose it is)
 *   link-move  name, into (a namespace), as (its name there), mac?
 *   macvlan-check  -EOPNOTSUPP where the kernel has no macvlan
 *   link-set   name, up?, mtu?, mac?        link-del   name
 *   addr-add   dev, address "A/LEN"         addr-del   the same
 *   route-add  dst "A/LEN", dev, via?, onlink?, src?, table? (254), local?, metric?  replaces
 *   route-del  dst, table?, with dev and metric for one that is local
 *   rule-add   priority, table, fwmark?, from?, ipv6?                            rule-del   the same
 *   neigh-add  dev, address, mac (permanent, replaces)                           neigh-del  dev, address
 *   fdb-add    dev, mac, dst (permanent, replaces)                               fdb-del    dev, mac, dst
 *   rate-add   dev, bytesPerSecond (what it sends, replaces)                     rate-del   dev
 *   wg-peer-add  dev, publicKey, address, port, allowed "A/LEN" (replaces)       wg-peer-del  dev, publicKey
 *   wg-check   -EOPNOTSUPP where the kernel has no WireGuard
 *   sysctl     path below /proc/sys/net, value, optional? (it need not exist)
 *   nft        commands (nft's own language, one transaction)
 *   fast-path-add  dev, table (of the family netdev), ways [{address, chain, here, translated}] of either family: a
 *              chain named as the device and hooked to it leads what comes from the address to `chain`, and the map
 *              `here` leads to the device. Without the table nothing is made.
 *   fast-path-del  the same; the address is taken out of the set `translated`, too
 *   ct-flush   protocol, backends [ADDRESS] (translated connections to these), ports [N] (untranslated ones to these),
 *              seen {table, set}?: in the table of this name of each family, the set to which rules add every address
 *              that connections of the protocol are translated to, and take the unspecified one (0.0.0.0 or ::) away
 *              when it is full. While that is in it, addresses that are not are not looked for. It is put in by this
 *              operation, with all that it found, where it was not.
 *   netns-add  path                          netns-del  path
 *
 * Returns 0 or -errno; err says which operation, with the kernel's own explanation where it gives one. */
SHOAL_EXPORT int shoal_net_apply(const char *batches, struct shoal_error *err);

/* Reads a namespace back as JSON {links, addresses, routes, rules, neighbours, fdb, rates, sysctls}.
 * WireGuard devices whose name begins with "sw" have publicKey, port and peers too. sysctls is a comma-separated list
 * of paths below /proc/sys/net to read (with * as in glob(7)), or NULL. Returns 0 or -errno. */
SHOAL_EXPORT int shoal_net_dump(const char *netns, const char *sysctls, char **json, struct shoal_error *err);

/* Runs nft commands in a namespace; with json, what they list comes back as JSON. Returns 0 or -errno (-EINVAL: nft
 * refused, and err.detail has the beginning of its words). */
SHOAL_EXPORT int shoal_net_nft(const char *netns, const char *commands, int json, char **output,
                               struct shoal_error *err);

/* Opens a non-blocking socket in a namespace, bound to address:port, for the caller to adopt. One of IPv6 takes no
 * IPv4. type: 1 stream (listening, or without a port to connect with), 2 datagram. Returns the descriptor or -errno. */
SHOAL_EXPORT int shoal_net_socket(const char *netns, int type, const char *address, unsigned int port,
                                  struct shoal_error *err);

/* Makes a network namespace in which only the loopback device is up. Returns a descriptor that holds it
 * (close-on-exec), or -errno. */
SHOAL_EXPORT int shoal_net_new(struct shoal_error *err);

SHOAL_EXPORT void shoal_net_free(char *text);

#endif
