// Manifests: a directory of Kubernetes manifests as the demo edits it, and the typed objects in it.
//
// Editing means: the endpoints of one service's slices are replaced; the other documents of the file stay as they are.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "kube/objects.h"
#include "net/ip.h"

namespace fairlead::demo {

struct ManifestFile {
  std::string name;
  std::string text;  // as it stands in the directory
  std::vector<base::Value> documents;
};

struct PodEndpoint {
  net::Ip v4;
  net::Ip v6;
  std::string node;
  bool ready = true;
};

class Manifests {
 public:
  static Result<Manifests> load(const std::string& directory);

  const std::vector<ManifestFile>& files() const { return files_; }
  const std::vector<kube::Service>& services() const { return services_; }
  // Services that have cluster IPs, in the order of the files.
  Result<const kube::Service*> service(const std::string& name) const;
  std::vector<const kube::EndpointSlice*> slices_of(const kube::Key& service) const;
  const std::vector<kube::EndpointSlice>& slices() const { return slices_; }

  // Makes `pods` the endpoints of the service; returns the changed files.
  Result<std::vector<const ManifestFile*>> set_endpoints(const kube::Key& service,
                                                         const std::vector<PodEndpoint>& pods);

 private:
  Status decode();
  std::vector<ManifestFile> files_;
  std::vector<kube::Service> services_;
  std::vector<kube::EndpointSlice> slices_;
};

}  // namespace fairlead::demo
