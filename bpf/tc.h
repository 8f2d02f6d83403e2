/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Per-packet load balancing: whatever did not go through the socket hooks.
 *
 * Ingress of every interface sees clients and replies; egress sees the node's own processes that bypassed the socket
 * hooks, and replies of endpoints in the node's network namespace. proxy/dataplane/ebpf/layout.md has the paths.
 */
#ifndef FAIRLEAD_BPF_TC_H
#define FAIRLEAD_BPF_TC_H

#include "bpf/flow.h"
#include "bpf/fragment.h"
#include "bpf/icmp.h"
#include "bpf/reject.h"
#include "bpf/rewrite.h"
#include "bpf/service.h"

/* tc_index of a packet of the node's own that went through us and was redirected: it meets the egress of another
 * interface next. Nobody but the dsmark qdisc, gone since Linux 6.3, used the field.
 */
enum {
	SEEN_AT_EGRESS = 0xfa1e
};

/* What does not fit on the stack. Both hooks run with bottom halves off, one at a time on a CPU. */
struct workspace {
	struct packet packet;
	struct flow_key other; /* key of the row for the opposite direction */
	struct flow_key to;
	struct flow row;
	struct bpf_fib_lookup fib;
	struct selection selection;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct workspace);
} workspaces SEC(".maps");

/* Pods first: an address of the node may lie in their network. */
static __always_inline int origin_of(struct __sk_buff *skb, const struct addr16 *source, int egress)
{
	struct network_key key = {.prefixlen = 128, .addr = *source};
	__u32 ifindex = skb->ifindex;
	const __u32 *network;

	if (egress)
		return ORIGIN_NODE;
	if (bpf_map_lookup_elem(&pod_interfaces, &ifindex))
		return ORIGIN_POD;
	network = bpf_map_lookup_elem(&networks, &key);
	if (network && *network & NETWORK_PODS)
		return ORIGIN_POD;
	return bpf_map_lookup_elem(&node_addresses, source) ? ORIGIN_NODE : ORIGIN_STRANGER;
}

static __always_inline int select_for_packet(struct __sk_buff *skb, const struct packet *p, struct selection *s,
					     int egress)
{
	int verdict = select_endpoint(s);

	if (verdict != ASK_CLIENT)
		return verdict;
	s->origin = origin_of(skb, &p->key.src, egress);
	s->source = s->client = p->key.src;
	s->client_kind = CLIENT_ADDRESS;
	return select_endpoint(s);
}

/* A datagram to an endpoint itself, from a socket that was connected to a service. When the service has lost the
 * endpoint this is a flow to another one, which answers in the name of the lost one: the socket goes on as before.
 * The socket is known until the stack of the next namespace takes the packet (linux v6.1 net/ipv4/ip_input.c
 * ip_rcv_core), so also to the program on the other end of a pod's veth.
 */
static __always_inline int follow_peer(struct __sk_buff *skb, const struct packet *p, struct selection *s, int egress)
{
	struct bpf_sock *sk = skb->sk;
	struct sock_peer *peer;
	int verdict;

	if (!sk)
		return NO_SERVICE;
	sk = bpf_sk_fullsock(sk);
	if (!sk)
		return NO_SERVICE;
	peer = bpf_sk_storage_get(&sock_peers, sk, 0, 0);
	if (!peer || peer->frontend_port == 0 || peer->endpoint_port != p->key.dport ||
	    !same_addr(&peer->endpoint, &p->key.dst))
		return NO_SERVICE;
	s->sticky = *peer;
	s->key.addr = peer->frontend;
	s->key.port = peer->frontend_port;
	s->own_loopback = egress && is_loopback(&peer->frontend);
	verdict = select_for_packet(skb, p, s, egress);
	if (verdict == NO_SERVICE)
		return REJECT;
	if (verdict != TRANSLATE)
		return verdict;
	if (s->endpoint.port == p->key.dport && same_addr(&s->endpoint.addr, &p->key.dst)) {
		peer->slot = s->slot;
		peer->generation = s->extent.generation;
		return NO_SERVICE;
	}
	count(COUNT_UDP_MOVED);
	s->flags = 0; /* as at the socket hooks: nothing is masqueraded */
	s->peer_lost = 1;
	return TRANSLATE;
}

/* No service. Yet the reply would have the tuple of a flow we translate, when a client that reached an endpoint through
 * a service now comes to it directly from the same port, or a process of the node has the port of a masqueraded
 * client. Then this is a flow with another source port, so that replies can be told apart.
 */
static __always_inline int avoid_clash(struct workspace *w, struct selection *s)
{
	struct packet *p = &w->packet;
	struct flow *holder;

	reverse(&p->key, &w->to);
	holder = bpf_map_lookup_elem(&flows, &w->to);
	if (!holder || holder->kind != FLOW_REVERSE)
		return NO_SERVICE;
	if (is_over(p, &w->to, holder)) {
		forget_flow(&w->to, holder, &w->other);
		return NO_SERVICE;
	}
	s->flags = 0;
	s->endpoint.addr = p->key.dst;
	s->endpoint.port = p->key.dport;
	return TRANSLATE;
}

/* docs/adr/0007: where ClusterIPs come from, an address without a service is nobody's. */
static __always_inline int drop_unallocated(const struct packet *p)
{
	struct network_key key = {.prefixlen = 128, .addr = p->key.dst};
	const __u32 *network = bpf_map_lookup_elem(&networks, &key);

	if (!network || !(*network & NETWORK_SERVICES) || bpf_map_lookup_elem(&node_addresses, &p->key.dst))
		return NO_SERVICE;
	return UNALLOCATED;
}

/* TRANSLATE: w->selection has the endpoint. Each step is a function of its own for the sake of the stack. */
static __noinline int choose(struct __sk_buff *skb, struct workspace *w, int egress)
{
	const struct packet *p = &w->packet;
	struct selection *s = &w->selection;
	int verdict;

	/* A TCP packet in mid-flow without a flow belongs to somebody else: a socket of the node, or connection
	 * tracking that was there before us.
	 */
	if (p->key.proto == IPPROTO_TCP && !p->syn)
		return NO_SERVICE;
	__builtin_memset(s, 0, sizeof(*s));
	s->key.addr = p->key.dst;
	s->key.port = p->key.dport;
	s->key.proto = p->key.proto;
	verdict = select_for_packet(skb, p, s, egress);
	if (verdict == NO_SERVICE && p->key.proto == IPPROTO_UDP)
		verdict = follow_peer(skb, p, s, egress);
	if (verdict == NO_SERVICE)
		verdict = avoid_clash(w, s);
	return verdict == NO_SERVICE ? drop_unallocated(p) : verdict;
}

/* An endpoint in the node's own namespace must see the client: a packet from outside with the node's source address
 * would be a martian there.
 */
static __always_inline int is_masqueraded(struct __sk_buff *skb, const struct packet *p, const struct selection *s,
					  int egress)
{
	int wanted = s->flags & FRONTEND_MASQUERADE || same_addr(&s->endpoint.addr, &p->key.src);

	if (egress)
		return 0;
	if (!wanted && s->flags & FRONTEND_MASQUERADE_OFF_CLUSTER)
		wanted = origin_of(skb, &p->key.src, egress) != ORIGIN_POD;
	return wanted && !bpf_map_lookup_elem(&node_addresses, &s->endpoint.addr);
}

/* TRANSLATE: w->other is the key of the reply's row. */
static __noinline int open_flow(struct __sk_buff *skb, struct workspace *w, int egress)
{
	const struct packet *p = &w->packet;
	const struct selection *s = &w->selection;

	return begin_flow(skb, p, s, is_masqueraded(skb, p, s, egress), &w->row, &w->other) ? GIVE_UP : TRANSLATE;
}

static __always_inline int refuse_packet(struct __sk_buff *skb, struct packet *p, int egress, int verdict)
{
	if (verdict != REJECT) {
		count(verdict == DENIED	       ? COUNT_SOURCE_DENIED
		      : verdict == UNALLOCATED ? COUNT_UNALLOCATED
					       : COUNT_PACKET_DROPPED);
		return TC_ACT_SHOT;
	}
	count(COUNT_PACKET_REJECTED);
	if (p->key.proto == IPPROTO_TCP)
		return send_reset(skb, p, egress);
	return send_icmp(skb, p, egress, 0);
}

/* The packet becomes w->to and leaves. */
static __always_inline int translate(struct __sk_buff *skb, struct workspace *w, int egress, int kind)
{
	struct packet *p = &w->packet;
	int route;

	/* The reply of an endpoint on this node: already on its way to the client. */
	if (egress && kind == FLOW_REVERSE)
		return rewrite(skb, p, &w->to) ? TC_ACT_SHOT : NEXT;
	route = find_route(skb, p, &w->to.src, &w->to.dst, &w->fib);
	if (route == BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return send_icmp(skb, p, egress, w->fib.mtu_result);
	if (rewrite(skb, p, &w->to)) {
		count(COUNT_FAILED);
		return TC_ACT_SHOT;
	}
	if (!egress && kind == FLOW_REVERSE && route == BPF_FIB_LKUP_RET_NOT_FWDED)
		return deliver(skb, p, &w->to, &w->fib);
	/* To a socket of this node, or where forwarding is off: the stack decides. */
	if (!has_way_out(route))
		return NEXT;
	if (!egress && (p->ttl <= 1 || decrement_ttl(skb, p))) {
		count(COUNT_FAILED);
		return TC_ACT_SHOT;
	}
	if (egress)
		skb->tc_index = SEEN_AT_EGRESS;
	return send_out(&w->fib, egress);
}

static __always_inline int handle(struct __sk_buff *skb, int egress)
{
	int kind = FLOW_FORWARD, verdict;
	struct workspace *w;
	struct packet *p;
	struct flow *row;
	__u32 zero = 0;

	w = bpf_map_lookup_elem(&workspaces, &zero);
	if (!w)
		return NEXT;
	p = &w->packet;
	switch (parse(skb, p)) {
	case PARSED_FLOW:
		break;
	case PARSED_ICMP_ERROR:
		return translate_icmp_error(skb, p, &w->fib, egress);
	case PARSED_LATER_FRAGMENT:
		kind = recall_fragment(p, &w->to);
		return kind ? translate(skb, w, egress, kind) : NEXT;
	default:
		return NEXT;
	}
	row = bpf_map_lookup_elem(&flows, &p->key);
	if (row && row->kind == FLOW_FORWARD && (p->syn || p->key.proto != IPPROTO_TCP) && is_over(p, &p->key, row)) {
		forget_flow(&p->key, row, &w->other);
		row = 0;
	}
	if (row) {
		kind = row->kind;
		w->other = row->other;
		touch(p, row);
	} else {
		verdict = choose(skb, w, egress);
		if (verdict == TRANSLATE)
			verdict = open_flow(skb, w, egress);
		if (verdict == NO_SERVICE && p->fragment)
			forget_fragment(p);
		if (verdict == NO_SERVICE)
			return NEXT;
		if (verdict != TRANSLATE)
			return refuse_packet(skb, p, egress, verdict);
	}
	count(kind == FLOW_FORWARD ? COUNT_PACKET_FORWARD : COUNT_PACKET_REVERSE);
	reverse(&w->other, &w->to);
	if (p->fragment)
		remember_fragment(p, &w->to, kind);
	return translate(skb, w, egress, kind);
}

SEC("tc")
int tc_ingress(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;

	/* A tagged frame is seen again on the VLAN's own interface. A bridge port also takes frames for the bridge's
	 * MAC and for its neighbours; anywhere else they are none of ours.
	 */
	if (skb->vlan_present)
		return NEXT;
	if (skb->pkt_type != PACKET_HOST &&
	    (skb->pkt_type != PACKET_OTHERHOST || !bpf_map_lookup_elem(&bridge_ports, &ifindex)))
		return NEXT;
	return handle(skb, 0);
}

SEC("tc")
int tc_egress(struct __sk_buff *skb)
{
	/* Forwarded and redirected packets have been seen on their way in. */
	if (skb->ingress_ifindex || skb->vlan_present || skb->tc_index == SEEN_AT_EGRESS)
		return NEXT;
	return handle(skb, 1);
}

#endif
