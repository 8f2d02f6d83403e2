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
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct workspace);
} workspaces SEC(".maps");

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
	s->row.flags = 0;
	s->endpoint.addr = p->key.dst;
	s->endpoint.port = p->key.dport;
	return TRANSLATE;
}

/* TRANSLATE: w->other is the key of the reply's row. A function of its own for the sake of the stack. */
static __noinline int new_flow(struct __sk_buff *skb, struct workspace *w, int egress)
{
	const struct packet *p = &w->packet;
	struct selection s = {};
	int verdict, masquerade;

	/* A TCP packet in mid-flow without a flow belongs to somebody else: a socket of the node, or connection
	 * tracking that was there before us.
	 */
	if (p->key.proto == IPPROTO_TCP && !p->syn)
		return NO_SERVICE;
	s.key.addr = p->key.dst;
	s.key.port = p->key.dport;
	s.key.proto = p->key.proto;
	verdict = select_endpoint(&s);
	if (verdict == NO_SERVICE)
		verdict = avoid_clash(w, &s);
	if (verdict != TRANSLATE)
		return verdict;
	/* An endpoint in the node's own namespace must see the client: a packet from outside with the node's source
	 * address would be a martian there.
	 */
	masquerade = !egress && (s.row.flags & FRONTEND_MASQUERADE || same_addr(&s.endpoint.addr, &p->key.src)) &&
		     !bpf_map_lookup_elem(&node_addresses, &s.endpoint.addr);
	return begin_flow(skb, p, &s, masquerade, &w->row, &w->other) ? GIVE_UP : TRANSLATE;
}

static __always_inline int refuse_packet(struct __sk_buff *skb, struct packet *p, int egress, int verdict)
{
	if (verdict != REJECT) {
		count(COUNT_PACKET_DROPPED);
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
		verdict = new_flow(skb, w, egress);
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
