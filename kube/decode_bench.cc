// fairlead-decode-bench: how fast, and with how much memory, a LIST and the initial events of a watch become objects.
//
//   fairlead-decode-bench [SLICES [ENDPOINTS_PER_SLICE]]      default 10000 10
// One row per encoding and form. The body is made slice by slice while it is fed, in pieces of 16 KiB as curl hands
// them over, so that it exists nowhere as a whole. Each row runs in a process of its own, for the peak to be its own;
// "floor" is the same objects copied from one, without any decoding.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <functional>
#include <string>

#include "base/strings.h"
#include "kube/k8s.pb.h"
#include "kube/proto_decode.h"
#include "kube/stream.h"
#include "kube/topologies.h"

namespace fairlead::kube {
namespace {

using base::cat;

struct Size {
  int slices = 10000;
  int endpoints = 10;
};

std::string address(int slice, int endpoint) {
  const int n = slice * 16 + endpoint;
  return cat("10.", (n >> 16) & 255, ".", (n >> 8) & 255, ".", n & 255);
}

// As the EndpointSlice controller writes them: owner, target and managed fields included.
std::string slice_proto(int index, int endpoints) {
  proto::EndpointSlice out;
  auto* meta = out.mutable_metadata();
  meta->set_name(cat("service-", index, "-abcde"));
  meta->set_namespace_("default");
  meta->set_uid(cat("5f0c1b7e-0000-4000-8000-", 100000000000 + index));
  meta->set_resourceversion(cat(index + 1));
  (*meta->mutable_labels())["endpointslice.kubernetes.io/managed-by"] = "endpointslice-controller.k8s.io";
  (*meta->mutable_labels())["kubernetes.io/service-name"] = cat("service-", index);
  (*meta->mutable_annotations())["endpoints.kubernetes.io/last-change-trigger-time"] = "2024-01-01T00:00:00Z";
  out.set_addresstype("IPv4");
  auto* port = out.add_ports();
  port->set_name("http");
  port->set_protocol("TCP");
  port->set_port(8080);
  for (int i = 0; i < endpoints; ++i) {
    auto* endpoint = out.add_endpoints();
    endpoint->add_addresses(address(index, i));
    endpoint->mutable_conditions()->set_ready(true);
    endpoint->mutable_conditions()->set_serving(true);
    endpoint->mutable_conditions()->set_terminating(false);
    endpoint->set_nodename(cat("node-", i));
    endpoint->set_zone("zone-a");
  }
  return out.SerializeAsString();
}

std::string slice_json(int index, int endpoints) {
  std::string out =
      cat(R"({"metadata":{"name":"service-)", index, R"(-abcde","namespace":"default","uid":"5f0c1b7e-)",
          R"(0000-4000-8000-)", 100000000000 + index, R"(","resourceVersion":")", index + 1,
          R"(","labels":{"endpointslice.kubernetes.io/managed-by":"endpointslice-controller.k8s.io",)",
          R"("kubernetes.io/service-name":"service-)", index,
          R"("},"annotations":{"endpoints.kubernetes.io/last-change-trigger-time":"2024-01-01T00:00:00Z"}},)",
          R"("addressType":"IPv4","ports":[{"name":"http","protocol":"TCP","port":8080}],"endpoints":[)");
  for (int i = 0; i < endpoints; ++i) {
    out += cat(i == 0 ? "" : ",", R"({"addresses":[")", address(index, i),
               R"("],"conditions":{"ready":true,"serving":true,"terminating":false},"nodeName":"node-)", i,
               R"(","zone":"zone-a"})");
  }
  return out + "]}";
}

std::string field(std::uint32_t number, std::string_view payload) {
  std::string out(1, static_cast<char>(number << 3 | 2));
  std::uint64_t size = payload.size();
  for (; size >= 0x80; size >>= 7) out += static_cast<char>(size | 0x80);
  return (out += static_cast<char>(size)).append(payload);
}

std::string proto_frame(std::string_view type, std::string_view object) {
  const std::string type_meta = cat(field(1, "discovery.k8s.io/v1"), field(2, "EndpointSlice"));
  const std::string event =
      cat(field(1, type), field(2, field(1, cat(kProtoMagic, field(1, type_meta), field(2, object)))));
  std::string out;
  for (const unsigned shift : {24U, 16U, 8U, 0U}) out += static_cast<char>(event.size() >> shift);
  return out + event;
}

// Hands on what is appended in pieces, and times only the decoder.
class Feeder {
 public:
  explicit Feeder(StreamDecoder& decoder) : decoder_(decoder) {}
  void append(std::string_view text) {
    pending_ += text;
    total_ += text.size();
    constexpr std::size_t kPiece = std::size_t{16} << 10;
    if (pending_.size() >= kPiece) flush();
  }
  void flush() {
    const auto begin = std::chrono::steady_clock::now();
    const Status fed = decoder_.feed(pending_);
    spent_ += std::chrono::steady_clock::now() - begin;
    pending_.clear();
    if (!fed) std::printf("%s\n", fed.error().message().c_str());
  }
  double seconds() const { return std::chrono::duration<double>(spent_).count(); }
  std::size_t total() const { return total_; }

 private:
  StreamDecoder& decoder_;
  std::string pending_;
  std::size_t total_ = 0;
  std::chrono::nanoseconds spent_{};
};

long peak_kb() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

void print_row(std::string_view name, const Feeder* feeder, std::size_t objects, long before_kb) {
  const long peak = peak_kb();
  std::printf("%-16.*s %8zu objects", static_cast<int>(name.size()), name.data(), objects);
  if (feeder != nullptr) {
    std::printf("  %6.1f MB body  %7.3f s  %9.0f objects/s  %6.1f MB/s", static_cast<double>(feeder->total()) / 1e6,
                feeder->seconds(), static_cast<double>(objects) / feeder->seconds(),
                static_cast<double>(feeder->total()) / 1e6 / feeder->seconds());
  } else {
    std::printf("%60s", "");
  }
  std::printf("  peak %6.1f MB over start\n", static_cast<double>(peak - before_kb) / 1000);
}

void run_list(Encoding encoding, Size size, long before_kb) {
  std::vector<Object> objects;
  Topologies topologies;  // as a source shares them
  const auto decoder = make_list_decoder(encoding, Kind::EndpointSlice, [&](Object object) {
    topologies.share(object);
    objects.push_back(std::move(object));
  });
  Feeder feeder(*decoder);
  if (encoding == Encoding::Json) {
    feeder.append(R"({"kind":"EndpointSliceList","metadata":{"resourceVersion":"5"},"items":[)");
    for (int i = 0; i < size.slices; ++i) feeder.append(cat(i == 0 ? "" : ",", slice_json(i, size.endpoints)));
    feeder.append("]}");
  } else {
    // The length of the list stands before it, so the items are made twice.
    std::size_t length = 0;
    const std::string meta = field(1, field(2, "5"));
    for (int i = 0; i < size.slices; ++i) length += field(2, slice_proto(i, size.endpoints)).size();
    std::string head = cat(kProtoMagic, field(1, field(2, "EndpointSliceList")), "\x12");
    for (length += meta.size(); length >= 0x80; length >>= 7) head += static_cast<char>(length | 0x80);
    feeder.append(head + static_cast<char>(length) + meta);
    for (int i = 0; i < size.slices; ++i) feeder.append(field(2, slice_proto(i, size.endpoints)));
  }
  feeder.flush();
  if (const Status finished = decoder->finish(); !finished) std::printf("%s\n", finished.error().message().c_str());
  print_row(encoding == Encoding::Json ? "list json" : "list protobuf", &feeder, objects.size(), before_kb);
}

void run_watch(Encoding encoding, Size size, long before_kb) {
  std::vector<Object> objects;
  Topologies topologies;
  const auto decoder = make_watch_decoder(encoding, Kind::EndpointSlice, [&](WatchEvent event) {
    topologies.share(*event.object);
    objects.push_back(std::move(*event.object));
    return true;
  });
  Feeder feeder(*decoder);
  for (int i = 0; i < size.slices; ++i) {
    feeder.append(encoding == Encoding::Json ? cat(R"({"type":"ADDED","object":)", slice_json(i, size.endpoints), "}\n")
                                             : proto_frame("ADDED", slice_proto(i, size.endpoints)));
  }
  feeder.flush();
  print_row(encoding == Encoding::Json ? "watch json" : "watch protobuf", &feeder, objects.size(), before_kb);
}

void run_floor(Size size, long before_kb) {
  ProtoDecoder decoder;
  Topologies topologies;
  std::vector<Object> objects;
  for (int i = 0; i < size.slices; ++i) {
    auto object = decoder.object(Kind::EndpointSlice, slice_proto(i, size.endpoints));
    if (object) topologies.share(*object);
    if (object) objects.push_back(std::as_const(*object));  // a copy, of exactly the size it needs
  }
  print_row("floor", nullptr, objects.size(), before_kb);
}

void in_own_process(const std::function<void(long before_kb)>& run) {
  std::fflush(stdout);
  const pid_t child = ::fork();
  if (child == 0) {
    run(peak_kb());
    std::fflush(stdout);
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
}

}  // namespace
}  // namespace fairlead::kube

int main(int argc, char** argv) {
  using namespace fairlead::kube;
  Size size;
  if (argc > 1) size.slices = fairlead::base::parse_number<int>(argv[1]).value_or(size.slices);
  if (argc > 2) size.endpoints = fairlead::base::parse_number<int>(argv[2]).value_or(size.endpoints);
  std::printf("%d slices x %d endpoints\n", size.slices, size.endpoints);
  in_own_process([size](long before) { run_floor(size, before); });
  for (const Encoding encoding : {Encoding::Protobuf, Encoding::Json}) {
    in_own_process([size, encoding](long before) { run_list(encoding, size, before); });
    in_own_process([size, encoding](long before) { run_watch(encoding, size, before); });
  }
  return 0;
}
