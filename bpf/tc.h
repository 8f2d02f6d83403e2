/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
#ifndef FAIRLEAD_BPF_TC_H
#define FAIRLEAD_BPF_TC_H
#include "bpf/service.h"
SEC("tc")
int tc_ingress(struct __sk_buff *skb)
{
	(void)skb;
	return -1;
}
SEC("tc")
int tc_egress(struct __sk_buff *skb)
{
	(void)skb;
	return -1;
}
#endif
