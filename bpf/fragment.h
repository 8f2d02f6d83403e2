/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Later fragments follow the first one, if they come after it; a receiver would wait for the first anyway. */
#ifndef FAIRLEAD_BPF_FRAGMENT_H
#define FAIRLEAD_BPF_FRAGMENT_H

#include "bpf/flow.h"
#include "bpf/packet.h"

enum {
	FRAGMENT_SECONDS = 30 /* net.ipv4.ipfrag_time */
};

static __always_inline void fragment_key(const struct packet *p, struct fragment_key *key)
{
	__builtin_memset(key, 0, sizeof(*key));
	key->src = p->key.src;
	key->dst = p->key.dst;
	key->id = p->id;
	key->proto = p->key.proto;
}

static __noinline void remember_fragment(const struct packet *p, const struct flow_key *to, int kind)
{
	struct fragment_key key;
	struct fragment row;

	fragment_key(p, &key);
	__builtin_memset(&row, 0, sizeof(row));
	row.src = to->src;
	row.dst = to->dst;
	row.seen = now_seconds();
	row.kind = kind;
	bpf_map_update_elem(&fragments, &key, &row, BPF_ANY);
}

/* A first fragment that is not translated: an older datagram may have had the same id. */
static __noinline void forget_fragment(const struct packet *p)
{
	struct fragment_key key;

	fragment_key(p, &key);
	bpf_map_delete_elem(&fragments, &key);
}

/* The kind of flow the datagram belongs to, and where the fragment goes; 0: none. */
static __noinline int recall_fragment(struct packet *p, struct flow_key *to)
{
	struct fragment_key key;
	struct fragment *row;

	fragment_key(p, &key);
	row = bpf_map_lookup_elem(&fragments, &key);
	if (!row || (__s32)(now_seconds() - row->seen) > FRAGMENT_SECONDS)
		return 0;
	__builtin_memset(to, 0, sizeof(*to));
	to->src = row->src;
	to->dst = row->dst;
	p->key.proto = 0; /* no transport header here: neither ports nor a checksum */
	return row->kind;
}

#endif
