//! Where an artifact is fetched from. The URL and the Service come from a status: whoever can write one must
//! not be able to send the user's credentials or requests elsewhere.

use pitwall_crds::ServiceRef;
use std::fmt;
use url::{Host, Url};

/// Where to fetch from. Doesn't print signatures.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A path of the API server, which passes the request on to a Service over HTTPS.
    ApiServer { path_and_query: String },
    /// A host on the network, over HTTPS.
    Https { host: Host<String>, port: u16, path_and_query: String },
}

/// Why a URL isn't used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SourceError {
    #[error("the store's URL is malformed")]
    Malformed,
    #[error("the store's URL is {0}, and Pitwall downloads over https only")]
    NotHttps(String),
    #[error("the store's URL holds a user name or a password")]
    Userinfo,
    #[error("the store's Service is {0:?}, which is no name")]
    ServiceName(String),
    #[error("the store's Service has port {0}")]
    ServicePort(i32),
    #[error("the store's path isn't a plain absolute path")]
    Path,
}

/// Decides where to fetch from: through the API server if a Service is named, else from the URL's host.
pub(crate) fn source(url: &str, service: Option<&ServiceRef>) -> Result<Source, SourceError> {
    match service {
        Some(service) => through_api_server(url, service),
        None => direct(url),
    }
}

fn through_api_server(path_and_query: &str, service: &ServiceRef) -> Result<Source, SourceError> {
    for name in [&service.namespace, &service.name] {
        if !is_dns_label(name) {
            return Err(SourceError::ServiceName(name.clone()));
        }
    }
    if !(1..=65_535).contains(&service.port) {
        return Err(SourceError::ServicePort(service.port));
    }
    let path = path_and_query.split('?').next().unwrap_or_default();
    // What could lead out of `/proxy`, here or in any hop between: dot segments, however they are written,
    // empty segments, backslashes, fragments, and a host.
    let plain = path.starts_with('/')
        && path[1..].split('/').all(|segment| !segment.is_empty() && !is_dots(segment))
        && path_and_query.bytes().all(|byte| byte.is_ascii_graphic() && !b"\\#\"<>^`{|}".contains(&byte));
    if !plain {
        return Err(SourceError::Path);
    }
    let ServiceRef { namespace, name, port } = service;
    let path_and_query =
        format!("/api/v1/namespaces/{namespace}/services/https:{name}:{port}/proxy{path_and_query}");
    Ok(Source::ApiServer { path_and_query })
}

fn direct(url: &str) -> Result<Source, SourceError> {
    let url = Url::parse(url).map_err(|_| SourceError::Malformed)?;
    if url.scheme() != "https" {
        return Err(SourceError::NotHttps(url.scheme().to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(SourceError::Userinfo);
    }
    let host = url.host().ok_or(SourceError::Malformed)?.to_owned();
    let port = url.port_or_known_default().ok_or(SourceError::Malformed)?;
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    Ok(Source::Https { host, port, path_and_query: format!("{}{query}", url.path()) })
}

fn is_dns_label(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// `.` and `..`, also percent-encoded, as well as encoded separators.
fn is_dots(segment: &str) -> bool {
    let lower = segment.to_ascii_lowercase();
    let decoded = lower.replace("%2e", ".");
    decoded == "." || decoded == ".." || ["%2f", "%5c", "%00", "%25"].iter().any(|code| lower.contains(code))
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = |path_and_query: &str| path_and_query.split('?').next().unwrap_or_default().to_owned();
        match self {
            Self::ApiServer { path_and_query } => write!(f, "the API server's {}", path(path_and_query)),
            Self::Https { host, port, path_and_query } => {
                write!(f, "https://{host}:{port}{}", path(path_and_query))
            }
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(namespace: &str, name: &str, port: i32) -> ServiceRef {
        ServiceRef { namespace: namespace.to_owned(), name: name.to_owned(), port }
    }

    #[test]
    fn a_service_is_reached_through_the_api_server_over_https() {
        let service = service("pitwall", "pitwall-store", 8443);
        let source = source("/v1/ns/a%20b.cpuprofile?exp=1&sig=x%2Fy", Some(&service)).unwrap();
        let path = "/api/v1/namespaces/pitwall/services/https:pitwall-store:8443/proxy/v1/ns/a%20b.cpuprofile?exp=1&sig=x%2Fy";
        assert_eq!(source, Source::ApiServer { path_and_query: path.to_owned() });
    }

    #[test]
    fn no_service_or_path_leads_elsewhere() {
        for (namespace, name, port) in [
            ("..", "x", 1),
            ("a/b", "x", 1),
            ("a", "x:80/proxy", 1),
            ("a", "http:x", 1),
            ("a", "", 1),
            ("a", "X", 1),
            ("a", "x", 0),
            ("a", "x", 65_536),
        ] {
            assert!(
                source("/x", Some(&service(namespace, name, port))).is_err(),
                "{namespace} {name} {port}"
            );
        }
        for path in [
            "",
            "x",
            "https://evil/x",
            "//evil/x",
            "/../../secrets",
            "/a/..",
            "/a/%2e%2E/b",
            "/a/.%2e/b",
            "/a%2f..%2fb",
            "/a%252e/b",
            "/a\\b",
            "/a#b",
            "/a b",
            "/a\r\nX: y",
            "/.",
        ] {
            assert_eq!(source(path, Some(&service("a", "x", 1))), Err(SourceError::Path), "{path:?}");
        }
    }

    #[test]
    fn a_url_is_fetched_over_https_or_not_at_all() {
        let https = source("https://s3.example:8333/b/k.cpuprofile?X-Amz-Signature=1", None).unwrap();
        assert_eq!(
            https,
            Source::Https {
                host: Host::Domain("s3.example".to_owned()),
                port: 8333,
                path_and_query: "/b/k.cpuprofile?X-Amz-Signature=1".to_owned(),
            }
        );
        assert_eq!(format!("{https:?} {https}").matches("Signature").count(), 0, "signatures aren't printed");
        for (url, error) in [
            ("http://s3/x", SourceError::NotHttps("http".to_owned())),
            ("file:///etc/passwd", SourceError::NotHttps("file".to_owned())),
            ("https://user:pw@s3/x", SourceError::Userinfo),
            ("/v1/x", SourceError::Malformed),
            ("", SourceError::Malformed),
        ] {
            assert_eq!(source(url, None), Err(error), "{url}");
        }
    }
}
