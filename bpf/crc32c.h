/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* CRC32c of a packet of which four bytes change, without reading the rest of it.
 *
 * A CRC is linear: those of two packets of one length differ by the CRC (from zero) of their difference, which is four
 * bytes and then as many zeroes as follow them. Zeroes are a multiplication by a power of x, modulo the polynomial, and
 * powers come by squaring. In the bit order of RFC 9260 appendix A the highest power is the lowest bit. No branches on
 * data: the BPF verifier walks a step once, not once per outcome.
 */
#ifndef FAIRLEAD_BPF_CRC32C_H
#define FAIRLEAD_BPF_CRC32C_H

#include <linux/types.h>

#ifdef __cplusplus
#define FAIRLEAD_FUNCTION inline
namespace fairlead::bpf
{
#else
#include <bpf/bpf_helpers.h>
#define FAIRLEAD_FUNCTION static __attribute__((noinline))
#endif

enum {
	CRC32C_X8 = 0x00800000, /* x to the 8th: one byte of zeroes */
	CRC32C_STEPS = 17,	/* bits of a packet's length, and one for the four bytes */
};
#define CRC32C_POLYNOMIAL 0x82f63b78U
#define CRC32C_ONE	  0x80000000U

FAIRLEAD_FUNCTION __u32 crc32c_multiply(__u32 a, __u32 b)
{
	__u32 product = 0;
	int i;

	for (i = 0; i < 32; i++) {
		product ^= b & (0U - (a >> 31));
		a <<= 1;
		b = (b >> 1) ^ (CRC32C_POLYNOMIAL & (0U - (b & 1)));
	}
	return product;
}

struct crc32c_zeroes {
	__u32 left;   /* how many, from the bit in hand on */
	__u32 power;  /* x to the 8 times that bit */
	__u32 factor; /* of the bits before */
};

FAIRLEAD_FUNCTION long crc32c_next_bit(__u32 i, struct crc32c_zeroes *zeroes)
{
	__u32 chosen = 0U - (zeroes->left & 1);

	(void)i;
	zeroes->factor = (crc32c_multiply(zeroes->factor, zeroes->power) & chosen) | (zeroes->factor & ~chosen);
	zeroes->power = crc32c_multiply(zeroes->power, zeroes->power);
	zeroes->left >>= 1;
	return zeroes->left == 0;
}

/* What to exclusive-or into the CRC when `difference` (the old four bytes xor the new, as they lie in memory on a
 * little endian machine) is followed by `rest` bytes that stay. In BPF a loop by the kernel, verified once
 * (Linux 5.17).
 */
FAIRLEAD_FUNCTION __u32 crc32c_difference(__u32 difference, __u32 rest)
{
	/* The four bytes themselves count as zeroes too: x to the 32nd. */
	struct crc32c_zeroes zeroes = {rest + 4, CRC32C_X8, CRC32C_ONE};

#ifdef __cplusplus
	for (__u32 i = 0; i < CRC32C_STEPS && crc32c_next_bit(i, &zeroes) == 0; i++) {
	}
#else
	bpf_loop(CRC32C_STEPS, crc32c_next_bit, &zeroes, 0);
#endif
	return crc32c_multiply(difference, zeroes.factor);
}

#ifdef __cplusplus
} /* namespace fairlead::bpf */
#endif

#endif
