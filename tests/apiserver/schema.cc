#include "tests/apiserver/schema.h"

#include <array>
#include <cstdio>

#include "base/strings.h"

namespace fairlead::tests::apiserver {
namespace {

using base::cat;
using base::Value;
using enum FieldType;
constexpr Presence kAlways = Presence::Always;
constexpr Presence kWhenSet = Presence::WhenSet;

// kubernetes v1.36 staging/src/k8s.io/{apimachinery/pkg/apis/meta,api/*}/v1/generated.proto
constexpr Field kOwnerReferenceFields[] = {
    {"kind", 1, String, kAlways},       {"name", 3, String, kAlways},      {"uid", 4, String, kAlways},
    {"apiVersion", 5, String, kAlways}, {"controller", 6, Bool, kWhenSet}, {"blockOwnerDeletion", 7, Bool, kWhenSet}};
constexpr Message kOwnerReference{"OwnerReference", kOwnerReferenceFields};
constexpr Field kManagedFieldsFields[] = {{"manager", 1, String, kAlways},    {"operation", 2, String, kAlways},
                                          {"apiVersion", 3, String, kAlways}, {"time", 4, Time, kWhenSet},
                                          {"fieldsType", 6, String, kAlways}, {"fieldsV1", 7, Raw, kWhenSet},
                                          {"subresource", 8, String, kAlways}};
constexpr Message kManagedFields{"ManagedFieldsEntry", kManagedFieldsFields};
constexpr Field kObjectMetaFields[] = {{"name", 1, String, kAlways},
                                       {"generateName", 2, String, kAlways},
                                       {"namespace", 3, String, kAlways},
                                       {"selfLink", 4, String, kAlways},
                                       {"uid", 5, String, kAlways},
                                       {"resourceVersion", 6, String, kAlways},
                                       {"generation", 7, Int64, kAlways},
                                       {"creationTimestamp", 8, Time, kAlways},
                                       {"deletionTimestamp", 9, Time, kWhenSet},
                                       {"deletionGracePeriodSeconds", 10, Int64, kWhenSet},
                                       {"labels", 11, StringMap, kWhenSet},
                                       {"annotations", 12, StringMap, kWhenSet},
                                       {"ownerReferences", 13, Nested, kWhenSet, true, &kOwnerReference},
                                       {"finalizers", 14, String, kWhenSet, true},
                                       {"managedFields", 17, Nested, kWhenSet, true, &kManagedFields}};
constexpr Message kObjectMeta{"ObjectMeta", kObjectMetaFields};

constexpr Field kListMetaFields[] = {{"selfLink", 1, String, kAlways},
                                     {"resourceVersion", 2, String, kAlways},
                                     {"continue", 3, String, kAlways},
                                     {"remainingItemCount", 4, Int64, kWhenSet}};
constexpr Message kListMeta{"ListMeta", kListMetaFields};
constexpr Field kStatusCauseFields[] = {
    {"reason", 1, String, kAlways}, {"message", 2, String, kAlways}, {"field", 3, String, kAlways}};
constexpr Message kStatusCause{"StatusCause", kStatusCauseFields};
constexpr Field kStatusDetailsFields[] = {{"name", 1, String, kAlways},
                                          {"group", 2, String, kAlways},
                                          {"kind", 3, String, kAlways},
                                          {"causes", 4, Nested, kWhenSet, true, &kStatusCause},
                                          {"retryAfterSeconds", 5, Int32, kAlways},
                                          {"uid", 6, String, kAlways}};
constexpr Message kStatusDetails{"StatusDetails", kStatusDetailsFields};
constexpr Field kStatusFields[] = {{"metadata", 1, Nested, kAlways, false, &kListMeta},
                                   {"status", 2, String, kAlways},
                                   {"message", 3, String, kAlways},
                                   {"reason", 4, String, kAlways},
                                   {"details", 5, Nested, kWhenSet, false, &kStatusDetails},
                                   {"code", 6, Int32, kAlways}};
constexpr Message kStatus{"Status", kStatusFields};

constexpr Field kServicePortFields[] = {{"name", 1, String, kAlways},    {"protocol", 2, String, kAlways},
                                        {"port", 3, Int32, kAlways},     {"targetPort", 4, IntOrString, kAlways},
                                        {"nodePort", 5, Int32, kAlways}, {"appProtocol", 6, String, kWhenSet}};
constexpr Message kServicePort{"ServicePort", kServicePortFields};
constexpr Field kClientIpFields[] = {{"timeoutSeconds", 1, Int32, kWhenSet}};
constexpr Message kClientIp{"ClientIPConfig", kClientIpFields};
constexpr Field kAffinityFields[] = {{"clientIP", 1, Nested, kWhenSet, false, &kClientIp}};
constexpr Message kAffinity{"SessionAffinityConfig", kAffinityFields};
constexpr Field kServiceSpecFields[] = {{"ports", 1, Nested, kWhenSet, true, &kServicePort},
                                        {"selector", 2, StringMap, kWhenSet},
                                        {"clusterIP", 3, String, kAlways},
                                        {"type", 4, String, kAlways},
                                        {"externalIPs", 5, String, kWhenSet, true},
                                        {"sessionAffinity", 7, String, kAlways},
                                        {"loadBalancerIP", 8, String, kAlways},
                                        {"loadBalancerSourceRanges", 9, String, kWhenSet, true},
                                        {"externalName", 10, String, kAlways},
                                        {"externalTrafficPolicy", 11, String, kAlways},
                                        {"healthCheckNodePort", 12, Int32, kAlways},
                                        {"publishNotReadyAddresses", 13, Bool, kAlways},
                                        {"sessionAffinityConfig", 14, Nested, kWhenSet, false, &kAffinity},
                                        {"ipFamilyPolicy", 17, String, kWhenSet},
                                        {"clusterIPs", 18, String, kWhenSet, true},
                                        {"ipFamilies", 19, String, kWhenSet, true},
                                        {"allocateLoadBalancerNodePorts", 20, Bool, kWhenSet},
                                        {"loadBalancerClass", 21, String, kWhenSet},
                                        {"internalTrafficPolicy", 22, String, kWhenSet},
                                        {"trafficDistribution", 23, String, kWhenSet}};
constexpr Message kServiceSpec{"ServiceSpec", kServiceSpecFields};
constexpr Field kPortStatusFields[] = {
    {"port", 1, Int32, kAlways}, {"protocol", 2, String, kAlways}, {"error", 3, String, kWhenSet}};
constexpr Message kPortStatus{"PortStatus", kPortStatusFields};
constexpr Field kIngressFields[] = {{"ip", 1, String, kAlways},
                                    {"hostname", 2, String, kAlways},
                                    {"ipMode", 3, String, kWhenSet},
                                    {"ports", 4, Nested, kWhenSet, true, &kPortStatus}};
constexpr Message kIngress{"LoadBalancerIngress", kIngressFields};
constexpr Field kLoadBalancerFields[] = {{"ingress", 1, Nested, kWhenSet, true, &kIngress}};
constexpr Message kLoadBalancer{"LoadBalancerStatus", kLoadBalancerFields};
constexpr Field kServiceStatusFields[] = {{"loadBalancer", 1, Nested, kAlways, false, &kLoadBalancer}};
constexpr Message kServiceStatus{"ServiceStatus", kServiceStatusFields};
constexpr Field kServiceFields[] = {{"metadata", 1, Nested, kAlways, false, &kObjectMeta},
                                    {"spec", 2, Nested, kAlways, false, &kServiceSpec},
                                    {"status", 3, Nested, kAlways, false, &kServiceStatus}};
constexpr Message kService{"Service", kServiceFields};

constexpr Field kConditionsFields[] = {
    {"ready", 1, Bool, kWhenSet}, {"serving", 2, Bool, kWhenSet}, {"terminating", 3, Bool, kWhenSet}};
constexpr Message kConditions{"EndpointConditions", kConditionsFields};
constexpr Field kObjectReferenceFields[] = {{"kind", 1, String, kAlways},       {"namespace", 2, String, kAlways},
                                            {"name", 3, String, kAlways},       {"uid", 4, String, kAlways},
                                            {"apiVersion", 5, String, kAlways}, {"resourceVersion", 6, String, kAlways},
                                            {"fieldPath", 7, String, kAlways}};
constexpr Message kObjectReference{"ObjectReference", kObjectReferenceFields};
constexpr Field kNameFields[] = {{"name", 1, String, kAlways}};
constexpr Message kForName{"ForZone", kNameFields};
constexpr Field kHintsFields[] = {{"forZones", 1, Nested, kWhenSet, true, &kForName},
                                  {"forNodes", 2, Nested, kWhenSet, true, &kForName}};
constexpr Message kHints{"EndpointHints", kHintsFields};
constexpr Field kEndpointFields[] = {{"addresses", 1, String, kWhenSet, true},
                                     {"conditions", 2, Nested, kAlways, false, &kConditions},
                                     {"hostname", 3, String, kWhenSet},
                                     {"targetRef", 4, Nested, kWhenSet, false, &kObjectReference},
                                     {"deprecatedTopology", 5, StringMap, kWhenSet},
                                     {"nodeName", 6, String, kWhenSet},
                                     {"zone", 7, String, kWhenSet},
                                     {"hints", 8, Nested, kWhenSet, false, &kHints}};
constexpr Message kEndpoint{"Endpoint", kEndpointFields};
constexpr Field kEndpointPortFields[] = {{"name", 1, String, kWhenSet},
                                         {"protocol", 2, String, kWhenSet},
                                         {"port", 3, Int32, kWhenSet},
                                         {"appProtocol", 4, String, kWhenSet}};
constexpr Message kEndpointPort{"EndpointPort", kEndpointPortFields};
constexpr Field kEndpointSliceFields[] = {{"metadata", 1, Nested, kAlways, false, &kObjectMeta},
                                          {"endpoints", 2, Nested, kWhenSet, true, &kEndpoint},
                                          {"ports", 3, Nested, kWhenSet, true, &kEndpointPort},
                                          {"addressType", 4, String, kAlways}};
constexpr Message kEndpointSlice{"EndpointSlice", kEndpointSliceFields};

constexpr Field kTaintFields[] = {{"key", 1, String, kAlways},
                                  {"value", 2, String, kAlways},
                                  {"effect", 3, String, kAlways},
                                  {"timeAdded", 4, Time, kWhenSet}};
constexpr Message kTaint{"Taint", kTaintFields};
constexpr Field kNodeSpecFields[] = {{"podCIDR", 1, String, kAlways},
                                     {"externalID", 2, String, kAlways},
                                     {"providerID", 3, String, kAlways},
                                     {"unschedulable", 4, Bool, kAlways},
                                     {"taints", 5, Nested, kWhenSet, true, &kTaint},
                                     {"podCIDRs", 7, String, kWhenSet, true}};
constexpr Message kNodeSpec{"NodeSpec", kNodeSpecFields};
constexpr Field kNodeConditionFields[] = {{"type", 1, String, kAlways},
                                          {"status", 2, String, kAlways},
                                          {"lastHeartbeatTime", 3, Time, kAlways},
                                          {"lastTransitionTime", 4, Time, kAlways},
                                          {"reason", 5, String, kAlways},
                                          {"message", 6, String, kAlways}};
constexpr Message kNodeCondition{"NodeCondition", kNodeConditionFields};
constexpr Field kNodeAddressFields[] = {{"type", 1, String, kAlways}, {"address", 2, String, kAlways}};
constexpr Message kNodeAddress{"NodeAddress", kNodeAddressFields};
constexpr Field kNodeStatusFields[] = {{"capacity", 1, Quantities, kWhenSet},
                                       {"allocatable", 2, Quantities, kWhenSet},
                                       {"phase", 3, String, kAlways},
                                       {"conditions", 4, Nested, kWhenSet, true, &kNodeCondition},
                                       {"addresses", 5, Nested, kWhenSet, true, &kNodeAddress}};
constexpr Message kNodeStatus{"NodeStatus", kNodeStatusFields};
constexpr Field kNodeFields[] = {{"metadata", 1, Nested, kAlways, false, &kObjectMeta},
                                 {"spec", 2, Nested, kAlways, false, &kNodeSpec},
                                 {"status", 3, Nested, kAlways, false, &kNodeStatus}};
constexpr Message kNode{"Node", kNodeFields};

constexpr Field kCidrSpecFields[] = {{"cidrs", 1, String, kWhenSet, true}};
constexpr Message kCidrSpec{"ServiceCIDRSpec", kCidrSpecFields};
constexpr Message kCidrStatus{"ServiceCIDRStatus", {}};
constexpr Field kServiceCidrFields[] = {{"metadata", 1, Nested, kAlways, false, &kObjectMeta},
                                        {"spec", 2, Nested, kAlways, false, &kCidrSpec},
                                        {"status", 3, Nested, kAlways, false, &kCidrStatus}};
constexpr Message kServiceCidr{"ServiceCIDR", kServiceCidrFields};

enum : std::uint32_t { kVarint = 0, kBytes = 2 };

void put_tag(std::string& out, std::uint32_t number, std::uint32_t wire) { put_varint(out, (number << 3) | wire); }
void put_integer(std::string& out, std::uint32_t number, std::int64_t value) {
  put_tag(out, number, kVarint);
  put_varint(out, static_cast<std::uint64_t>(value));  // negative: ten bytes, as proto2 int32 and int64 are
}

// Runs `write`, which appends a nested message, then slips its length in before it.
template <typename Write>
Status put_nested(std::string& out, std::uint32_t number, Write write) {
  put_tag(out, number, kBytes);
  const std::size_t start = out.size();
  TRY(write());
  std::string length;
  put_varint(length, out.size() - start);
  out.insert(start, length);
  return {};
}

Error wrong_type(const Field& field, std::string_view wanted, const Value& value) {
  return Error(cat(field.name, ": ", wanted, " expected, not ", value.type_name()));
}

// RFC 3339 in UTC to seconds since 1970, by the civil-day count (no time zone database, no locale).
std::optional<std::int64_t> parse_time(const std::string& text) {
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;
  if (std::sscanf(text.c_str(), "%4d-%2d-%2dT%2d:%2d:%2d", &year, &month, &day, &hour, &minute, &second) != 6) {
    return std::nullopt;
  }
  const std::int64_t y = month <= 2 ? year - 1 : year;
  const std::int64_t era = y / 400;
  const std::int64_t yoe = y - era * 400;
  const std::int64_t doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  const std::int64_t days = era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
  return ((days * 24 + hour) * 60 + minute) * 60 + second;
}

Status put_message(std::string& out, const Value& value, const Message& message);

Status put_map(std::string& out, const Value& value, const Field& field) {
  const Value::Object* members = value.as_object();
  if (members == nullptr) return wrong_type(field, "an object of strings", value);
  for (const auto& entry : *members) {
    const std::string& key = entry.first;  // clang 14 captures no structured binding
    const std::string* text = entry.second.as_string();
    if (text == nullptr) return wrong_type(field, cat("a string at \"", key, "\""), entry.second);
    TRY(put_nested(out, field.number, [&]() -> Status {
      put_length_delimited(out, 1, key);
      if (field.type == Quantities) {  // resource.Quantity is a message that holds its text
        return put_nested(out, 2, [&]() -> Status {
          put_length_delimited(out, 1, *text);
          return {};
        });
      }
      put_length_delimited(out, 2, *text);
      return {};
    }));
  }
  return {};
}

Status put_int_or_string(std::string& out, const Value& value, const Field& field) {
  return put_nested(out, field.number, [&]() -> Status {
    const std::int64_t* number = value.as_int();
    const std::string* text = value.as_string();
    if (number == nullptr && text == nullptr && !value.is_null())
      return wrong_type(field, "a number or a string", value);
    put_integer(out, 1, text != nullptr ? 1 : 0);
    put_integer(out, 2, number != nullptr ? *number : 0);
    put_length_delimited(out, 3, text != nullptr ? std::string_view(*text) : std::string_view());
    return {};
  });
}

Status put_time(std::string& out, const Value& value, const Field& field) {
  return put_nested(out, field.number, [&]() -> Status {
    if (value.is_null()) return {};
    const std::string* text = value.as_string();
    const auto seconds = text != nullptr ? parse_time(*text) : std::nullopt;
    if (!seconds) return wrong_type(field, "an RFC 3339 time", value);
    put_integer(out, 1, *seconds);
    put_integer(out, 2, 0);
    return {};
  });
}

Status put_one(std::string& out, const Value& value, const Field& field) {
  const bool absent = value.is_null();
  switch (field.type) {
    case String: {
      const std::string* text = value.as_string();
      if (text == nullptr && !absent) return wrong_type(field, "a string", value);
      put_length_delimited(out, field.number, absent ? std::string_view() : std::string_view(*text));
      return {};
    }
    case Int32:
    case Int64: {
      const std::int64_t* number = value.as_int();
      if (number == nullptr && !absent) return wrong_type(field, "an integer", value);
      put_integer(out, field.number, absent ? 0 : *number);
      return {};
    }
    case Bool: {
      const bool* flag = value.as_bool();
      if (flag == nullptr && !absent) return wrong_type(field, "a boolean", value);
      put_integer(out, field.number, !absent && *flag ? 1 : 0);
      return {};
    }
    case Nested: {
      if (value.as_object() == nullptr && !absent) return wrong_type(field, "an object", value);
      auto status = put_nested(out, field.number, [&] { return put_message(out, value, *field.message); });
      if (!status) return std::move(status).error().with_context(field.name);
      return {};
    }
    case StringMap:
    case Quantities: return put_map(out, value, field);
    case IntOrString: return put_int_or_string(out, value, field);
    case Time: return put_time(out, value, field);
    case Raw: {  // FieldsV1{Raw: the JSON text}
      std::string text;
      append_json(text, value);
      return put_nested(out, field.number, [&]() -> Status {
        put_length_delimited(out, 1, text);
        return {};
      });
    }
  }
  return {};
}

Status put_field(std::string& out, const Value& value, const Field& field) {
  if (value.is_null() && field.presence == Presence::WhenSet) return {};
  if (!field.repeated) return put_one(out, value, field);
  const Value::Array* items = value.as_array();
  if (items == nullptr) return wrong_type(field, "a list", value);
  for (const Value& item : *items) TRY(put_one(out, item, field));
  return {};
}

Status put_message(std::string& out, const Value& value, const Message& message) {
  for (const Field& field : message.fields) TRY(put_field(out, value[field.name], field));
  return {};
}

}  // namespace

const Message& service_message() { return kService; }
const Message& endpoint_slice_message() { return kEndpointSlice; }
const Message& node_message() { return kNode; }
const Message& service_cidr_message() { return kServiceCidr; }
const Message& status_message() { return kStatus; }
const Message& list_meta_message() { return kListMeta; }

Result<std::string> encode_protobuf(const Value& value, const Message& message) {
  std::string out;
  TRY_CONTEXT(put_message(out, value, message), message.name);
  return out;
}

void put_varint(std::string& out, std::uint64_t value) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>((value & 0x7f) | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

void put_length_delimited(std::string& out, std::uint32_t number, std::string_view bytes) {
  put_tag(out, number, kBytes);
  put_varint(out, bytes.size());
  out.append(bytes);
}

std::size_t varint_size(std::uint64_t value) {
  std::size_t size = 1;
  while (value >= 0x80) {
    value >>= 7;
    ++size;
  }
  return size;
}

void append_json_string(std::string& out, std::string_view text) {
  out.push_back('"');
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (static_cast<unsigned char>(c) < 0x20) {
      constexpr std::string_view kHex = "0123456789abcdef";
      out.append("\\u00").push_back(kHex[static_cast<unsigned char>(c) >> 4]);
      out.push_back(kHex[static_cast<unsigned char>(c) & 15]);
    } else {
      out.push_back(c);
    }
  }
  out.push_back('"');
}

void append_json(std::string& out, const Value& value) {
  if (const std::string* text = value.as_string()) return append_json_string(out, *text);
  if (const Value::Array* items = value.as_array()) {
    out.push_back('[');
    for (const Value& item : *items) {
      if (&item != items->data()) out.push_back(',');
      append_json(out, item);
    }
    out.push_back(']');
  } else if (const Value::Object* members = value.as_object()) {
    out.push_back('{');
    for (const auto& [name, member] : *members) {
      if (&name != &members->front().first) out.push_back(',');
      append_json_string(out, name);
      out.push_back(':');
      append_json(out, member);
    }
    out.push_back('}');
  } else if (const bool* flag = value.as_bool()) {
    base::append(out, *flag);
  } else if (const std::int64_t* number = value.as_int()) {
    base::append(out, *number);
  } else if (const double* real = value.as_double()) {
    base::append(out, *real);
  } else {
    out.append("null");
  }
}

}  // namespace fairlead::tests::apiserver
