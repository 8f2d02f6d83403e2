# The API server client: HTTP, credentials, decoders, reflectors.
find_package(CURL REQUIRED)
find_package(Protobuf REQUIRED)

# Generated beside the build: "kube/k8s.pb.h". Not held to the project's warnings.
set(proto_out ${CMAKE_BINARY_DIR}/generated)
file(MAKE_DIRECTORY ${proto_out}/kube)
add_custom_command(
  OUTPUT ${proto_out}/kube/k8s.pb.cc ${proto_out}/kube/k8s.pb.h
  COMMAND protobuf::protoc --cpp_out=${proto_out}/kube -I${CMAKE_CURRENT_SOURCE_DIR}/proto
          ${CMAKE_CURRENT_SOURCE_DIR}/proto/k8s.proto
  DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/proto/k8s.proto
  VERBATIM)
add_library(fairlead_kube_proto STATIC ${proto_out}/kube/k8s.pb.cc ${proto_out}/kube/k8s.pb.h)
target_include_directories(fairlead_kube_proto SYSTEM PUBLIC ${proto_out})
target_link_libraries(fairlead_kube_proto PUBLIC protobuf::libprotobuf-lite)

fairlead_library(fairlead_kube_stream SOURCES json_stream.cc proto_decode.cc proto_stream.cc stream.cc
  LINK fairlead_kube_decode fairlead_kube_proto fairlead_kube_objects)

fairlead_library(fairlead_kube_client
  SOURCES api_source.cc client_config.cc http.cc keepalive.cc kubeconfig.cc reflector.cc token.cc
  LINK fairlead_kube_stream fairlead_kube_objects fairlead_loop)
target_link_libraries(fairlead_kube_client PRIVATE CURL::libcurl)

fairlead_test(kube_client_tests
  SOURCES api_source_test.cc http_test.cc kubeconfig_test.cc reflector_test.cc stream_test.cc
  LINK fairlead_kube_client fairlead_kube_store fairlead_test_apiserver)

fairlead_program(fairlead-decode-bench SOURCES decode_bench.cc LINK fairlead_kube_stream)
