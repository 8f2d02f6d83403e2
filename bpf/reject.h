/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The packet is turned into its own answer and sent back where it came from: RST, or an ICMP error. */
#ifndef FAIRLEAD_BPF_REJECT_H
#define FAIRLEAD_BPF_REJECT_H

#include "bpf/rewrite.h"

enum {
	ANSWER_TTL = 64,
	INNER_MAX = sizeof(struct ipv6hdr) + sizeof(struct tcphdr)
};

struct icmp_answer {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 rest; /* MTU, or zero */
};

static __always_inline __be16 fold(__s64 sum)
{
	__u32 value = (__u32)sum;

	value = (value & 0xffff) + (value >> 16);
	value = (value & 0xffff) + (value >> 16);
	return (__be16)~value;
}

/* At egress the sender is a socket of this node: the answer enters by the interface it would have left by. */
static __always_inline int send_back(struct __sk_buff *skb, int egress)
{
	__u8 macs[2 * ETH_ALEN], swapped[2 * ETH_ALEN];

	if (bpf_skb_load_bytes(skb, 0, macs, sizeof(macs)))
		return TC_ACT_SHOT;
	__builtin_memcpy(swapped, macs + ETH_ALEN, ETH_ALEN);
	__builtin_memcpy(swapped + ETH_ALEN, macs, ETH_ALEN);
	if (bpf_skb_store_bytes(skb, 0, swapped, sizeof(swapped), 0))
		return TC_ACT_SHOT;
	return bpf_redirect(skb->ifindex, egress ? BPF_F_INGRESS : 0);
}

/* The answer to a SYN keeps its options and its length, so that every checksum is a relative change. */
static __noinline int send_reset(struct __sk_buff *skb, struct packet *p, int egress)
{
	struct tcphdr old, new;
	struct flow_key to;
	__s64 diff;

	if (bpf_skb_load_bytes(skb, p->l4, &old, sizeof(old)))
		return TC_ACT_SHOT;
	new = old;
	new.source = old.dest;
	new.dest = old.source;
	new.seq = 0;
	new.ack_seq = bpf_htonl(bpf_ntohl(old.seq) + 1);
	((__u8 *)&new)[13] = 0x14; /* RST, ACK */
	new.window = 0;
	new.urg_ptr = 0;
	diff = bpf_csum_diff((__be32 *)&old, sizeof(old), (__be32 *)&new, sizeof(new), 0);
	if (bpf_l4_csum_replace(skb, p->l4 + 16, 0, diff, 0) || bpf_skb_store_bytes(skb, p->l4, &new, 16, 0) ||
	    bpf_skb_store_bytes(skb, p->l4 + 18, &new.urg_ptr, 2, 0))
		return TC_ACT_SHOT;
	reverse(&p->key, &to);
	if (set_addresses(skb, p, &to.src, &to.dst))
		return TC_ACT_SHOT;
	if (set_ttl(skb, p, ANSWER_TTL))
		return TC_ACT_SHOT;
	return send_back(skb, egress);
}

/* Quoted of the packet: its network header and, of TCP, the whole basic header, because the kernel does not cut a
 * packet in front of a checksum field it still has to fill.
 */
static __always_inline __u32 quoted(const struct packet *p)
{
	__u32 transport = p->key.proto == IPPROTO_TCP ? sizeof(struct tcphdr) : 8;

	return transport + (p->v4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));
}

static __always_inline int make_icmp4(struct __sk_buff *skb, const struct packet *p, const __u8 *inner, __u32 size,
				      struct icmp_answer icmp)
{
	struct {
		struct iphdr ip;
		struct icmp_answer icmp;
	} out = {
		.ip = {.version = 4, .ihl = 5, .ttl = ANSWER_TTL, .protocol = IPPROTO_ICMP},
		.icmp = icmp,
	};
	__s64 sum;

	out.ip.tot_len = bpf_htons((__u16)(sizeof(out) + size));
	out.ip.saddr = p->key.dst.words[3];
	out.ip.daddr = p->key.src.words[3];
	out.ip.check = fold(bpf_csum_diff(0, 0, (__be32 *)&out.ip, sizeof(out.ip), 0));
	sum = bpf_csum_diff(0, 0, (__be32 *)inner, size, 0);
	out.icmp.checksum = fold(bpf_csum_diff(0, 0, (__be32 *)&out.icmp, sizeof(out.icmp), (__u32)sum));
	if (bpf_skb_adjust_room(skb, sizeof(out), BPF_ADJ_ROOM_MAC, 0))
		return -1;
	return bpf_skb_store_bytes(skb, L3, &out, sizeof(out), 0);
}

static __always_inline int make_icmp6(struct __sk_buff *skb, const struct packet *p, const __u8 *inner, __u32 size,
				      struct icmp_answer icmp)
{
	struct {
		struct ipv6hdr ip;
		struct icmp_answer icmp;
	} out = {
		.ip = {.version = 6, .hop_limit = ANSWER_TTL, .nexthdr = IPPROTO_ICMPV6},
		.icmp = icmp,
	};
	__be32 pseudo[2] = {bpf_htonl(sizeof(out.icmp) + size), bpf_htonl(IPPROTO_ICMPV6)};
	__s64 sum;

	out.ip.payload_len = bpf_htons((__u16)(sizeof(out.icmp) + size));
	__builtin_memcpy(&out.ip.saddr, &p->key.dst, sizeof(out.ip.saddr));
	__builtin_memcpy(&out.ip.daddr, &p->key.src, sizeof(out.ip.daddr));
	sum = bpf_csum_diff(0, 0, (__be32 *)inner, size, 0);
	sum = bpf_csum_diff(0, 0, pseudo, sizeof(pseudo), (__u32)sum);
	sum = bpf_csum_diff(0, 0, (__be32 *)&out.ip.saddr, 32, (__u32)sum);
	out.icmp.checksum = fold(bpf_csum_diff(0, 0, (__be32 *)&out.icmp, sizeof(out.icmp), (__u32)sum));
	if (bpf_skb_adjust_room(skb, sizeof(out), BPF_ADJ_ROOM_MAC, 0))
		return -1;
	return bpf_skb_store_bytes(skb, L3, &out, sizeof(out), 0);
}

/* Packets with IP options or extension headers are dropped instead: what to quote would have no fixed length. */
static __noinline int send_icmp(struct __sk_buff *skb, struct packet *p, int egress, __u32 mtu)
{
	__u8 inner[INNER_MAX] = {};
	struct icmp_answer icmp = {};
	__u32 size = quoted(p);
	int failed;

	if (p->l4 != L3 + (p->v4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr)))
		return TC_ACT_SHOT;
	if (bpf_skb_change_tail(skb, L3 + size, 0) || bpf_skb_load_bytes(skb, L3, inner, size))
		return TC_ACT_SHOT;
	icmp.rest = bpf_htonl(mtu);
	if (p->v4) {
		icmp.type = ICMP_DEST_UNREACH;
		icmp.code = mtu ? ICMP_FRAG_NEEDED : ICMP_PORT_UNREACH;
		failed = make_icmp4(skb, p, inner, size, icmp);
	} else {
		icmp.type = mtu ? ICMPV6_PKT_TOOBIG : ICMPV6_DEST_UNREACH;
		icmp.code = mtu ? 0 : ICMPV6_PORT_UNREACH;
		failed = make_icmp6(skb, p, inner, size, icmp);
	}
	return failed ? TC_ACT_SHOT : send_back(skb, egress);
}

#endif
