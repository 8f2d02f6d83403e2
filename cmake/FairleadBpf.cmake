# fairlead_bpf_skeleton(TARGET SOURCE x.bpf.c DEPENDS headers...): an INTERFACE target whose include path holds
# x.skel.h. The skeleton is C that libbpf's generator wrote, hence a system include (our warnings do not apply).

find_program(FAIRLEAD_BPF_CLANG NAMES clang-14 clang REQUIRED)
find_program(FAIRLEAD_BPFTOOL NAMES bpftool PATHS /usr/sbin /sbin REQUIRED)
pkg_check_modules(LIBBPF REQUIRED IMPORTED_TARGET libbpf)

function(fairlead_bpf_skeleton target)
  cmake_parse_arguments(ARG "" "SOURCE" "DEPENDS" ${ARGN})
  get_filename_component(name ${ARG_SOURCE} NAME)
  string(REGEX REPLACE "\\.bpf\\.c$" "" name ${name})
  set(out ${CMAKE_CURRENT_BINARY_DIR}/skeleton)
  file(MAKE_DIRECTORY ${out})
  list(TRANSFORM ARG_DEPENDS PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/)
  add_custom_command(
    OUTPUT ${out}/${name}.bpf.o
    # asm/types.h lies in the multiarch folder, which -target bpf does not search.
    COMMAND ${FAIRLEAD_BPF_CLANG} -target bpf -O2 -g -Wall -Wextra -Werror -I${PROJECT_SOURCE_DIR}
            -idirafter /usr/include/${CMAKE_LIBRARY_ARCHITECTURE} -ffile-prefix-map=${PROJECT_SOURCE_DIR}=.
            -c ${CMAKE_CURRENT_SOURCE_DIR}/${ARG_SOURCE} -o ${out}/${name}.bpf.o
    DEPENDS ${ARG_SOURCE} ${ARG_DEPENDS}
    COMMENT "BPF ${name}")
  add_custom_command(
    OUTPUT ${out}/${name}.skel.h
    COMMAND ${FAIRLEAD_BPFTOOL} gen skeleton ${out}/${name}.bpf.o name ${name} > ${out}/${name}.skel.h
    DEPENDS ${out}/${name}.bpf.o
    COMMENT "BPF skeleton ${name}")
  add_custom_target(${target}_generate DEPENDS ${out}/${name}.skel.h)
  add_library(${target} INTERFACE)
  add_dependencies(${target} ${target}_generate)
  target_include_directories(${target} SYSTEM INTERFACE ${out})
  target_link_libraries(${target} INTERFACE PkgConfig::LIBBPF)
endfunction()
