#include "tests/cni/row.h"

namespace fairlead::cnitest {

const std::vector<Difference>& declared_differences() {
  static const std::vector<Difference> kAll = {
      {.id = "error codes",
       .reason =
           "the specification's number says what kind of fault it is; the reference answers most of them with 999",
       .theirs = {"* fails in * with code 999"},
       .ours = {"* fails in * with code 3", "* fails in * with code 4", "* fails in * with code 6",
                "* fails in * with code 7", "* fails in * with code 8", "* fails in * with code 11",
                "* fails in * with code 100"},
       .rows = "ANetworkNamespaceThatIsNotThere, ANetworkNamespaceThatIsAPlainFile, "
               "AWrongTypeInTheConfiguration, AnIpamPluginThatIsNotThere, HostLocalExhausted, "
               "HostLocalTheSmallestSubnets, HostLocalAnUnknownCniArg, HostLocalRequestedByArgs, "
               "HostLocalRequestedOutOfRange, HostLocalRequestedIsTheGateway, "
               "HostLocalTheSameAttachmentTwice, HostLocalNoSubnet, HostLocalHostBits, HostLocalTooSmall, "
               "HostLocalOverlap, HostLocalTwoFamiliesInASet, HostLocalAnEmptySet, HostLocalStartOutside, "
               "HostLocalEndBeforeStart, HostLocalABadAddress, HostLocalABadSubnet, StaticABadAddress, "
               "BridgeHairpinAndPromisc, "
               "BridgeInterfaceIsThere, BridgeTwice, PtpTwice, MacvlanABadMode, "
               "MacvlanMtuAboveTheMasters, IpvlanABadMode, BandwidthRateWithoutBurst, "
               "BandwidthBurstWithoutRate, BandwidthTooLargeABurst, BandwidthNotChained, "
               "TuningOutsideTheNetwork, "
               "TuningNotChained, "
               "PortmapNotChained, "
               "PortmapABadPort, FirewallNotChained, FirewallABadPolicy"},
      {.id = "ips[].version",
       .reason = "versions before 1.0.0 require it in each of `ips`; the reference's loopback leaves it out",
       .ours = {"* ADD result.ips[*].version = *"},
       .rows = "Loopback"},
      {.id = "boot marker",
       .reason = "host-local says in which boot its reservations were made, so that those of an earlier one are freed",
       .ours = {"* + file */.fairlead-boot: *"},
       .rows = "HostLocalRoundRobin, HostLocalStartEndAndGateway, HostLocalExhausted, HostLocalDualStack, "
               "HostLocalTwoRangesInASet, HostLocalOldFormAndRanges, HostLocalTheSmallestSubnets, "
               "HostLocalRequestedByCniArgs, HostLocalAnUnknownCniArgThatMayBe, HostLocalRequestedByCapability, "
               "HostLocalRequestedByArgs, HostLocalRequestedOutOfRange, "
               "HostLocalRequestedIsTheGateway, HostLocalRangesOfTheRuntime, HostLocalTheSameAttachmentTwice, "
               "HostLocalResolvConfAndDataDir, HostLocalAFileThatHoldsOnlyTheId, HostLocalAForeignFileIsTaken, "
               "HostLocalCheckOfWhatIsGone, BridgePlain, BridgeGateway, BridgeDefaultGatewayDualStack, "
               "BridgeDefaultGatewayWithoutRoutes, BridgeDefaultGatewayBesideRoutes, BridgeDetectsDuplicates, "
               "BridgeHairpin, "
               "BridgePromisc, BridgeMtu, BridgeMacByCapability, BridgeMacByArgs, BridgeMacByCniArgs, "
               "BridgeDns, BridgeTakesWhatIsThere, BridgeHasAnotherAddress, BridgeForceAddress, BridgeTwice, "
               "BridgeTwoInterfaces, BridgeDelWithoutNetns, BridgeDelWithoutResult, BridgeCheckAddressGone, "
               "BridgeCheckLinkGone, BridgeCheckRouteGone, BridgeMasquerades, BridgeDoesNotMasquerade, Ptp, "
               "PtpMtuAndDns, PtpMasquerades, PtpTwice, PtpCheckRouteGone, Macvlan, MacvlanPrivateMtu, "
               "MacvlanMasterOfTheDefaultRoute, BandwidthBothWays, BandwidthIngressAlone, BandwidthEgressAlone, "
               "BandwidthOwnMembersHideTheRuntimes, BandwidthOfNothing, BandwidthKeysInAnyCase, "
               "BandwidthOfAHundredGigabits, BandwidthAsKubernetesAsksIt, BandwidthRateWithoutBurst, "
               "BandwidthBurstWithoutRate, BandwidthTooLargeABurst, BandwidthCheckQdiscGone, "
               "BandwidthCheckRedirectGone, TuningSysctls, TuningOfTheInterfaceByPlaceholder, TuningAttributes, "
               "TuningArgsWin, TuningMacOfCniArgs, TuningInTwoEntries, TuningOutsideTheNetwork, TuningAnUnknownSysctl, "
               "TuningAllowlist, TuningNotOnTheAllowlist, TuningCheckMtuChanged, "
               "PortmapFromOutsideTheHostAndThePod, PortmapOfOneHostIp, PortmapOfAnotherHostIp, "
               "PortmapWithoutSnat, PortmapMasqAll, PortmapUnderACondition, PortmapExternalSetMarkChain, PortmapOfNothing, PortmapABadPort, "
               "FirewallOpensAHostThatForwardsNothing, Firewalld*, FirewallAZoneThatIsNone, "
               "FirewallWithoutFirewalld, FirewallABadBackend, FirewallABadPolicy"},
      {.id = "interfaces[].mtu",
       .reason = "told in results of 1.0.0 already, as newer reference plugins do",
       .ours = {"* ADD result.interfaces[*].mtu = *"},
       .rows = "BridgePlain 1.0.0, BridgeGateway 1.0.0, BridgeDefaultGatewayDualStack 1.0.0, "
               "BridgeDefaultGatewayWithoutRoutes, BridgeDefaultGatewayBesideRoutes, BridgeDetectsDuplicates, "
               "BridgeHairpin, "
               "BridgePromisc, BridgeMtu, BridgeMacByCapability, BridgeMacByArgs, BridgeMacByCniArgs, "
               "BridgeDns, BridgeWithoutIpam, BridgeTakesWhatIsThere, BridgeForceAddress, BridgeTwice, "
               "BridgeTwoInterfaces, BridgeDelWithoutNetns, BridgeDelWithoutResult, BridgeCheckAddressGone, "
               "BridgeCheckLinkGone, BridgeCheckRouteGone, BridgeMasquerades, BridgeDoesNotMasquerade, "
               "Ptp 1.0.0, PtpMtuAndDns, PtpMasquerades, PtpTwice, PtpCheckRouteGone, Macvlan 1.0.0, "
               "MacvlanPrivateMtu, MacvlanMasterOfTheDefaultRoute, BandwidthBothWays 1.0.0, "
               "BandwidthIngressAlone, BandwidthEgressAlone, BandwidthOwnMembersHideTheRuntimes, "
               "BandwidthOfNothing, BandwidthKeysInAnyCase, BandwidthOfAHundredGigabits, "
               "BandwidthAsKubernetesAsksIt, BandwidthCheckQdiscGone, BandwidthCheckRedirectGone, "
               "TuningSysctls 1.0.0, TuningOfTheInterfaceByPlaceholder, TuningAttributes 1.0.0, TuningArgsWin, "
               "TuningMacOfCniArgs, TuningInTwoEntries, TuningAllowlist, TuningCheckMtuChanged, "
               "PortmapFromOutsideTheHostAndThePod 1.0.0, PortmapOfOneHostIp, PortmapOfAnotherHostIp, "
               "PortmapWithoutSnat, PortmapMasqAll, PortmapUnderACondition, PortmapExternalSetMarkChain, PortmapOfNothing, "
               "FirewallOpensAHostThatForwardsNothing 1.0.0, Firewalld* 1.0.0"},
      {.id = "bridge's own address",
       .reason = "the bridge gets a hardware address of its own, so that it does not change (and pods' neighbour "
                 "caches with it) when ports come and go",
       .theirs = {"* host link cni0 kind bridge *", "* ADD result.interfaces[0].mac = *"},
       .ours = {"* host link cni0 kind bridge * mac <mac cni0> *", "* ADD result.interfaces[0].mac = <mac cni0>",
                "* host link cni0 kind bridge * mac 00:00:00:00:00:00 up*"},
       .rows = "ANetworkNamespaceThatIsNotThere, ANetworkNamespaceThatIsAPlainFile, AnIpamPluginThatIsNotThere, "
               "BridgePlain, BridgeDefaultGatewayBesideRoutes, BridgeHairpin, BridgePromisc, BridgeMtu, "
               "BridgeMacByCapability, BridgeMacByArgs, BridgeMacByCniArgs, BridgeDns, BridgeWithoutIpam, "
               "BridgeHasAnotherAddress, BridgeTwice, BridgeTwoInterfaces, BridgeCheckAddressGone, "
               "BridgeCheckLinkGone, TuningNotOnTheAllowlist, FirewallABadBackend"},
      {.id = "queue length",
       .reason = "links keep the kernel's default of 1000 (an ifb its veth's); the reference sets 0",
       .theirs = {"* qlen * 0"},
       .ours = {"* qlen * 1000"},
       .rows = "AnIpamPluginThatIsNotThere, BridgePlain, BridgeGateway, BridgeDefaultGatewayDualStack, "
               "BridgeDefaultGatewayWithoutRoutes, BridgeDefaultGatewayBesideRoutes, BridgeDetectsDuplicates, "
               "BridgeHairpin, "
               "BridgePromisc, BridgeMtu, BridgeMacByCapability, BridgeMacByArgs, BridgeMacByCniArgs, "
               "BridgeDns, BridgeWithoutIpam, BridgeTakesWhatIsThere, BridgeHasAnotherAddress, "
               "BridgeForceAddress, BridgeTwice, BridgeTwoInterfaces, BridgeDelWithoutNetns, "
               "BridgeDelWithoutResult, BridgeCheckAddressGone, BridgeCheckLinkGone, BridgeCheckRouteGone, "
               "BridgeMasquerades, BridgeDoesNotMasquerade, Ptp, PtpMtuAndDns, PtpMasquerades, PtpTwice, "
               "PtpCheckRouteGone, Macvlan, MacvlanPrivateMtu, MacvlanMasterOfTheDefaultRoute, "
               "BandwidthBothWays, BandwidthIngressAlone, BandwidthEgressAlone, "
               "BandwidthOwnMembersHideTheRuntimes, BandwidthOfNothing, BandwidthKeysInAnyCase, "
               "BandwidthOfAHundredGigabits, BandwidthAsKubernetesAsksIt, BandwidthRateWithoutBurst, "
               "BandwidthBurstWithoutRate, BandwidthTooLargeABurst, BandwidthCheckQdiscGone, "
               "BandwidthCheckRedirectGone, TuningSysctls, TuningOfTheInterfaceByPlaceholder, TuningAttributes, "
               "TuningArgsWin, TuningMacOfCniArgs, TuningInTwoEntries, TuningOutsideTheNetwork, TuningAnUnknownSysctl, "
               "TuningAllowlist, TuningNotOnTheAllowlist, TuningCheckMtuChanged, "
               "PortmapFromOutsideTheHostAndThePod, PortmapOfOneHostIp, PortmapOfAnotherHostIp, "
               "PortmapWithoutSnat, PortmapMasqAll, PortmapUnderACondition, PortmapExternalSetMarkChain, PortmapOfNothing, PortmapABadPort, "
               "FirewallOpensAHostThatForwardsNothing, Firewalld*, FirewallAZoneThatIsNone, "
               "FirewallWithoutFirewalld, FirewallABadBackend, FirewallABadPolicy"},
      {.id = "nothing is left of a failed ADD",
       .reason =
           "the reference leaves its bridge behind where CNI_NETNS leads nowhere or has the interface already, and "
           "the pod's interface where the bridge has another address",
       .theirs = {"1 ADD + *", "2 DEL - *"},
       .ours = {"1 ADD + host link cni0 *"},
       .rows = "ANetworkNamespaceThatIsNotThere, ANetworkNamespaceThatIsAPlainFile, AnIpamPluginThatIsNotThere, "
               "BridgeHasAnotherAddress, BridgeInterfaceIsThere"},
      {.id = "DEL of what cannot be served",
       .reason = "DEL succeeds whatever has become of the configuration or the master",
       .theirs = {"2 DEL fails in * with code 999"},
       .ours = {"2 DEL succeeds"},
       .rows = "AWrongTypeInTheConfiguration, MacvlanNoMaster, MacvlanMtuAboveTheMasters"},
      {.id = "no lock file of a DEL that frees nothing",
       .reason = "where nothing was given there is no folder yet, and DEL makes none",
       .theirs = {"* DEL + file */lock: "},
       .rows = "BridgeInterfaceIsThere, BridgeDelOfNothing, MacvlanABadMode, IpvlanABadMode"},
      {.id = "CHECK without ipam",
       .reason = "bridge serves networks without ipam; the reference's CHECK of them fails",
       .theirs = {"* CHECK fails in bridge with code 999"},
       .ours = {"* CHECK succeeds"},
       .rows = "BridgeWithoutIpam"},
      {.id = "default route of the bridge and of ipam",
       .reason = "one default route is enough; the reference's ADD fails with \"file exists\" after having added one",
       .theirs = {"1 ADD fails in bridge with code 999"},
       .ours = {"1 ADD *", "2 DEL *"},
       .rows = "BridgeDefaultGatewayBesideRoutes"},
      {.id = "DEL without CNI_NETNS",
       .reason = "the host's end is found by its name and deleted, which takes the pod's end with it",
       .ours = {"* DEL - *"},
       .rows = "BridgeDelWithoutNetns"},
      {.id = "CHECK of no limits",
       .reason = "the reference's bandwidth panics (nil pointer)",
       .theirs = {"* CHECK fails in bandwidth without an answer", "* CHECK panic*"},
       .ours = {"* CHECK succeeds"},
       .rows = "BandwidthOfNothing"},
      {.id = "a burst of more than 274 s",
       .reason = "is the longest the kernel's clock holds; the reference's number wraps around (Kubernetes' runtimes "
                 "ask for 2^31 bits)",
       .theirs = {"* host tbf * buffer 3489660803 *"},
       .ours = {"* host tbf * buffer 4294967295 *"},
       .rows = "BandwidthAsKubernetesAsksIt"},
      {.id = "CHECK of bandwidth is strict",
       .reason = "the token bucket and the redirect to the ifb must be there; the reference passes where another qdisc "
                 "comes first, and never looks for the redirect",
       .theirs = {"* CHECK succeeds"},
       .ours = {"* CHECK fails in bandwidth with code 999"},
       .rows = "BandwidthCheckQdiscGone, BandwidthCheckRedirectGone"},
      {.id = "CHECK of IFNAME sysctls",
       .reason = "the placeholder stands for the interface in CHECK as it does in ADD",
       .theirs = {"* CHECK fails in tuning with code 999"},
       .ours = {"* CHECK succeeds"},
       .rows = "TuningOfTheInterfaceByPlaceholder"},
      {.id = "two entries of tuning",
       .reason = "keep what each of them has changed; with the reference the second's file takes the first one's place, "
                 "and its CHECK never holds",
       .theirs = {"* file /run/cni/tuning/c1_eth0.json: {*\"promisc\":false}", "2 CHECK fails in tuning with code 999"},
       .ours = {"* file /run/cni/tuning/c1_eth0.json: {\"promisc\":false,\"mtu\":1500}", "2 CHECK succeeds"},
       .rows = "TuningInTwoEntries"},
      {.id = "CHECK of host ports of an IPv4 pod",
       .reason = "the reference looks for IPv6 chains that ADD never made",
       .theirs = {"* CHECK fails in portmap with code 999"},
       .ours = {"* CHECK succeeds"},
       .rows = "PortmapFromOutsideTheHostAndThePod 0.4.0, PortmapFromOutsideTheHostAndThePod 1.0.0, "
               "PortmapOfOneHostIp"},
      {.id = "masqAll",
       .reason = "a key of newer reference plugins (1.4)",
       .theirs = {"* connect *: c1 sees 192.0.2.2"},
       .ours = {"* connect *: c1 sees 10.1.0.1"},
       .rows = "PortmapMasqAll"},
      {.id = "sysctl allowlist",
       .reason = "/etc/cni/tuning/allowlist.conf is heeded, as newer reference plugins do",
       .theirs = {"1 ADD *"},
       .ours = {"1 ADD fails in tuning with code 7"},
       .rows = "TuningNotOnTheAllowlist"},
      {.id = "DEL without the result of a pod in a zone",
       .reason = "takes the pod's addresses out of their zone of firewalld; the reference leaves them there for whoever "
                 "gets the address next",
       .theirs = {"3 zone of 10.1.0.2/32: trusted"},
       .ours = {"3 zone of 10.1.0.2/32: none"},
       .rows = "FirewalldLetsAPodGoWithoutAResult"},
      {.id = "CHECK of a zone",
       .reason = "firewalld is asked whether the pod is in its zone still, whether or not the configuration names it",
       .theirs = {"3 CHECK succeeds"},
       .ours = {"3 CHECK fails in firewall with code 999"},
       .rows = "FirewalldHasLetItGo"},
      {.id = "firewalld does not run",
       .reason = "is a fault of the configuration that asks for it (7)",
       .theirs = {"1 ADD fails in firewall with code 999"},
       .ours = {"1 ADD fails in firewall with code 7"},
       .rows = "FirewallWithoutFirewalld"},
      {.id = "unknown firewall backend",
       .reason = "is refused; the reference takes iptables instead",
       .theirs = {"1 ADD *"},
       .ours = {"1 ADD fails in firewall with code 7"},
       .rows = "FirewallABadBackend"},
  };
  return kAll;
}

}  // namespace fairlead::cnitest
