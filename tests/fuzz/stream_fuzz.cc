// libFuzzer entry: any bytes, cut anywhere, through every decoder of an API server's answers. Beyond not crashing: how
// the body is cut must not matter to what comes out.
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "kube/proto_decode.h"
#include "kube/stream.h"

namespace {

using namespace fairlead;
using namespace fairlead::kube;

struct Outcome {
  std::vector<Object> objects;
  std::vector<WatchEvent> events;
  ListMeta meta;
  std::string error;
  bool operator==(const Outcome&) const = default;
};

Outcome run(bool is_list, Encoding encoding, Kind kind, std::string_view body, std::size_t piece) {
  Outcome out;
  const StreamLimits limits{.item_bytes = 4096};
  std::unique_ptr<ListDecoder> list;
  std::unique_ptr<StreamDecoder> watch;
  if (is_list) {
    list = make_list_decoder(
        encoding, kind, [&out](Object object) { out.objects.push_back(std::move(object)); }, limits);
  } else {
    watch = make_watch_decoder(
        encoding, kind, [&out](WatchEvent event) { return out.events.push_back(std::move(event)), true; }, limits);
  }
  StreamDecoder& decoder = is_list ? static_cast<StreamDecoder&>(*list) : *watch;
  const auto fed = [&]() -> Status {
    while (!body.empty()) {
      // A copy of its own, so that a view kept for too long is seen.
      const std::vector<char> bytes(body.begin(), body.begin() + static_cast<long>(std::min(piece, body.size())));
      TRY(decoder.feed(std::string_view(bytes.data(), bytes.size())));
      body.remove_prefix(bytes.size());
    }
    return decoder.finish();
  }();
  if (!fed) out.error = fed.error().message();
  if (list) out.meta = list->meta();
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const unsigned choice = data[0];
  const bool is_list = (choice & 1) != 0;
  const Encoding encoding = (choice & 2) != 0 ? Encoding::Protobuf : Encoding::Json;
  const Kind kind = static_cast<Kind>((choice >> 2) % kKindCount);
  const std::size_t piece = 1 + data[1] % 32;
  const std::string_view body(reinterpret_cast<const char*>(data) + 2, size - 2);
  const Outcome whole = run(is_list, encoding, kind, body, body.size() + 1);
  const Outcome cut = run(is_list, encoding, kind, body, piece);
  if (!(whole == cut)) std::abort();
  (void)decode_refusal(500, encoding == Encoding::Json ? "application/json" : "application/vnd.kubernetes.protobuf",
                       body);
  return 0;
}
