fairlead_library(fairlead_kube_manifests SOURCES manifest_set.cc manifests.cc LINK fairlead_kube_decode fairlead_loop)

fairlead_test(kube_manifests_tests SOURCES manifest_set_test.cc manifests_test.cc
              LINK fairlead_kube_manifests fairlead_kube_store)
