pkg_check_modules(YAML_CPP REQUIRED IMPORTED_TARGET yaml-cpp)

fairlead_library(fairlead_kube_store SOURCES store.cc LINK fairlead_kube_objects)
fairlead_library(fairlead_kube_decode SOURCES decode.cc decode_kinds.cc decode_service.cc field.cc yaml.cc
                 LINK fairlead_kube_objects)
target_link_libraries(fairlead_kube_decode PRIVATE PkgConfig::YAML_CPP)

fairlead_test(kube_store_tests SOURCES store_test.cc topologies_test.cc LINK fairlead_kube_store)
fairlead_test(kube_decode_tests SOURCES decode_test.cc yaml_test.cc LINK fairlead_kube_decode)
