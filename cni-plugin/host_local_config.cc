#include "cni-plugin/host_local_config.h"

#include <algorithm>

#include "cni-plugin/fields.h"

namespace fairlead::cni {
namespace {

using Specs = std::vector<std::vector<ipam::RangeSpec>>;

Result<ipam::RangeSpec> read_range(const Fields& fields, std::string path) {
  ipam::RangeSpec spec;
  spec.path = std::move(path);
  const auto subnet = TRY(fields.text("subnet"));
  if (!subnet) return fields.error("subnet", "is missing");
  spec.subnet = *subnet;
  spec.start = TRY(fields.ip("rangeStart"));
  spec.end = TRY(fields.ip("rangeEnd"));
  spec.gateway = TRY(fields.ip("gateway"));
  return spec;
}

Error not_a_list(const std::string& path, const base::Value& value) {
  return failure(code::kDecode, path, ": must be a list of lists of ranges ([[{\"subnet\": ...}]]), not ",
                 value.type_name());
}

// A list of sets, each a list of ranges.
Status read_sets(const Fields& parent, std::string_view key, Specs& sets) {
  const base::Value& list = parent.raw(key);
  const std::string path = parent.path_of(key);
  if (list.is_null()) return {};
  if (list.as_array() == nullptr) return not_a_list(path, list);
  for (std::size_t i = 0; i < list.as_array()->size(); ++i) {
    const base::Value& set = (*list.as_array())[i];
    const std::string set_path = base::cat(path, "[", i, "]");
    if (set.as_array() == nullptr) return not_a_list(set_path, set);
    if (set.as_array()->empty())
      return failure(code::kInvalidConfig, set_path, ": is empty; it needs one range at least");
    sets.emplace_back();
    for (std::size_t j = 0; j < set.as_array()->size(); ++j) {
      std::string range_path = base::cat(set_path, "[", j, "]");
      const Fields fields = TRY(Fields::of((*set.as_array())[j], range_path));
      sets.back().push_back(TRY(read_range(fields, std::move(range_path))));
    }
  }
  return {};
}

Result<std::vector<ipam::RangeSet>> read_ranges(const Fields& config, const Fields& ipam, std::string_view version) {
  Specs specs;
  const Fields runtime = TRY(config.object("runtimeConfig"));
  TRY(read_sets(runtime, "ipRanges", specs));
  if (ipam.has("subnet")) specs.push_back({TRY(read_range(ipam, "ipam"))});  // the old form, of one range
  TRY(read_sets(ipam, "ranges", specs));
  if (specs.empty())
    return ipam.error("ranges", "no range is given, here, in ipam.subnet or in runtimeConfig.ipRanges");
  auto sets = ipam::complete(specs);
  if (!sets) return std::move(sets).error().with_code(code::kInvalidConfig);
  const auto of_family = [&](net::Family family) {
    return std::count_if(sets->begin(), sets->end(),
                         [&](const ipam::RangeSet& set) { return set.front().subnet.family() == family; });
  };
  if (version < "0.3.0" && (of_family(net::Family::V4) > 1 || of_family(net::Family::V6) > 1))
    return failure(code::kInvalidConfig, "ipam.ranges: CNI version ", version,
                   " does not support more than 1 address per family; 0.3.0 and later do");
  return sets;
}

// A length after the address says nothing here.
Result<net::Ip> read_wanted(std::string_view text, std::string_view where, int error_code) {
  const auto parse = [&]() -> Result<net::Ip> {
    if (text.find('/') == text.npos) return net::Ip::parse(text);
    return TRY(net::InterfaceAddress::parse(text)).address;
  };
  auto ip = parse();
  if (!ip) return std::move(ip).error().with_context(where).with_code(error_code);
  return *ip;
}

Result<std::vector<net::Ip>> read_all_wanted(const Call& call, const Fields& config) {
  std::vector<net::Ip> wanted;
  const auto argument = call.args.find("IP");
  if (argument != call.args.end() && !argument->second.empty())
    wanted.push_back(TRY(read_wanted(argument->second, "CNI_ARGS: IP", code::kInvalidEnvironment)));
  const Fields args = TRY(config.object("args"));
  const Fields cni_args = TRY(args.object("cni"));
  for (const std::string& text : TRY(cni_args.texts("ips")))
    wanted.push_back(TRY(read_wanted(text, "args.cni.ips", code::kInvalidConfig)));
  const Fields runtime = TRY(config.object("runtimeConfig"));
  for (const std::string& text : TRY(runtime.texts("ips")))
    wanted.push_back(TRY(read_wanted(text, "runtimeConfig.ips", code::kInvalidConfig)));
  return wanted;
}

}  // namespace

Result<HostLocalConfig> read_host_local(const Call& call) {
  const Fields config = TRY(Fields::of(call.config));
  if (!config.has("ipam")) return config.error("ipam", "is missing");
  const Fields ipam = TRY(config.object("ipam"));
  HostLocalConfig result;
  result.sets = TRY(read_ranges(config, ipam, call.version));
  result.wanted = TRY(read_all_wanted(call, config));
  result.routes = TRY(parse_routes(ipam.raw("routes"), ipam.path_of("routes")));
  result.resolv_conf = TRY(ipam.text("resolvConf")).value_or("");
  return result;
}

Result<std::string> host_local_data_dir(const Call& call) {
  const Fields config = TRY(Fields::of(call.config));
  const Fields ipam = TRY(config.object("ipam"));
  std::string path = TRY(ipam.text("dataDir")).value_or("");
  return path.empty() ? "/var/lib/cni/networks" : path;
}

Dns parse_resolv_conf(std::string_view text) {
  Dns dns;
  for (const std::string_view raw : base::split(text, '\n')) {
    const std::string_view line = base::trim(raw);
    if (line.empty() || line.front() == '#' || line.front() == ';') continue;
    std::vector<std::string> words;
    for (std::size_t at = 0; (at = line.find_first_not_of(" \t", at)) != line.npos;) {
      const std::size_t end = std::min(line.find_first_of(" \t", at), line.size());
      words.emplace_back(line.substr(at, end - at));
      at = end;
    }
    if (words.size() < 2) continue;
    if (words[0] == "nameserver") dns.nameservers.push_back(words[1]);
    if (words[0] == "domain") dns.domain = words[1];
    if (words[0] == "search") dns.search.insert(dns.search.end(), words.begin() + 1, words.end());
    if (words[0] == "options") dns.options.insert(dns.options.end(), words.begin() + 1, words.end());
  }
  return dns;
}

}  // namespace fairlead::cni
