/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* One object: the programs share the maps, and a restart compares one hash. */
#include <linux/bpf.h>
#include <linux/in.h>

#include <bpf/bpf_helpers.h>

#include "bpf/sock.h"
#include "bpf/tc.h"

char _license[] SEC("license") = "Dual BSD/GPL";
