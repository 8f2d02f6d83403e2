/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* ICMP errors about translated packets: the quoted packet is shown to the receiver as it was when he sent it.
 *
 * The quoted packet left us as the reverse of some row's key; it came to us with the tuple `other` of that row.
 */
#ifndef FAIRLEAD_BPF_ICMP_H
#define FAIRLEAD_BPF_ICMP_H

#include "bpf/flow.h"
#include "bpf/rewrite.h"

enum {
	ICMP_SIZE = 8
};

struct quote {
	struct flow_key key; /* of the row: the quoted tuple, reversed */
	struct port_pair ports;
	__u32 l3;
	__u32 l4;
};

static __always_inline int parse_quote(struct __sk_buff *skb, const struct packet *p, struct quote *q)
{
	__builtin_memset(q, 0, sizeof(*q));
	q->l3 = p->l4 + ICMP_SIZE;
	if (p->v4) {
		struct iphdr ip;

		if (bpf_skb_load_bytes(skb, q->l3, &ip, sizeof(ip)) || ip.ihl < 5 ||
		    ip.frag_off & bpf_htons(IP_OFFSET_MASK))
			return 0;
		q->key.src = from_v4(ip.daddr);
		q->key.dst = from_v4(ip.saddr);
		q->key.proto = ip.protocol;
		q->l4 = q->l3 + ip.ihl * 4;
	} else {
		struct ipv6hdr ip;

		if (bpf_skb_load_bytes(skb, q->l3, &ip, sizeof(ip)))
			return 0;
		q->key.src = from_v6(&ip.daddr);
		q->key.dst = from_v6(&ip.saddr);
		q->key.proto = ip.nexthdr;
		q->l4 = q->l3 + sizeof(ip);
	}
	if (q->key.proto != IPPROTO_TCP && q->key.proto != IPPROTO_UDP && q->key.proto != IPPROTO_SCTP)
		return 0;
	if (bpf_skb_load_bytes(skb, q->l4, &q->ports, sizeof(q->ports)))
		return 0;
	q->key.sport = q->ports.dport;
	q->key.dport = q->ports.sport;
	return 1;
}

/* The quoted addresses and ports. A changed IPv4 header stays neutral to the ICMP checksum, because its own checksum
 * makes up for the addresses. The quoted transport checksum is left: nobody can verify it on a cut packet.
 */
static __always_inline int rewrite_quote(struct __sk_buff *skb, const struct packet *p, const struct quote *q,
					 const struct flow_key *other)
{
	struct address_pair from = {q->key.dst, q->key.src}, to = {other->src, other->dst};
	struct port_pair ports = {other->sport, other->dport};
	__s64 diff;

	if (p->v4) {
		__be32 old[2] = {from.src.words[3], from.dst.words[3]}, new[2] = {to.src.words[3], to.dst.words[3]};

		diff = bpf_csum_diff(old, sizeof(old), new, sizeof(new), 0);
		if (bpf_l3_csum_replace(skb, q->l3 + 10, 0, diff, 0) ||
		    bpf_skb_store_bytes(skb, q->l3 + 12, new, sizeof(new), 0))
			return -1;
	} else {
		diff = bpf_csum_diff((__be32 *)&from, sizeof(from), (__be32 *)&to, sizeof(to), 0);
		if (bpf_l4_csum_replace(skb, p->l4 + 2, 0, diff, 0) ||
		    bpf_skb_store_bytes(skb, q->l3 + 8, &to, sizeof(to), 0))
			return -1;
	}
	diff = bpf_csum_diff((__be32 *)&q->ports, sizeof(ports), (__be32 *)&ports, sizeof(ports), 0);
	if (bpf_l4_csum_replace(skb, p->l4 + 2, 0, diff, 0))
		return -1;
	return bpf_skb_store_bytes(skb, q->l4, &ports, sizeof(ports), 0);
}

static __noinline int translate_icmp_error(struct __sk_buff *skb, struct packet *p, struct bpf_fib_lookup *fib,
					   int egress)
{
	struct flow_key other;
	struct addr16 src;
	struct quote q;
	struct flow *row;
	int route;

	if (!parse_quote(skb, p, &q))
		return NEXT;
	row = bpf_map_lookup_elem(&flows, &q.key);
	if (!row)
		return NEXT;
	other = row->other;
	/* The endpoint itself complains as the service; a router on the way as himself. */
	src = same_addr(&p->key.src, &q.key.src) ? other.dst : p->key.src;
	count(COUNT_ICMP_TRANSLATED);
	if (rewrite_quote(skb, p, &q, &other) || set_addresses(skb, p, &src, &other.src))
		return TC_ACT_SHOT;
	if (egress)
		return NEXT;
	route = find_route(skb, p, &src, &other.src, fib);
	if (!has_way_out(route))
		return NEXT;
	if (p->ttl <= 1 || decrement_ttl(skb, p))
		return TC_ACT_SHOT;
	return send_out(fib, 0);
}

#endif
