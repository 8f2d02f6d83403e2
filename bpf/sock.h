/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Socket load balancing: a socket is connected to the endpoint itself and believes in the service.
 *
 * AF_INET6 sockets with v4-mapped addresses come to the *6 hooks, save sendmsg, which the kernel hands on to IPv4
 * first (linux v6.1 net/ipv6/udp.c udpv6_sendmsg); both meet in the one address form.
 */
#ifndef FAIRLEAD_BPF_SOCK_H
#define FAIRLEAD_BPF_SOCK_H

#include <linux/errno.h>

#include "bpf/service.h"

enum {
	REFUSE = 0,
	PROCEED = 1
};

static __always_inline struct addr16 user_v6(const struct bpf_sock_addr *ctx)
{
	struct addr16 addr;

	addr.words[0] = ctx->user_ip6[0];
	addr.words[1] = ctx->user_ip6[1];
	addr.words[2] = ctx->user_ip6[2];
	addr.words[3] = ctx->user_ip6[3];
	return addr;
}

static __always_inline void set_user_v6(struct bpf_sock_addr *ctx, const struct addr16 *addr)
{
	ctx->user_ip6[0] = addr->words[0];
	ctx->user_ip6[1] = addr->words[1];
	ctx->user_ip6[2] = addr->words[2];
	ctx->user_ip6[3] = addr->words[3];
}

/* What the caller is told when there is no endpoint. Silence cannot be told to a caller, and whether a source is
 * allowed shows only in its packets: they go on their way untranslated, and the tc program decides.
 */
static __always_inline int refuse(int verdict)
{
	if (verdict == DROP || verdict == DENIED)
		return PROCEED;
	count(COUNT_SOCK_REJECTED);
	bpf_set_retval(-ECONNREFUSED);
	return REFUSE;
}

static __always_inline void set_peer(struct sock_peer *peer, const struct selection *s)
{
	peer->frontend = s->key.addr;
	peer->frontend_port = s->key.port;
	peer->endpoint = s->endpoint.addr;
	peer->endpoint_port = s->endpoint.port;
	peer->slot = s->slot;
	peer->generation = s->extent.generation;
}

/* The socket lock is held in connect and getpeername. */
static __always_inline void remember_peer(struct bpf_sock_addr *ctx, const struct selection *s)
{
	struct sock_peer *peer;

	if (!ctx->sk)
		return;
	peer = bpf_sk_storage_get(&sock_peers, ctx->sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (peer)
		set_peer(peer, s);
}

/* A socket connected anew, and not to a service: even its old endpoint is now just an address. */
static __always_inline void forget_peer(struct bpf_sock_addr *ctx)
{
	struct sock_peer *peer;

	if (!ctx->sk)
		return;
	peer = bpf_sk_storage_get(&sock_peers, ctx->sk, 0, 0);
	if (peer)
		peer->frontend_port = 0;
}

/* docs/adr/0009: loopback is a namespace's own; the node's takes NodePorts there if it is told to. */
static __always_inline int takes_node_ports(struct bpf_sock_addr *ctx, const struct addr16 *dst)
{
	const struct node_config *config;
	__u32 zero = 0;

	if (!is_loopback(dst))
		return 0;
	config = bpf_map_lookup_elem(&node_config, &zero);
	return config && config->flags & NODE_LOOPBACK_NODE_PORTS && config->netns_cookie == bpf_get_netns_cookie(ctx);
}

static __always_inline void start_selection(struct selection *s, struct bpf_sock_addr *ctx, const struct addr16 *dst)
{
	__builtin_memset(s, 0, sizeof(*s));
	s->key.addr = *dst;
	s->key.port = (__be16)ctx->user_port;
	s->key.proto = (__u8)ctx->protocol;
	s->own_loopback = takes_node_ports(ctx, dst);
}

/* The address a socket of the node will have: the one it is bound to, the destination if that is the node's too, else
 * that of the way out.
 */
static __always_inline void node_source(struct bpf_sock_addr *ctx, struct selection *s,
					const struct node_config *config)
{
	struct bpf_sock *sk = ctx->sk;

	s->source = is_v4(&s->key.addr) ? config->masquerade_v4 : config->masquerade_v6;
	if (bpf_map_lookup_elem(&node_addresses, &s->key.addr))
		s->source = s->key.addr;
	if (!sk)
		return;
	if (sk->family == AF_INET6 && (sk->src_ip6[0] | sk->src_ip6[1] | sk->src_ip6[2] | sk->src_ip6[3])) {
		s->source.words[0] = sk->src_ip6[0];
		s->source.words[1] = sk->src_ip6[1];
		s->source.words[2] = sk->src_ip6[2];
		s->source.words[3] = sk->src_ip6[3];
	} else if (sk->family == AF_INET && sk->src_ip4) {
		s->source = from_v4(sk->src_ip4);
	}
}

/* docs/adr/0011: there is no source address yet, so the client is its network namespace. */
static __noinline int identify_caller(struct bpf_sock_addr *ctx, struct selection *s)
{
	const struct node_config *config;
	__u64 cookie = bpf_get_netns_cookie(ctx);
	__u32 zero = 0;

	s->origin = ORIGIN_STRANGER;
	s->client.words[0] = (__u32)(cookie >> 32);
	s->client.words[1] = (__u32)cookie;
	s->client_kind = CLIENT_NAMESPACE;
	config = bpf_map_lookup_elem(&node_config, &zero);
	if (!config)
		return 0;
	if (cookie == config->netns_cookie) {
		s->origin = ORIGIN_NODE;
		node_source(ctx, s, config);
	} else if (config->flags & (is_v4(&s->key.addr) ? NODE_TELLS_PODS_V4 : NODE_TELLS_PODS_V6)) {
		s->origin = ORIGIN_POD;
	}
	return 0;
}

static __always_inline int select_for_caller(struct bpf_sock_addr *ctx, struct selection *s)
{
	int verdict = select_endpoint(s);

	if (verdict != ASK_CLIENT)
		return verdict;
	identify_caller(ctx, s);
	return select_endpoint(s);
}

/* TRANSLATE: s->endpoint is the address to put into ctx. */
static __always_inline int sock_connect(struct bpf_sock_addr *ctx, struct selection *s)
{
	int verdict = select_for_caller(ctx, s);

	if (verdict == TRANSLATE) {
		remember_peer(ctx, s);
		count(COUNT_SOCK_TRANSLATED);
	} else if (verdict != REJECT) {
		forget_peer(ctx);
	}
	return verdict;
}

static __always_inline int same_frontend(const struct sock_peer *peer, const struct addr16 *addr, __be16 port)
{
	return peer->frontend_port == port && same_addr(&peer->frontend, addr);
}

static __always_inline int same_endpoint(const struct sock_peer *peer, const struct addr16 *addr, __be16 port)
{
	return peer->frontend_port != 0 && peer->endpoint_port == port && same_addr(&peer->endpoint, addr);
}

/* Several threads may send on one socket at once, hence the lock. */
static __always_inline void recall_sent(struct sock_sent *sent, struct selection *s)
{
	int i;

	bpf_spin_lock(&sent->lock);
	for (i = 0; i < SENT_ENTRIES; i++)
		if (same_frontend(&sent->entries[i], &s->key.addr, s->key.port))
			s->sticky = sent->entries[i];
	bpf_spin_unlock(&sent->lock);
}

static __always_inline void remember_sent(struct sock_sent *sent, const struct selection *s)
{
	__u32 at, i;

	bpf_spin_lock(&sent->lock);
	at = sent->next % SENT_ENTRIES;
	for (i = 0; i < SENT_ENTRIES; i++)
		if (same_frontend(&sent->entries[i], &s->key.addr, s->key.port))
			at = i;
	if (at == sent->next % SENT_ENTRIES)
		sent->next = (at + 1) % SENT_ENTRIES;
	at %= SENT_ENTRIES;
	set_peer(&sent->entries[at], s);
	bpf_spin_unlock(&sent->lock);
}

static __always_inline int sock_send(struct bpf_sock_addr *ctx, struct selection *s)
{
	struct sock_sent *sent = 0;
	int verdict;

	if (ctx->sk)
		sent = bpf_sk_storage_get(&sock_sent, ctx->sk, 0, 0);
	if (sent)
		recall_sent(sent, s);
	verdict = select_for_caller(ctx, s);
	if (verdict != TRANSLATE)
		return verdict;
	count(COUNT_SOCK_TRANSLATED);
	if (s->sticky.frontend_port && s->sticky.slot == s->slot && s->sticky.generation == s->extent.generation)
		return verdict;
	if (!sent && ctx->sk)
		sent = bpf_sk_storage_get(&sock_sent, ctx->sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (sent)
		remember_sent(sent, s);
	return verdict;
}

/* 1: out is the frontend this socket reached `addr`:`port` through. */
static __always_inline int peer_frontend(struct bpf_sock_addr *ctx, const struct addr16 *addr, struct sock_peer *out)
{
	struct sock_peer *peer;

	if (!ctx->sk)
		return 0;
	peer = bpf_sk_storage_get(&sock_peers, ctx->sk, 0, 0);
	if (!peer || !same_endpoint(peer, addr, (__be16)ctx->user_port))
		return 0;
	*out = *peer;
	return 1;
}

static __always_inline int received_frontend(struct bpf_sock_addr *ctx, const struct addr16 *addr,
					     struct sock_peer *out)
{
	struct sock_sent *sent;
	__be16 port = (__be16)ctx->user_port;
	int i, found = 0;

	if (!ctx->sk)
		return 0;
	sent = bpf_sk_storage_get(&sock_sent, ctx->sk, 0, 0);
	if (sent) {
		bpf_spin_lock(&sent->lock);
		for (i = 0; i < SENT_ENTRIES; i++) {
			if (same_endpoint(&sent->entries[i], addr, port)) {
				*out = sent->entries[i];
				found = 1;
			}
		}
		bpf_spin_unlock(&sent->lock);
	}
	return found ? found : peer_frontend(ctx, addr, out);
}

/* ------------------------------------------------------------------------------------------------ programs */

SEC("cgroup/connect4")
int sock_connect4(struct bpf_sock_addr *ctx)
{
	struct addr16 dst = from_v4(ctx->user_ip4);
	struct selection s;
	int verdict;

	start_selection(&s, ctx, &dst);
	verdict = sock_connect(ctx, &s);
	if (verdict == NO_SERVICE)
		return PROCEED;
	if (verdict != TRANSLATE)
		return refuse(verdict);
	ctx->user_ip4 = s.endpoint.addr.words[3];
	ctx->user_port = s.endpoint.port;
	return PROCEED;
}

SEC("cgroup/connect6")
int sock_connect6(struct bpf_sock_addr *ctx)
{
	struct addr16 dst = user_v6(ctx);
	struct selection s;
	int verdict;

	start_selection(&s, ctx, &dst);
	verdict = sock_connect(ctx, &s);
	if (verdict == NO_SERVICE)
		return PROCEED;
	if (verdict != TRANSLATE)
		return refuse(verdict);
	set_user_v6(ctx, &s.endpoint.addr);
	ctx->user_port = s.endpoint.port;
	return PROCEED;
}

SEC("cgroup/sendmsg4")
int sock_sendmsg4(struct bpf_sock_addr *ctx)
{
	struct addr16 dst = from_v4(ctx->user_ip4);
	struct selection s;
	int verdict;

	start_selection(&s, ctx, &dst);
	verdict = sock_send(ctx, &s);
	if (verdict == NO_SERVICE)
		return PROCEED;
	if (verdict != TRANSLATE)
		return refuse(verdict);
	ctx->user_ip4 = s.endpoint.addr.words[3];
	ctx->user_port = s.endpoint.port;
	return PROCEED;
}

SEC("cgroup/sendmsg6")
int sock_sendmsg6(struct bpf_sock_addr *ctx)
{
	struct addr16 dst = user_v6(ctx);
	struct selection s;
	int verdict;

	start_selection(&s, ctx, &dst);
	verdict = sock_send(ctx, &s);
	if (verdict == NO_SERVICE)
		return PROCEED;
	if (verdict != TRANSLATE)
		return refuse(verdict);
	set_user_v6(ctx, &s.endpoint.addr);
	ctx->user_port = s.endpoint.port;
	return PROCEED;
}

SEC("cgroup/recvmsg4")
int sock_recvmsg4(struct bpf_sock_addr *ctx)
{
	struct addr16 src = from_v4(ctx->user_ip4);
	struct sock_peer peer;

	if (received_frontend(ctx, &src, &peer)) {
		ctx->user_ip4 = peer.frontend.words[3];
		ctx->user_port = peer.frontend_port;
	}
	return PROCEED;
}

SEC("cgroup/recvmsg6")
int sock_recvmsg6(struct bpf_sock_addr *ctx)
{
	struct addr16 src = user_v6(ctx);
	struct sock_peer peer;

	if (received_frontend(ctx, &src, &peer)) {
		set_user_v6(ctx, &peer.frontend);
		ctx->user_port = peer.frontend_port;
	}
	return PROCEED;
}

SEC("cgroup/getpeername4")
int sock_getpeername4(struct bpf_sock_addr *ctx)
{
	struct addr16 addr = from_v4(ctx->user_ip4);
	struct sock_peer peer;

	if (peer_frontend(ctx, &addr, &peer)) {
		ctx->user_ip4 = peer.frontend.words[3];
		ctx->user_port = peer.frontend_port;
	}
	return PROCEED;
}

SEC("cgroup/getpeername6")
int sock_getpeername6(struct bpf_sock_addr *ctx)
{
	struct addr16 addr = user_v6(ctx);
	struct sock_peer peer;

	if (peer_frontend(ctx, &addr, &peer)) {
		set_user_v6(ctx, &peer.frontend);
		ctx->user_port = peer.frontend_port;
	}
	return PROCEED;
}

#endif
