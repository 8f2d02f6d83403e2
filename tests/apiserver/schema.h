// Protobuf encoding of a JSON-shaped base::Value, driven by a table of upstream's field numbers.
//
// Deliberately not made from kube/proto/k8s.proto: a wrong number there would go unnoticed if both ends shared it. Also
// writes what that file leaves out (managedFields, ownerReferences, node conditions), as a real server does, and, like
// upstream's gogo encoder, fields that are no pointers even when they are empty. One pass, no per-field allocation.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace fairlead::tests::apiserver {

enum class FieldType : std::uint8_t {
  String,
  Int32,
  Int64,
  Bool,
  Nested,
  StringMap,
  IntOrString,
  Time,
  Quantities,
  Raw
};
// Upstream writes a field that is no Go pointer even when it holds its zero value.
enum class Presence : std::uint8_t { WhenSet, Always };

struct Message;
struct Field {
  std::string_view name;
  std::uint32_t number = 0;
  FieldType type = FieldType::String;
  Presence presence = Presence::WhenSet;
  bool repeated = false;
  const Message* message = nullptr;
};
struct Message {
  std::string_view name;
  std::span<const Field> fields;
};

const Message& service_message();
const Message& endpoint_slice_message();
const Message& node_message();
const Message& service_cidr_message();
const Message& status_message();
const Message& list_meta_message();

// Members without an entry in the table are left out, as a typed server leaves them out. An Error names the field.
Result<std::string> encode_protobuf(const base::Value& value, const Message& message);

// Compact JSON. base::to_json goes through another tree; ten thousand slices want the direct way.
void append_json(std::string& out, const base::Value& value);
void append_json_string(std::string& out, std::string_view text);

// Pieces of the wire format, for the envelopes around objects.
void put_varint(std::string& out, std::uint64_t value);
void put_length_delimited(std::string& out, std::uint32_t number, std::string_view bytes);
std::size_t varint_size(std::uint64_t value);

}  // namespace fairlead::tests::apiserver
