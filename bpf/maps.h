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
	LAYOUT_VERSION = 1,
	SENT_ENTRIES = 4, /* services one unconnected UDP socket may talk to at a time and still be translated back */
};

struct addr16 {
	__be32 words[4];
};
FAIRLEAD_LAYOUT(sizeof(struct addr16) == 16);

/* Map "frontends". A NodePort row has the family's unspecified address (:: or ::ffff:0.0.0.0). */
struct frontend_key {
	struct addr16 addr;
	__be16 port;
	__u8 proto; /* IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP */
	__u8 pad;
};
FAIRLEAD_LAYOUT(sizeof(struct frontend_key) == 20);

enum {
	FRONTEND_MASQUERADE = 1,      /* packets get the node's address as their source */
	FRONTEND_DROP_WHEN_EMPTY = 2, /* count is 0: silence; without this flag: refused */
};

/* The key stands in the value because a hash element may be recycled under a reader: see bpf/service.h. */
struct frontend {
	struct frontend_key key;
	__u32 base;	  /* first slot of the extent */
	__u32 count;	  /* slots of the extent; 0: no endpoints */
	__u32 generation; /* of the extent: every slot in it carries the same number; 0 when count is 0 */
	__u32 flags;	  /* FRONTEND_* */
};
FAIRLEAD_LAYOUT(sizeof(struct frontend) == 36);
FAIRLEAD_LAYOUT(__builtin_offsetof(struct frontend, key) == 0);
FAIRLEAD_LAYOUT(__builtin_offsetof(struct frontend, base) == 20);

enum {
	SLOT_LOCAL = 1 /* the endpoint runs on this node */
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

/* Map "sock_peers" (sk_storage): what a connected socket believes it is connected to. */
struct sock_peer {
	struct addr16 frontend;
	struct addr16 endpoint;
	__be16 frontend_port; /* 0: nothing is translated */
	__be16 endpoint_port;
};
FAIRLEAD_LAYOUT(sizeof(struct sock_peer) == 36);

/* Map "sock_sent" (sk_storage): the services an unconnected UDP socket sent to. */
struct sock_sent_entry {
	struct sock_peer peer;
	__u32 slot;
	__u32 generation;
};
FAIRLEAD_LAYOUT(sizeof(struct sock_sent_entry) == 44);

struct sock_sent {
	struct bpf_spin_lock lock;
	__u32 next; /* the entry to overwrite next */
	struct sock_sent_entry entries[SENT_ENTRIES];
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

struct flow {
	struct flow_key other;
	__u32 seen; /* seconds of CLOCK_MONOTONIC */
	__u8 kind;  /* FLOW_FORWARD, FLOW_REVERSE */
	__u8 tcp;   /* FLOW_SAW_* */
	__u16 pad;
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

/* Map "node_config", one row. Zero: the node has no address of that family. */
struct node_config {
	struct addr16 masquerade_v4;
	struct addr16 masquerade_v6;
};
FAIRLEAD_LAYOUT(sizeof(struct node_config) == 32);

/* Map "build", one row: which programs are pinned and attached. All zero: an install has not ended. */
struct build {
	__u64 hash[2]; /* of the object the programs came from */
};
FAIRLEAD_LAYOUT(sizeof(struct build) == 16);

/* Map "node_addresses": struct addr16 -> __u32 ifindex.  Map "bridge_ports": __u32 ifindex -> __u32 master. */

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
	COUNT_FAILED,	 /* a helper failed in the middle of a rewrite, the packet was dropped */
	COUNTERS
};

#ifdef __cplusplus
} /* namespace fairlead::bpf */
#endif

#endif
