/* What an object file has taken from the headers of a C library: sizes, places of members, values of constants. */
#ifndef FAIRLEAD_CNI_PLUGIN_LIBC_FACTS_H
#define FAIRLEAD_CNI_PLUGIN_LIBC_FACTS_H

struct fairlead_libc_fact {
  const char* name; /* 0: the end */
  long value;
};

extern const struct fairlead_libc_fact fairlead_glibc_facts[];
extern const struct fairlead_libc_fact fairlead_musl_facts[];

#endif
