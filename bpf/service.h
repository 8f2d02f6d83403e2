/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* From a destination to an endpoint: the reader's half of the publication protocol.
 *
 * The agent writes a new extent of slots and then replaces one element of "frontends": that is the switch. Under a
 * reader who holds the old element, the kernel may free it and give its memory to another row at once (prealloc or
 * bpf_mem_alloc, linux v6.1 kernel/bpf/hashtab.c). So the reader copies the record, the key last: when the key is
 * still the wanted one the rest was of that key too, though perhaps of two of its versions. Base, count and
 * generation of two versions do not meet a slot of that generation, which sends the reader back to the start. Slots
 * of a given-up extent are not rewritten before every reader has left (proxy/dataplane/ebpf/publisher.h).
 */
#ifndef FAIRLEAD_BPF_SERVICE_H
#define FAIRLEAD_BPF_SERVICE_H

#include "bpf/address.h"
#include "bpf/map_defs.h"

#define barrier() asm volatile("" ::: "memory")

enum {
	READER_TRIES = 4,
	SCAN_LIMIT = 4096
};

enum verdict {
	NO_SERVICE,
	TRANSLATE,
	REJECT,
	DROP,
	GIVE_UP,
};

/* In: key, and for a sender that should stay with its endpoint `sticky`. Out: the rest. */
struct selection {
	struct frontend_key key;
	struct frontend row;
	struct slot endpoint;
	__u32 slot;
	struct sock_sent_entry sticky; /* frontend_port 0: none */
};

enum {
	ROW_ABSENT,
	ROW_FOUND,
	ROW_RECYCLED
};

static __always_inline int read_row(const struct frontend_key *key, struct frontend *out)
{
	const volatile struct frontend *row = bpf_map_lookup_elem(&frontends, key);

	if (!row)
		return ROW_ABSENT;
	out->base = row->base;
	out->count = row->count;
	out->generation = row->generation;
	out->flags = row->flags;
	barrier();
	if (row->key.addr.words[0] != key->addr.words[0] || row->key.addr.words[1] != key->addr.words[1] ||
	    row->key.addr.words[2] != key->addr.words[2] || row->key.addr.words[3] != key->addr.words[3] ||
	    row->key.port != key->port || row->key.proto != key->proto)
		return ROW_RECYCLED;
	return ROW_FOUND;
}

/* The row of this very address, else the NodePort row when the address is one of the node's. */
static __always_inline int find_row(const struct frontend_key *key, struct frontend *out)
{
	struct frontend_key node_port;
	int found = read_row(key, out);

	if (found != ROW_ABSENT)
		return found;
	if (!bpf_map_lookup_elem(&node_addresses, &key->addr))
		return ROW_ABSENT;
	node_port = *key;
	node_port.addr.words[3] = 0;
	if (!is_v4(&key->addr))
		node_port.addr.words[0] = node_port.addr.words[1] = node_port.addr.words[2] = 0;
	return read_row(&node_port, out);
}

static __always_inline int read_slot(__u32 index, __u32 generation, struct slot *out)
{
	const volatile struct slot *slot = bpf_map_lookup_elem(&slots, &index);

	if (!slot)
		return 0;
	out->addr.words[0] = slot->addr.words[0];
	out->addr.words[1] = slot->addr.words[1];
	out->addr.words[2] = slot->addr.words[2];
	out->addr.words[3] = slot->addr.words[3];
	out->port = slot->port;
	out->flags = slot->flags;
	barrier();
	out->generation = slot->generation;
	return out->generation == generation;
}

static long scan_slot(__u32 i, struct selection *s)
{
	struct slot slot;
	__u32 index = s->row.base + i;

	if (i >= s->row.count)
		return 1;
	if (!read_slot(index, s->row.generation, &slot))
		return 1;
	if (!same_addr(&slot.addr, &s->sticky.peer.endpoint) || slot.port != s->sticky.peer.endpoint_port)
		return 0;
	s->endpoint = slot;
	s->slot = index;
	return 1;
}

/* 1: the endpoint this sender used before is still in the service, and chosen. */
static __always_inline int keep_endpoint(struct selection *s)
{
	if (s->sticky.peer.frontend_port == 0)
		return 0;
	s->endpoint.generation = 0;
	if (s->sticky.generation == s->row.generation) {
		s->slot = s->sticky.slot;
		return read_slot(s->slot, s->row.generation, &s->endpoint);
	}
	bpf_loop(s->row.count < SCAN_LIMIT ? s->row.count : SCAN_LIMIT, scan_slot, s, 0);
	return s->endpoint.generation == s->row.generation;
}

static __always_inline int select_endpoint(struct selection *s)
{
	int i, found;

	for (i = 0; i < READER_TRIES; i++) {
		found = find_row(&s->key, &s->row);
		if (found == ROW_ABSENT)
			return NO_SERVICE;
		if (found == ROW_FOUND) {
			if (s->row.count == 0)
				return s->row.flags & FRONTEND_DROP_WHEN_EMPTY ? DROP : REJECT;
			if (keep_endpoint(s))
				return TRANSLATE;
			s->slot = s->row.base + (__u32)(((__u64)bpf_get_prandom_u32() * s->row.count) >> 32);
			if (read_slot(s->slot, s->row.generation, &s->endpoint))
				return TRANSLATE;
		}
		count(COUNT_RETRIED);
	}
	count(COUNT_GIVEN_UP);
	return GIVE_UP;
}

#endif
