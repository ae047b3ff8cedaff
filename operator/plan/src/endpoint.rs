//! URLs that agents call, and what of the network an agent needs for each.

use std::net::IpAddr;

use url::{Host, Url};

/// A URL of a model or an MCP server, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Host of the URL, as the network knows it.
    pub reach: Reach,
    /// Port of the URL.
    pub port: u16,
}

/// Where a host is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// In the pod itself: no rule is needed.
    Itself,
    /// A Service of the caller's own namespace.
    OwnNamespace,
    /// A Service of a namespace.
    Namespace(String),
    /// An address.
    Address(IpAddr),
    /// A name of the public internet.
    Public,
    /// `a.b`: pod `a` of a headless Service `b` of the caller's own namespace, Service `a` of namespace `b`, or a public name.
    /// The cluster's DNS decides, so all of them must be reachable.
    PodOrNamespaceOrPublic(String),
}

impl Endpoint {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// In words, when it is not an `http` or `https` URL with a host, or carries credentials.
    pub fn parse(url: &str) -> Result<Self, String> {
        let url = Url::parse(url).map_err(|error| format!("is not a URL: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("has the scheme {:?}; allowed are http and https", url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("carries credentials; a URL is no place for a secret".into());
        }
        let port = url.port_or_known_default().unwrap_or(443);
        let host = url.host().ok_or("has no host")?;
        Ok(Self {
            reach: reach(&host),
            port,
        })
    }

    /// A port of a host that is given by its name or its address.
    ///
    /// # Errors
    /// In words, when it is neither.
    pub fn of(host: &str, port: u16) -> Result<Self, String> {
        let parsed = Host::parse(host).map_err(|error| format!("is {host:?}, which is no host: {error}"))?;
        let reach = match parsed {
            Host::Domain(name) => reach(&Host::Domain(&name)),
            Host::Ipv4(address) => address_reach(address.into()),
            Host::Ipv6(address) => address_reach(address.into()),
        };
        Ok(Self { reach, port })
    }
}

fn reach(host: &Host<&str>) -> Reach {
    let name = match *host {
        Host::Ipv4(address) => return address_reach(address.into()),
        Host::Ipv6(address) => return address_reach(address.into()),
        Host::Domain(name) => name,
    };
    let labels: Vec<_> = name.trim_end_matches('.').split('.').collect();
    // Before it are a Service and its namespace, and a pod before these where it is one of a headless Service.
    let svc = labels.iter().rposition(|label| *label == "svc").filter(|svc| *svc > 1);
    match (labels.as_slice(), svc) {
        (["localhost"], _) => Reach::Itself,
        ([_], _) => Reach::OwnNamespace,
        ([_, namespace], _) => Reach::PodOrNamespaceOrPublic((*namespace).to_owned()),
        (labels, Some(svc)) => Reach::Namespace(labels[svc - 1].to_owned()),
        _ => Reach::Public,
    }
}

fn address_reach(address: IpAddr) -> Reach {
    if address.is_loopback() {
        Reach::Itself
    } else {
        Reach::Address(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_where_the_cluster_would_find_it() {
        for (url, reach, port) in [
            ("https://api.openai.com/v1", Reach::Public, 443),
            ("http://model.ns.svc:8080/v1", Reach::Namespace("ns".into()), 8080),
            (
                "http://model.ns.svc.cluster.local/v1",
                Reach::Namespace("ns".into()),
                80,
            ),
            (
                "http://pg-0.pg.db.svc.cluster.local:5432/",
                Reach::Namespace("db".into()),
                5432,
            ),
            ("http://pg-0.pg.db.svc/", Reach::Namespace("db".into()), 80),
            ("http://svc.svc.svc/", Reach::Namespace("svc".into()), 80),
            (
                "http://pod.svc.ns.svc.cluster.local./",
                Reach::Namespace("ns".into()),
                80,
            ),
            ("https://x.svc.example.com/", Reach::Public, 443),
            ("https://svc.example.com/", Reach::Public, 443),
            ("http://pg-0.pg:5432/", Reach::PodOrNamespaceOrPublic("pg".into()), 5432),
            (
                "https://openrouter.ai/api/v1",
                Reach::PodOrNamespaceOrPublic("ai".into()),
                443,
            ),
            ("http://model/v1", Reach::OwnNamespace, 80),
            ("http://10.0.0.7:11434/v1", Reach::Address([10, 0, 0, 7].into()), 11434),
            (
                "http://[2001:db8::1]:1/",
                Reach::Address("2001:db8::1".parse().unwrap()),
                1,
            ),
            ("http://localhost:1/", Reach::Itself, 1),
            ("http://127.0.0.1:1/", Reach::Itself, 1),
        ] {
            assert_eq!(Endpoint::parse(url), Ok(Endpoint { reach, port }), "{url}");
        }
    }

    #[test]
    fn other_urls_are_refused_in_words() {
        for (url, words) in [
            ("ftp://x/", "scheme"),
            ("http://a:b@x/", "credentials"),
            ("x", "not a URL"),
        ] {
            assert!(Endpoint::parse(url).unwrap_err().contains(words), "{url}");
        }
    }
}
