// Core: the test API server itself, on its one thread: listener, connections, objects, faults. server.h is the door for
// other threads.
#pragma once

#include <map>
#include <memory>
#include <optional>

#include "tests/apiserver/api.h"
#include "tests/apiserver/manifest.h"

namespace fairlead::tests::apiserver {

struct EndpointSpec {
  std::string address;
  std::string node = {};
  std::string zone = {};
};

class Core final : public Connection::Handler {
 public:
  static Result<std::unique_ptr<Core>> create(base::Loop& loop, const Options& options, const Pki& pki);
  ~Core() override;

  Cluster& cluster() { return cluster_; }
  Api& api() { return api_; }
  const ListenAddress& address() const { return address_; }

  // An Error names the object; those before it are stored.
  Status load(std::vector<Manifest> manifests);
  Status set_endpoints(const std::string& ns, const std::string& service, const std::vector<EndpointSpec>& endpoints);

  // `lasting`: a healthy server again after that time; zero: until the next call.
  Status set_faults(const Faults& faults, base::Duration lasting = {});
  const Faults& faults() { return api_.faults(); }
  void break_now(Break what);
  void compact();
  // What a client sees of a restart: connections are cut, versions start anew, nothing of the past is remembered.
  void restart(std::uint64_t first_version);
  Stats stats() const;

  void on_request(Connection& connection, std::int32_t stream, const Request& request) override;
  void on_stream_closed(Connection& connection, std::int32_t stream) override;
  void on_closed(std::uint64_t connection_id) override;

 private:
  Core(base::Loop& loop, const Options& options, ListenAddress address);
  Status start_listening();
  void accept_all();
  void apply_faults(Connection& connection);
  void break_watch(Break what, const Api::Watch& watch);
  void reset_all();

  base::Loop& loop_;
  Options options_;
  ListenAddress address_;
  std::optional<TlsContext> tls_;
  Cluster cluster_;
  Api api_;
  base::Fd listener_;
  base::Loop::Handle listener_watch_ = base::Loop::none();
  base::Loop::Handle heal_timer_ = base::Loop::none();
  base::Loop::Handle bookmark_timer_ = base::Loop::none();
  std::map<std::uint64_t, std::unique_ptr<Connection>> connections_;
  std::uint64_t accepted_ = 0;
};

// Answers the /test/ paths (admin.cc).
Response handle_admin(Core& core, const Request& request);

}  // namespace fairlead::tests::apiserver
