# fairlead_library / fairlead_program / fairlead_test: targets with the project's warnings and include root.

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)

option(FAIRLEAD_WERROR "treat warnings as errors" ON)
option(FAIRLEAD_FUZZ "build the libFuzzer targets (clang only)" OFF)
set(FAIRLEAD_SANITIZE "" CACHE STRING "value for -fsanitize=, for example address,undefined")

add_library(fairlead_options INTERFACE)
target_include_directories(fairlead_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(fairlead_options INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wconversion;-Wshadow;-Wnon-virtual-dtor;-Wimplicit-fallthrough>
  $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<BOOL:${FAIRLEAD_WERROR}>>:-Werror>)
target_link_libraries(fairlead_options INTERFACE Threads::Threads)
if(FAIRLEAD_SANITIZE)
  add_compile_options(-fsanitize=${FAIRLEAD_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  # gcc: "-fsanitize ... may cause false positive warnings" of this kind; std::variant triggers them.
  add_compile_options($<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-maybe-uninitialized>)
  add_link_options(-fsanitize=${FAIRLEAD_SANITIZE})
endif()

# fairlead_library(NAME SOURCES a.cc ... LINK t ...)
function(fairlead_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC fairlead_options ${ARG_LINK})
endfunction()

# fairlead_program(NAME SOURCES a.cc ... LINK t ...)   -> <build>/bin/NAME
function(fairlead_program name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE fairlead_options ${ARG_LINK})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
endfunction()

# fairlead_test(NAME [SUITE unit|datapath] SOURCES a_test.cc ... LINK t ...)   -> <build>/tests/<suite>/NAME
# tools/run_tests.py runs what stands there: "unit" binaries whole, "datapath" ones in shards.
function(fairlead_test name)
  cmake_parse_arguments(ARG "" "SUITE" "SOURCES;LINK" ${ARGN})
  if(NOT ARG_SUITE)
    set(ARG_SUITE unit)
  endif()
  find_package(GTest REQUIRED)
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE fairlead_options ${ARG_LINK} GTest::gtest GTest::gtest_main)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests/${ARG_SUITE})
endfunction()
