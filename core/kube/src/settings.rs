//! What the built-in groups are configured by.

use std::{net::Ipv4Addr, time::Duration};

use triune_env::Entropy;

/// How long the reference keeps events by itself.
pub const EVENT_TTL: Duration = Duration::from_secs(60 * 60);

/// What the built-in groups are configured by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Addresses of services.
    pub service_range: ServiceRange,
    /// Ports that services open on nodes.
    pub node_ports: NodePorts,
    /// How long an event is kept after its last write, in whole seconds; under one second it is kept for ever.
    pub event_ttl: Duration,
}

/// A range of IPv4 addresses for services: the first is the `kubernetes` service's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceRange {
    network: u32,
    prefix_length: u8,
}

/// An inclusive range of ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodePorts {
    /// The lowest.
    pub first: u16,
    /// The highest.
    pub last: u16,
}

/// The range is malformed, or too small or too large to take addresses from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no range of service addresses: an IPv4 network with a prefix of 8 to 28 bits, such as 10.96.0.0/16")]
pub struct ServiceRangeError(String);

impl Default for Settings {
    fn default() -> Settings {
        let network = u32::from(Ipv4Addr::new(10, 96, 0, 0));
        Settings {
            service_range: ServiceRange { network, prefix_length: 16 },
            node_ports: NodePorts { first: 30000, last: 32767 },
            event_ttl: EVENT_TTL,
        }
    }
}

impl ServiceRange {
    /// From `10.96.0.0/16`.
    pub fn parse(text: &str) -> Result<ServiceRange, ServiceRangeError> {
        let error = || ServiceRangeError(text.into());
        let (address, length) = text.split_once('/').ok_or_else(error)?;
        let address: Ipv4Addr = address.parse().map_err(|_| error())?;
        let prefix_length: u8 = length.parse().map_err(|_| error())?;
        if !(8..=28).contains(&prefix_length) {
            return Err(error());
        }
        let network = u32::from(address) & !(Self::host_mask(prefix_length));
        Ok(ServiceRange { network, prefix_length })
    }

    /// The address of the `kubernetes` service.
    pub fn first(self) -> Ipv4Addr {
        Ipv4Addr::from(self.network + 1)
    }

    /// Whether an address can be given to a service: neither the network's own nor its broadcast address.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        let host = u32::from(address) & Self::host_mask(self.prefix_length);
        let network = u32::from(address) & !Self::host_mask(self.prefix_length);
        network == self.network && host != 0 && host != Self::host_mask(self.prefix_length)
    }

    /// A random address other than the first.
    pub fn draw(self, entropy: &dyn Entropy) -> Ipv4Addr {
        // Hosts 2 to the one before the broadcast address.
        let choices = u64::from(Self::host_mask(self.prefix_length)) - 2;
        Ipv4Addr::from(self.network + 2 + u32::try_from(entropy.u64() % choices).unwrap_or_default())
    }

    fn host_mask(prefix_length: u8) -> u32 {
        u32::MAX >> prefix_length
    }
}

/// As in `10.96.0.0/16`.
impl std::fmt::Display for ServiceRange {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", Ipv4Addr::from(self.network), self.prefix_length)
    }
}

impl NodePorts {
    /// Whether a port is in the range.
    pub fn contains(self, port: i64) -> bool {
        (i64::from(self.first)..=i64::from(self.last)).contains(&port)
    }

    /// A random port.
    pub fn draw(self, entropy: &dyn Entropy) -> u16 {
        let choices = u64::from(self.last.saturating_sub(self.first)) + 1;
        self.first + u16::try_from(entropy.u64() % choices).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u64);

    impl Entropy for Fixed {
        fn fill(&self, buffer: &mut [u8]) {
            for (byte, source) in buffer.iter_mut().zip(self.0.to_le_bytes().iter().cycle()) {
                *byte = *source;
            }
        }
    }

    #[test]
    fn ranges_are_read() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(ServiceRange::parse(text).ok().map(|range| range.to_string()).as_deref(), expected, "{text}");
        };
        check("10.96.0.0/16", Some("10.96.0.0/16"));
        check("10.96.1.2/16", Some("10.96.0.0/16"));
        check("10.0.0.0/24", Some("10.0.0.0/24"));
        for malformed in ["10.96.0.0", "10.96.0.0/30", "10.96.0.0/7", "x/16", "fd00::/112"] {
            check(malformed, None);
        }
    }

    #[test]
    fn drawn_addresses_are_in_the_range() -> Result<(), ServiceRangeError> {
        let range = ServiceRange::parse("10.0.0.0/28")?;
        let drawn: Vec<String> = (0..13).map(|seed| range.draw(&Fixed(seed)).to_string()).collect();
        assert_eq!(drawn.first().map(String::as_str), Some("10.0.0.2"));
        assert_eq!(drawn[12], "10.0.0.14");
        assert!((0..100).all(|seed| range.contains(range.draw(&Fixed(seed)))));
        assert_eq!(range.first().to_string(), "10.0.0.1");
        assert!(!range.contains(Ipv4Addr::new(10, 0, 0, 15)) && !range.contains(Ipv4Addr::new(10, 0, 0, 16)));
        Ok(())
    }
}
