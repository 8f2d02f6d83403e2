/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* From a destination to an endpoint: the reader's half of the publication protocol.
 *
 * The agent writes a new extent of slots and then replaces one element of "frontends": that is the switch. Under a
 * reader who holds the old element, the kernel may free it and give its memory to another row at once (prealloc or
 * bpf_mem_alloc, linux v6.1 kernel/bpf/hashtab.c). So the reader copies the record between its two versions, from its
 * end to its beginning while a writer goes the other way: equal versions and the wanted key mean one record. Slots of
 * a given-up extent are not rewritten before every reader has left (proxy/dataplane/ebpf/publisher.h).
 */
#ifndef FAIRLEAD_BPF_SERVICE_H
#define FAIRLEAD_BPF_SERVICE_H

#include <linux/in.h>
#include <linux/in6.h>

#include "bpf/address.h"
#include "bpf/map_defs.h"

#define barrier() asm volatile("" ::: "memory")

enum {
	READER_TRIES = 4,
	SEARCH_STEPS = 32, /* halves any extent down to nothing */
	EEXIST_RETURN = -17,
};

enum verdict {
	NO_SERVICE,
	TRANSLATE,
	REJECT,
	DROP,
	DENIED,	     /* the frontend is not for this source */
	UNALLOCATED, /* where ClusterIPs come from, but no service's */
	GIVE_UP,
	ASK_CLIENT, /* fill in who the client is, and select again */
	LOOK_AGAIN, /* the row changed meanwhile */
};

/* Whose connection it is, where a frontend asks. Ordered: from ORIGIN_POD on, a short circuit is taken. */
enum origin {
	ORIGIN_UNKNOWN,
	ORIGIN_STRANGER,
	ORIGIN_POD,
	ORIGIN_NODE,
};

struct selection {
	/* in */
	struct frontend_key key;
	struct sock_peer sticky; /* frontend_port not 0: a sender that should stay with its endpoint */
	struct addr16 source;	 /* zero: not known yet */
	struct addr16 client;	 /* of affinity */
	__u8 client_kind;	 /* CLIENT_* */
	__u8 origin;		 /* enum origin */
	__u8 own_loopback;	 /* the node calls itself at a loopback address that takes NodePorts */
	__u8 peer_lost;		 /* a connected socket's, see follow_peer */
	/* of the row */
	__u32 flags;
	struct extent extent; /* that this client is served from */
	__u32 affinity_seconds;
	struct frontend_key affinity;
	/* out */
	struct slot endpoint;
	__u32 slot;
};

enum {
	ROW_ABSENT,
	ROW_FOUND,
	ROW_RECYCLED,
};

static __always_inline __u32 now_seconds(void)
{
	return (__u32)(bpf_ktime_get_coarse_ns() / 1000000000ULL);
}

static __always_inline void read_extent(const volatile struct extent *extent, struct extent *out)
{
	out->base = extent->base;
	out->count = extent->count;
	out->kept = extent->kept;
	out->generation = extent->generation;
}

static __always_inline void read_addr(const volatile struct addr16 *addr, struct addr16 *out)
{
	out->words[0] = addr->words[0];
	out->words[1] = addr->words[1];
	out->words[2] = addr->words[2];
	out->words[3] = addr->words[3];
}

static __always_inline int read_row(const struct frontend_key *key, struct selection *s)
{
	const volatile struct frontend *row = bpf_map_lookup_elem(&frontends, key);
	__u32 version;

	if (!row)
		return ROW_ABSENT;
	version = row->version_again;
	barrier();
	s->flags = row->flags;
	if (s->flags & FRONTEND_AFFINITY) {
		s->affinity_seconds = row->affinity_seconds;
		read_addr(&row->affinity.addr, &s->affinity.addr);
		s->affinity.port = row->affinity.port;
		s->affinity.proto = row->affinity.proto;
	}
	if (s->flags & FRONTEND_SHORT_CIRCUIT && s->origin >= ORIGIN_POD) {
		read_extent(&row->cluster, &s->extent);
		s->flags &= ~(FRONTEND_DROP_WHEN_EMPTY | FRONTEND_MASQUERADE | FRONTEND_MASQUERADE_OFF_CLUSTER);
		if (s->origin == ORIGIN_NODE)
			s->flags |= FRONTEND_MASQUERADE;
	} else {
		read_extent(&row->pool, &s->extent);
	}
	barrier();
	if (row->version != version || row->key.addr.words[0] != key->addr.words[0] ||
	    row->key.addr.words[1] != key->addr.words[1] || row->key.addr.words[2] != key->addr.words[2] ||
	    row->key.addr.words[3] != key->addr.words[3] || row->key.port != key->port || row->key.proto != key->proto)
		return ROW_RECYCLED;
	return ROW_FOUND;
}

static __always_inline void unspecified_address(struct frontend_key *key)
{
	if (!is_v4(&key->addr))
		key->addr.words[0] = key->addr.words[1] = key->addr.words[2] = 0;
	key->addr.words[3] = 0;
}

/* The row of this very address and port; else that of the NodePort when the address takes them; else that of a
 * ClusterIP as such.
 */
static __always_inline int find_row(struct selection *s)
{
	struct frontend_key other = s->key;
	const __u32 *local;
	int found = read_row(&other, s);

	if (found != ROW_ABSENT)
		return found;
	local = bpf_map_lookup_elem(&node_addresses, &other.addr);
	if (local || s->own_loopback) {
		if (local && !(*local & ADDRESS_NODE_PORTS))
			return ROW_ABSENT;
		unspecified_address(&other);
	} else {
		/* A ping comes by as well, through the hook of its socket. */
		if (other.proto == IPPROTO_ICMP || other.proto == IPPROTO_ICMPV6)
			return ROW_ABSENT;
		other.port = 0;
		other.proto = 0;
	}
	return read_row(&other, s);
}

static __always_inline int read_slot(__u32 index, __u32 generation, struct slot *out)
{
	const volatile struct slot *slot = bpf_map_lookup_elem(&slots, &index);

	if (!slot)
		return 0;
	read_addr(&slot->addr, &out->addr);
	out->port = slot->port;
	out->flags = slot->flags;
	barrier();
	out->generation = slot->generation;
	return out->generation == generation;
}

static __always_inline int compare_words(__be32 a, __be32 b)
{
	return a == b ? 0 : bpf_ntohl(a) < bpf_ntohl(b) ? -1 : 1;
}

/* As net::Ip and the model sort endpoints. */
static __always_inline int compare_endpoint(const struct slot *slot, const struct sock_peer *wanted)
{
	int i, order;

	for (i = 0; i < 4; i++) {
		order = compare_words(slot->addr.words[i], wanted->endpoint.words[i]);
		if (order)
			return order;
	}
	return compare_words((__be32)slot->port << 16, (__be32)wanted->endpoint_port << 16);
}

/* Functions that are not static are verified by themselves, once, and not with each of their callers. What they are
 * given is copied before it is a map's key: Linux 6.1 wants keys on the stack.
 *
 * 1: the endpoint of `sticky` is in [low, high) of the extent, and chosen.
 */
__noinline int search_extent(struct selection *s, __u32 low, __u32 high)
{
	struct slot slot;
	__u32 middle, generation;
	int i, order;

	if (!s)
		return 0;
	generation = s->extent.generation;
	for (i = 0; i < SEARCH_STEPS && low < high; i++) {
		middle = low + (high - low) / 2;
		if (!read_slot(middle, generation, &slot))
			return 0;
		order = compare_endpoint(&slot, &s->sticky);
		if (order == 0) {
			s->endpoint = slot;
			s->slot = middle;
			return 1;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return 0;
}

/* 1: the endpoint of `sticky` is in the extent, and chosen. */
static __always_inline int find_endpoint(struct selection *s, int kept_too)
{
	__u32 end = s->extent.base + s->extent.count;
	__u32 last = kept_too ? end + s->extent.kept : end;

	if (s->extent.generation == 0)
		return 0;
	if (s->sticky.generation == s->extent.generation) {
		s->slot = s->sticky.slot;
		return s->slot < last && read_slot(s->slot, s->extent.generation, &s->endpoint);
	}
	return search_extent(s, s->extent.base, end) || (last > end && search_extent(s, end, last));
}

static __always_inline int pick_endpoint(struct selection *s)
{
	s->slot = s->extent.base + (__u32)(((__u64)bpf_get_prandom_u32() * s->extent.count) >> 32);
	return read_slot(s->slot, s->extent.generation, &s->endpoint);
}

/* The client's last endpoint as long as it takes new clients, else any; 0: look at the row again. Timeouts run from
 * the last new connection. Two first connections at once: the slower one follows.
 */
__noinline int pick_by_affinity(struct selection *s)
{
	struct affinity_key key = {};
	struct affinity *row, fresh = {};
	__u32 now = now_seconds();
	int present;

	if (!s)
		return 0;
	key.client = s->client;
	key.service = s->affinity;
	key.kind = s->client_kind;
	row = bpf_map_lookup_elem(&affinity, &key);
	present = row != 0;
	s->sticky.frontend_port = 0;
	if (row && (__s32)(now - row->seen) <= (__s32)s->affinity_seconds) {
		s->sticky.endpoint = row->endpoint;
		s->sticky.endpoint_port = row->port;
		s->sticky.slot = row->slot;
		s->sticky.generation = row->generation;
		/* A row recycled meanwhile names at worst an endpoint that another client had. */
		if (find_endpoint(s, 0)) {
			if (row->generation != s->extent.generation) {
				row->slot = s->slot;
				row->generation = s->extent.generation;
			}
			if (row->seen != now)
				row->seen = now;
			count(COUNT_AFFINITY_KEPT);
			return 1;
		}
	}
	if (!pick_endpoint(s))
		return 0;
	fresh.endpoint = s->endpoint.addr;
	fresh.port = s->endpoint.port;
	fresh.slot = s->slot;
	fresh.generation = s->extent.generation;
	fresh.seen = now;
	return bpf_map_update_elem(&affinity, &key, &fresh, present ? BPF_ANY : BPF_NOEXIST) != EEXIST_RETURN;
}

static __always_inline int is_allowed(const struct selection *s)
{
	struct source_key key = {.prefixlen = SOURCE_PREFIX + 128, .frontend = s->key, .source = s->source};

	return !is_zero_addr(&s->source) && bpf_map_lookup_elem(&sources, &key);
}

static __always_inline int select_from_row(struct selection *s)
{
	if (s->flags & FRONTEND_ADDRESS) {
		count(COUNT_UNKNOWN_PORT);
		return REJECT;
	}
	if (s->flags & FRONTEND_ASKS_CLIENT && s->origin == ORIGIN_UNKNOWN)
		return ASK_CLIENT;
	if (s->flags & FRONTEND_RESTRICTED && !is_allowed(s))
		return DENIED;
	if (s->sticky.frontend_port && find_endpoint(s, 1))
		return TRANSLATE;
	if (s->extent.count == 0)
		return s->flags & FRONTEND_DROP_WHEN_EMPTY ? DROP : REJECT;
	if (s->flags & FRONTEND_AFFINITY)
		return pick_by_affinity(s) ? TRANSLATE : LOOK_AGAIN;
	return pick_endpoint(s) ? TRANSLATE : LOOK_AGAIN;
}

__noinline int select_endpoint(struct selection *s)
{
	int i, found, verdict;

	if (!s)
		return NO_SERVICE;
	for (i = 0; i < READER_TRIES; i++) {
		found = find_row(s);
		if (found == ROW_ABSENT)
			return NO_SERVICE;
		if (found == ROW_FOUND) {
			verdict = select_from_row(s);
			if (verdict != LOOK_AGAIN)
				return verdict;
		}
		count(COUNT_RETRIED);
	}
	count(COUNT_GIVEN_UP);
	return GIVE_UP;
}

#endif
