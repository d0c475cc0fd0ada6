//! Which addresses are everybody's: what is not global is refused unless a range was granted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IPv4 that is not for the open internet: (first address, bits of the prefix).
const NOT_GLOBAL_V4: [([u8; 4], u32); 15] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];

/// What is not for the open internet within 2000::/3, beyond which nothing is: (first two groups, bits of the prefix).
/// Teredo and the like, documentation, 6to4 (which carries any IPv4 address inside), documentation again.
const NOT_GLOBAL_V6: [([u16; 2], u32); 4] =
    [([0x2001, 0], 23), ([0x2001, 0xdb8], 32), ([0x2002, 0], 16), ([0x3fff, 0], 20)];

/// The address itself: IPv4 that is written as IPv6 (`::ffff:127.0.0.1`) is IPv4.
#[must_use]
pub fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// Whether an address belongs to the open internet. Private, loopback, link-local (the metadata services of clouds are
/// there), shared, multicast, reserved and documentation addresses do not, nor what stands for another address: NAT64,
/// 6to4, Teredo, IPv4-compatible.
#[must_use]
pub fn is_global(address: IpAddr) -> bool {
    match canonical(address) {
        IpAddr::V4(address) => is_global_v4(address),
        IpAddr::V6(address) => is_global_v6(address),
    }
}

fn is_global_v4(address: Ipv4Addr) -> bool {
    let bits = u32::from(address);
    !NOT_GLOBAL_V4.iter().any(|(first, prefix)| (bits ^ u32::from_be_bytes(*first)).leading_zeros() >= *prefix)
}

fn is_global_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let bits = u32::from(first) << 16 | u32::from(second);
    let within = |[first, second]: [u16; 2], prefix: u32| {
        (bits ^ (u32::from(first) << 16 | u32::from(second))).leading_zeros() >= prefix
    };
    within([0x2000, 0], 3) && !NOT_GLOBAL_V6.iter().any(|(start, prefix)| within(*start, *prefix))
}
