/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* A packet's tuple, by helper calls only: headers may lie outside the linear part. */
#ifndef FAIRLEAD_BPF_PACKET_H
#define FAIRLEAD_BPF_PACKET_H

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>

#include "bpf/address.h"

/* RFC 792, RFC 4443. linux/icmp.h cannot be included: it brings the C library's sys/socket.h. */
enum {
	ICMP_DEST_UNREACH = 3,
	ICMP_TIME_EXCEEDED = 11,
	ICMP_PARAMETERPROB = 12,
	ICMP_PORT_UNREACH = 3,
	ICMP_FRAG_NEEDED = 4,
	ICMPV6_DEST_UNREACH = 1,
	ICMPV6_PKT_TOOBIG = 2,
	ICMPV6_PARAMPROB = 4,
	ICMPV6_PORT_UNREACH = 4,
};

enum {
	L3 = ETH_HLEN,
	NEXT = TC_ACT_UNSPEC, /* TCX_NEXT of tcx: other programs and the stack go on */
	EXTENSION_HEADERS = 4,
	IP_OFFSET_MASK = 0x1fff,
	IP_MORE_FRAGMENTS = 0x2000,
};

enum {
	FRAGMENT_NONE,
	FRAGMENT_FIRST, /* has the ports */
	FRAGMENT_LATER,
};

struct packet {
	struct flow_key key;
	__u32 l4;  /* offset of the transport header */
	__be32 id; /* of the datagram, when it comes in fragments */
	__u8 fragment;
	__u8 v4;
	__u8 ttl;
	__u8 syn; /* SYN without ACK */
	__u8 tcp; /* FLOW_SAW_* */
};

enum parsed {
	PARSED_OTHER,
	PARSED_FLOW,
	PARSED_ICMP_ERROR,
	PARSED_LATER_FRAGMENT,
};

static __always_inline struct addr16 from_v6(const struct in6_addr *v6)
{
	struct addr16 addr;

	__builtin_memcpy(&addr, v6, sizeof(addr));
	return addr;
}

static __always_inline void note_fragment(struct packet *p, __be32 id, int offset, int more)
{
	p->id = id;
	p->fragment = offset ? FRAGMENT_LATER : more ? FRAGMENT_FIRST : FRAGMENT_NONE;
}

/* Finds the transport header behind extension headers; 0: there is none to be seen. */
static __always_inline int skip_extensions(struct __sk_buff *skb, struct packet *p)
{
	__u8 *proto = &p->key.proto;
	__u8 header[8];
	__be32 id;
	int i;

	p->l4 = L3 + sizeof(struct ipv6hdr);
	for (i = 0; i < EXTENSION_HEADERS; i++) {
		if (*proto != IPPROTO_HOPOPTS && *proto != IPPROTO_ROUTING && *proto != IPPROTO_DSTOPTS &&
		    *proto != IPPROTO_FRAGMENT)
			return 1;
		if (bpf_skb_load_bytes(skb, p->l4, header, sizeof(header)))
			return 0;
		if (*proto == IPPROTO_FRAGMENT) {
			__builtin_memcpy(&id, header + 4, sizeof(id));
			note_fragment(p, id, header[2] | (header[3] & 0xf8), header[3] & 1);
			*proto = header[0];
			if (p->fragment == FRAGMENT_LATER)
				return 1;
			p->l4 += 8;
			continue;
		}
		p->l4 += (header[1] + 1) * 8;
		*proto = header[0];
	}
	return 0;
}

static __always_inline int parse_network(struct __sk_buff *skb, struct packet *p)
{
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr ip;

		if (bpf_skb_load_bytes(skb, L3, &ip, sizeof(ip)) || ip.ihl < 5)
			return 0;
		note_fragment(p, ip.id, ip.frag_off & bpf_htons(IP_OFFSET_MASK),
			      ip.frag_off & bpf_htons(IP_MORE_FRAGMENTS));
		p->v4 = 1;
		p->ttl = ip.ttl;
		p->l4 = L3 + ip.ihl * 4;
		p->key.proto = ip.protocol;
		p->key.src = from_v4(ip.saddr);
		p->key.dst = from_v4(ip.daddr);
		return 1;
	}
	if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr ip;

		if (bpf_skb_load_bytes(skb, L3, &ip, sizeof(ip)))
			return 0;
		p->ttl = ip.hop_limit;
		p->key.proto = ip.nexthdr;
		p->key.src = from_v6(&ip.saddr);
		p->key.dst = from_v6(&ip.daddr);
		return skip_extensions(skb, p);
	}
	return 0;
}

static __always_inline int parse(struct __sk_buff *skb, struct packet *p)
{
	__u8 header[14];

	__builtin_memset(p, 0, sizeof(*p));
	if (!parse_network(skb, p))
		return PARSED_OTHER;
	if (p->fragment == FRAGMENT_LATER)
		return PARSED_LATER_FRAGMENT;
	switch (p->key.proto) {
	case IPPROTO_TCP:
		if (bpf_skb_load_bytes(skb, p->l4, header, 14))
			return PARSED_OTHER;
		p->syn = (header[13] & 0x12) == 0x02;
		p->tcp = (header[13] & 0x01 ? FLOW_SAW_FIN : 0) | (header[13] & 0x04 ? FLOW_SAW_RST : 0);
		break;
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
		if (bpf_skb_load_bytes(skb, p->l4, header, 4))
			return PARSED_OTHER;
		break;
	case IPPROTO_ICMP:
		if (!p->v4 || bpf_skb_load_bytes(skb, p->l4, header, 1))
			return PARSED_OTHER;
		return header[0] == ICMP_DEST_UNREACH || header[0] == ICMP_TIME_EXCEEDED ||
				       header[0] == ICMP_PARAMETERPROB
			       ? PARSED_ICMP_ERROR
			       : PARSED_OTHER;
	case IPPROTO_ICMPV6:
		if (p->v4 || bpf_skb_load_bytes(skb, p->l4, header, 1))
			return PARSED_OTHER;
		return header[0] >= ICMPV6_DEST_UNREACH && header[0] <= ICMPV6_PARAMPROB ? PARSED_ICMP_ERROR
											 : PARSED_OTHER;
	default:
		return PARSED_OTHER;
	}
	__builtin_memcpy(&p->key.sport, header, 2);
	__builtin_memcpy(&p->key.dport, header + 2, 2);
	return PARSED_FLOW;
}

#endif
