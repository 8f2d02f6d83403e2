/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The one address form: 16 bytes, IPv4 v4-mapped. */
#ifndef FAIRLEAD_BPF_ADDRESS_H
#define FAIRLEAD_BPF_ADDRESS_H

#include <bpf/bpf_endian.h>

#include "bpf/maps.h"

#define AF_INET	 2
#define AF_INET6 10

static __always_inline struct addr16 from_v4(__be32 v4)
{
	struct addr16 addr = {{0, 0, bpf_htonl(0xffff), v4}};

	return addr;
}

static __always_inline int is_v4(const struct addr16 *addr)
{
	return addr->words[0] == 0 && addr->words[1] == 0 && addr->words[2] == bpf_htonl(0xffff);
}

static __always_inline int same_addr(const struct addr16 *a, const struct addr16 *b)
{
	return a->words[0] == b->words[0] && a->words[1] == b->words[1] && a->words[2] == b->words[2] &&
	       a->words[3] == b->words[3];
}

static __always_inline int is_zero_addr(const struct addr16 *addr)
{
	return (addr->words[0] | addr->words[1] | addr->words[2] | addr->words[3]) == 0;
}

/* 127.0.0.0/8 and ::1. */
static __always_inline int is_loopback(const struct addr16 *addr)
{
	if (is_v4(addr))
		return bpf_ntohl(addr->words[3]) >> 24 == 127;
	return (addr->words[0] | addr->words[1] | addr->words[2]) == 0 && addr->words[3] == bpf_htonl(1);
}

#endif
