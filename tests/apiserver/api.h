// Api: from a request to list, watch, get, create, update, patch, delete, as kube-apiserver v1.36 answers for the four
// kinds a proxy needs (docs of list/watch: KEP-365, KEP-956, KEP-3157).
//
// Server thread only. A change costs the watches of its resource; a list costs its objects once per encoding.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "base/loop.h"
#include "tests/apiserver/cluster.h"
#include "tests/apiserver/connection.h"
#include "tests/apiserver/options.h"
#include "tests/apiserver/selector.h"

namespace fairlead::tests::apiserver {

class Api {
 public:
  Api(base::Loop& loop, Cluster& cluster, Options options);
  Api(const Api&) = delete;
  Api& operator=(const Api&) = delete;

  void handle(Connection& connection, std::int32_t stream, const Request& request);
  void forget(const Connection& connection, std::int32_t stream);
  void forget(std::uint64_t connection_id);

  void set_tokens(std::vector<std::string> tokens) { options_.tokens = std::move(tokens); }
  void set_faults(const Faults& faults) { faults_ = faults; }
  Faults& faults() { return faults_; }
  // Continue tokens die with the history they were taken from.
  void forget_pages() { pages_.clear(); }

  struct Watch {
    Connection* connection = nullptr;
    std::int32_t stream = 0;
    Resource resource = Resource::Services;
    Encoding encoding = Encoding::Json;
    Selector selector;
    std::uint64_t after = 0;  // only later changes are sent
    bool bookmarks = false;
    base::Loop::Handle timeout = base::Loop::none();
  };
  // Calls `visit` for each open watch; `visit` may end it.
  void for_each_watch(const std::function<void(const Watch&)>& visit);
  void send_bookmarks();

  const std::deque<RequestRecord>& requests() const { return requests_; }
  const std::deque<std::string>& events() const { return events_; }
  Stats stats() const;

  std::function<Response(const Request&)> admin;  // answers /test/...

 private:
  struct Target {
    Resource resource = Resource::Services;
    std::string ns;
    std::string name;
  };
  static std::optional<Target> parse_path(std::string_view path);

  void answer(Connection& connection, std::int32_t stream, Response response);
  std::optional<StatusReply> refuse(const Request& request, const std::optional<Target>& target);
  bool authenticated(const Request& request) const;
  Response handle_event(const Request& request, Encoding encoding);
  Response handle_object(const Request& request, const Target& target, Encoding encoding);
  Response write_object(const Request& request, const Target& target, Encoding encoding);
  Response handle_list(const Request& request, const Target& target, Encoding encoding);
  Response list_page(Resource resource, Encoding encoding, std::uint64_t version, std::vector<ObjectPtr> items,
                     std::size_t limit);
  void start_watch(Connection& connection, std::int32_t stream, const Request& request, const Target& target,
                   Encoding encoding);
  std::deque<Piece> initial_pieces(const Watch& watch, bool existing, bool end_bookmark) const;
  std::optional<Piece> event_piece(const Watch& watch, const ClusterEvent& event) const;
  void publish(const ClusterEvent& event);
  std::vector<ObjectPtr> select(Resource resource, const Selector& selector) const;

  struct Page {
    std::uint64_t version = 0;
    std::vector<ObjectPtr> rest;
  };

  base::Loop& loop_;
  Cluster& cluster_;
  Options options_;
  Faults faults_;
  std::map<std::pair<std::uint64_t, std::int32_t>, Watch> watches_;
  std::map<std::string, Page> pages_;
  std::uint64_t next_page_ = 0;
  std::deque<RequestRecord> requests_;
  std::deque<std::string> events_;
  Stats stats_;
};

}  // namespace fairlead::tests::apiserver
