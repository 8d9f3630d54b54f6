//! `server:` — the listeners.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::reader::{Fields, Findings, Placed, address, elements, whole, word};
use super::secret::{Secret, secret};
use super::tree::Node;
use super::url::{BaseUrl, base_url};

#[derive(Clone, Debug)]
pub struct Server {
    /// Hooks, links, messenger callbacks, `/healthz`, `/readyz`. Plain HTTP.
    pub listen: SocketAddr,
    /// Admin pages, API, `/metrics`. Only a loopback address unless there is an `admin_token`.
    pub admin: SocketAddr,
    pub admin_token: Option<Placed<Secret>>,
    /// How the world reaches `listen`.
    pub public_url: Option<BaseUrl>,
    /// Whose `X-Forwarded-For` counts.
    pub trusted_proxies: Vec<Network>,
    /// From SIGTERM to the end.
    pub shutdown_seconds: u32,
}

/// An address, or all that share its first bits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// `10.0.0.1` or `10.0.0.0/8`.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(most), |bits| bits.parse().ok().filter(|bits| *bits <= most))?;
        Some(Self { address, bits })
    }

    /// IPv4 addresses count as such inside IPv6 too.
    pub fn contains(&self, address: IpAddr) -> bool {
        let same = |one: u128, other: u128, width: u32| {
            let beyond = width - u32::from(self.bits);
            one.checked_shr(beyond) == other.checked_shr(beyond)
        };
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(one), IpAddr::V4(other)) => same(u32::from(one).into(), u32::from(other).into(), 32),
            (IpAddr::V6(one), IpAddr::V6(other)) => same(one.into(), other.into(), 128),
            _ => false,
        }
    }
}

const ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8081);

impl Server {
    /// Stands in for a section that could not be read; never served.
    pub(super) fn unread() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            admin: ADMIN,
            admin_token: None,
            public_url: None,
            trusted_proxies: Vec::new(),
            shutdown_seconds: 25,
        }
    }
}

pub(super) fn read(node: &Node, findings: &mut Findings) -> Option<Server> {
    let mut fields = Fields::of(node, "`server`", findings)?;
    let listen = fields.need("listen", findings, address);
    let admin_node = fields.get("admin");
    let admin = admin_node.map_or(Some(ADMIN), |node| address(node, findings));
    let token_node = fields.get("admin_token");
    let admin_token = token_node.and_then(|node| secret(node, findings));
    let public_url = fields.read("public_url", findings, base_url);
    let trusted_proxies = fields.read("trusted_proxies", findings, networks);
    let shutdown_seconds = fields.read("shutdown_seconds", findings, whole(1..=3600));
    fields.close(findings);

    if let (Some(node), Some(admin), None) = (admin_node, admin, token_node)
        && !admin.ip().to_canonical().is_loopback()
    {
        let message = "`admin` is reachable from other machines and has no `admin_token`";
        findings.hinted(node.place, message, "set `admin_token: {env: NAME}`, or bind 127.0.0.1");
    }
    if listen == admin && listen.is_some_and(|listen| listen.port() != 0) {
        findings.error(admin_node.unwrap_or(node).place, "`listen` and `admin` are the same address");
    }
    let unread = Server::unread();
    Some(Server {
        listen: listen.unwrap_or(unread.listen),
        admin: admin.unwrap_or(ADMIN),
        admin_token,
        public_url,
        trusted_proxies: trusted_proxies.unwrap_or_default(),
        shutdown_seconds: shutdown_seconds.unwrap_or(unread.shutdown_seconds),
    })
}

fn networks(node: &Node, findings: &mut Findings) -> Option<Vec<Network>> {
    let network = |node: &Node, findings: &mut Findings| {
        let network = Network::parse(word(node, findings)?);
        network.or_else(|| findings.must_be(node, "addresses or networks, as in 10.0.0.1 or 10.0.0.0/8"))
    };
    Some(elements(node, findings)?.iter().filter_map(|node| network(node, findings)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_knows_its_addresses() {
        for (network, address, inside) in [
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("10.0.0.0/8", "10.200.0.1", true),
            ("10.0.0.0/8", "::ffff:10.200.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("0.0.0.0/0", "255.1.2.3", true),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::", false),
            ("::/0", "10.0.0.1", false),
        ] {
            let contains = Network::parse(network).unwrap().contains(address.parse().unwrap());
            assert_eq!(contains, inside, "{address} in {network}");
        }
        for text in ["10.0.0.0/33", "::/129", "10.0.0", "10.0.0.0/", "/8", "host"] {
            assert_eq!(Network::parse(text), None, "{text}");
        }
    }
}
