//! What makes an executable Node, and what its options say about the inspector. Pure.

/// Whether a file of this name is taken for Node: `node`, `nodejs`, `node20`, `node-22`, `node18.20`.
///
/// The kernel adds ` (deleted)` when the file was replaced under the running process.
pub fn is_node_executable(path: &str) -> bool {
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    let name = path.rsplit('/').next().unwrap_or(path);
    name == "nodejs"
        || name.strip_prefix("node").is_some_and(|version| {
            let digits = version.strip_prefix('-').unwrap_or(version);
            version.is_empty()
                || (digits.starts_with(|c: char| c.is_ascii_digit())
                    && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
        })
}

/// What a file of this name is, of the runtimes that people take for Node.
pub fn lookalike(path: &str) -> Option<&'static str> {
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    match path.rsplit('/').next() {
        Some("bun" | "bunx" | "bun-profile") => Some("Bun"),
        Some("deno") => Some("Deno"),
        _ => None,
    }
}

/// What an executable holds that Node was made one file of together with its app: the fuse, blown.
pub const SINGLE_EXECUTABLE_FUSE: &[u8] = b"NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2:1";

/// Where SIGUSR1 will open the inspector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InspectorPlan {
    /// The host that Node was told to bind; `None` is its default, 127.0.0.1.
    pub host: Option<String>,
    /// The port; 0 lets the kernel choose.
    pub port: u16,
    /// Whether the process was started with its inspector open.
    pub opened_at_start: bool,
    /// Whether `/json/list` will keep the id that a client needs to itself (`--inspect-publish-uid=stderr`).
    pub hides_its_id: bool,
    /// The option for which V8 can't be told to trace optimizations.
    pub against_tracing: Option<String>,
}

impl InspectorPlan {
    /// Whether the inspector would be reachable from outside of the pod.
    pub fn is_exposed(&self) -> bool {
        self.host.as_deref().is_some_and(|host| {
            let bare = host.trim_matches(['[', ']']);
            bare != "localhost"
                && !bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        })
    }
}

/// Options whose value is the next argument when it isn't behind a `=`.
const TAKES_A_VALUE: &[&str] = &[
    "-r",
    "--require",
    "-e",
    "--eval",
    "-p",
    "--print",
    "-pe",
    "-C",
    "--conditions",
    "--import",
    "--loader",
    "--experimental-loader",
    "--title",
    "--icu-data-dir",
    "--openssl-config",
    "--dns-result-order",
    "--max-http-header-size",
    "--diagnostic-dir",
    "--heapsnapshot-signal",
    "--watch-path",
    "--redirect-warnings",
    "--trace-event-categories",
    "--trace-event-file-pattern",
    "--unhandled-rejections",
    "--input-type",
    "--stack-trace-limit",
    "--disable-warning",
];

/// Reads `NODE_OPTIONS` and the arguments before the script; of several settings the last one counts, and
/// the command line over the environment.
pub fn inspector_plan(command: &[String], node_options: Option<&str>) -> InspectorPlan {
    let mut plan = InspectorPlan { port: 9229, ..InspectorPlan::default() };
    let from_environment = node_options.unwrap_or_default().split_ascii_whitespace();
    for option in from_environment {
        plan.apply(option.trim_matches('"'), None);
    }
    let mut arguments = command.iter().skip(1).map(String::as_str).peekable();
    while let Some(argument) = arguments.next() {
        if !argument.starts_with('-') || argument == "-" || argument == "--" {
            break;
        }
        let next = arguments.peek().copied();
        let took_next = plan.apply(argument, next) || TAKES_A_VALUE.contains(&argument);
        if took_next {
            arguments.next();
        }
    }
    plan
}

impl InspectorPlan {
    /// Takes one option in; says whether `next` was its value.
    fn apply(&mut self, option: &str, next: Option<&str>) -> bool {
        let (name, value) =
            option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
        match name {
            "--inspect" | "--inspect-brk" | "--inspect-wait" | "--inspect-brk-node" => {
                self.opened_at_start = true;
                self.bind(value.unwrap_or_default());
                false
            }
            "--inspect-port" | "--debug-port" => {
                self.bind(value.or(next).unwrap_or_default());
                value.is_none() && next.is_some()
            }
            "--inspect-publish-uid" => {
                let places = value.or(next).unwrap_or_default();
                self.hides_its_id = !places.split(',').any(|place| place.trim() == "http");
                value.is_none() && next.is_some()
            }
            _ => {
                if speaks_against_tracing(name) {
                    self.against_tracing = Some(name.to_owned());
                }
                false
            }
        }
    }

    /// Takes in `[host:]port`, `host` or nothing.
    fn bind(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        if let Ok(port) = text.parse() {
            self.port = port;
        } else if let Some((host, port)) =
            text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)))
        {
            self.host = Some(host.to_owned());
            self.port = port;
        } else {
            self.host = Some(text.to_owned());
        }
    }
}

/// Whether V8 can't be told to trace optimizations when Node was started with this option: its flags are frozen, which
/// ends the process, or a trace of its own goes elsewhere already. Every `--trace-` that isn't Node's counts.
fn speaks_against_tracing(option: &str) -> bool {
    const OF_NODE: [&str; 10] =
        ["warn", "uncaught", "deprecation", "exit", "sigint", "sync", "tls", "event", "env", "promises"];
    let name = option.replace('_', "-");
    let Some(name) = name.strip_prefix("--") else { return false };
    ["freeze-flags", "redirect-code", "print-"].iter().any(|start| name.starts_with(start))
        || name.strip_prefix("trace-").is_some_and(|rest| {
            rest != "require-module" && !OF_NODE.iter().any(|start| rest.starts_with(start))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtimes_that_look_like_node_are_told_by_their_files() {
        for (path, runtime) in [
            ("/usr/local/bin/bun", Some("Bun")),
            ("/usr/bin/deno (deleted)", Some("Deno")),
            ("/usr/bin/node", None),
            ("/app/bunyan", None),
            ("", None),
        ] {
            assert_eq!(lookalike(path), runtime, "{path}");
        }
    }

    #[test]
    fn node_is_known_by_its_executable() {
        let yes = [
            "/usr/local/bin/node",
            "/usr/bin/nodejs",
            "node",
            "/opt/node20",
            "/opt/node-22",
            "/n/node18.20",
            "/usr/bin/node (deleted)",
        ];
        let no = [
            "/usr/bin/python3",
            "/bin/sleep",
            "/usr/bin/nodemon",
            "/usr/bin/node_exporter",
            "/opt/node-agent",
            "/opt/node/bin/app",
            "",
            "/usr/bin/bun",
            "/usr/bin/node-",
            "/x/node20x",
            "/usr/bin/nodejs18x",
        ];
        for path in yes {
            assert!(is_node_executable(path), "{path}");
        }
        for path in no {
            assert!(!is_node_executable(path), "{path}");
        }
    }

    #[test]
    fn options_say_where_the_inspector_opens() {
        let plan = |host: Option<&str>, port, opened_at_start| InspectorPlan {
            host: host.map(str::to_owned),
            port,
            opened_at_start,
            ..InspectorPlan::default()
        };
        let rows = [
            ("node app.js", None, plan(None, 9229, false)),
            ("node", None, plan(None, 9229, false)),
            ("", None, plan(None, 9229, false)),
            ("node --inspect app.js", None, plan(None, 9229, true)),
            ("node --inspect=9300 app.js", None, plan(None, 9300, true)),
            ("node --inspect-brk=0.0.0.0:9300 app.js", None, plan(Some("0.0.0.0"), 9300, true)),
            ("node --inspect-wait app.js", None, plan(None, 9229, true)),
            ("node --inspect-port=0 app.js", None, plan(None, 0, false)),
            ("node --inspect-port 9400 app.js", None, plan(None, 9400, false)),
            ("node --debug-port=9401 app.js", None, plan(None, 9401, false)),
            ("node --inspect-port=[::1]:9402 app.js", None, plan(Some("[::1]"), 9402, false)),
            ("node --inspect-port=0.0.0.0 app.js", None, plan(Some("0.0.0.0"), 9229, false)),
            ("node -r ./hook.js --inspect-port=7 app.js", None, plan(None, 7, false)),
            ("node app.js --inspect --inspect-port=1", None, plan(None, 9229, false)),
            ("node -- --inspect", None, plan(None, 9229, false)),
            ("node --inspect-publish-uid http app.js", None, plan(None, 9229, false)),
            ("node app.js", Some("--inspect-port=0.0.0.0:9500"), plan(Some("0.0.0.0"), 9500, false)),
            ("node --inspect-port=9501 app.js", Some("--inspect=9500"), plan(None, 9501, true)),
            ("node --inspect-port=99999 app.js", None, plan(Some("99999"), 9229, false)),
        ];
        for (command, environment, expected) in rows {
            let command: Vec<_> = command.split_ascii_whitespace().map(str::to_owned).collect();
            assert_eq!(inspector_plan(&command, environment), expected, "{command:?} {environment:?}");
        }
    }

    #[test]
    fn an_id_that_is_not_published_over_http_is_hidden() {
        for (option, hidden) in [("=stderr", true), ("=http", false), ("=stderr,http", false), ("=", true)] {
            let command = ["node".to_owned(), format!("--inspect-publish-uid{option}"), "app.js".to_owned()];
            assert_eq!(inspector_plan(&command, None).hides_its_id, hidden, "{option}");
            assert_eq!(inspector_plan(&[], Some(&command[1])).hides_its_id, hidden, "{option}");
        }
    }

    #[test]
    fn options_that_speak_against_tracing_are_known_from_those_that_do_not() {
        for (option, against) in [
            ("--freeze-flags-after-init", true),
            ("--freeze_flags_after_init", true),
            ("--trace-deopt", true),
            ("--trace_opt", true),
            ("--print-opt-code", true),
            ("--redirect-code-traces-to=x", true),
            ("--trace-gc", true),
            ("--trace-warnings", false),
            ("--trace-event-categories=node", false),
            ("--trace-require-module", false),
            ("--trace-sync-io", false),
            ("--max-old-space-size=100", false),
            ("--no-freeze-flags-after-init", false),
        ] {
            let command = ["node".to_owned(), option.to_owned(), "app.js".to_owned()];
            assert_eq!(inspector_plan(&command, None).against_tracing.is_some(), against, "{option}");
            assert_eq!(inspector_plan(&[], Some(option)).against_tracing.is_some(), against, "{option}");
            let of_the_app = ["node".to_owned(), "app.js".to_owned(), option.to_owned()];
            assert_eq!(inspector_plan(&of_the_app, None).against_tracing, None, "{option}");
        }
    }

    #[test]
    fn only_loopback_is_not_exposed() {
        let rows = [
            (None, false),
            (Some("127.0.0.1"), false),
            (Some("localhost"), false),
            (Some("[::1]"), false),
            (Some("0.0.0.0"), true),
            (Some("::"), true),
            (Some("10.1.2.3"), true),
            (Some("pod.local"), true),
        ];
        for (host, exposed) in rows {
            let plan =
                InspectorPlan { host: host.map(str::to_owned), port: 9229, ..InspectorPlan::default() };
            assert_eq!(plan.is_exposed(), exposed, "{host:?}");
        }
    }
}
