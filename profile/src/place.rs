//! Where code lies, as people say it.

use percent_encoding::percent_decode_str;

/// Whose code a script is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The app's own, and what can't be told.
    App,
    /// Installed by a package manager.
    Dependency,
    /// Node's own JavaScript.
    Node,
}

const PACKAGES: &str = "/node_modules/";

impl Origin {
    pub(crate) fn of_url(url: &str) -> Self {
        if url.starts_with("node:") {
            Self::Node
        } else if url.contains(PACKAGES) {
            Self::Dependency
        } else {
            Self::App
        }
    }
}

/// The scripts of one profile, to name them by short paths.
pub(crate) struct Places {
    /// The deepest folder that holds all of the app's files, with a slash at its end.
    root: Option<String>,
}

impl Places {
    /// `urls` are those of the profile's scripts.
    pub(crate) fn new<'url>(urls: impl Iterator<Item = &'url str>) -> Self {
        let mut root: Option<String> = None;
        for url in urls.filter(|url| Origin::of_url(url) == Origin::App) {
            let Some(path) = path(url) else { continue };
            let folder = &path[..=path.rfind('/').expect("paths begin with a slash")];
            root = Some(match root {
                None => folder.to_owned(),
                Some(root) => shared_folder(&root, folder).to_owned(),
            });
        }
        // Files that have nothing but the file system in common are named by their whole paths.
        Self { root: root.filter(|root| root != "/") }
    }

    /// The script's path below the app, below `node_modules`, or as it is.
    pub(crate) fn short(&self, url: &str) -> String {
        let Some(path) = path(url) else { return url.to_owned() };
        if let Some(at) = path.rfind(PACKAGES) {
            return path[at + 1..].to_owned();
        }
        match self.root.as_deref().and_then(|root| path.strip_prefix(root)) {
            Some(below) => below.to_owned(),
            None => path,
        }
    }
}

/// The path of a script's file; of what has none, its URL.
pub(crate) fn file(url: &str) -> String {
    path(url).unwrap_or_else(|| url.to_owned())
}

/// The path of a file's URL.
fn path(url: &str) -> Option<String> {
    let path = url.strip_prefix("file://").unwrap_or(url);
    path.starts_with('/').then(|| percent_decode_str(path).decode_utf8_lossy().into_owned())
}

fn shared_folder<'path>(one: &'path str, other: &str) -> &'path str {
    let same = one.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count();
    let end = one.as_bytes()[..same].iter().rposition(|&byte| byte == b'/').expect("both begin with a slash");
    &one[..=end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_named_below_their_app() {
        let app = [
            "file:///app/server.js",
            "file:///app/src/checkout.js",
            "file:///app/node_modules/x/i.js",
            "node:fs",
            "",
        ];
        let single = ["file:///srv/my%20shop/dist/index.mjs"];
        let apart = ["file:///app/server.js", "file:///opt/agent.js"];
        let alike = ["file:///app/src/a.js", "file:///app/src2/b.js"];
        for (urls, url, expected) in [
            (&app[..], "file:///app/server.js", "server.js"),
            (&app, "file:///app/src/checkout.js", "src/checkout.js"),
            (&app, "file:///app/node_modules/x/i.js", "node_modules/x/i.js"),
            (
                &app,
                "file:///app/node_modules/.pnpm/express@4.19.2/node_modules/express/lib/router.js",
                "node_modules/express/lib/router.js",
            ),
            (&app, "node:internal/timers", "node:internal/timers"),
            (&app, "webpack://shop/src/a.ts", "webpack://shop/src/a.ts"),
            (&app, "evalmachine.<anonymous>", "evalmachine.<anonymous>"),
            (&single, "file:///srv/my%20shop/dist/index.mjs", "index.mjs"),
            (&apart, "file:///opt/agent.js", "/opt/agent.js"),
            (&alike, "file:///app/src2/b.js", "src2/b.js"),
            (&["/old/style.js"], "/old/style.js", "style.js"),
            (&["file:///%ff/%00.js"], "file:///%ff/%00.js", "\u{0}.js"),
            (&["file:///"], "file:///", "/"),
            (&[], "file:///é.js", "/é.js"),
            (&["file:///é/a.js", "file:///è/b.js"], "file:///è/b.js", "/è/b.js"),
        ] {
            assert_eq!(Places::new(urls.iter().copied()).short(url), expected, "{url} of {urls:?}");
        }
    }

    #[test]
    fn origins() {
        for (url, expected) in [
            ("file:///app/a.js", Origin::App),
            ("", Origin::App),
            ("node:fs", Origin::Node),
            ("file:///app/node_modules/express/index.js", Origin::Dependency),
            ("file:///node_modules_of_mine/a.js", Origin::App),
        ] {
            assert_eq!(Origin::of_url(url), expected, "{url}");
        }
    }
}
