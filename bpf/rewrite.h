/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Changes of addresses and ports with their checksums, and the way out of the node.
 *
 * Only relative checksum helpers are used: with CHECKSUM_PARTIAL (a veth, a GSO packet) the field holds the pseudo
 * header alone, and they know it.
 */
#ifndef FAIRLEAD_BPF_REWRITE_H
#define FAIRLEAD_BPF_REWRITE_H

#include "bpf/crc32c.h"
#include "bpf/map_defs.h"
#include "bpf/packet.h"

enum {
	V4_CHECKSUM = L3 + 10,
	V4_TTL = L3 + 8,
	V4_ADDRESSES = L3 + 12,
	V4_LENGTH = L3 + 2,
	V6_LENGTH = L3 + 4,
	V6_HOP_LIMIT = L3 + 7,
	V6_ADDRESSES = L3 + 8,
	SCTP_CHECKSUM = 8,
};

struct address_pair {
	struct addr16 src;
	struct addr16 dst;
};

struct port_pair {
	__be16 sport;
	__be16 dport;
};

/* What a packet with the tuple of a row becomes: the reverse of the other row's key. */
static __always_inline void reverse(const struct flow_key *key, struct flow_key *out)
{
	out->src = key->dst;
	out->dst = key->src;
	out->sport = key->dport;
	out->dport = key->sport;
	out->proto = key->proto;
	out->pad[0] = out->pad[1] = out->pad[2] = 0;
}

/* Offset of the checksum in the transport header and the flags for its helper; 0: there is nothing to correct here.
 * SCTP's CRC covers no address; for its ports see correct_sctp().
 */
static __always_inline __u32 l4_checksum(__u8 proto, __u64 *flags)
{
	*flags = 0;
	switch (proto) {
	case IPPROTO_TCP:
		return 16;
	case IPPROTO_UDP:
		*flags = BPF_F_MARK_MANGLED_0; /* a zero stays: the sender wants none */
		return 6;
	case IPPROTO_ICMPV6:
		return 2;
	default:
		return 0;
	}
}

/* Outer addresses, and the pseudo header of the transport behind them. */
static __always_inline int set_addresses(struct __sk_buff *skb, const struct packet *p, const struct addr16 *src,
					 const struct addr16 *dst)
{
	struct address_pair from = {p->key.src, p->key.dst}, to = {*src, *dst};
	__u64 flags;
	__u32 offset = l4_checksum(p->key.proto, &flags);
	__s64 diff;

	if (p->v4) {
		__be32 old[2] = {from.src.words[3], from.dst.words[3]}, new[2] = {to.src.words[3], to.dst.words[3]};

		diff = bpf_csum_diff(old, sizeof(old), new, sizeof(new), 0);
		if (offset && bpf_l4_csum_replace(skb, p->l4 + offset, 0, diff, flags | BPF_F_PSEUDO_HDR))
			return -1;
		if (bpf_l3_csum_replace(skb, V4_CHECKSUM, 0, diff, 0))
			return -1;
		return bpf_skb_store_bytes(skb, V4_ADDRESSES, new, sizeof(new), 0);
	}
	diff = bpf_csum_diff((__be32 *)&from, sizeof(from), (__be32 *)&to, sizeof(to), 0);
	if (offset && bpf_l4_csum_replace(skb, p->l4 + offset, 0, diff, flags | BPF_F_PSEUDO_HDR))
		return -1;
	return bpf_skb_store_bytes(skb, V6_ADDRESSES, &to, sizeof(to), 0);
}

/* Bytes from the transport header to the packet's end by the network header: frames are padded. 0: it does not say. */
static __always_inline __u32 transport_length(struct __sk_buff *skb, const struct packet *p)
{
	__be16 length;

	if (bpf_skb_load_bytes(skb, p->v4 ? V4_LENGTH : V6_LENGTH, &length, sizeof(length)) || !length)
		return 0;
	return bpf_ntohs(length) + (p->v4 ? L3 : L3 + sizeof(struct ipv6hdr)) - p->l4;
}

/* A sender that leaves the CRC to its device, as on every veth, puts zero there (linux v6.1 net/sctp/output.c). A
 * global function: the verifier walks the CRC's arithmetic once, not for every way that leads here.
 */
__noinline int correct_sctp(struct __sk_buff *skb, const struct packet *p, __u32 ports)
{
	struct port_pair from;
	__u32 crc, before, length;

	if (!p || bpf_skb_load_bytes(skb, p->l4 + SCTP_CHECKSUM, &crc, sizeof(crc)))
		return -1;
	if (!crc)
		return 0;
	length = transport_length(skb, p);
	if (p->fragment || length < SCTP_CHECKSUM + sizeof(crc))
		return -1;
	from.sport = p->key.sport;
	from.dport = p->key.dport;
	__builtin_memcpy(&before, &from, sizeof(before));
	crc ^= crc32c_difference(before ^ ports, length - sizeof(before));
	return bpf_skb_store_bytes(skb, p->l4 + SCTP_CHECKSUM, &crc, sizeof(crc), 0) ? -1 : 0;
}

static __always_inline int set_ports(struct __sk_buff *skb, const struct packet *p, __be16 sport, __be16 dport)
{
	struct port_pair to = {sport, dport};
	__u64 flags;
	__u32 offset = l4_checksum(p->key.proto, &flags);

	if (offset && sport != p->key.sport && bpf_l4_csum_replace(skb, p->l4 + offset, p->key.sport, sport, flags | 2))
		return -1;
	if (offset && dport != p->key.dport && bpf_l4_csum_replace(skb, p->l4 + offset, p->key.dport, dport, flags | 2))
		return -1;
	if (p->key.proto == IPPROTO_SCTP) {
		__u32 ports;

		__builtin_memcpy(&ports, &to, sizeof(ports));
		if (correct_sctp(skb, p, ports))
			return -1;
	}
	return bpf_skb_store_bytes(skb, p->l4, &to, sizeof(to), 0);
}

static __always_inline int rewrite(struct __sk_buff *skb, const struct packet *p, const struct flow_key *to)
{
	if (set_addresses(skb, p, &to->src, &to->dst))
		return -1;
	if (to->sport == p->key.sport && to->dport == p->key.dport)
		return 0;
	return set_ports(skb, p, to->sport, to->dport);
}

static __always_inline int set_ttl(struct __sk_buff *skb, const struct packet *p, __u8 ttl)
{
	if (p->v4) {
		__be16 old = bpf_htons(p->ttl << 8), new = bpf_htons(ttl << 8);

		if (bpf_l3_csum_replace(skb, V4_CHECKSUM, old, new, 2))
			return -1;
		return bpf_skb_store_bytes(skb, V4_TTL, &ttl, 1, 0);
	}
	return bpf_skb_store_bytes(skb, V6_HOP_LIMIT, &ttl, 1, 0);
}

static __always_inline int decrement_ttl(struct __sk_buff *skb, const struct packet *p)
{
	return set_ttl(skb, p, p->ttl - 1);
}

/* The route a packet of these addresses takes when it is forwarded: BPF_FIB_LKUP_RET_*, negative on failure. */
static __always_inline int find_route(struct __sk_buff *skb, const struct packet *p, const struct addr16 *src,
				      const struct addr16 *dst, struct bpf_fib_lookup *fib)
{
	__builtin_memset(fib, 0, sizeof(*fib));
	fib->ifindex = skb->ifindex;
	if (p->v4) {
		fib->family = AF_INET;
		fib->ipv4_src = src->words[3];
		fib->ipv4_dst = dst->words[3];
	} else {
		fib->family = AF_INET6;
		__builtin_memcpy(fib->ipv6_src, src, sizeof(*src));
		__builtin_memcpy(fib->ipv6_dst, dst, sizeof(*dst));
	}
	return bpf_fib_lookup(skb, fib, sizeof(*fib), 0);
}

static __always_inline int has_way_out(int route)
{
	return route == BPF_FIB_LKUP_RET_SUCCESS || route == BPF_FIB_LKUP_RET_NO_NEIGH;
}

/* Past the stack: it would drop a packet from outside that carries the node's own source address. The neighbour is
 * resolved on the way when it is not known yet. A packet of the node's own has a route already, of the address it was
 * made for; while it waits for a neighbour that route would count (linux v6.1 net/core/neighbour.c neigh_update), so
 * the kernel has to look for another.
 */
static __always_inline int send_out(const struct bpf_fib_lookup *fib, int egress)
{
	struct bpf_redir_neigh next = {.nh_family = fib->family};

	if (egress)
		return bpf_redirect_neigh(fib->ifindex, 0, 0, 0);
	if (fib->family == AF_INET)
		next.ipv4_nh = fib->ipv4_dst;
	else
		__builtin_memcpy(next.ipv6_nh, fib->ipv6_dst, sizeof(next.ipv6_nh));
	return bpf_redirect_neigh(fib->ifindex, &next, sizeof(next), 0);
}

/* A rewritten packet for a socket of the node. Its source is now a service, which may be routed elsewhere than it came
 * from: it is shown to the stack on the interface the reverse path filter expects it on.
 */
static __always_inline int deliver(struct __sk_buff *skb, const struct packet *p, const struct flow_key *to,
				   struct bpf_fib_lookup *fib)
{
	if (find_route(skb, p, &to->dst, &to->src, fib) != BPF_FIB_LKUP_RET_SUCCESS || fib->ifindex == skb->ifindex)
		return NEXT;
	if (bpf_skb_store_bytes(skb, 0, fib->smac, ETH_ALEN, 0))
		return TC_ACT_SHOT;
	return bpf_redirect(fib->ifindex, BPF_F_INGRESS);
}

#endif
