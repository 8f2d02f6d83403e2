/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Connection tracking: two rows per flow, each enough to make the other one again. */
#ifndef FAIRLEAD_BPF_FLOW_H
#define FAIRLEAD_BPF_FLOW_H

#include "bpf/map_defs.h"
#include "bpf/packet.h"
#include "bpf/service.h"

enum {
	PORT_TRIES = 16,
	FIRST_PORT = 1024,
	IDLE_SYN = 60,	     /* a SYN on a flow as quiet as this begins another one: its client has forgotten the old */
	IDLE_DATAGRAM = 120, /* nf_conntrack_udp_timeout_stream has the same */
	TCP_LISTEN_STATE = 10,
};

static __always_inline int idle(const struct flow *row, __u32 limit)
{
	return (__s32)(now_seconds() - row->seen) > (__s32)limit;
}

static __always_inline void make_row(struct flow *row, const struct flow_key *other, __u8 kind)
{
	__builtin_memset(row, 0, sizeof(*row));
	row->other = *other;
	row->seen = now_seconds();
	row->kind = kind;
}

static __always_inline int same_key(const struct flow_key *a, const struct flow_key *b)
{
	return same_addr(&a->src, &b->src) && same_addr(&a->dst, &b->dst) && a->sport == b->sport &&
	       a->dport == b->dport && a->proto == b->proto;
}

/* 1: a packet that may begin a flow (SYN, any datagram) finds the flow of `row` over; `key` is the key of the row. A
 * SYN sent again does not. A row whose partner has been taken by another flow counts as over.
 */
static __always_inline int is_over(const struct packet *p, const struct flow_key *key, const struct flow *row)
{
	struct flow *other = bpf_map_lookup_elem(&flows, &row->other);

	if (other && !same_key(&other->other, key))
		return 1;
	if (p->key.proto != IPPROTO_TCP)
		return idle(row, IDLE_DATAGRAM) && (!other || idle(other, IDLE_DATAGRAM));
	if (idle(row, IDLE_SYN) || row->tcp & FLOW_SAW_RST)
		return 1;
	return other && (other->tcp & FLOW_SAW_RST || (other->tcp & row->tcp & FLOW_SAW_FIN));
}

/* Both rows, the second only if it is still of this flow. */
static __always_inline void forget_flow(const struct flow_key *key, const struct flow *row, struct flow_key *scratch)
{
	struct flow *other;

	*scratch = row->other;
	other = bpf_map_lookup_elem(&flows, scratch);
	if (other && same_key(&other->other, key))
		bpf_map_delete_elem(&flows, scratch);
	bpf_map_delete_elem(&flows, key);
}

/* Once a second and flow: the stamp, and the other row if it was evicted. */
static __always_inline void touch(const struct packet *p, struct flow *row)
{
	__u32 now = now_seconds();
	struct flow lost;

	if (p->tcp & ~row->tcp)
		row->tcp |= p->tcp;
	if (row->seen == now)
		return;
	row->seen = now;
	if (bpf_map_lookup_elem(&flows, &row->other))
		return;
	make_row(&lost, &p->key, row->kind == FLOW_FORWARD ? FLOW_REVERSE : FLOW_FORWARD);
	if (bpf_map_update_elem(&flows, &row->other, &lost, BPF_NOEXIST) == 0)
		count(COUNT_FLOW_RESTORED);
}

/* 1: a socket of the node itself holds the connection that `reply` would belong to. */
static __always_inline int host_uses(struct __sk_buff *skb, const struct packet *p, const struct flow_key *reply)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *sk;
	__u32 size;
	int used;

	if (p->v4) {
		tuple.ipv4.saddr = reply->src.words[3];
		tuple.ipv4.daddr = reply->dst.words[3];
		tuple.ipv4.sport = reply->sport;
		tuple.ipv4.dport = reply->dport;
		size = sizeof(tuple.ipv4);
	} else {
		__builtin_memcpy(tuple.ipv6.saddr, &reply->src, sizeof(reply->src));
		__builtin_memcpy(tuple.ipv6.daddr, &reply->dst, sizeof(reply->dst));
		tuple.ipv6.sport = reply->sport;
		tuple.ipv6.dport = reply->dport;
		size = sizeof(tuple.ipv6);
	}
	if (p->key.proto == IPPROTO_TCP)
		sk = bpf_sk_lookup_tcp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	else if (p->key.proto == IPPROTO_UDP)
		sk = bpf_sk_lookup_udp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	else
		return 0;
	if (!sk)
		return 0;
	used = p->key.proto == IPPROTO_UDP || sk->state != TCP_LISTEN_STATE;
	bpf_sk_release(sk);
	return used;
}

/* Takes the tuple of the reply, which must be nobody else's: two clients masqueraded to one port, or one client that
 * reaches an endpoint through two services. Another source port is tried until one is free. 0: taken.
 */
static __always_inline int claim_reply(struct __sk_buff *skb, const struct packet *p, struct flow *row,
				       struct flow_key *reply, int masquerade)
{
	struct flow *holder;
	int i;

	make_row(row, &p->key, FLOW_REVERSE);
	for (i = 0; i < PORT_TRIES; i++) {
		if (!masquerade || !host_uses(skb, p, reply)) {
			if (bpf_map_update_elem(&flows, reply, row, BPF_NOEXIST) == 0)
				return 0;
			holder = bpf_map_lookup_elem(&flows, reply);
			/* Our own half of an evicted flow, or the remains of another that is over. */
			if (holder && holder->kind == FLOW_REVERSE &&
			    (same_key(&holder->other, &p->key) || is_over(p, reply, holder)) &&
			    bpf_map_update_elem(&flows, reply, row, BPF_ANY) == 0)
				return 0;
		}
		reply->dport = bpf_htons((__u16)(FIRST_PORT + bpf_get_prandom_u32() % (65536 - FIRST_PORT)));
	}
	count(COUNT_FLOW_NO_PORT);
	return -1;
}

/* The node's address of the packet's family, zero when it has none. */
static __always_inline void masquerade_address(const struct packet *p, struct addr16 *out)
{
	__u32 zero = 0;
	const struct node_config *config = bpf_map_lookup_elem(&node_config, &zero);

	if (!config)
		__builtin_memset(out, 0, sizeof(*out));
	else if (p->v4)
		*out = config->masquerade_v4;
	else
		*out = config->masquerade_v6;
}

/* Both rows of a new flow to `s`, marked with `flags`; `row` is room to make them in, `reply` becomes the key of the
 * second. A packet of the same flow on another CPU may have been faster: then its choice holds. Negative: no room.
 */
static __always_inline int begin_flow(struct __sk_buff *skb, const struct packet *p, const struct selection *s,
				      int masquerade, struct flow *row, struct flow_key *reply)
{
	struct flow *first;

	reply->src = s->endpoint.addr;
	reply->sport = s->endpoint.port;
	reply->dst = p->key.src;
	reply->dport = p->key.sport;
	reply->proto = p->key.proto;
	reply->pad[0] = reply->pad[1] = reply->pad[2] = 0;
	if (masquerade) {
		masquerade_address(p, &reply->dst);
		if (is_zero_addr(&reply->dst)) {
			reply->dst = p->key.src;
			masquerade = 0;
		}
	}
	if (claim_reply(skb, p, row, reply, masquerade))
		return -1;
	make_row(row, reply, FLOW_FORWARD);
	row->flags = s->peer_lost ? FLOW_OF_SOCKET : 0;
	if (bpf_map_update_elem(&flows, &p->key, row, BPF_NOEXIST) == 0) {
		count(COUNT_FLOW_CREATED);
		return 0;
	}
	first = bpf_map_lookup_elem(&flows, &p->key);
	if (!first)
		return -1;
	if (!same_key(&first->other, reply))
		bpf_map_delete_elem(&flows, reply);
	*reply = first->other;
	return 0;
}

#endif
