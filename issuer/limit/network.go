package limit

import "net/netip"

// NetworksOfSite is how many times as much as one Source a whole Site may have.
const NetworksOfSite = 4

// Source is what an address is counted as: an IPv4 address, or the /64 of an IPv6
// one, the least that one customer has. A port is ignored. What is no address at all
// counts as one, "".
func Source(address string) string { return network(address, 64) }

// Site is Source with the /48 of an IPv6 address, the most that one customer is
// given (RFC 6177): whoever has it has 65,536 sources.
func Site(address string) string { return network(address, 48) }

func network(address string, bits int) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		withPort, err := netip.ParseAddrPort(address)
		if err != nil {
			return ""
		}
		ip = withPort.Addr()
	}
	if ip = ip.Unmap().WithZone(""); ip.Is4() {
		return ip.String()
	}
	return netip.PrefixFrom(ip, bits).Masked().String()
}
