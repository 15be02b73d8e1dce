//! The proxy that the environment names for HTTPS, read as kubectl reads it.

use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::Matcher;
use std::fmt;

/// `HTTPS_PROXY` and `NO_PROXY`.
pub(crate) struct Proxies {
    matcher: Matcher,
    url: String,
}

/// A proxy. Doesn't print its password.
#[derive(Clone)]
pub(crate) struct Proxy {
    /// With the user's name and password, where it has them.
    pub url: Uri,
    /// Without.
    pub place: Uri,
    /// For `Proxy-Authorization`.
    pub basic_auth: Option<HeaderValue>,
    /// User's name and password, for SOCKS.
    pub raw_auth: Option<(String, String)>,
}

impl Proxies {
    /// From the environment: the variables' names in upper case, else in lower case.
    pub(crate) fn from_env() -> Self {
        let read = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let either = |name: &str| read(name).or_else(|| read(&name.to_ascii_lowercase()));
        Self::new(&either("HTTPS_PROXY").unwrap_or_default(), &either("NO_PROXY").unwrap_or_default())
    }

    /// From the two variables' values.
    pub(crate) fn new(proxy: &str, exempt: &str) -> Self {
        // The forms that kubectl takes and the matcher doesn't: proxy:3128, socks5h://, *.example.com.
        let url = match proxy.split_once("://") {
            Some(("socks5h", rest)) => format!("socks5://{rest}"),
            None if !proxy.is_empty() => format!("http://{proxy}"),
            _ => proxy.to_owned(),
        };
        let exempt: Vec<_> = exempt
            .split(',')
            .map(str::trim)
            .map(|it| if it.starts_with("*.") { &it[1..] } else { it })
            .collect();
        Self { matcher: Matcher::builder().https(&url).no(exempt.join(",")).build(), url }
    }

    /// The proxy on the way to this URL. There is none to this machine itself, whatever the environment says.
    pub(crate) fn on_the_way_to(&self, to: &Uri) -> Option<Proxy> {
        let host = to.host()?;
        let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        if host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback()) {
            return None;
        }
        let met = self.matcher.intercept(to)?;
        Some(Proxy {
            url: self.url.parse().ok()?,
            place: met.uri().clone(),
            basic_auth: met.basic_auth().cloned(),
            raw_auth: met.raw_auth().map(|(user, password)| (user.to_owned(), password.to_owned())),
        })
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.place, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_read_as_kubectl_reads_it() {
        let there = Some("http://proxy:3128/");
        for (proxy, exempt, to, expected) in [
            ("http://proxy:3128", "", "https://s3.example/", there),
            ("proxy:3128", "", "https://s3.example/", there),
            ("http://me:pa%40ss@proxy:3128", "", "https://s3.example/", there),
            ("socks5h://proxy:1080", "", "https://s3.example/", Some("socks5://proxy:1080/")),
            ("http://proxy:3128", "", "http://s3.example/", None),
            ("http://proxy:3128", "", "https://localhost:6443/", None),
            ("http://proxy:3128", "", "https://127.0.0.1:6443/", None),
            ("http://proxy:3128", "", "https://[::1]:6443/", None),
            ("http://proxy:3128", "s3.example", "https://s3.example/", None),
            ("http://proxy:3128", "proxy", "https://s3.example/", there),
            ("http://proxy:3128", "other, .example", "https://s3.example/", None),
            ("http://proxy:3128", "*.example,", "https://s3.example/", None),
            ("http://proxy:3128", "10.0.0.0/8", "https://10.1.2.3:6443/", None),
            ("http://proxy:3128", "10.0.0.0/8", "https://11.1.2.3:6443/", there),
            ("http://proxy:3128", "*", "https://s3.example/", None),
            ("", "", "https://s3.example/", None),
        ] {
            let seen = Proxies::new(proxy, exempt).on_the_way_to(&to.parse().unwrap());
            let seen = seen.map(|proxy| proxy.to_string());
            assert_eq!(seen.as_deref(), expected, "{proxy} but {exempt} to {to}");
        }
    }

    #[test]
    fn a_password_is_kept_and_not_printed() {
        let proxies = Proxies::new("http://me:secret@proxy:3128", "");
        let proxy = proxies.on_the_way_to(&Uri::from_static("https://s3.example/")).unwrap();
        assert_eq!(proxy.to_string(), "http://proxy:3128/");
        assert_eq!(proxy.url, "http://me:secret@proxy:3128");
        assert_eq!(proxy.basic_auth.unwrap(), "Basic bWU6c2VjcmV0");
    }
}
