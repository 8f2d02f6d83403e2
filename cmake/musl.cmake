# fairlead_link_with_musl(TARGET): a static executable whose C library is musl (docs/adr/0023). Its objects stay as they
# are, compiled with glibc's headers; cni-plugin/libc holds what that takes.

set(FAIRLEAD_MUSL_ARCH ${CMAKE_SYSTEM_PROCESSOR}-linux-musl)
find_path(FAIRLEAD_MUSL_LIB NAMES libc.a PATHS /usr/lib/${FAIRLEAD_MUSL_ARCH} NO_DEFAULT_PATH REQUIRED)
find_path(FAIRLEAD_MUSL_INCLUDE NAMES features.h PATHS /usr/include/${FAIRLEAD_MUSL_ARCH} NO_DEFAULT_PATH REQUIRED)

# The compiler links what it always does, and finds crt1.o, crti.o and crtn.o (-B) and libc.a (-L) there first.
function(fairlead_link_with_musl target)
  target_link_options(${target} PRIVATE -static -B${FAIRLEAD_MUSL_LIB} -L${FAIRLEAD_MUSL_LIB})
endfunction()
