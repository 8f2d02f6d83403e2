/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Every map layout of the eBPF dataplane, for the BPF programs (C) and the agent (C++): there is no second home.
 *
 * An address is 16 bytes in network order with IPv4 v4-mapped, as net::Ip keeps it, so that one set of maps and one
 * source serve both families. Ports are in network order. A change of any layout here raises LAYOUT_VERSION, which
 * names the pin folder. proxy/dataplane/ebpf/layout.md tells how the maps are written and read.
 */
#ifndef FAIRLEAD_BPF_MAPS_H
#define FAIRLEAD_BPF_MAPS_H

#include <linux/bpf.h>
#include <linux/types.h>

#ifdef __cplusplus
#define FAIRLEAD_LAYOUT(what) static_assert(what, #what)
namespace fairlead::bpf
{
#else
#define FAIRLEAD_LAYOUT(what) _Static_assert(what, #what)
#endif

enum {
	LAYOUT_VERSION = 2,
	SENT_ENTRIES = 4, /* services one unconnected UDP socket may talk to at a time and still be translated back */
};

struct addr16 {
	__be32 words[4];
};
FAIRLEAD_LAYOUT(sizeof(struct addr16) == 16);

/* Map "frontends". A NodePort row has the family's unspecified address (:: or ::ffff:0.0.0.0). A row with port and
 * protocol zero says that the address is a ClusterIP: what no other row of it takes is refused.
 */
struct frontend_key {
	struct addr16 addr;
	__be16 port;
	__u8 proto; /* IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP */
	__u8 pad;
};
FAIRLEAD_LAYOUT(sizeof(struct frontend_key) == 20);

enum {
	FRONTEND_MASQUERADE = 1,	     /* packets get the node's address as their source */
	FRONTEND_DROP_WHEN_EMPTY = 2,	     /* nothing in `pool`: silence; without this flag: refused */
	FRONTEND_MASQUERADE_OFF_CLUSTER = 4, /* as MASQUERADE, but for packets of pods */
	FRONTEND_SHORT_CIRCUIT = 8,	     /* pods and the node itself are served from `cluster` */
	FRONTEND_RESTRICTED = 16,	     /* only for sources in map "sources" */
	FRONTEND_AFFINITY = 32,		     /* a client stays with an endpoint for affinity_seconds */
	FRONTEND_ADDRESS = 64,		     /* the row of a ClusterIP as such */

	/* What cannot be decided without knowing who the client is. */
	FRONTEND_ASKS_CLIENT = FRONTEND_SHORT_CIRCUIT | FRONTEND_RESTRICTED | FRONTEND_AFFINITY,
};

/* Slots [base, base+count) take new clients; the `kept` ones behind them only serve UDP flows they have already. Both
 * runs are sorted by address and port. All zero: no endpoints.
 */
struct extent {
	__u32 base;
	__u32 count;
	__u32 kept;
	__u32 generation; /* every slot of the extent carries the same number */
};
FAIRLEAD_LAYOUT(sizeof(struct extent) == 16);

/* The key stands in the value because a hash element may be recycled under a reader, and the version at both ends
 * because it may be recycled for the same key: see bpf/service.h.
 */
struct frontend {
	struct frontend_key key;
	__u32 version; /* another one with each write of a row */
	struct extent pool;
	struct extent cluster; /* with FRONTEND_SHORT_CIRCUIT */
	__u32 flags;	       /* FRONTEND_* */
	__u32 affinity_seconds;
	struct frontend_key affinity; /* the frontend whose name all of the service port share in map "affinity" */
	__u32 version_again;
};
FAIRLEAD_LAYOUT(sizeof(struct frontend) == 88);
FAIRLEAD_LAYOUT(__builtin_offsetof(struct frontend, key) == 0);
FAIRLEAD_LAYOUT(__builtin_offsetof(struct frontend, pool) == 24);
FAIRLEAD_LAYOUT(__builtin_offsetof(struct frontend, version_again) == 84);

enum {
	SLOT_LOCAL = 1, /* the endpoint runs on this node */
	SLOT_KEPT = 2,	/* no new clients */
};

/* Map "slots": one endpoint. Its generation is written with it and never 0 in a published extent. */
struct slot {
	struct addr16 addr;
	__be16 port;
	__u16 flags; /* SLOT_* */
	__u32 generation;
};
FAIRLEAD_LAYOUT(sizeof(struct slot) == 24);
FAIRLEAD_LAYOUT(__builtin_offsetof(struct slot, generation) == 20);

/* Map "sources", an LPM trie: who may use a restricted frontend. Value: __u32, nothing. */
struct source_key {
	__u32 prefixlen; /* bits of all that follows: SOURCE_PREFIX + those of the address, 96 more for IPv4 */
	struct frontend_key frontend;
	struct addr16 source;
};
FAIRLEAD_LAYOUT(sizeof(struct source_key) == 40);
enum {
	SOURCE_PREFIX = 8 * sizeof(struct frontend_key)
};

/* Map "affinity": which endpoint a client had last. */
enum {
	CLIENT_ADDRESS = 1,   /* the source of a packet */
	CLIENT_NAMESPACE = 2, /* the cookie of a socket's network namespace, in the first two words */
};
struct affinity_key {
	struct addr16 client;
	struct frontend_key service; /* struct frontend's `affinity` */
	__u32 kind;		     /* CLIENT_* */
};
FAIRLEAD_LAYOUT(sizeof(struct affinity_key) == 40);

struct affinity {
	struct addr16 endpoint;
	__be16 port;
	__u16 pad;
	__u32 slot;
	__u32 generation;
	__u32 seen; /* seconds of CLOCK_MONOTONIC, of the last new connection */
};
FAIRLEAD_LAYOUT(sizeof(struct affinity) == 32);

/* Map "sock_peers" (sk_storage): what a connected socket believes it is connected to. */
struct sock_peer {
	struct addr16 frontend;
	struct addr16 endpoint;
	__be16 frontend_port; /* 0: nothing is translated */
	__be16 endpoint_port;
	__u32 slot; /* where the endpoint was, in an extent of that generation */
	__u32 generation;
};
FAIRLEAD_LAYOUT(sizeof(struct sock_peer) == 44);

/* Map "sock_sent" (sk_storage): the services an unconnected UDP socket sent to. */
struct sock_sent {
	struct bpf_spin_lock lock;
	__u32 next; /* the entry to overwrite next */
	struct sock_peer entries[SENT_ENTRIES];
};
FAIRLEAD_LAYOUT(sizeof(struct sock_sent) == 8 + 44 * SENT_ENTRIES);

/* Map "flows", two rows per translated flow. A packet whose tuple is the key is rewritten to the reverse of `other`,
 * and `other` is the key of the row for the opposite direction: each row can rebuild the other one.
 */
struct flow_key {
	struct addr16 src;
	struct addr16 dst;
	__be16 sport;
	__be16 dport;
	__u8 proto;
	__u8 pad[3];
};
FAIRLEAD_LAYOUT(sizeof(struct flow_key) == 40);

enum {
	FLOW_FORWARD = 1, /* key: client to frontend;  other: endpoint to client (or to the node's address) */
	FLOW_REVERSE = 2, /* key: endpoint to client;  other: client to frontend */
};
enum {
	FLOW_SAW_FIN = 1, /* in the direction of this row */
	FLOW_SAW_RST = 2,
};
enum {
	FLOW_OF_SOCKET = 1, /* the client is a connected socket, and its key names an endpoint it has lost */
};

struct flow {
	struct flow_key other;
	__u32 seen;  /* seconds of CLOCK_MONOTONIC */
	__u8 kind;   /* FLOW_FORWARD, FLOW_REVERSE */
	__u8 tcp;    /* FLOW_SAW_* */
	__u16 flags; /* FLOW_OF_SOCKET */
};
FAIRLEAD_LAYOUT(sizeof(struct flow) == 48);

/* Map "fragments": how the first fragment of a datagram was translated, for the later ones, which have no ports. */
struct fragment_key {
	struct addr16 src;
	struct addr16 dst;
	__be32 id;
	__u8 proto;
	__u8 pad[3];
};
FAIRLEAD_LAYOUT(sizeof(struct fragment_key) == 40);

struct fragment {
	struct addr16 src;
	struct addr16 dst;
	__u32 seen; /* as in struct flow */
	__u32 kind; /* FLOW_FORWARD, FLOW_REVERSE */
};
FAIRLEAD_LAYOUT(sizeof(struct fragment) == 40);

enum {
	NODE_TELLS_PODS_V4 = 1, /* pods can be told from strangers in this family */
	NODE_TELLS_PODS_V6 = 2,
	NODE_LOOPBACK_NODE_PORTS = 4, /* NodePorts answer on loopback in the node's own namespace */
};

/* Map "node_config", one row. A zero address: the node has none of that family. */
struct node_config {
	struct addr16 masquerade_v4;
	struct addr16 masquerade_v6;
	__u64 netns_cookie; /* of the node's own namespace; 0: unknown */
	__u32 flags;	    /* NODE_* */
	__u32 pad;
};
FAIRLEAD_LAYOUT(sizeof(struct node_config) == 48);

/* Map "networks", an LPM trie of address ranges -> __u32 of NETWORK_*, those of every range around it included. */
struct network_key {
	__u32 prefixlen; /* 96 more for IPv4 */
	struct addr16 addr;
};
FAIRLEAD_LAYOUT(sizeof(struct network_key) == 20);
enum {
	NETWORK_PODS = 1,
	NETWORK_SERVICES = 2, /* ClusterIPs come from here */
};

/* Map "node_addresses": struct addr16 -> __u32 of ADDRESS_*: every local address except loopback ones. */
enum {
	ADDRESS_NODE_PORTS = 1
};

/* Map "build", one row: which programs are pinned and attached. All zero: an install has not ended. */
struct build {
	__u64 hash[2]; /* of the object the programs came from */
};
FAIRLEAD_LAYOUT(sizeof(struct build) == 16);

/* Map "bridge_ports": __u32 ifindex -> __u32 master.
 * Map "pod_interfaces": __u32 ifindex -> __u32, nothing: what comes in there is sent by pods.
 */

/* Map "counters" (per CPU). proxy/dataplane/ebpf/counters.h names them for people. */
enum counter {
	COUNT_SOCK_TRANSLATED, /* connect and sendmsg */
	COUNT_SOCK_REJECTED,
	COUNT_RETRIED,	/* a reader met a row in change and looked again */
	COUNT_GIVEN_UP, /* four times in a row */
	COUNT_FLOW_CREATED,
	COUNT_FLOW_RESTORED, /* one row of two had been evicted */
	COUNT_FLOW_NO_PORT,  /* no free source port was found */
	COUNT_PACKET_FORWARD,
	COUNT_PACKET_REVERSE,
	COUNT_PACKET_REJECTED,
	COUNT_PACKET_DROPPED, /* frontend without endpoints that wants silence */
	COUNT_ICMP_TRANSLATED,
	COUNT_UNKNOWN_PORT,  /* refused: a ClusterIP, at a port that no service has */
	COUNT_UNALLOCATED,   /* dropped: where ClusterIPs come from, but no service's */
	COUNT_SOURCE_DENIED, /* dropped: the frontend is not for this source */
	COUNT_AFFINITY_KEPT,
	COUNT_UDP_MOVED, /* a connected UDP socket had lost its endpoint and was given another */
	COUNT_FAILED,	 /* a helper failed in the middle of a rewrite, the packet was dropped */
	COUNTERS
};

#ifdef __cplusplus
} /* namespace fairlead::bpf */
#endif

#endif
